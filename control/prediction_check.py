"""Compares stored predictions and scores with the ledger's entries of them; must not know who asks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from control.evidence import PREDICTION, PREDICTION_SCORE
from ledger import sqlite_read
from ledger.entry import Entry

PROBLEMS_MAX = 100
_HINT = "the ledger holds what was recorded: see `twinloop audit show --kind prediction`"


@dataclass(frozen=True, slots=True)
class Row:
    """One stored prediction: its texts, and the ledger's entries that it names."""

    command: str
    body: str
    fans: str | None
    score: str | None
    entry: int | None
    score_entry: int | None


def read_predictions(path: Path) -> list[Row]:
    """Read before the ledger is, so that whatever it says is recorded can be found there.

    Raises:
        sqlite3.Error: the file is missing or no database.
    """
    database = sqlite_read.connect(path)
    try:
        rows = database.execute("SELECT command, body, fans, score, entry, score_entry FROM predictions ORDER BY n")
        return [Row(*row) for row in rows]
    finally:
        database.close()


def check_predictions(rows: Sequence[Row], entries: Mapping[int, Entry]) -> list[dict[str, str]]:
    """Problems: predictions, fans and scores that were changed, forged or removed."""
    problems = []
    newest = max((n for r in rows for n in (r.entry, r.score_entry) if n is not None), default=-1)
    recorded = {
        (e.kind, str(e.body["id"]), str(e.body["sha256"])): index
        for index, e in entries.items()
        if e.kind in (PREDICTION, PREDICTION_SCORE)
    }
    for row in rows:
        # Without an entry and not in the ledger is as a crash leaves it: the server records it when it starts.
        if row.entry is not None and (PREDICTION, row.command, _sha256(row.body)) not in recorded:
            problems.append(_problem(row.command, "the prediction is not what the ledger recorded"))
        if row.fans is not None and _sha256(row.fans) != msgspec.json.decode(row.body).get("fans_sha256"):
            problems.append(_problem(row.command, "its fans are not those that were predicted"))
        if row.score_entry is not None and (PREDICTION_SCORE, row.command, _sha256(row.score or "")) not in recorded:
            problems.append(_problem(row.command, "the score is not what the ledger recorded"))
    held = {r.command for r in rows}
    gone = sorted({command for (_, command, _), index in recorded.items() if index <= newest} - held)
    problems += [_problem(command, "the prediction is gone from predictions.sqlite") for command in gone]
    if recorded and not rows:
        problems.append(_problem("", "predictions.sqlite holds no prediction; the ledger does"))
    return problems[:PROBLEMS_MAX]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _problem(command: str, what: str) -> dict[str, str]:
    return {
        "place": f"prediction of command {command}" if command else "predictions.sqlite",
        "what": what,
        "hint": _HINT,
    }
