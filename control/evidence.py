"""What the server puts into the ledger, and how far that is durable, checkpointed and anchored; decides no content.

Must not know commands or the twin: they hand over kinds and bodies.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.anchors import Anchorer
from ledger.bundle import prove_from
from ledger.entry import JSON, Entry, decode, encode
from ledger.errors import AnchorError, LedgerError
from ledger.log import Log
from ledger.receipts import Receipt
from ledger.writer import LogWriter
from protocols.link import Clock
from twin.columns import Columns
from twin.errors import NotFound
from twin.plant import Plant
from twin.retention import Expiry
from twin.store import Batch, Store

ANCHOR_EVERY_S = 10.0
LEDGER_WAIT_S = 5.0  # how long a history batch waits for room in the ledger's queue before it is held
HISTORY_BATCH = "history.batch"
HISTORY_RETENTION = "history.retention"
GRAPH = "graph"
PREDICTION, PREDICTION_SCORE = "prediction", "prediction.score"
LOOKAHEAD = "lookahead"
MODEL = "model"
KINDS = (
    "command",
    "lease",
    "group",
    PREDICTION,
    PREDICTION_SCORE,
    LOOKAHEAD,
    MODEL,
    "point",
    GRAPH,
    HISTORY_BATCH,
    HISTORY_RETENTION,
    "login",
    "server.start",
    "server.stop",
)
SCAN_MAX = 50_000  # entries looked through for one kind: half a second at most
log = logging.getLogger("twinloop.evidence")


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the evidence reaches, in entries."""

    recorded: int
    checkpointed: int
    anchored: int
    anchored_time_s: float | None
    failure: str | None


def batch_body(batch: Batch) -> dict[str, JSON]:
    return {"batch": batch.batch, "rows": batch.rows, "sha256": batch.digest}


def unrecorded(log: Log, store: Store) -> list[Batch]:
    """The batches of history after the newest one that the log has an entry of."""
    for index in range(log.size - 1, -1, -1):
        entry = decode(log.read(index))
        if entry.kind == HISTORY_BATCH:
            return store.batches_from(int(str(entry.body["batch"])) + 1)
    return store.batches_from(0)


