"""The exclusive right to command some points, for as long as its holder's heartbeat comes; pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from control.admission import KEY_MAX, REASON_MAX
from control.authors import LEASE_AUTHOR, is_own
from control.command import Priority
from control.life import Step
from control.request import Request
from ledger.entry import JSON
from twin.errors import BadRequest, Conflict, LimitExceeded, NotFound, NotPermitted, Reserved
from twin.plant import Plant

TTL_MIN_S = 1.0  # shorter, and a slow network ends leases
TTL_MAX_S = 300.0  # longer, and a dead holder keeps everybody else out
TARGETS_MAX = 500  # points of one lease: a whole unit of a plant
TARGETS_BYTES_MAX = 30_000  # of their names: one entry of the ledger names all of them
LEASES_OF_HOLDER_MAX = 100  # a program that forgets to release is stopped before it holds the plant
LEASES_MAX = 1_000  # of all holders: every one is looked at whenever commands are
REVERT_DEADLINE_S = 24 * 3600.0  # a device that comes back must find the value it was promised


class LeaseStatus(StrEnum):
    """Where a lease stands."""

    ACTIVE = "ACTIVE"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"  # its heartbeat was lost
    PREEMPTED = "PREEMPTED"  # somebody more urgent came


TRANSITIONS: Mapping[LeaseStatus, frozenset[LeaseStatus]] = {
    LeaseStatus.ACTIVE: frozenset({LeaseStatus.RELEASED, LeaseStatus.EXPIRED, LeaseStatus.PREEMPTED}),
    LeaseStatus.RELEASED: frozenset(),
    LeaseStatus.EXPIRED: frozenset(),
    LeaseStatus.PREEMPTED: frozenset(),
}


class LeaseRequest(msgspec.Struct, frozen=True):
    """A lease as asked for.

    Attributes:
        key: idempotency key, the holder's own.
        targets: points, or twins: then all their writable points.
        ttl_s: how long it lives without a heartbeat.
        priority: its class; who is strictly more urgent preempts it.
        revert: what points of it are commanded to when the heartbeat is lost, in their units.
    """

    key: str
    targets: tuple[str, ...]
    ttl_s: float = 30.0
    priority: Priority = Priority.OPERATOR
    revert: dict[str, float] = {}
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease and all that happened to it.

    Attributes:
        targets: names of points, in order.
        revert: (point, value), in order of points.
        asked: the request as canonical JSON; equal texts are the same request.
        beaten_at: when the holder was last heard, ns since 1970 UTC.
    """

    id: str
    key: str
    holder: str
    targets: tuple[str, ...]
    priority: Priority
    ttl_s: float
    revert: tuple[tuple[str, float], ...]
    reason: str
    asked: str
    steps: tuple[Step, ...]
    beaten_at: int

    @property
    def author(self) -> str:
        return self.holder

    @property
    def status(self) -> LeaseStatus:
        return LeaseStatus(self.steps[-1].status)

    @property
    def final(self) -> bool:
        return not TRANSITIONS[self.status]

    @property
    def until(self) -> int:
        """It lives to this moment if no heartbeat comes, ns since 1970 UTC."""
        return self.beaten_at + int(self.ttl_s * 1e9)


def body(request: LeaseRequest) -> str:
    """Canonical JSON of all but the key."""
    return msgspec.json.encode(msgspec.structs.replace(request, key=""), order="sorted").decode()


def admitted(request: LeaseRequest, holder: str, identity: str, plant: Plant, now: int) -> Lease:
    """The lease that a request becomes, ACTIVE.

    Raises:
        BadRequest, NotFound: it can never be held so.
    """
    if not 0 < len(request.key) <= KEY_MAX:
        raise BadRequest(f"the key has {len(request.key)} characters", f"give 1 … {KEY_MAX}")
    if len(request.reason) > REASON_MAX:
        raise BadRequest(f"the reason has {len(request.reason)} characters", f"at most {REASON_MAX}")
    if not TTL_MIN_S <= request.ttl_s <= TTL_MAX_S:
        raise BadRequest(f"ttl_s {request.ttl_s:g}", f"give a number in {TTL_MIN_S:g} … {TTL_MAX_S:g}")
    if request.priority is Priority.EMERGENCY:
        raise BadRequest("a lease of class emergency", "emergencies go whoever holds a lease: take class safety")
    targets = targets_of(plant, request.targets)
    foreign = sorted(set(request.revert) - set(targets))
    if foreign:
        raise BadRequest(f"revert names {foreign[0]!r}, which the lease does not hold", "revert points of the lease")
    first = Step(LeaseStatus.ACTIVE, now, f"taken for {request.ttl_s:g} s at a time", holder)
    return Lease(
        identity, request.key, holder, targets, request.priority, request.ttl_s, tuple(sorted(request.revert.items())),
        request.reason, body(request), (first,), now,
    )  # fmt: skip


