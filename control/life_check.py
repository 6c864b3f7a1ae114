"""Compares leases and groups on disk with the ledger's entries, step by step; must not know who asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control import group, lease
from control.entry_kinds import renamed
from control.life_store import GROUPS, LEASES, LifeTable
from ledger import sqlite_read
from ledger.entry import JSON, Entry

PROBLEMS_MAX = 100


@dataclass(frozen=True, slots=True)
class Kept:
    """A step as the disk has it: the entry it must have, the index it says it has, and whether the record fits it."""

    entry: Mapping[str, JSON]
    index: int | None
    fits: bool


Place = tuple[str, str, int]
"""(kind, id, n)."""


def read_lives(path: Path) -> dict[Place, Kept]:
    """Every step. Read before the ledger is, so that whatever it says is recorded can be found there.

    Raises:
        sqlite3.Error: the file is missing or no database. ValueError, msgspec.MsgspecError: a record cannot be read.
    """
    found: dict[Place, Kept] = {}
    with closing(sqlite_read.connect(path)) as database:
        for kind, form, as_entry in (("lease", LEASES, lease.as_entry), ("group", GROUPS, group.as_entry)):
            table: Any = LifeTable(database, form, new=False)
            for record, status, indexes in table.everything():
                for n, index in enumerate(indexes):
                    fits = n + 1 < len(indexes) or status == str(record.steps[-1].status)
                    found[kind, record.id, n] = Kept(as_entry(record, n), index, fits)
    return found


def check_lives(
    found: Mapping[Place, Kept], entries: Mapping[int, Entry], named: Callable[[str], str] = str
) -> list[dict[str, str]]:
    """Problems: changed, forged and removed steps, and leases and groups that show another status.

    Args:
        entries: with names of persons.
        named: what the store says of a person, as the entries do.
    """
    recorded = {
        (e.kind, str(e.body["id"]), int(str(e.body["n"]))): (i, e)
        for i, e in entries.items()
        if e.kind in ("lease", "group")
    }
    newest = max((kept.index for kept in found.values() if kept.index is not None), default=-1)
    problems = []
    for place, kept in found.items():
        held = recorded.get(place)
        if held is None:
            if kept.index is not None:  # else as a crash leaves it: the server records it when it starts
                problems.append(_problem(place, "is not in the ledger"))
        elif dict(held[1].body) != _told(place[0], kept.entry, held[1], named):
            problems.append(_problem(place, "is not what the ledger recorded"))
        if not kept.fits:
            problems.append(_problem(place, "shows another status than its last step"))
    gone = [place for place, (index, _) in recorded.items() if place not in found and (index <= newest or not found)]
    return (problems + [_problem(place, "is gone from commands.sqlite") for place in gone])[:PROBLEMS_MAX]


def _told(kind: str, body: Mapping[str, JSON], entry: Entry, named: Callable[[str], str]) -> dict[str, JSON]:
    """Entries of version 1 say only with the first step what the lease or group is about."""
    said = dict(renamed(kind, body, named))
    if entry.version == 1:
        said.pop("points", None)
        if body["n"] != 0:
            said.pop("targets", None)
    return said


def _problem(place: Place, what: str) -> dict[str, str]:
    kind, identity, n = place
    hint = f"the ledger holds what was recorded: see `twinloop audit show --kind {kind}`"
    return {"place": f"{kind} {identity}, step {n}", "what": what, "hint": hint}
