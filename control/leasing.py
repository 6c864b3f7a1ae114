"""Takes, keeps and ends leases beside the dispatcher, and commands their reverts; pure: events and time in, orders out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from control.command import Command
from control.dispatcher import Dispatcher
from control.lease import Lease, LeaseBook, LeaseRequest, admitted, author_of_reverts, body, reverts
from control.orders import Orders
from twin.errors import Conflict, Refused, Reserved, TwinloopError
from twin.plant import Plant

MISSED_SHOWN = 10  # reverts that an edit made impossible, in one line


class Leasing:
    """Every lease that is held; `book` is what the dispatcher looks into at each submission and send."""

    def __init__(self, desk: Dispatcher, new_id: Callable[[], str]) -> None:
        self.book: LeaseBook = desk.gate.leases
        self._desk, self._new_id = desk, new_id

    def take(
        self, request: LeaseRequest, holder: str, identity: str, plant: Plant, before: Lease | None, now: int
    ) -> tuple[Lease, Orders]:
        """`before` is the lease that the holder took with this key, however long ago.

        Raises:
            BadRequest, OutOfRange, NotFound, Refused: it can never be held so.
            Conflict: the key was used for another lease. Reserved: somebody as urgent holds or has selected a point.
            LimitExceeded: too many are held.
        """
        held = (x for x in self.book.active if (x.holder, x.key) == (holder, request.key))
        before = before or next(held, None)  # one that is not on disk yet
        if before is not None:
            if before.asked != body(request):
                raise Conflict(f"key {request.key!r} was used for another lease", "use a new key")
            return self.book.get(before.id) or before, Orders()
        lease = admitted(request, holder, identity, plant, now)
        for asked in reverts(lease):
            if self._desk.gate.check_own(asked, author_of_reverts(lease), now).approvals:
                raise Refused(f"a revert of {asked.point} would need approval", "leave it out: nobody could give it")
        for point in lease.targets:
            self._check_free(point, lease)
        orders = Orders()
        orders.leases.update({x.id: x for x in self.book.take(lease, now)})
        return lease, orders

    def _check_free(self, point: str, lease: Lease) -> None:
        other: Command | None = self._desk.gate.selected_by_other(point, lease.holder)
        if other is not None:
            hint = f"wait for command {other.id} to end or to expire"
            raise Reserved(f"{other.author} has selected {point}", hint)

    def release(self, identity: str, by: str, now: int, *, others: bool, revert: bool) -> tuple[Lease, Orders]:
        """
        Args:
            others: `by` may release what others hold.
            revert: command what was declared for a lost heartbeat.

        Raises:
            NotFound: it is not held. NotPermitted: it is somebody else's.
        """
        return self._ended(self.book.release(identity, by, now, others=others), now, revert)

    def tick(self, now: int) -> Orders:
        """Leases whose heartbeat is lost end, and their points go to where they were promised to go."""
        orders = Orders()
        for lease in self.book.expire(now):
            orders.add(self._ended(lease, now, revert=True)[1])
        return orders

    def next_time(self) -> int | None:
        """When `tick` has something to do: a lease lives to the end of its last moment."""
        expiry = self.book.next_expiry()
        return None if expiry is None else expiry + 1

    def _ended(self, lease: Lease, now: int, revert: bool) -> tuple[Lease, Orders]:
        """The end and its reverts go into one commit, so that a crash between them is impossible."""
        orders, missed = Orders(), list[str]()
        for asked in reverts(lease) if revert else ():
            try:
                orders.add(self._desk.own(asked, author_of_reverts(lease), self._new_id(), now))
            except TwinloopError as error:  # the plant was edited meanwhile
                missed.append(f"{asked.point} is not reverted: {error}")
        said = lease.steps[-1]
        commanded = [f"{len(orders.kept)} reverts commanded"] if orders.kept else []
        more = [f"and {len(missed) - MISSED_SHOWN} more"] if len(missed) > MISSED_SHOWN else []
        detail = "; ".join([said.detail, *commanded, *missed[:MISSED_SHOWN], *more])
        lease = replace(lease, steps=(*lease.steps[:-1], replace(said, detail=detail)))
        orders.leases[lease.id] = lease
        return lease, orders