def targets_of(plant: Plant, names: Iterable[str]) -> tuple[str, ...]:
    """The writable points that these names of points and ids of twins mean, each once, in order.

    Raises:
        BadRequest: none, more than TARGETS_MAX, or one that nobody can command.
        NotFound: a name is neither a point nor a twin.
    """
    found: set[str] = set()
    for name in names:
        if name in plant.point_of_name:
            if not plant.point(name).writable:
                raise BadRequest(f"{name} is not writable", "lease points that commands may name")
            found.add(name)
        elif name in plant.twin_of_id:
            own = [plant.points[int(i)] for i in plant.points.where("twin", name)]
            writable = {p.name for p in own if p.writable}
            if not writable:
                raise BadRequest(f"twin {name} has no writable point", "lease a twin that commands may change")
            found |= writable
        else:
            raise NotFound(f"{name!r} is neither a point nor a twin", "`twinloop query` lists both")
        if len(found) > TARGETS_MAX:
            raise BadRequest(f"more than {TARGETS_MAX} points", "take several leases")
    if not found:
        raise BadRequest("a lease without targets", "name points or twins")
    if sum(len(name.encode()) for name in found) > TARGETS_BYTES_MAX:
        raise BadRequest(
            f"the names of {len(found)} points have more than {TARGETS_BYTES_MAX} bytes", "take several leases"
        )
    return tuple(sorted(found))


def ended(lease: Lease, status: LeaseStatus, now: int, detail: str, by: str = "") -> Lease:
    """
    Raises:
        Conflict: it has ended before.
    """
    if status not in TRANSITIONS[lease.status]:
        raise Conflict(f"lease {lease.id} is {lease.status}: {lease.steps[-1].detail}", "take a new one")
    return replace(lease, steps=(*lease.steps, Step(status, now, detail, by)))


def recovered(lease: Lease, now: int) -> Lease:
    """After a restart: while the server was away nobody could be heard, so a lease gets its whole time anew."""
    return replace(lease, beaten_at=now)


def author_of_reverts(lease: Lease) -> str:
    return f"{LEASE_AUTHOR}{lease.id}"


def reverts(lease: Lease) -> tuple[Request, ...]:
    """What is commanded when it ends by a lost heartbeat; the same keys each time, so that it happens once."""
    return tuple(
        Request(f"revert:{n}", point, value, Priority.SAFETY, REVERT_DEADLINE_S, f"lease {lease.id} ended")
        for n, (point, value) in enumerate(lease.revert)
    )


