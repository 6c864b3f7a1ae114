"""Handlers of history in bulk: Parquet out, Arrow parts in, back-ups; they parse, ask and answer, and decide nothing."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse

from control.api import exporting, wire
from control.api.route import API, TIME_MS_MAX, Route
from twin import arrow_stream, parquet
from twin.lists import listed
from twin.quality import is_good
from twin.role import Act

if TYPE_CHECKING:
    from control.api.part import Parts
    from control.api.route import Call
    from control.backup import Progress

PART_BYTES_MAX = 32_000_000  # CHUNK_ROWS_MAX rows with long texts
UNPACKED_MAX = 4 * PART_BYTES_MAX  # bytes of one that is compressed
TREND_MAX = 5_000  # points of one trend: more than a screen has columns
PARQUET = "application/vnd.apache.parquet"


class _Sink(io.RawIOBase):
    """Bytes written since the last `take`."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        self._written += view
        return view.nbytes

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


async def trend(parts: Parts, call: Call) -> wire.Trend:
    point = parts.plant.point(call.query.get("point", ""))
    start, end = call.span(parts.clock(), "-1h", "+1m")
    assert start is not None and end is not None
    most = int(call.number("max", 2_000, 2, TREND_MAX))
    await asyncio.wrap_future(parts.live.history.flush())
    drawn = await asyncio.to_thread(parts.store.trend, point.name, max(0, start), end, most)
    return wire.Trend(
        point.name,
        point.unit,
        [t / 1e6 for t, _, _ in drawn.rows],
        [v if is_good(q) and v is not None else None for _, v, q in drawn.rows],
        [q for _, _, q in drawn.rows],
        drawn.tier,
        drawn.whole,
        None if drawn.held is None else _held(*drawn.held),
    )


def _held(time_ns: int, value: float | None, quality: int) -> wire.HeldReading:
    return wire.HeldReading(time_ns / 1e6, value if is_good(quality) else None, quality)


async def export_history(parts: Parts, call: Call) -> StreamingResponse:
    """A mistake is answered as an error; what goes wrong later breaks the stream off."""
    start, end = call.span(parts.clock())
    asked = parquet.Asked(
        call.query.get("tier", parquet.RAW),
        max(0, start or 0),
        int(TIME_MS_MAX * 1e6) if end is None else end,
        tuple(listed(call.query.get("points", ""))),
    )
    exporting.begin()
    stream = _stream(parts, asked)
    next(stream)
    try:
        await asyncio.wrap_future(parts.live.history.flush())
        first = await asyncio.to_thread(next, stream)
    except BaseException:
        stream.close()
        raise
    return StreamingResponse(_rest(first, stream), media_type=PARQUET)


def _stream(parts: Parts, asked: parquet.Asked) -> Generator[bytes, None, None]:
    """Begun at once, so that its end is reached even when the client is gone before the first byte."""
    con, sink = parts.store.cursor(), _Sink()
    try:
        yield b""
        for _ in parquet.export(con, asked, cast("IO[bytes]", sink)):
            yield sink.take()
        yield sink.take()
    finally:
        con.close()
        exporting.end()


async def _rest(first: bytes, stream: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    try:
        yield first
        async for part in iterate_in_threadpool(stream):
            yield part
    finally:
        with contextlib.suppress(ValueError):  # a thread is at it still, and is the last that holds it
            stream.close()


async def import_rows(parts: Parts, call: Call) -> wire.ImportedRows:
    """One part: checked whole, then committed as one batch."""
    dry_run = call.flag("dry_run")
    await asyncio.wrap_future(parts.live.history.flush())
    return await asyncio.to_thread(_take, parts, call.body, dry_run)


def _take(parts: Parts, body: bytes, dry_run: bool) -> wire.ImportedRows:
    table = arrow_stream.read(body, UNPACKED_MAX)
    con = parts.store.cursor()
    try:
        found = parquet.news(con, table, frozenset(parts.store.names().values()), parts.clock())
    finally:
        con.close()
    if len(found.rows) and not dry_run:
        parts.live.history.append(found.rows).result()
    return wire.ImportedRows(len(found.rows), found.held, found.expired)


async def start_backup(parts: Parts, call: Call) -> wire.BackupRun:
    asked: wire.BackupRequest = call.body
    return backup_run(await asyncio.to_thread(parts.backups.start, str(Path(asked.folder))))


async def backup(parts: Parts, _: Call) -> wire.BackupRun:
    return backup_run(parts.backups.last())


def backup_run(progress: Progress) -> wire.BackupRun:
    return wire.BackupRun(
        progress.folder, progress.state, progress.copied_bytes, progress.total_bytes, progress.entries, progress.error
    )


HISTORY_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{API}/history",
        trend,
        "One point over time",
        wire.Trend,
        query=("point", "from", "to", "max"),
        needs=("point",),
    ),
    Route(
        "GET",
        f"{API}/history/export",
        export_history,
        "History as a Parquet file",
        bytes,
        query=("tier", "from", "to", "points"),
    ),
    Route(
        "POST",
        f"{API}/history/import",
        import_rows,
        "Take one part of an export, as an Arrow IPC stream, into history",
        wire.ImportedRows,
        bytes,
        query=("dry_run",),
        raw=True,
        body_max=PART_BYTES_MAX,
        act=Act.KEEP,
    ),
    Route(
        "POST",
        f"{API}/backup",
        start_backup,
        "Copy the data folder while the server runs",
        wire.BackupRun,
        wire.BackupRequest,
        status=202,
        act=Act.KEEP,
    ),
    Route("GET", f"{API}/backup", backup, "The newest back-up and how far it is", wire.BackupRun),
)
