"""What became of predicted alarms and shelves, as entries of the ledger and checked against them; must not know why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from control.evidence import LOOKAHEAD, Evidence
from control.lookahead_store import LookaheadStore, Step
from control.outbox import AUDIT_BATCH
from ledger import sqlite_read
from ledger.entry import JSON, VERSIONS, Entry

PROBLEMS_MAX = 100


class LookaheadLetters:
    """Steps of predicted alarms."""

    what = "steps of predicted alarms"

    def __init__(self, store: LookaheadStore, evidence: Evidence, on_disk: Callable[..., Awaitable[Any]]) -> None:
        self._store, self._evidence, self._on_disk = store, evidence, on_disk

    async def waiting(self) -> Sequence[Step]:
        rows: Sequence[Step] = await self._on_disk(self._store.unaudited, AUDIT_BATCH)
        return rows

    async def record(self, rows: Sequence[Step]) -> None:
        tickets = [self._evidence.record(LOOKAHEAD, _entry(step), step.time) for step in rows]
        indexes = [await ticket for ticket in tickets]
        await self._on_disk(self._store.audited, [(i, s.n) for i, s in zip(indexes, rows, strict=True)])

    async def forget_recorded(self, rows: Sequence[Step]) -> None:
        known = {(s.n, s.sha256) for s in rows}
        entries = await asyncio.to_thread(self._evidence.entries, 2 * AUDIT_BATCH, LOOKAHEAD)
        found = [(i, int(str(e.body["n"]))) for i, e in entries if (e.body["n"], e.body["sha256"]) in known]
        await self._on_disk(self._store.audited, found)


def _entry(step: Step) -> dict[str, JSON]:
    body: dict[str, JSON] = msgspec.json.decode(step.body)
    return {**body, "n": step.n, "sha256": step.sha256}


# --- the auditor's side --------------------------------------------------------------------------------------------------


def _recorded(entry: Entry) -> tuple[JSON, JSON, JSON]:
    """(n, SHA-256, who)."""
    return entry.body["n"], entry.body["sha256"], entry.body.get("by", "")


def _said(step: Step, version: int, named: Callable[[str], str]) -> tuple[JSON, JSON, JSON]:
    by = named(str(msgspec.json.decode(step.body).get("by", "")))
    return step.n, step.whole_sha256 if version == 1 else step.sha256, by


@dataclass(frozen=True, slots=True)
class Row:
    """A stored step, and the ledger entry that it names."""

    step: Step
    entry: int | None


def read_steps(path: Path) -> list[Row]:
    """
    Raises:
        sqlite3.Error: the file is missing or no database.
    """
    database = sqlite_read.connect(path)
    try:
        rows = database.execute("SELECT n, time, body, entry FROM steps ORDER BY n").fetchall()
        return [Row(Step(n, time, body), entry) for n, time, body, entry in rows]
    finally:
        database.close()


def check_steps(
    rows: Sequence[Row], entries: Mapping[int, Entry], named: Callable[[str], str] = str
) -> list[dict[str, str]]:
    """Problems: predicted alarms and shelves that were changed, forged or removed.

    Args:
        entries: with names of persons.
        named: what the store says of a person, as the entries do.
    """
    recorded = {_recorded(e): i for i, e in entries.items() if e.kind == LOOKAHEAD}
    said_as = {r.step.n: {_said(r.step, v, named) for v in VERSIONS} for r in rows}
    newest = max((r.entry for r in rows if r.entry is not None), default=-1)
    # Without an entry is as a crash leaves it: the server records it when it starts.
    changed = [r.step.n for r in rows if r.entry is not None and not said_as[r.step.n] & recorded.keys()]
    held = {r.step.n for r in rows}
    gone = [n for (n, _, _), index in recorded.items() if index <= newest and n not in held]
    said = [(f"look-ahead step {n}", "it is not what the ledger recorded") for n in changed]
    said += [(f"look-ahead step {n}", "it is gone from lookahead.sqlite") for n in gone]
    if recorded and not rows:
        said.append(("lookahead.sqlite", "it holds no predicted alarm; the ledger does"))
    hint = "the ledger holds what was recorded: see `twinloop audit show --kind lookahead`"
    return [{"place": place, "what": what, "hint": hint} for place, what in said[:PROBLEMS_MAX]]
