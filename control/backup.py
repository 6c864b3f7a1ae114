"""Copies a data folder whole: of a running server from one cut through all its files, or of a stopped one's.

Must not know what the files say. The copy is a data folder itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from control.client import SERVER_FILE
from control.evidence import Evidence
from control.identity import TOKEN_FILE
from control.places import (
    ALARMS_FILE,
    COMMANDS_FILE,
    HISTORY_FILE,
    INDEX,
    LEDGER,
    LOCK_FILE,
    LOOKAHEAD_FILE,
    PREDICTIONS_FILE,
    only_one,
)
from ledger import files
from ledger.errors import LedgerError
from twin.errors import BadRequest, Conflict, NotFound, TwinloopError, Unavailable
from twin.history import History
from twin.store import Store

COPY_BYTES = 4 << 20  # at once: progress several times a second on a slow disk
CUT_WAIT_S = 30.0  # for the batch that is being committed, and for an anchor on its way
# Of this server's life, not of its data; the index of the ledger follows from the log.
NOT_COPIED = frozenset({SERVER_FILE, TOKEN_FILE, LOCK_FILE, INDEX})
SQLITE_SIDES = ("-wal", "-shm", "-journal")  # sqlite's own copying takes in what they hold


@dataclass(slots=True)
class Progress:
    """How far a copy is. `state` is running, done or failed; `entries` of the ledger are in it."""

    folder: str
    state: str = "running"
    copied_bytes: int = 0
    total_bytes: int = 0
    entries: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """The ends of all files at one moment between two batches of history."""

    entries: int
    log_bytes: int
    anchors_bytes: int
    checkpoint: bytes
    witnessed: bytes  # empty before any witness cosigned
    history_bytes: int
    wal_bytes: int


class Backups:
    """The running server's back-ups, one at a time, each on a thread of its own."""

    def __init__(self, data: Path, history: History, evidence: Evidence) -> None:
        self._data, self._history, self._evidence = data, history, evidence
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: Progress | None = None

    def start(self, folder: str) -> Progress:
        """
        Raises:
            BadRequest: no absolute path, or one in the data folder itself.
            Conflict: one is running, or the folder exists.
            Unavailable: no folder can be made there.
        """
        if self._last is not None and self.running:
            raise Conflict(f"a back-up into {self._last.folder} is running", "wait for its end")
        draft = _draft(self._data, Path(folder))
        self._last = Progress(folder)
        self._thread = threading.Thread(target=self._run, args=(draft, self._last), name="backup", daemon=True)
        self._thread.start()
        return self._last

    @property
    def running(self) -> bool:
        return self._last is not None and self._last.state == "running"

    @property
    def newest(self) -> Progress | None:
        """None before the first since the server started."""
        return self._last

    def last(self) -> Progress:
        """
        Raises:
            NotFound: none was made since the server started.
        """
        if self._last is None:
            raise NotFound("no back-up was made since the server started", "start one with `twinloop backup FOLDER`")
        return self._last

    def close(self) -> None:
        """A copy that is not finished is given up: its folder never appears. Before history is closed."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, draft: Path, progress: Progress) -> None:
        copy = _Copy(draft, progress, self._stop)
        try:
            with self._evidence.anchoring_paused(CUT_WAIT_S):
                cut = self._history.between(self._cut).result(CUT_WAIT_S)
                progress.entries = cut.entries
                progress.total_bytes = cut.log_bytes + cut.history_bytes + cut.wal_bytes + cut.anchors_bytes
                copy.tree(self._data / LEDGER / files.CHAIN, draft / LEDGER / files.CHAIN)
            try:
                self._copy_history(copy, cut)
            finally:
                self._history.between(self._checkpoints_again).result(CUT_WAIT_S)
            self._copy_ledger(copy, cut)
            copy.sqlite(self._data / COMMANDS_FILE, draft / COMMANDS_FILE)
            _forget_entries(draft / COMMANDS_FILE, "transitions", "entry", cut.entries)
            copy.others(self._data, {HISTORY_FILE, f"{HISTORY_FILE}.wal", COMMANDS_FILE, LEDGER})
            for column in ("entry", "score_entry"):
                _forget_entries(draft / PREDICTIONS_FILE, "predictions", column, cut.entries)
            _forget_entries(draft / LOOKAHEAD_FILE, "steps", "entry", cut.entries)
            _forget_entries(draft / ALARMS_FILE, "steps", "entry", cut.entries)
            copy.finish(Path(progress.folder))
        except (OSError, sqlite3.Error, duckdb.Error, TwinloopError, LedgerError, TimeoutError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            progress.error = str(error) or type(error).__name__
            progress.state = "failed"

    def _cut(self) -> Cut:
        """On the history thread: nothing is written to history meanwhile, and no batch is dropped.

        Until `_checkpoints_again` DuckDB only adds to its files: blocks in use are overwritten by checkpoints alone.
        """
        with contextlib.closing(self._history.store.cursor()) as con:
            con.execute("SET checkpoint_threshold = '1TB'")
        directory = self._data / LEDGER
        checkpoint = (directory / files.CHECKPOINT).read_bytes()
        seen = directory / files.WITNESSED
        witnessed = seen.read_bytes() if seen.exists() else b""
        entries, log_bytes = self._evidence.log.end()  # last: a log never ends before its checkpoints
        return Cut(
            entries, log_bytes, _size(directory / files.ANCHORS), checkpoint, witnessed, _size(self._data / HISTORY_FILE),
            _size(self._data / f"{HISTORY_FILE}.wal"),
        )  # fmt: skip

    def _checkpoints_again(self) -> None:
        with contextlib.closing(self._history.store.cursor()) as con:
            con.execute("RESET checkpoint_threshold")

    def _copy_history(self, copy: _Copy, cut: Cut) -> None:
        path = copy.draft / HISTORY_FILE
        copy.file(self._data / HISTORY_FILE, path, cut.history_bytes)
        if cut.wal_bytes:
            wal = f"{HISTORY_FILE}.wal"
            copy.file(self._data / wal, copy.draft / wal, cut.wal_bytes)
        Store(path).close()  # takes the WAL in, and shows that the copy can be opened

    def _copy_ledger(self, copy: _Copy, cut: Cut) -> None:
        source, target = self._data / LEDGER, copy.draft / LEDGER
        copy.file(source / files.LOG, target / files.LOG, cut.log_bytes)
        if cut.anchors_bytes:
            copy.file(source / files.ANCHORS, target / files.ANCHORS, cut.anchors_bytes)
        files.replace(target / files.CHECKPOINT, cut.checkpoint, 0o600)
        if cut.witnessed:
            files.replace(target / files.WITNESSED, cut.witnessed, 0o600)
        # These follow from the log: a server that starts on the copy writes them afresh.
        derived = {files.TILES, files.RESUME, files.RESUME_NOTE}
        handled = {files.LOG, files.ANCHORS, files.CHECKPOINT, files.WITNESSED, files.CHAIN, *derived}
        copy.others(source, handled, target)


def copy_stopped(data: Path, folder: Path, told: Callable[[Progress], None]) -> Progress:
    """A copy of the data folder of no running server.

    Raises:
        Conflict: the target exists.
        Unavailable: a server has the folder, or the disk refused the copy.
    """
    with only_one(data):
        draft = _draft(data, folder)
        total = sum(p.stat().st_size for p in data.rglob("*") if p.is_file())
        copy = _Copy(draft, Progress(str(folder), total_bytes=total), threading.Event(), told)
        try:
            copy.others(data, set())
            copy.finish(folder)
        except OSError as error:
            raise Unavailable(f"the copy into {folder} failed: {error}", "free the disk, or name another") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return copy.progress


class _Copy:
    """Files on their way into a draft folder, each durable before the next."""

    def __init__(
        self, draft: Path, progress: Progress, stop: threading.Event, told: Callable[[Progress], None] = lambda _: None
    ) -> None:
        self.draft, self.progress = draft, progress
        self._stop, self._told = stop, told

    def file(self, source: Path, target: Path, length: int) -> None:
        """The first `length` bytes."""
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        left = length
        with source.open("rb") as reading, os.fdopen(_new(target), "wb") as writing:
            while left:
                self._go_on()
                part = reading.read(min(left, COPY_BYTES))
                if not part:
                    raise Unavailable(f"{source} became shorter by {left} bytes while it was copied", "try again")
                writing.write(part)
                left -= len(part)
                self.progress.copied_bytes += len(part)
                self._told(self.progress)
            writing.flush()
            os.fsync(writing.fileno())

    def sqlite(self, source: Path, target: Path) -> None:
        """One moment of a database that others may be writing."""
        self._go_on()
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(_new(target))
        address = f"{source.resolve().as_uri()}?mode=ro"
        with (
            contextlib.closing(sqlite3.connect(address, uri=True)) as reading,
            contextlib.closing(sqlite3.connect(target)) as writing,
        ):
            reading.backup(writing)
        self.progress.copied_bytes += _size(target)

    def tree(self, source: Path, target: Path) -> None:
        if source.is_dir():
            self.others(source, set(), target)

    def others(self, source: Path, but: set[str], target: Path | None = None) -> None:
        """Everything in a folder, at any depth, but the names that are handled elsewhere or stay behind."""
        place = self.draft if target is None else target
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(source.iterdir()):
            if path.name in but or path.name in NOT_COPIED or path.name.endswith(SQLITE_SIDES):
                continue
            if path.is_dir():
                self.others(path, set(), place / path.name)
            elif path.suffix == ".sqlite":
                self.sqlite(path, place / path.name)
            else:
                self.file(path, place / path.name, _size(path))

    def finish(self, folder: Path) -> None:
        """The draft becomes the folder, in one step."""
        self._go_on()
        for directory in (*(p for p in self.draft.rglob("*") if p.is_dir()), self.draft):
            files.sync_directory(directory)
        if folder.exists():
            raise Conflict(f"{folder} exists", "name a new folder")
        self.draft.rename(folder)
        files.sync_directory(folder.parent)
        self.progress.state = "done"

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise Unavailable("the server stops; the back-up was given up", "start it again with the server")


def _draft(data: Path, folder: Path) -> Path:
    """A new, empty folder beside the target; what an earlier copy left there is removed."""
    if not folder.is_absolute() or not folder.name:
        raise BadRequest(f"{folder} is no absolute path of a folder", "name the folder from / on")
    if folder.resolve().is_relative_to(data.resolve()):
        raise BadRequest(f"{folder} lies in the data folder itself", "name a folder outside it")
    if folder.exists():
        raise Conflict(f"{folder} exists", "name a new folder; nothing is overwritten")
    draft = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.mkdir(mode=0o700)
    except OSError as error:
        raise Unavailable(f"no folder can be made at {folder}: {error.strerror}", "name another place") from error
    return draft


def _forget_entries(path: Path, table: str, column: str, size: int) -> None:
    """What was recorded after the cut has no entry in the copied log: its server records it when it starts."""
    if not path.is_file():
        return
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"UPDATE {table} SET {column} = NULL WHERE {column} >= ?", (size,))
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
