"""The history writer: a thread between the twin and the store, with a bounded queue; must not know the event loop."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import duckdb
import numpy as np
from numpy.typing import NDArray

from twin.digest import SeriesRows
from twin.readings import Readings
from twin.store import Batch, Store
from twin.upkeep import Upkeep

QUEUE_MAX = 2_000  # deliveries: some minutes of a plant whose disk hangs
QUEUE_ROWS_MAX = 2_000_000  # readings: some 100 MB, whatever the size of the deliveries
ROWS_MAX = 50_000  # of one batch: a commit stays well under a second
FLUSH_EVERY_S = 0.5
MEMORY_WAIT_S = 30.0  # a query may hold the memory that both share, for its 20 s at most
MEMORY_POLL_S = 0.2
UPKEEP_EVERY_S = 1.0  # how soon after the last reading the tiers are looked at
DeadLetterRow = tuple[int, str, str, str, str, str, bytes]
T = TypeVar("T")
log = logging.getLogger("twinloop.history")


@dataclass(frozen=True, slots=True)
class _Delivery:
    readings: Readings
    noticed: bool


@dataclass(frozen=True, slots=True)
class _Errand:
    """Work between two batches; what was given before is durable when it runs."""

    work: Callable[[], None]


@dataclass(slots=True)
class _Taken:
    """What one round of the thread found in the queue."""

    deliveries: list[_Delivery] = field(default_factory=list)
    letters: list[DeadLetterRow] = field(default_factory=list)
    errand: _Errand | None = None
    going: bool = True
    rows: int = 0

    @property
    def readings(self) -> int:
        return self.rows - len(self.letters)


class History:
    """Takes readings from the event loop and commits them in batches on a thread of its own.

    Overflow is named `history_overflow`: when the queue is full a delivery is not recorded, and its readings and dead
    letters are counted in `overflow`.
    """

    def __init__(
        self, store: Store, point_names: Sequence[str], on_batch: Callable[[Batch], None], upkeep: Upkeep | None = None
    ) -> None:
        self.store = store
        self.overflow = 0
        self.failure: str | None = None
        self._series = store.series_of(point_names)
        self._next = store.next_batch()
        self._on_batch = on_batch
        self._upkeep = upkeep
        self._queue: deque[_Delivery | DeadLetterRow | _Errand | None] = deque()
        self._waiting_rows = 0
        self._kept_up_at = 0.0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    @property
    def series(self) -> NDArray[np.int32]:
        """The series id of every point, shape (N,)."""
        return self._series

    @property
    def waiting(self) -> int:
        """Readings and dead letters that are not on disk yet; at most QUEUE_ROWS_MAX."""
        return self._waiting_rows

    def grow(self, more: NDArray[np.int32]) -> None:
        """Points after those there are, by their series ids: `between(lambda: store.series_of(names))` gives them.

        Called where readings are recorded, before the first of theirs.
        """
        self._series = np.concatenate([self._series, more])

    def record(self, batch: Readings, noticed: bool = False) -> None:
        """Never blocks. `noticed`: the twin itself saw the quality fall, at the batch's time of receipt."""
        if len(batch):
            self._offer(_Delivery(batch, noticed), len(batch))

    def bury(self, letter: DeadLetterRow) -> None:
        """Keep one dead letter. Never blocks."""
        self._offer(letter, 1)

    def flush(self) -> Future[None]:
        """Done when everything given before is durable. Never blocks."""
        return self.between(lambda: None)

    def between(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` on the history thread between two batches: nothing is written meanwhile. Never blocks."""
        done: Future[T] = Future()

        def run() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(work())
                except BaseException as error:  # whoever asked gets it; the thread goes on
                    done.set_exception(error)

        self._put(_Errand(run))
        return done

    def append(self, rows: SeriesRows) -> Future[Batch]:
        """Commit rows that are no news, such as an import's, as a batch of their own. Never blocks."""
        return self.between(lambda: self._commit(self._con, rows))

    def close(self) -> None:
        """Everything given before is durable; may be called again."""
        self._put(None)
        self._thread.join()

    def _offer(self, item: _Delivery | DeadLetterRow, rows: int) -> None:
        with self._changed:
            # One delivery always fits an empty queue, however long it is.
            if (
                self._closed
                or len(self._queue) >= QUEUE_MAX
                or (self._queue and self._waiting_rows + rows > QUEUE_ROWS_MAX)
            ):
                self.overflow += rows
                return
            self._waiting_rows += rows
            self._queue.append(item)
            self._changed.notify()

    def _put(self, item: _Errand | None) -> None:
        with self._changed:
            if not self._closed:
                self._queue.append(item)
                self._changed.notify()
                return
        if item is not None:
            item.work()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._con = self.store.cursor()
        going = True
        while going:
            taken = self._gather()
            going = taken.going
            if taken.deliveries:
                self._try(partial(self._take, taken.deliveries), taken.readings)
            if taken.letters:
                self._try(partial(self.store.append_dead_letters, self._con, taken.letters), len(taken.letters))
            if taken.errand is not None:
                taken.errand.work()
            if going:
                self._try(self._keep_up, 0)
        self._end()
        self._con.close()

    def _end(self) -> None:
        """Whoever asked for something after the close gets an answer, too; readings that came after it are counted."""
        with self._changed:
            self._closed = True
            left = list(self._queue)
            self._queue.clear()
            self.overflow += self._waiting_rows
        for item in left:
            if isinstance(item, _Errand):
                item.work()

    def _try(self, work: Callable[[], object], rows: int) -> None:
        """A full disk stops nothing: say so, count what is lost, keep trying with what comes next."""
        end = time.monotonic() + MEMORY_WAIT_S
        while True:
            try:
                work()
                self.failure = None
                return
            except duckdb.Error as error:
                self.failure = str(error).splitlines()[0]
                if isinstance(error, duckdb.OutOfMemoryException) and time.monotonic() < end:
                    time.sleep(MEMORY_POLL_S)
                    continue
                self.overflow += rows
                self._con = self.store.cursor()
                return

    def _take(self, deliveries: Sequence[_Delivery]) -> None:
        self._commit(self._con, self._rows(deliveries))

    def _commit(self, con: duckdb.DuckDBPyConnection, rows: SeriesRows) -> Batch:
        made = self.store.append(con, self._next, rows)
        self._next += 1
        self._on_batch(made)
        return made

    def _keep_up(self) -> None:
        """Missing keyframes and due roll-ups: one every UPKEEP_EVERY_S, and more while no reading waits."""
        now = time.monotonic()
        going = now - self._kept_up_at >= UPKEEP_EVERY_S
        while going:
            self._kept_up_at = now
            worked = self.store.frame_missing(self._con) or (self._upkeep is not None and self._upkeep.step(self._con))
            going = worked and not self._queue

    def _gather(self) -> _Taken:
        """Wait for work, then take what comes within FLUSH_EVERY_S; an errand or the end cuts the wait short.

        Nothing at all after UPKEEP_EVERY_S: time for upkeep.
        """
        taken = _Taken()
        deadline = time.monotonic() + UPKEEP_EVERY_S
        while taken.rows < ROWS_MAX:
            with self._changed:
                if not self._changed.wait_for(lambda: self._queue, deadline - time.monotonic()):
                    return taken
                item = self._queue.popleft()
                if item is None or isinstance(item, _Errand):
                    taken.errand, taken.going = item, item is not None
                    return taken
                rows = len(item.readings) if isinstance(item, _Delivery) else 1
                self._waiting_rows -= rows
            if not taken.rows:
                deadline = time.monotonic() + FLUSH_EVERY_S
            taken.rows += rows
            if isinstance(item, _Delivery):
                taken.deliveries.append(item)
            else:
                taken.letters.append(item)
        return taken

    def _rows(self, deliveries: Sequence[_Delivery]) -> SeriesRows:
        text: dict[int, str] = {}
        start = 0
        for delivery in deliveries:
            text.update((start + row, words) for row, words in delivery.readings.text.items())
            start += len(delivery.readings)
        batches = [d.readings for d in deliveries]
        lengths = [len(b) for b in batches]
        received: Any = np.array([b.received_time for b in batches], np.int64)
        return SeriesRows(
            self._series[np.concatenate([b.point for b in batches])],
            np.concatenate([b.value for b in batches]),
            np.concatenate([b.quality for b in batches]),
            np.concatenate([b.source_time for b in batches]),
            np.repeat(received, lengths),
            np.repeat(np.array([d.noticed for d in deliveries], np.bool_), lengths),
            text,
        )
