"""Erases a person from the evidence and from what the stores say of them; proofs stay as they are.

The order makes a kill harmless: first the ledger says so, then the stores forget, last the salts go; erase again after
one. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from control.accounts import Accounts
from control.alarm_store import AlarmStore
from control.backup import Backups
from control.command_store import CommandStore
from control.entry_kinds import is_person, sealed
from control.evidence import ERASURE, Evidence
from control.lookahead_store import LookaheadStore
from control.persons import alias, subjects_of
from control.places import ALARMS_FILE, COMMANDS_FILE, INDEX, LEDGER, LOOKAHEAD_FILE, MODELS, VIEWS_FILE, only_one
from control.runtime import CommandRuntime
from control.view_store import ViewStore
from ledger.entry import Entry, encode
from ledger.log import Log
from ledger.personal import Salts
from ml.registry import Registry
from twin.errors import Conflict, NotFound

LEDGER_WAIT_S = 5.0  # for the entry, and for what is on its way into the ledger
LOOK_EVERY_S = 0.05


# Beside commands.sqlite: each has `check_settled` and `rename`.
STORES: tuple[tuple[str, type[AlarmStore] | type[LookaheadStore] | type[ViewStore]], ...] = (
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


class Erasing:
    """Of a running server; one at a time."""

    def __init__(
        self, data: Path, evidence: Evidence, commands: CommandRuntime, store: CommandStore, backups: Backups
    ) -> None:
        self._data, self._evidence, self._commands, self._store = data, evidence, commands, store
        self._backups = backups
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
            subjects = check(self._data, self._evidence.salts, subject)
            await self._settled(subjects)
            entries = []
            for one in subjects:
                body = {"person": one, "by": by}
                index = await self._evidence.record(ERASURE, body)
                await self._commands.on_disk(self._store.rename, one, alias(index))
                await asyncio.to_thread(self._rename_steps, one, alias(index))
                await asyncio.to_thread(self._forget, one)
                entries.append(index)
            return Erased(entries, subjects, left(self._data, subject))

    def _check_steps(self, subject: str) -> None:
        for store in self._stores():
            store.check_settled(subject)

    def _rename_steps(self, subject: str, name: str) -> None:
        for store in self._stores():
            store.rename(subject, name)

    def _stores(self) -> Iterator[AlarmStore | LookaheadStore | ViewStore]:
        """By connections of our own: their threads have theirs."""
        for name, kind in STORES:
            with contextlib.closing(kind(self._data / name)) as store:
                yield store

    def _forget(self, subject: str) -> None:
        tag = self._evidence.salts.tag(subject)
        self._evidence.salts.erase(subject)
        self._evidence.index.forget(tag)

    async def _settled(self, subjects: Iterable[str]) -> None:
        """What is on its way into the ledger is there.

        Raises:
            Conflict.
        """
        end = time.monotonic() + LEDGER_WAIT_S
        while True:
            try:
                for subject in subjects:
                    await self._commands.on_disk(self._store.check_settled, subject)
                    await asyncio.to_thread(self._check_steps, subject)
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
        subjects = check(data, salts, subject)
        stores: list[CommandStore | AlarmStore | LookaheadStore | ViewStore] = []
        for name, kind in ((COMMANDS_FILE, CommandStore), *STORES):
            if (data / name).is_file():
                stores.append(kind(data / name))
                closing.callback(stores[-1].close)
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
            salts.erase(one)
            entries.append(index)
        forget_index(data)
        return Erased(entries, subjects, left(data, subject))


def forget_index(data: Path) -> None:
    """It holds a number for the person: without the file the next start makes it anew, without that."""
    for path in (data / INDEX).glob("*"):
        path.unlink()


def check(data: Path, salts: Salts, subject: str) -> list[str]:
    """The names under which somebody is known.

    Raises:
        NotFound, Conflict.
    """
    subjects = [one for one in subjects_of(salts.subjects(), subject) if is_person(one)]
    if not subjects:
        raise NotFound(f"no person {subject!r} in the ledger", "names are those of `twinloop audit show`")
    if any(account.name == subject for account in Accounts(data, time.time_ns).all()):
        raise Conflict(f"there is an account {subject!r}", f"`twinloop account remove {subject}` first")
    return subjects


def left(data: Path, subject: str) -> list[str]:
    """Where the name still stands, as far as can be told."""
    found = []
    if any(p.by == subject for p in Registry(data / MODELS).record()):
        found.append(f"{MODELS}: promotions by {subject}; their digests are in the ledger")
    return found
