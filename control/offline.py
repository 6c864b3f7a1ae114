"""Questions that are answered with or without a running server: SQL and the audit; must not print."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from control.api.wire import as_json
from control.client import SERVER_FILE, Client
from control.command_check import Found, check_commands, read_commands
from control.history_check import check_history
from control.places import COMMANDS_FILE, HISTORY_FILE
from ledger.entry import Entry, decode
from ledger.errors import LedgerError
from ledger.reader import read_payloads
from ledger.verify import verify as verify_ledger
from twin import query
from twin.errors import BadRequest, Unavailable
from twin.store import Store


def ask(data: Path, sql: str, limit: int) -> dict[str, Any]:
    """The running server's answer; without one, history and dead letters from the file.

    Raises:
        Unavailable: no server, and no history file.
    """
    found: dict[str, Any]
    client = running(data)
    if client is not None:
        found = client.post("/query", {"sql": sql, "limit": limit})
        return found
    with open_history(data) as store:
        try:
            answer = query.run(store, {}, sql, limit)
        except BadRequest as error:
            raise BadRequest(error.message, "no server runs here: only history and dead_letters can be asked") from None
    # The same words as from the server.
    found = msgspec.json.decode(msgspec.json.encode(dataclasses.asdict(answer), enc_hook=as_json))
    return found


def verify(data: Path) -> dict[str, Any]:
    """The ledger's own check, that of every history batch and that of every command, as one summary."""
    directory = data / "ledger"
    problems: list[dict[str, Any]] = []
    commands: Found = {}
    if (data / COMMANDS_FILE).is_file():
        try:
            commands = read_commands(data / COMMANDS_FILE)
        except sqlite3.Error as error:
            problems.append(_damaged(COMMANDS_FILE, error))
    report = verify_ledger(directory)
    problems += [dataclasses.asdict(p) for p in report.problems]
    history: dict[str, Any] = {"batches": 0, "expired": 0, "waiting": 0, "problems": [], "ok": False}
    try:
        entries = {index: decode(payload) for index, payload in enumerate(read_payloads(directory))}
        problems += check_commands(commands, entries)
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
