"""Compares the command store with the ledger's entries, transition by transition; must not know who asks."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from control.command import Priority
from ledger.entry import Entry

PROBLEMS_MAX = 100
_HINT = "the ledger holds what was recorded: see `twinloop audit show --kind command`"
_ROWS = (
    "SELECT c.id, t.n, c.key, c.author, c.point, c.value, c.priority, c.deadline, c.reason, t.status, t.detail, t.entry, "
    "c.status, c.observed FROM transitions t JOIN commands c ON c.id = t.command ORDER BY t.command, t.n"
)
Found = dict[tuple[str, int], tuple[Any, ...]]


def read_commands(path: Path) -> Found:
    """(command, n) -> its row. Read before the ledger is, so that whatever it says is recorded can be found there.

    Raises:
        sqlite3.Error: the file is missing or no database.
    """
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        return {(row[0], row[1]): row for row in database.execute(_ROWS)}
    finally:
        database.close()


def check_commands(found: Found, entries: Mapping[int, Entry]) -> list[dict[str, str]]:
    """Problems: changed, forged and removed transitions, and commands whose status or outcome is another."""
    newest = max((row[11] for row in found.values() if row[11] is not None), default=-1)
    recorded = {(str(e.body["id"]), int(str(e.body["n"]))): (i, e) for i, e in entries.items() if e.kind == "command"}
    problems = []
    for place, row in found.items():
        if row[11] is None and place not in recorded:
            continue  # as a crash leaves it: the server records it when it starts
        held = recorded.get(place)
        if held is None:
            problems.append(_problem(place, "is not in the ledger"))
        elif _said(row) != _recorded(held[1]):
            problems.append(_problem(place, "is not what the ledger recorded"))
    last = dict(sorted(found))
    for identity, n in last.items():
        row, held = found[identity, n], recorded.get((identity, n))
        observed = held[1].body["observed"] if held is not None else row[13]
        if row[12] != row[9] or (row[9] in ("CONFIRMED", "FAILED") and row[13] != observed):
            problems.append(_problem((identity, n), "its command shows another status or outcome"))
    gone = [place for place, (index, _) in recorded.items() if index <= newest and place not in found]
    problems += [_problem(place, "is gone from commands.sqlite") for place in gone]
    if recorded and not found:
        problems.append({"place": "commands.sqlite", "what": "holds no command; the ledger does", "hint": _HINT})
    return problems[:PROBLEMS_MAX]


def _said(row: tuple[Any, ...]) -> tuple[Any, ...]:
    _, _, key, author, point, value, priority, deadline, reason, status, detail, *_ = row
    names = {int(p): p.name.lower() for p in Priority}
    return key, author, point, value, names.get(priority), deadline, reason, status, detail


def _recorded(entry: Entry) -> tuple[Any, ...]:
    names = ("key", "author", "point", "value", "priority", "deadline_ns", "reason", "status", "detail")
    return tuple(entry.body[name] for name in names)


def _problem(place: tuple[str, int], what: str) -> dict[str, str]:
    return {"place": f"command {place[0]}, transition {place[1]}", "what": what, "hint": _HINT}
