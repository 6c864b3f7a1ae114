"""Questions that are answered with or without a running server: SQL and the audit; must not print."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from control.alarm_audit import Row as AlarmRow
from control.alarm_audit import check_alarm_steps, read_alarm_steps
from control.alarm_read import AlarmReader, Standing
from control.alarm_store import Taken, Wanted
from control.alarm_table import HISTORY_MAX, NAMED, left_table, step_table
from control.api.wire import as_json
from control.audit_index import NO_PERSONS, PERSONS, VIEW, AuditIndex, attach, names_audit
from control.client import running
from control.command_check import Found, check_commands, read_commands
from control.history_check import check_history
from control.life_check import Kept, Place, check_lives, read_lives
from control.lookahead_audit import Row as Step
from control.lookahead_audit import check_steps, read_steps
from control.model_audit import check_promotions
from control.persons import Persons
from control.places import (
    ALARMS_FILE,
    COMMANDS_FILE,
    HISTORY_FILE,
    INDEX,
    LEDGER,
    LOOKAHEAD_FILE,
    MODELS,
    PREDICTIONS_FILE,
    only_one,
)
from control.prediction_check import Row, check_predictions, read_predictions
from control.proving import parse, prove_offline
from ledger import sqlite_read
from ledger.entry import Entry, decode
from ledger.errors import LedgerError
from ledger.log import Log
from ledger.personal import Salts
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

INDEX_WAIT_S = 600.0  # an index of millions of entries that is made anew

T = TypeVar("T")


def ask(data: Path, sql: str, limit: int, at: str = "", known: str = "", branch: str = "") -> dict[str, Any]:
    """The running server's answer; without one, what the files tell: history, dead letters, last values, the audit,
    alarms as they were left, and their steps.

    Raises:
        Unavailable: no server, and no history file.
    """
    found: dict[str, Any]
    client = running(data)
    if client is not None:
        return client.query(sql, limit, at, known, branch)
    if branch:
        raise Unavailable(f"branch {branch!r} lived in a server, and none runs on {data}", "start it again")
    with contextlib.ExitStack() as closing:
        persons = closing.enter_context(indexed(data)) if names_audit(sql) else None
        store = closing.enter_context(open_history(data))
        recorded = _Recorded(store, time.time_ns())
        rows, queries = {"point_rows": recorded.points_at(at, known)}, Queries(store)
        if persons is not None:
            attach(store.cursor(), data / INDEX)
            rows[PERSONS], queries = persons, Queries(store, views=VIEW, empty={PERSONS: NO_PERSONS})
        if NAMED in sql.casefold() and (data / ALARMS_FILE).exists():
            standing, steps = _alarms(data / ALARMS_FILE)
            rows |= {"alarms": left_table(standing), "alarm_history": step_table(steps)}
        answer = queries.run(rows, sql, limit, recorded.resolve)
    # The same words as from the server.
    found = msgspec.json.decode(msgspec.json.encode(dataclasses.asdict(answer), enc_hook=as_json))
    return found


def _alarms(path: Path) -> tuple[list[Standing], list[Taken]]:
    """How each was left, and their newest steps.

    Raises:
        Unavailable: they cannot be read.
    """
    try:
        with contextlib.closing(AlarmReader(sqlite_read.connect(path))) as reader:
            return reader.standing(), reader.steps(Wanted(limit=HISTORY_MAX))
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        raise Unavailable(f"{path} cannot be read: {error}", "restore it from a copy") from error


@contextlib.contextmanager
def indexed(data: Path) -> Iterator[pa.Table]:
    """The index of the ledger holds every entry while this lasts; the persons behind its numbers.

    Raises:
        Unavailable: another process has the folder. LedgerError: the log is damaged.
    """
    with only_one(data), Log.open(data / LEDGER) as ledger, contextlib.closing(Salts(data / LEDGER)) as salts:
        with contextlib.closing(duckdb.connect()) as duck:
            index = AuditIndex(duck.cursor, data / INDEX, ledger, salts)
            try:
                index.ready(INDEX_WAIT_S)
            finally:
                index.close()
        yield index.persons()


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


def proof(data: Path, said: Mapping[str, str]) -> dict[str, Any]:
    """The bundle that the words ask for: the running server's, else from the files."""
    client = running(data)
    if client is not None:
        with client:
            found: dict[str, Any] = client.get("/audit/proof", **said)
            return found
    return prove_offline(data, parse(said, time.time_ns()))


def verify(data: Path, rpc: str | None = None, witnesses: Sequence[str] = ()) -> dict[str, Any]:
    """The ledger's own check, and of all that has entries in it: history, commands, predictions, models; one summary."""
    directory = data / "ledger"
    problems: list[dict[str, Any]] = []

    def read(name: str, how: Callable[[Path], T], nothing: T) -> T | None:
        """None: it is there and cannot be read, so nothing is said of what it holds."""
        if not (data / name).exists():
            return nothing
        try:
            return how(data / name)
        except (sqlite3.Error, ValueError, msgspec.MsgspecError, BadRequest) as error:
            problems.append(_damaged(name, error))
            return None

    # Before the ledger is: whatever they say is recorded can be found there.
    commands = read(COMMANDS_FILE, read_commands, Found())
    lives = read(COMMANDS_FILE, read_lives, dict[Place, Kept]()) if commands is not None else None
    predictions = read(PREDICTIONS_FILE, read_predictions, list[Row]())
    steps = read(LOOKAHEAD_FILE, read_steps, list[Step]())
    alarms = read(ALARMS_FILE, read_alarm_steps, list[AlarmRow]())
    promotions = read(MODELS, lambda folder: Registry(folder).record(), tuple[Promotion, ...]())
    report = verify_ledger(directory, witnesses=witnesses, rpc=rpc)
    problems += [dataclasses.asdict(p) for p in report.problems]
    history: dict[str, Any] = {"batches": 0, "expired": 0, "waiting": 0, "problems": [], "ok": False}
    try:
        recorded = {index: decode(payload) for index, payload in enumerate(read_payloads(directory))}
        with contextlib.closing(Persons(directory, recorded)) as persons:
            entries = persons.entries(recorded)
            named = persons.named
            problems += check_commands(commands, entries, named) if commands is not None else []
            problems += check_lives(lives, entries, named) if lives is not None else []
            problems += check_steps(steps, entries, named) if steps is not None else []
            problems += check_alarm_steps(alarms, entries, named) if alarms is not None else []
            problems += persons.problems()
        problems += check_predictions(predictions, entries) if predictions is not None else []
        problems += check_promotions(promotions, entries) if promotions is not None else []
        history = _check_history(data, list(entries.values()))
    except LedgerError as error:
        problems.append(_damaged("ledger", error))
    except (Unavailable, duckdb.Error) as error:
        problems.append(_damaged(HISTORY_FILE, error))
    problems += history["problems"]
    return {
        "entries": report.entries, "root": report.root, "checkpointed": report.checkpoint_size,
        "witnessed": report.witnessed_size, "anchored": report.anchored_size, "receipts_claim": report.receipts_size,
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


def open_history(data: Path) -> Store:
    path = data / HISTORY_FILE
    if not path.is_file():
        raise Unavailable(f"no server runs on {data} and it holds no {HISTORY_FILE}", "start one with `twinloop up`")
    return Store(path, read_only=True, beside=data / INDEX)