class Evidence:
    """The server's ledger: one log, one writer thread, one anchoring thread."""

    def __init__(self, directory: Path, plant_id: str, clock: Clock) -> None:
        self.log = Log.open(directory, f"twinloop.local/{plant_id}")
        self.writer = LogWriter(self.log)
        self.anchorer = Anchorer(directory)
        self._clock = clock
        self.on_anchor: Callable[[], object] = lambda: None  # told on the anchoring thread
        self._held: deque[Batch] = deque()
        self._stop = threading.Event()
        self._anchor_failure: str | None = None
        self._anchoring = threading.Lock()
        self._thread = threading.Thread(target=self._anchor_for_ever, name="anchors", daemon=True)
        self._thread.start()

    def record(
        self, kind: str, body: Mapping[str, JSON], time_ns: int | None = None, wait_s: float = 0.0
    ) -> Future[int]:
        """Durable when the future resolves to the entry's index. Waits at most `wait_s` for room in the queue.

        Raises:
            LedgerError: nothing can be recorded now; the message says why.
        """
        when = self._clock() if time_ns is None else time_ns
        return self.writer.submit(encode(Entry(kind, when, body)), wait_s)

    def record_batch(self, batch: Batch) -> None:
        """A batch of history was committed. Called on the history thread, in order of batches.

        What the ledger cannot take now is held and goes first the next time; after a stop `catch_up` finds it.
        """
        self._held.append(batch)
        try:
            while self._held:
                first = self._held[0]
                self.record(HISTORY_BATCH, batch_body(first), wait_s=LEDGER_WAIT_S)
                self._held.popleft()
        except LedgerError as error:
            log.error("%d history batches wait for the ledger: %s", len(self._held), error)

    def record_retention(self, expiry: Expiry) -> bool:
        """Batches are about to leave history. True once that is durable; else they stay. On the history thread."""
        body: dict[str, JSON] = {
            "first": expiry.first, "last": expiry.last, "batches": expiry.batches, "rows": expiry.rows,
            "oldest_as_of_ns": expiry.oldest_as_of, "oldest_known_at_ns": expiry.oldest_known_at,
        }  # fmt: skip
        try:
            self.record(HISTORY_RETENTION, body, wait_s=LEDGER_WAIT_S).result(LEDGER_WAIT_S)
        except (LedgerError, TimeoutError) as error:
            log.error("batches %d to %d stay although they have expired: %s", expiry.first, expiry.last, error)
            return False
        return True

    def record_points(self, plant: Plant, columns: Columns, ids: NDArray[np.int32]) -> None:
        """Changes of points that their `audit` column names, one entry each; their batch of history is recorded, too."""
        for i in ids.tolist():
            value = float(columns.value[i])
            body: dict[str, JSON] = {
                "point": plant.points[i].name,
                "value": value if math.isfinite(value) else None,
                "text": columns.text.get(i),
                "quality": int(columns.quality[i]),
                "source_time_ns": int(columns.source_time[i]),
            }
            try:
                self.record("point", body)
            except LedgerError as error:
                log.error("the change of %s has no entry of its own: %s", plant.points[i].name, error)

    def catch_up(self, store: Store) -> int:
        """Record the batches that a crash kept from the ledger; returns how many. Before any new batch."""
        missing = unrecorded(self.log, store)
        for batch in missing:
            self.record_batch(batch)
        return len(missing)

    def reach(self) -> Reach:
        last: Receipt | None = self.anchorer.last
        failure = self.writer.failure
        return Reach(
            self.log.size,
            self.log.signed.size,
            last.size if last else 0,
            float(last.block_time_s) if last else None,
            str(failure) if failure else self._anchor_failure,
        )

    def entries(self, last: int, kind: str | None = None) -> list[tuple[int, Entry]]:
        """The newest entries, newest first; with `kind` those of it among the newest SCAN_MAX."""
        size = self.log.size
        if kind is None:
            return [(i, decode(self.log.read(i))) for i in range(size - 1, max(-1, size - 1 - last), -1)]
        scanned = ((i, decode(self.log.read(i))) for i in range(size - 1, max(-1, size - 1 - SCAN_MAX), -1))
        return list(islice(((i, e) for i, e in scanned if e.kind == kind), last))

    def prove(self, index: int) -> dict[str, Any]:
        """A bundle that proves one entry without us.

        Raises:
            NotFound: no entry has that index, or it is not yet under a checkpoint.
        """
        if not 0 <= index < self.log.signed.size:
            raise NotFound(f"no checkpointed entry {index}", f"there are {self.log.signed.size}")
        return prove_from(self.log, index, self.anchorer.receipts())

    @contextlib.contextmanager
    def anchoring_paused(self, wait_s: float) -> Iterator[None]:
        """No root is on its way to the chain meanwhile.

        Raises:
            TimeoutError: one still was after `wait_s`.
        """
        if not self._anchoring.acquire(timeout=wait_s):
            raise TimeoutError(f"an anchor was on its way for {wait_s:g} s")
        try:
            yield
        finally:
            self._anchoring.release()

    def close(self) -> None:
        """Everything submitted durable, checkpointed and anchored where the chain answers; then all is closed."""
        self.writer.close()
        self._stop.set()
        self._thread.join()
        self.anchorer.close()
        self.log.close()

    def _anchor_for_ever(self) -> None:
        self._anchor_once()
        while not self._stop.wait(ANCHOR_EVERY_S):
            self._anchor_once()
        self._anchor_once()

    def _anchor_once(self) -> None:
        signed = self.log.signed
        last = self.anchorer.last
        if signed.size == 0 or (last is not None and last.size >= signed.size):
            return
        try:
            with self._anchoring:
                self.anchorer.anchor(signed.size, signed.root)
        except AnchorError as error:
            if self._anchor_failure is None:
                log.warning("anchoring failed: %s", error)
            self._anchor_failure = str(error)
            return
        if self._anchor_failure is not None:
            log.info("anchoring works again")
        self._anchor_failure = None
        self.on_anchor()
