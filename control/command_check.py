"""Compares the command store with the ledger's entries, transition by transition; must not know who asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from control.command import Priority
from control.command_record import seen_text, sights, verdicts
from ledger import sqlite_read
from ledger.entry import Entry
from twin.interlock import Ruling, Sight

PROBLEMS_MAX = 100
_HINT = "the ledger holds what was recorded: see `twinloop audit show --kind command`"
_ROWS = (
    "SELECT c.id, t.n, c.key, c.author, c.point, c.value, c.priority, c.reason, t.status, t.detail, {by}, {seen}, "
    "t.entry, c.status, c.observed, c.deadline, t.time, {asked}, {verdicts} "
    "FROM transitions t JOIN commands c ON c.id = t.command ORDER BY t.command, t.n"
)
_STEPLESS = "SELECT id, -1 FROM commands WHERE id NOT IN (SELECT command FROM transitions)"
# Where in a row.
_ENTRY, _STATUS, _NOW, _OBSERVED, _DEADLINE, _TIME, _ASKED, _TERMS, _VERDICTS = 12, 8, 13, 14, 15, 16, 17, 18, 19
Found = dict[tuple[str, int], tuple[Any, ...]]


def read_commands(path: Path) -> Found:
    """(command, n) -> its row. Read before the ledger is, so that whatever it says is recorded can be found there.

    Raises:
        sqlite3.Error: the file is missing or no database.
    """
    database = sqlite_read.connect(path)
    try:
        held = {row[1] for row in database.execute("PRAGMA table_info(transitions)")}
        # A store that no newer server has opened yet has neither.
        by, seen = ("t.author", "t.seen") if "seen" in held else ("''", "''")
        asked = "c.asked, c.terms" if "seen" in held else "'', ''"
        judged = "t.verdicts" if "verdicts" in held else "''"
        rows = list(database.execute(_ROWS.format(by=by, seen=seen, asked=asked, verdicts=judged)))
        rows += database.execute(_STEPLESS)
        return {(row[0], row[1]): row for row in rows}
    finally:
        database.close()


def check_commands(
    found: Found, entries: Mapping[int, Entry], named: Callable[[str], str] = str
) -> list[dict[str, str]]:
    """Problems: changed, forged and removed transitions, and commands whose status or outcome is another.

    Args:
        entries: with names of persons.
        named: what the store says of a person, as the entries do.
    """
    stepless = [place for place, row in found.items() if len(row) < _ENTRY]
    found = {place: row for place, row in found.items() if place not in stepless}
    newest = max((row[_ENTRY] for row in found.values() if row[_ENTRY] is not None), default=-1)
    recorded = {(str(e.body["id"]), int(str(e.body["n"]))): (i, e) for i, e in entries.items() if e.kind == "command"}
    problems = [_problem(place, "has no step at all") for place in stepless]
    for place, row in found.items():
        if row[_ENTRY] is None and place not in recorded:
            continue  # as a crash leaves it: the server records it when it starts
        held = recorded.get(place)
        if held is None:
            problems.append(_problem(place, "is not in the ledger"))
        elif _said(row, held[1], named) != _recorded(held[1]) or not _as_asked(row, held[1]):
            problems.append(_problem(place, "is not what the ledger recorded"))
        elif row[_ENTRY] != held[0] and (row[_ENTRY] is not None or held[0] < newest):
            problems.append(_problem(place, "has another index in the ledger"))
    last = dict(sorted(found))
    for identity, n in last.items():
        row, held = found[identity, n], recorded.get((identity, n))
        body = held[1].body if held is not None else {}
        observed, deadline = body.get("observed", row[_OBSERVED]), body.get("deadline_ns", row[_DEADLINE])
        shown = row[_STATUS] in ("CONFIRMED", "FAILED") and row[_OBSERVED] != observed
        if row[_NOW] != row[_STATUS] or shown or row[_DEADLINE] != deadline:
            problems.append(_problem((identity, n), "its command shows another status, outcome or deadline"))
    gone = [place for place, (index, _) in recorded.items() if index <= newest and place not in found]
    problems += [_problem(place, "is gone from commands.sqlite") for place in gone]
    if recorded and not found:
        problems.append({"place": "commands.sqlite", "what": "holds no command; the ledger does", "hint": _HINT})
    return problems[:PROBLEMS_MAX]


def _as_asked(row: tuple[Any, ...], entry: Entry) -> bool:
    """What was asked for, on which terms: told with the first step. Entries of older servers do not have it."""
    if row[1] != 0 or "terms" not in entry.body:
        return True
    return (row[_ASKED], row[_TERMS]) == (entry.body["asked"], entry.body["terms"])


def _said(row: tuple[Any, ...], entry: Entry, named: Callable[[str], str]) -> tuple[Any, ...]:
    _, _, key, author, point, value, priority, reason, status, detail, by, seen, *_ = row
    names = {int(p): p.name.lower() for p in Priority}
    told = msgspec.json.decode(seen, type=tuple[Sight, ...]) if seen else ()
    judged = msgspec.json.decode(row[_VERDICTS], type=tuple[Ruling, ...]) if row[_VERDICTS] else ()
    return (
        row[_TIME], key, named(author), point, value, names.get(priority), reason, status, detail, named(by),
        seen_text(told) if entry.version == 1 else sights(told), verdicts(judged),
    )  # fmt: skip


def _recorded(entry: Entry) -> tuple[Any, ...]:
    """Entries of version 1 have what was seen in words, and no verdicts."""
    names = ("key", "author", "point", "value", "priority", "reason", "status", "detail")
    told, body = (entry.body[name] for name in names), entry.body
    return (entry.time_ns, *told, body.get("by", ""), body.get("seen", ""), body.get("verdicts", []))


def _problem(place: tuple[str, int], what: str) -> dict[str, str]:
    return {"place": f"command {place[0]}, transition {place[1]}", "what": what, "hint": _HINT}
