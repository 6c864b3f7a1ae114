"""The history writer: a thread between the twin and the store, with a bounded queue; must not know the event loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Any

import duckdb
import numpy as np

from twin.readings import Readings
from twin.store import Batch, SeriesRows, Store

QUEUE_MAX = 2_000  # deliveries: some minutes of a plant whose disk hangs, some tens of MB
ROWS_MAX = 50_000  # of one batch: a commit stays well under a second
FLUSH_EVERY_S = 0.5
DeadLetterRow = tuple[int, str, str, str, str, str, bytes]


@dataclass(frozen=True, slots=True)
class _Flush:
    done: Future[None]


class History:
    """Takes readings from the event loop and commits them in batches on a thread of its own.

    Overflow is named `history_overflow`: when the queue is full the delivery is not recorded, and counted.
    """

    def __init__(self, store: Store, point_names: Sequence[str], on_batch: Callable[[Batch], None]) -> None:
        self.store = store
        self.overflow = 0
        self.failure: str | None = None
        self._series = store.series_of(point_names)
        self._names = store.names()
        self._next = store.next_batch()
        self._on_batch = on_batch
        self._queue: Queue[Readings | DeadLetterRow | _Flush | None] = Queue(QUEUE_MAX)
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def record(self, batch: Readings) -> None:
        """Never blocks."""
        if len(batch):
            self._offer(batch)

    def bury(self, letter: DeadLetterRow) -> None:
        """Keep one dead letter. Never blocks."""
        self._offer(letter)

    def flush(self) -> Future[None]:
        """Done when everything given before is durable."""
        done: Future[None] = Future()
        self._queue.put(_Flush(done))
        return done

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _offer(self, item: Readings | DeadLetterRow) -> None:
        try:
            self._queue.put_nowait(item)
        except Full:
            self.overflow += 1

    def _run(self) -> None:
        con = self.store.cursor()
        going = True
        while going:
            going, readings, letters, flushes = self._gather()
            try:
                if readings:
                    made = self.store.append(con, self._next, self._rows(readings), self._names)
                    self._next += 1
                    self._on_batch(made)
                if letters:
                    self.store.append_dead_letters(con, letters)
                self.failure = None
            except duckdb.Error as error:  # a full disk: say so, count it, keep trying with what comes next
                self.failure = str(error).splitlines()[0]
                self.overflow += len(readings) + len(letters)
                con = self.store.cursor()
            for flush in flushes:
                flush.done.set_result(None)
        con.close()

    def _gather(self) -> tuple[bool, list[Readings], list[DeadLetterRow], list[_Flush]]:
        """Wait for work, then take what comes within FLUSH_EVERY_S; a flush or the end cuts the wait short."""
        readings: list[Readings] = []
        letters: list[DeadLetterRow] = []
        rows = 0
        item = self._queue.get()
        deadline = time.monotonic() + FLUSH_EVERY_S
        while item is not None:
            if isinstance(item, _Flush):
                return True, readings, letters, [item]
            if isinstance(item, Readings):
                readings.append(item)
                rows += len(item)
            else:
                letters.append(item)
            left_s = deadline - time.monotonic()
            if rows >= ROWS_MAX or left_s <= 0:
                return True, readings, letters, []
            try:
                item = self._queue.get(timeout=left_s)
            except Empty:
                return True, readings, letters, []
        return False, readings, letters, []

    def _rows(self, deliveries: Sequence[Readings]) -> SeriesRows:
        text: list[str | None] = []
        for delivery in deliveries:
            text += [delivery.text.get(i) for i in range(len(delivery))] if delivery.text else [None] * len(delivery)
        received: list[Any] = [np.full(len(d), d.received_time, np.int64) for d in deliveries]
        return SeriesRows(
            self._series[np.concatenate([d.point for d in deliveries])],
            np.concatenate([d.value for d in deliveries]),
            np.concatenate([d.quality for d in deliveries]),
            np.concatenate([d.source_time for d in deliveries]),
            np.concatenate(received),
            text,
        )
