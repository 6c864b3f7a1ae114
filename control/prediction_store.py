"""Predictions and their scores on disk: SQLite with WAL and FULL in a file of its own; decides nothing.

Of its own, because a prediction is some kilobytes and a transition of a command a hundred bytes: they never wait for
one another.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from control.prediction import Prediction, join, split
from control.score import Score

FANS_KEPT = 10_000  # of the newest predictions, some 10 kB each; risks, effects and scores are kept for ever
SCHEMA = """
CREATE TABLE IF NOT EXISTS predictions (
  n INTEGER PRIMARY KEY AUTOINCREMENT, command TEXT NOT NULL UNIQUE, body TEXT NOT NULL, fans TEXT, score TEXT,
  entry INTEGER, score_entry INTEGER);
CREATE INDEX IF NOT EXISTS predictions_waiting ON predictions (n) WHERE score IS NULL;
CREATE INDEX IF NOT EXISTS predictions_unaudited ON predictions (n)
  WHERE entry IS NULL OR (score IS NOT NULL AND score_entry IS NULL);
CREATE INDEX IF NOT EXISTS predictions_fans ON predictions (n) WHERE fans IS NOT NULL;
"""
Kept = tuple[Prediction, Score | None]


@dataclass(frozen=True, slots=True)
class Unaudited:
    """Texts of a prediction that have no ledger entry yet, with their SHA-256."""

    command: str
    prediction: Prediction
    body_sha256: str
    score: Score | None
    score_sha256: str
    needs_prediction: bool
    needs_score: bool


class PredictionStore:
    """Used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + SCHEMA)

    def close(self) -> None:
        self._db.close()

    def save(self, prediction: Prediction) -> None:
        """Durably; a command that was predicted before keeps the newer one alone."""
        body, fans = split(prediction)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("DELETE FROM predictions WHERE command = ?", (prediction.command,))
            self._db.execute(
                "INSERT INTO predictions (command, body, fans) VALUES (?,?,?)", (prediction.command, body, fans)
            )
            self._db.execute(
                "UPDATE predictions SET fans = NULL WHERE fans IS NOT NULL AND score IS NOT NULL "
                "AND n <= (SELECT max(n) FROM predictions) - ?",
                (FANS_KEPT,),
            )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def settle(self, score: Score) -> None:
        """Durably, once."""
        text = msgspec.json.encode(score, order="sorted").decode()
        self._db.execute("UPDATE predictions SET score = ? WHERE command = ? AND score IS NULL", (text, score.command))

    def of(self, command: str) -> Kept | None:
        return next(iter(self._read("command = ?", (command,))), None)

    def newest(self, limit: int) -> list[Kept]:
        """Newest first."""
        return self._read("TRUE ORDER BY n DESC LIMIT ?", (limit,))

    def waiting(self) -> list[Prediction]:
        """Without a score, oldest first."""
        return [made for made, _ in self._read("score IS NULL ORDER BY n", ())]

    def counts(self) -> tuple[int, int]:
        """(all, those without a score)."""
        row = self._db.execute("SELECT count(*), count(*) FILTER (WHERE score IS NULL) FROM predictions").fetchone()
        return int(row[0]), int(row[1])

    def scores(self, limit: int) -> list[Score]:
        """The newest ones."""
        rows = self._db.execute(
            "SELECT score FROM predictions WHERE score IS NOT NULL ORDER BY n DESC LIMIT ?", (limit,)
        )
        return [msgspec.json.decode(row[0], type=Score) for row in rows]

    def unaudited(self, limit: int) -> list[Unaudited]:
        rows = self._db.execute(
            "SELECT command, body, score, entry IS NULL, score IS NOT NULL AND score_entry IS NULL FROM predictions "
            "WHERE entry IS NULL OR (score IS NOT NULL AND score_entry IS NULL) ORDER BY n LIMIT ?",
            (limit,),
        )
        return [
            Unaudited(
                command, join(body, None), sha256(body),
                None if score is None else msgspec.json.decode(score, type=Score), sha256(score or ""),
                bool(made), bool(scored),
            )
            for command, body, score, made, scored in rows
        ]  # fmt: skip

    def audited(self, entries: Iterable[tuple[int, str]], scores: Iterable[tuple[int, str]]) -> None:
        """Remember (ledger index, command) of predictions and of scores."""
        self._db.executemany("UPDATE predictions SET entry = ? WHERE command = ?", entries)
        self._db.executemany("UPDATE predictions SET score_entry = ? WHERE command = ?", scores)

    def _read(self, where: str, values: Sequence[object]) -> list[Kept]:
        rows = self._db.execute(f"SELECT body, fans, score FROM predictions WHERE {where}", tuple(values)).fetchall()
        return [
            (join(body, fans), None if score is None else msgspec.json.decode(score, type=Score))
            for body, fans, score in rows
        ]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
