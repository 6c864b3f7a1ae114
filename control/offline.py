"""Questions that are answered with or without a running server: SQL and the audit; must not print."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from control.api.wire import as_json
from control.client import SERVER_FILE, Client
from control.command_check import Found, check_commands, read_commands
from control.history_check import check_history
from control.life_check import Kept, Place, check_lives, read_lives
from control.lookahead_audit import Row as Step
from control.lookahead_audit import check_steps, read_steps
from control.model_audit import check_promotions
from control.places import COMMANDS_FILE, HISTORY_FILE, LOOKAHEAD_FILE, MODELS, PREDICTIONS_FILE
from control.prediction_check import Row, check_predictions, read_predictions
from ledger.entry import Entry, decode
from ledger.errors import LedgerError
from ledger.reader import read_payloads
from ledger.verify import verify as verify_ledger
from ml.registry import Promotion, Registry
from twin.errors import BadRequest, Unavailable
from twin.keyframes import ALWAYS
from twin.moment import Moment, rebuilt
from twin.points import Point, Points
from twin.query import Queries
from twin.statement import Call
from twin.store import Store
from twin.when import parse_when_ns


def ask(data: Path, sql: str, limit: int, at: str = "", known: str = "", branch: str = "") -> dict[str, Any]:
    """The running server's answer; without one, what the history file tells: history, dead letters, last values.

    Raises:
        Unavailable: no server, and no history file.
    """
    found: dict[str, Any]
    client = running(data)
    if client is not None:
        found = client.post("/query", {"sql": sql, "limit": limit, "at": at, "known": known, "branch": branch})
        return found
    if branch:
        raise Unavailable(f"branch {branch!r} lived in a server, and none runs on {data}", "start it again")
    with open_history(data) as store:
        recorded = _Recorded(store, time.time_ns())
        answer = Queries(store).run({"point_rows": recorded.points_at(at, known)}, sql, limit, recorded.resolve)
    # The same words as from the server.
    found = msgspec.json.decode(msgspec.json.encode(dataclasses.asdict(answer), enc_hook=as_json))
    return found


class _Recorded:
    """The points that a history file knows, without the plant: names and values, no units or devices."""

    def __init__(self, store: Store, now_ns: int) -> None:
        self._store, self._now_ns = store, now_ns
        names = store.names()
        self._series = np.array(sorted(names), np.int32)
        self._points = Points.of(
            Point(row, names[series], *_twin_and_property(names[series]), "", "", "", "")
            for row, series in enumerate(self._series.tolist())
        )

    def points_at(self, at: str, known: str) -> pa.Table:
        """The view `points` as of a source time, as known at a received time; empty for all there is."""
        as_of = parse_when_ns(at, self._now_ns, "at") if at else ALWAYS
        known_at = parse_when_ns(known, self._now_ns, "known") if known else ALWAYS
        con = self._store.cursor()
        rows = self._store.state_at(con, as_of, known_at)
        con.close()
        return Moment(0, rebuilt(rows, self._series)).table(self._points)

    def resolve(self, call: Call) -> pa.Table:
        if call.name != "at":
            raise Unavailable(f"{call.name} needs a running server", "start one with `twinloop up`")
        return self.points_at(call.arguments["moment"], call.arguments["known"])


def _twin_and_property(name: str) -> tuple[str, str]:
    twin, _, prop = name.partition(".")
    return twin, prop


def verify(data: Path) -> dict[str, Any]:
    """The ledger's own check, and of all that has entries in it: history, commands, predictions, models; one summary."""
    directory = data / "ledger"
    problems: list[dict[str, Any]] = []
    commands: Found = {}
    lives: dict[Place, Kept] = {}
    if (data / COMMANDS_FILE).is_file():
        try:
            commands, lives = read_commands(data / COMMANDS_FILE), read_lives(data / COMMANDS_FILE)
        except (sqlite3.Error, ValueError, msgspec.MsgspecError) as error:
            problems.append(_damaged(COMMANDS_FILE, error))
    predictions: list[Row] = []
    if (data / PREDICTIONS_FILE).is_file():
        try:
            predictions = read_predictions(data / PREDICTIONS_FILE)
        except sqlite3.Error as error:
            problems.append(_damaged(PREDICTIONS_FILE, error))
    steps: list[Step] = []
    if (data / LOOKAHEAD_FILE).is_file():
        try:
            steps = read_steps(data / LOOKAHEAD_FILE)
        except sqlite3.Error as error:
            problems.append(_damaged(LOOKAHEAD_FILE, error))
    promotions: tuple[Promotion, ...] = ()
    try:
        promotions = Registry(data / MODELS).record()
    except BadRequest as error:
        problems.append(_damaged(MODELS, error))
    report = verify_ledger(directory)
    problems += [dataclasses.asdict(p) for p in report.problems]
    history: dict[str, Any] = {"batches": 0, "expired": 0, "waiting": 0, "problems": [], "ok": False}
    try:
        entries = {index: decode(payload) for index, payload in enumerate(read_payloads(directory))}
        problems += check_commands(commands, entries)
        problems += check_lives(lives, entries)
        problems += check_predictions(predictions, entries)
        problems += check_steps(steps, entries)
        problems += check_promotions(promotions, entries)
        history = _check_history(data, list(entries.values()))
    except LedgerError as error:
        problems.append(_damaged("ledger", error))
    except (Unavailable, duckdb.Error) as error:
        problems.append(_damaged(HISTORY_FILE, error))
    problems += history["problems"]
    return {
        "entries": report.entries, "root": report.root, "checkpointed": report.checkpoint_size,
        "anchors_checked": report.anchors_checked, "chain": report.chain, "history": history,
        "problems": problems, "ok": not problems,
    }  # fmt: skip


def _check_history(data: Path, entries: list[Entry]) -> dict[str, Any]:
    client = running(data)
    if client is not None:
        found: dict[str, Any] = client.post("/audit/history")
        return found
    with open_history(data) as store:
        return check_history(store, entries)


def _damaged(file: str, error: Exception) -> dict[str, str]:
    return {
        "place": file,
        "what": f"cannot be checked: {str(error).splitlines()[0]}",
        "hint": "restore it from a back-up",
    }


def running(data: Path) -> Client | None:
    """The server of this folder, if it answers; the file alone may be left over from a crash."""
    if not (data / SERVER_FILE).is_file():
        return None
    client = Client(data)
    try:
        client.get("/commands", limit=1)
    except Unavailable:
        client.close()
        return None
    return client


def open_history(data: Path) -> Store:
    path = data / HISTORY_FILE
    if not path.is_file():
        raise Unavailable(f"no server runs on {data} and it holds no {HISTORY_FILE}", "start one with `twinloop up`")
    return Store(path, read_only=True)
