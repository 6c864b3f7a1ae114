"""Erases a person from the evidence and from what the stores say of them; proofs stay as they are.

The order makes a kill harmless: first the ledger says so, then the stores forget, last the salts go; erase again after
one. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from control.accounts import Accounts
from control.alarm_store import AlarmStore
from control.authors import is_person
from control.backup import Backups
from control.command_store import CommandStore
from control.entry_kinds import sealed
from control.evidence import ERASURE, Evidence
from control.lookahead_store import LookaheadStore
from control.persons import alias, is_alias, subjects_of
from control.places import ALARMS_FILE, COMMANDS_FILE, INDEX, LEDGER, LOOKAHEAD_FILE, MODELS, VIEWS_FILE, only_one
from control.view_store import ViewStore
from ledger.entry import Entry, encode
from ledger.log import Log
from ledger.personal import Salts
from ml.registry import Registry
from twin.errors import Conflict, NotFound

LEDGER_WAIT_S = 5.0  # for the entry, and for what is on its way into the ledger
LOOK_EVERY_S = 0.05


KeptIn = CommandStore | LookaheadStore | AlarmStore | ViewStore
STORES: tuple[tuple[str, type[KeptIn]], ...] = (
    (COMMANDS_FILE, CommandStore),
    (LOOKAHEAD_FILE, LookaheadStore),
    (ALARMS_FILE, AlarmStore),
    (VIEWS_FILE, ViewStore),
)


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done: entries that say so, names that went, and where the name still is."""

    entries: list[int]
    subjects: list[str]
    left: list[str]


class Holder(Protocol):
    """A part of the server that remembers who did what, in memory and on disk."""

    async def check_settled(self, person: str) -> None: ...
    async def rename(self, person: str, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class InThread:
    """A store that may be used from any thread and has nothing in memory."""

    store: ViewStore

    async def check_settled(self, person: str) -> None:
        await asyncio.to_thread(self.store.check_settled, person)

    async def rename(self, person: str, name: str) -> None:
        await asyncio.to_thread(self.store.rename, person, name)


class Erasing:
    """Of a running server; one at a time.

    Args:
        holders: in the order in which they forget; `views` is one more of them.
        sign_out: ends what persons are signed in with.
    """

    def __init__(
        self, data: Path, evidence: Evidence, backups: Backups, holders: Sequence[Holder], views: ViewStore,
        sign_out: Callable[[Collection[str]], object],
    ) -> None:  # fmt: skip
        self._data, self._evidence, self._backups, self._views = data, evidence, backups, views
        self._holders = (*holders, InThread(views))
        self._sign_out = sign_out
        self._turn = asyncio.Lock()

    async def erase(self, subject: str, by: str) -> Erased:
        """
        Raises:
            NotFound: nobody of that name is in the ledger.
            Conflict: the person has an account, or something of theirs is under way.
            LedgerError: the ledger takes nothing now.
        """
        async with self._turn:
            if self._backups.running:  # a copy of one file before and of another after would not fit
                raise Conflict("a back-up is running", "erase when it is done, and make another one then")
            subjects = await asyncio.to_thread(self._subjects, subject)
            await self._settled(subjects)
            self._sign_out(subjects)  # whom a provider vouches for is still there without an account
            await self._settled(subjects)
            entries = []
            for one in subjects:
                index = await self._evidence.record(ERASURE, {"person": one, "by": by})
                for holder in self._holders:
                    await holder.rename(one, alias(index))
                await asyncio.to_thread(self._forget, one)
                entries.append(index)
            return Erased(entries, subjects, await asyncio.to_thread(left, self._data, subjects))

    def _subjects(self, subject: str) -> list[str]:
        return check(self._data, {*self._evidence.salts.subjects(), *self._views.names()}, subject)

    def _forget(self, subject: str) -> None:
        tag = self._evidence.salts.tag(subject)
        self._evidence.index.forget(tag)
        self._evidence.salts.erase(subject)

    async def _settled(self, subjects: Iterable[str]) -> None:
        """What is on its way into the ledger is there.

        Raises:
            Conflict.
        """
        end = time.monotonic() + LEDGER_WAIT_S
        while True:
            try:
                for subject in subjects:
                    for holder in self._holders:
                        await holder.check_settled(subject)
            except Conflict:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                return


def erase_stopped(data: Path, subject: str, by: str, now_ns: int) -> Erased:
    """In the data folder of a server that does not run. Raises as Erasing.erase; Unavailable: one runs after all."""
    with (
        only_one(data),
        Log.open(data / LEDGER) as ledger,
        contextlib.closing(Salts(data / LEDGER)) as salts,
        contextlib.ExitStack() as closing,
    ):
        stores: list[KeptIn] = []
        for name, kind in STORES:
            if (data / name).is_file():
                stores.append(kind(data / name))
                closing.callback(stores[-1].close)
        unrecorded = [name for store in stores if isinstance(store, ViewStore) for name in store.names()]
        subjects = check(data, {*salts.subjects(), *unrecorded}, subject)
        for one in subjects:
            for store in stores:
                store.check_settled(one)
        entries = []
        for one in subjects:
            body = sealed(ERASURE, {"person": one, "by": by}, salts.seal)
            index = ledger.append([encode(Entry(ERASURE, now_ns, body))]).start
            ledger.checkpoint()
            for store in stores:
                store.rename(one, alias(index))
            forget_index(data)
            salts.erase(one)
            entries.append(index)
        return Erased(entries, subjects, left(data, subjects))


def forget_index(data: Path) -> None:
    """It holds a number for the person: without the file the next start makes it anew, without that."""
    for path in (data / INDEX).glob("*"):
        path.unlink()


def check(data: Path, known: Iterable[str], subject: str) -> list[str]:
    """The names, of all that are known, under which somebody is.

    Raises:
        NotFound, Conflict.
    """
    subjects = sorted(one for one in subjects_of(known, subject) if is_person(one) and not is_alias(one))
    if not subjects:
        raise NotFound(
            f"no person {subject!r} in the ledger, nor in views and notes", "names are those of `twinloop audit show`"
        )
    if any(account.name == subject for account in Accounts(data, time.time_ns).all()):
        raise Conflict(f"there is an account {subject!r}", f"`twinloop account remove {subject}` first")
    return subjects


def left(data: Path, subjects: list[str]) -> list[str]:
    """Where the names still stand, as far as can be told."""
    there = sorted({p.by for p in Registry(data / MODELS).record()} & set(subjects))
    return [f"{MODELS}: trainings and promotions by {name}; their digests are in the ledger" for name in there]