class LeaseBook:
    """The leases that are held, each point by at most one. What its methods return has changed and must be kept."""

    def __init__(self) -> None:
        self._active: dict[str, Lease] = {}
        self._held: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._active)

    @property
    def active(self) -> tuple[Lease, ...]:
        """Oldest first."""
        return tuple(self._active.values())

    def get(self, identity: str) -> Lease | None:
        """None: it is not held, or never was."""
        return self._active.get(identity)

    def of_point(self, point: str) -> Lease | None:
        held = self._held.get(point)
        return self._active[held] if held is not None else None

    def against(self, point: str, author: str) -> Lease | None:
        """The lease that keeps the author from the point; reverts and compensations are the server's own and pass."""
        lease = self.of_point(point)
        return None if lease is None or lease.holder == author or is_own(author) else lease

    def restore(self, leases: Iterable[Lease], now: int) -> None:
        """Those that were held when the server stopped."""
        for lease in leases:
            self._hold(recovered(lease, now))

    def take(self, lease: Lease, now: int) -> tuple[Lease, ...]:
        """All its points or none: first the leases that it preempts, then the lease itself.

        Raises:
            Reserved: somebody holds one of the points and is as urgent.
            LimitExceeded: the holder, or all of them together, hold too many.
        """
        in_way = {found.id: found for found in map(self.of_point, lease.targets) if found is not None}
        for other in in_way.values():
            if not yields(other, lease.priority):
                raise reserved(other, next(p for p in other.targets if p in lease.targets), now)
        own = sum(1 for other in self._active.values() if other.holder == lease.holder)
        if own >= LEASES_OF_HOLDER_MAX:
            raise LimitExceeded(f"{lease.holder} holds {own} leases", "release some")
        if len(self._active) >= LEASES_MAX:
            raise LimitExceeded(f"{LEASES_MAX} leases are held", "release some")
        detail = f"lease {lease.id} is {lease.priority.name.lower()}"  # recorded: it names nobody
        gone = tuple(self._end(other, LeaseStatus.PREEMPTED, now, detail, lease.holder) for other in in_way.values())
        self._hold(lease)
        return (*gone, lease)

    def preempt(self, lease: Lease, now: int, detail: str, by: str) -> Lease:
        """A more urgent command goes to one of its points. Nothing is reverted: somebody else is in charge now."""
        return self._end(lease, LeaseStatus.PREEMPTED, now, detail, by)

    def beat(self, identity: str, by: str, now: int) -> Lease:
        """The holder is there: the lease has its whole time anew. Not kept on disk.

        Raises:
            NotFound: it is not held.
            NotPermitted: by somebody else.
        """
        lease = replace(self._held_by(identity, by), beaten_at=now)
        self._active[identity] = lease
        return lease

    def release(self, identity: str, by: str, now: int, *, others: bool = False) -> Lease:
        """
        Args:
            others: `by` may release what others hold.

        Raises:
            NotFound: it is not held.
            NotPermitted: it is somebody else's.
        """
        lease = self._held_by(identity, None if others else by)
        return self._end(lease, LeaseStatus.RELEASED, now, "released", by)

    def expire(self, now: int) -> tuple[Lease, ...]:
        """Those whose heartbeat is lost; their `reverts` are to be commanded in the same commit."""
        late = [lease for lease in self._active.values() if now > lease.until]
        return tuple(
            self._end(lease, LeaseStatus.EXPIRED, now, f"no heartbeat for {(now - lease.beaten_at) / 1e9:.1f} s")
            for lease in late
        )

    def next_expiry(self) -> int | None:
        """ns since 1970 UTC."""
        return min((lease.until for lease in self._active.values()), default=None)

    def _held_by(self, identity: str, by: str | None) -> Lease:
        lease = self.get(identity)
        if lease is None:
            raise NotFound(f"no lease {identity!r} is held", "`twinloop lease list` shows those that are")
        if by is not None and lease.holder != by:
            raise NotPermitted(f"lease {identity} is {lease.holder}'s", "only its holder keeps or releases it")
        return lease

    def _hold(self, lease: Lease) -> None:
        self._active[lease.id] = lease
        self._held.update(dict.fromkeys(lease.targets, lease.id))

    def _end(self, lease: Lease, status: LeaseStatus, now: int, detail: str, by: str = "") -> Lease:
        del self._active[lease.id]
        for point in lease.targets:
            del self._held[point]
        return ended(lease, status, now, detail, by)


def yields(lease: Lease, priority: Priority) -> bool:
    """Whether a command or lease of that class ends the lease: it must be strictly more urgent."""
    return priority < lease.priority


def reserved(lease: Lease, point: str, now: int) -> Reserved:
    """Who holds the point, and until when."""
    left_s = max(0.0, (lease.until - now) / 1e9)
    return Reserved(
        f"{lease.holder} holds {point} by lease {lease.id}, for another {left_s:.0f} s if no heartbeat comes",
        "wait for its release, ask the holder, or be more urgent than it",
    )


def as_entry(lease: Lease, n: int) -> dict[str, JSON]:
    """Step `n` as the ledger keeps it; each says what it is about, the first all that was agreed."""
    step = lease.steps[n]
    entry: dict[str, JSON] = {
        "id": lease.id, "n": n, "holder": lease.holder, "key": lease.key, "status": str(step.status), "detail": step.detail,
        "by": step.by, "targets": list(lease.targets),
    }  # fmt: skip
    if n == 0:
        entry |= {
            "priority": lease.priority.name.lower(), "ttl_s": lease.ttl_s,
            "revert": dict(lease.revert), "reason": lease.reason,
        }  # fmt: skip
    return entry


def as_body(lease: Lease) -> dict[str, object]:
    """The record as API, events and console show it; times in ms since 1970."""
    return {
        "id": lease.id,
        "key": lease.key,
        "holder": lease.holder,
        "status": lease.status.value,
        "targets": list(lease.targets),
        "priority": lease.priority.name.lower(),
        "ttl_s": lease.ttl_s,
        "revert": dict(lease.revert),
        "reason": lease.reason,
        "since": lease.steps[0].time / 1e6,
        "beat": lease.beaten_at / 1e6,
        "until": None if lease.final else lease.until / 1e6,
        "steps": [s.as_body() for s in lease.steps],
    }
