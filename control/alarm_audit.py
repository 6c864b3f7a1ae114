"""Steps of alarms as entries of the ledger, and checked against them; must not know what they mean."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from control.alarm_store import COLUMNS, AlarmStore, Taken, taken_of
from control.evidence import ALARM, Evidence
from control.outbox import AUDIT_BATCH
from ledger import sqlite_read
from ledger.entry import JSON, Entry

PROBLEMS_MAX = 100


class AlarmLetters:
    """Steps of alarms."""

    what = "steps of alarms"

    def __init__(self, store: AlarmStore, evidence: Evidence, on_disk: Callable[..., Awaitable[Any]]) -> None:
        self._store, self._evidence, self._on_disk = store, evidence, on_disk

    async def waiting(self) -> Sequence[Taken]:
        rows: Sequence[Taken] = await self._on_disk(self._store.unaudited, AUDIT_BATCH)
        return rows

    async def record(self, rows: Sequence[Taken]) -> None:
        tickets = [self._evidence.record(ALARM, as_entry(step), step.time) for step in rows]
        indexes = [await ticket for ticket in tickets]
        await self._on_disk(self._store.audited, [(i, s.n) for i, s in zip(indexes, rows, strict=True)])

    async def forget_recorded(self, rows: Sequence[Taken]) -> None:
        known = {s.n: _unnamed(as_entry(s)) for s in rows}
        entries = await asyncio.to_thread(self._evidence.entries, 2 * AUDIT_BATCH, ALARM)
        found = [(i, n) for i, e in entries if known.get(n := int(str(e.body["n"]))) == _unnamed(e.body)]
        await self._on_disk(self._store.audited, found)


def as_entry(step: Taken) -> dict[str, JSON]:
    """All of it but the time, which the entry has itself."""
    body: dict[str, JSON] = {("until_ns" if k == "until" else k): v for k, v in asdict(step).items() if k != "time"}
    return body


def _unnamed(body: Mapping[str, JSON]) -> dict[str, JSON]:
    """Whoever it names may have been erased since."""
    return {key: value for key, value in body.items() if key != "by"}


# --- the auditor's side --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A stored step, and the ledger entry that it names."""

    step: Taken
    entry: int | None


def read_alarm_steps(path: Path) -> list[Row]:
    """
    Raises:
        sqlite3.Error: the file is missing or no database.
    """
    database = sqlite_read.connect(path)
    try:
        rows = database.execute(f"SELECT {', '.join(COLUMNS)}, entry FROM steps ORDER BY n").fetchall()
    finally:
        database.close()
    return [Row(taken_of(row[:-1]), row[-1]) for row in rows]


def check_alarm_steps(
    rows: Sequence[Row], entries: Mapping[int, Entry], named: Callable[[str], str] = str
) -> list[dict[str, str]]:
    """Problems: steps of alarms that were changed, forged or removed. Old ones may have been let go, from the oldest on.

    Args:
        entries: with names of persons.
        named: what the store says of a person, as the entries do.
    """
    recorded = {int(str(e.body["n"])): (i, e) for i, e in entries.items() if e.kind == ALARM}
    oldest = min((r.step.n for r in rows), default=0)
    newest = max((r.entry for r in rows if r.entry is not None), default=-1)
    held = {r.step.n for r in rows}
    said: list[tuple[str, str]] = []
    for r in rows:
        if r.entry is None:  # as a crash leaves it: the server records it when it starts
            continue
        _, entry = recorded.get(r.step.n, (-1, None))
        body = as_entry(r.step)
        if entry is None or entry.body != body | {"by": named(str(body["by"]))} or entry.time_ns != r.step.time:
            said.append((f"alarm step {r.step.n}", "it is not what the ledger recorded"))
    gone = [n for n, (index, _) in recorded.items() if n > oldest and index <= newest and n not in held]
    said += [(f"alarm step {n}", "it is gone from alarms.sqlite") for n in gone]
    if recorded and not rows:
        said.append(("alarms.sqlite", "it holds no step of an alarm; the ledger does"))
    hint = "the ledger holds what was recorded: see `twinloop audit show --kind alarm`"
    return [{"place": place, "what": what, "hint": hint} for place, what in said[:PROBLEMS_MAX]]
