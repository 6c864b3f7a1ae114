"""Makes every step in the life of commands, leases and groups a ledger entry, in order, and remembers which have one.

Must not know what they mean.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from control import command_record, group, lease
from control.command import Command
from control.command_store import CommandStore, Mark, Record, kind_of, told
from control.evidence import Evidence
from ledger.entry import JSON
from ledger.errors import LedgerError
from ledger.tickets import Ticket

BATCH = 500  # transitions handed to the ledger at once
RETRY_S = 1.0
EVERY_S = 0.05  # transitions of so long become entries together: one flush of the ledger for all
OnDisk = Callable[..., Awaitable[Any]]
log = logging.getLogger("twinloop.commands")


class Auditor:
    """The store is the outbox: a transition without an index is one that a crash kept from the ledger."""

    def __init__(self, evidence: Evidence, store: CommandStore, device_of: Callable[[str], str] = lambda _: "") -> None:
        """`device_of`: which device a point is commanded through now, "" for none."""
        self._evidence, self._store, self._device_of = evidence, store, device_of
        self._waiting: deque[tuple[Record, int]] = deque()
        self._taken: dict[str, int] = {}  # of open ones: how many steps were taken
        self._marks: list[Mark] = []
        self._wake = asyncio.Event()
        self._failure: BaseException | None = None

    def take(self, records: Iterable[Record]) -> None:
        """These are durable now."""
        for record in records:
            steps = len(told(record))
            for n in range(self._taken.get(record.id, 0), steps):
                self._waiting.append((record, n))
            if record.final:
                self._taken.pop(record.id, None)
            else:
                self._taken[record.id] = steps
        self._wake.set()

    def marks(self) -> list[Mark]:
        """What became entries since the last call, to be kept with the next commit."""
        marks, self._marks = self._marks, []
        return marks

    def put_back(self, marks: list[Mark]) -> None:
        """They could not be kept: with the next commit, then."""
        self._marks = marks + self._marks

    async def begin(self, on_disk: OnDisk) -> None:
        """After a start: what has no index in the store is an entry already, or waits to become one."""
        left = await on_disk(self._store.unaudited)
        waiting = {(kind_of(u.record), u.record.id, u.n) for u in left}
        held: list[Mark] = []
        if waiting:
            # Handed over in order: what has no index yet comes after what has one.
            newest = await on_disk(self._store.newest_entry)
            entries = await asyncio.to_thread(self._evidence.entries, self._evidence.log.size - newest - 1)
            held = [
                (e.kind, str(e.body["id"]), int(str(e.body["n"])), index)
                for index, e in entries
                if (e.kind, e.body.get("id"), e.body.get("n")) in waiting
            ]
            await on_disk(self._store.save, (), held)
        done = {(kind, identity, n) for kind, identity, n, _ in held}
        self._waiting = deque((u.record, u.n) for u in left if (kind_of(u.record), u.record.id, u.n) not in done)
        self._taken = {}
        for unfinished in (self._store.unfinished, self._store.leases.unfinished, self._store.groups.unfinished):
            self._taken |= {r.id: len(told(r)) for r in await on_disk(unfinished)}
        self._wake.set()

    async def run(self, on_disk: OnDisk) -> None:
        """Hand over until cancelled. Marks go with the commits of commands; alone only when no commands come."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await asyncio.sleep(EVERY_S)
                batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
                done = await self._hand_over(batch)
                for _ in range(done):
                    self._waiting.popleft()
                if done < len(batch):
                    await asyncio.sleep(RETRY_S)
            if marks := self.marks():
                try:
                    await on_disk(self._store.save, (), marks)
                except sqlite3.Error as error:
                    self.put_back(marks)
                    log.error("what reached the ledger cannot be noted, trying again: %s", error)
                    await asyncio.sleep(RETRY_S)
                    self._wake.set()

    async def _hand_over(self, batch: list[tuple[Record, int]]) -> int:
        """How many, from the first on, are entries now; the others stay without an index in the store."""
        entries: list[Ticket[int]] = []
        failure: BaseException | None = None
        for record, n in batch:
            try:
                entries.append(self._evidence.record(kind_of(record), self._entry(record, n), told(record)[n].time))
            except LedgerError as error:
                failure = error
                break
        if entries:  # they are settled in order: the last one waits for all
            await entries[-1].settled()
        done = 0
        for (record, n), entry in zip(batch, entries, strict=False):
            failed = entry.exception()
            if failed is not None:
                failure = failed
                break
            self._marks.append((kind_of(record), record.id, n, entry.result()))
            done += 1
        self._say(failure, len(self._waiting) - done)
        return done

    def _entry(self, record: Record, n: int) -> dict[str, JSON]:
        match record:
            case Command():
                return command_record.as_entry(record, n, self._device_of(record.point))
            case lease.Lease():
                return lease.as_entry(record, n)
            case group.Group():
                return group.as_entry(record, n)

    @property
    def idle(self) -> bool:
        """Every transition that was taken is an entry."""
        return not self._waiting

    def _say(self, failure: BaseException | None, waiting: int) -> None:
        """Once when it begins to fail, once when it works again."""
        if failure is not None and self._failure is None:
            log.error("%d transitions wait for the ledger: %s", waiting, failure)
        elif failure is None and self._failure is not None:
            log.info("transitions reach the ledger again")
        self._failure = failure
