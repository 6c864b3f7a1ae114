"""History in and out of files, and whole data folders, with or without a running server; must not print."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from control import offline
from control.backup import copy_stopped
from control.client import running
from control.evidence import HISTORY_BATCH, batch_body, unrecorded
from control.places import HISTORY_FILE, LEDGER, only_one
from ledger.entry import Entry, encode
from ledger.files import LOG
from ledger.log import Log
from twin import parquet
from twin.errors import BadRequest, Conflict, NotFound, Unavailable
from twin.store import Store

POLL_S = 0.2
Told = Callable[[int, int], None]
"""How much is done, of how much; 0 when nobody knows."""


@dataclass(slots=True)
class Imported:
    """Rows of a file: news, held before, older than raw history is kept."""

    file: str
    dry_run: bool
    new: int = 0
    held: int = 0
    expired: int = 0


def export_history(data: Path, file: Path, asked: parquet.Asked, told: Told) -> dict[str, Any]:
    """Write a Parquet file; it appears whole or not at all.

    Raises:
        Conflict: the file exists. And what the export itself raises.
    """
    if file.exists():
        raise Conflict(f"{file} exists", "name a new file; nothing is overwritten")
    client = running(data)
    with _drafted(file) as sink:
        if client is not None:
            times = {"from": asked.start / 1e6, "to": asked.end / 1e6}
            query = {"tier": asked.tier, "points": ",".join(asked.points), **times}
            client.download("/history/export", sink, lambda done: told(done, 0), **query)
        else:
            with offline.open_history(data) as store, contextlib.closing(store.cursor()) as con:
                for rows in parquet.export(con, asked, sink):
                    told(rows, 0)
    return {"file": str(file), "tier": asked.tier, "rows": parquet.rows_in(file), "bytes": file.stat().st_size}


def import_history(data: Path, file: Path, dry_run: bool, told: Told) -> Imported:
    """Take the rows that history does not hold; repeating it takes nothing twice.

    Raises:
        NotFound, BadRequest: there is no such file, or something in it cannot be taken; rows before that are taken.
    """
    found, total = Imported(str(file), dry_run), parquet.rows_in(file)
    with _taker(data, dry_run) as take:
        for chunk in parquet.chunks(file):
            new, held, expired = take(chunk)
            found.new, found.held, found.expired = found.new + new, found.held + held, found.expired + expired
            told(found.new + found.held + found.expired, total)
    return found


def back_up(data: Path, folder: Path, told: Told) -> dict[str, Any]:
    """Copy the data folder; of a running server from one cut.

    Raises:
        Conflict: the folder exists. Unavailable: it cannot be written.
    """
    folder = folder.absolute()
    client = running(data)
    if client is None:
        made = copy_stopped(data, folder, lambda p: told(p.copied_bytes, p.total_bytes))
        return {"folder": str(folder), "state": made.state, "copied_bytes": made.copied_bytes}
    run: dict[str, Any] = client.post("/backup", {"folder": str(folder)})
    while run["state"] == "running":
        time.sleep(POLL_S)
        run = client.get("/backup")
        told(run["copied_bytes"], run["total_bytes"])
    if run["state"] != "done":
        raise Unavailable(f"the back-up into {folder} failed: {run['error']}", "the old data is untouched; try again")
    return run


def restore(backup: Path, data: Path, told: Told) -> dict[str, Any]:
    """Check a back-up and copy it to a new data folder.

    Raises:
        NotFound: it is no back-up. BadRequest: it does not fit its own ledger. Conflict: the folder exists.
    """
    if not (backup / HISTORY_FILE).is_file():
        raise NotFound(f"{backup} holds no {HISTORY_FILE}", "name a folder made by `twinloop backup`")
    report = offline.verify(backup)
    if not report["ok"]:
        first = report["problems"][0]
        raise BadRequest(f"{backup} does not fit: {first['place']}: {first['what']}", "use another back-up")
    made = copy_stopped(backup, data.absolute(), lambda p: told(p.copied_bytes, p.total_bytes))
    return {"folder": str(data), "state": made.state, "copied_bytes": made.copied_bytes, "entries": report["entries"]}


Take = Callable[[pa.Table], tuple[int, int, int]]


@contextlib.contextmanager
def _taker(data: Path, dry_run: bool) -> Iterator[Take]:
    """Takes one part after the other: over HTTP, or straight into the files of a stopped server."""
    client = running(data)
    if client is not None:

        def send(chunk: pa.Table) -> tuple[int, int, int]:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, chunk.schema) as writer:
                writer.write_table(chunk)
            found = client.send("/history/import", sink.getvalue().to_pybytes(), dry_run=str(dry_run).lower())
            return found["new"], found["held"], found["expired"]

        yield send
        return
    if not (data / HISTORY_FILE).is_file():
        raise Unavailable(f"no server runs on {data} and it holds no {HISTORY_FILE}", "start one with `twinloop up`")
    with only_one(data), Store(data / HISTORY_FILE) as store, contextlib.closing(store.cursor()) as con:
        points = frozenset(store.names().values())

        def take(chunk: pa.Table) -> tuple[int, int, int]:
            found = parquet.news(con, chunk, points, time.time_ns())
            if len(found.rows) and not dry_run:
                store.append(con, store.next_batch(), found.rows)
            return len(found.rows), found.held, found.expired

        try:
            yield take
        finally:
            _record(data, store)


def _record(data: Path, store: Store) -> None:
    """Entries of the batches that the ledger lacks; without a ledger the server makes them when it starts."""
    if not (data / LEDGER / LOG).exists():
        return
    with Log.open(data / LEDGER) as log:
        missing = unrecorded(log, store)
        if missing:
            log.append([encode(Entry(HISTORY_BATCH, time.time_ns(), batch_body(b))) for b in missing])
            log.checkpoint()


@contextlib.contextmanager
def _drafted(file: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when the block ends well."""
    draft = file.with_name(f".{file.name}.part")
    try:
        with draft.open("wb") as sink:
            yield sink
        draft.rename(file)
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror}", "name another place") from error
    finally:
        draft.unlink(missing_ok=True)
