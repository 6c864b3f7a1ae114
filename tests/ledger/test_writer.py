"""Group commit: many callers, one flush; nobody waits for ever, whatever the disk does."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from ledger.entry import Entry, encode
from ledger.errors import EntryError, EntryTooLarge, LedgerBusy, LogClosed, LogFailed
from ledger.log import Log
from ledger.note import Checkpoint
from ledger.writer import LogWriter

WAIT_S = 20.0  # only a fault is waited for that long


def payload(number: int) -> bytes:
    return encode(Entry("test.made", 1_700_000_000_000_000_000 + number, {"number": number}))


class HeldLog:
    """A log whose disk answers when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.failure: BaseException | None = None
        self.checkpoints = 0
        self.size = 0

    def append(self, payloads: list[bytes]) -> range:
        self.entered.release()
        assert self.go.acquire(timeout=WAIT_S)
        if self.failure is not None:
            raise self.failure
        self.batches.append(payloads)
        self.size += len(payloads)
        return range(self.size - len(payloads), self.size)

    def checkpoint(self) -> Checkpoint:
        self.checkpoints += 1
        return Checkpoint("o", self.size, bytes(32))


def test_each_future_gives_the_index_of_its_own_entry(log: Log) -> None:
    with LogWriter(log) as writer, ThreadPoolExecutor(8) as pool:
        futures = dict(pool.map(lambda number: (number, writer.submit(payload(number))), range(500)))
        indexes = {number: future.result(WAIT_S) for number, future in futures.items()}
    assert sorted(indexes.values()) == list(range(500))
    assert all(log.read(index) == payload(number) for number, index in indexes.items())


def test_entries_that_wait_share_one_flush() -> None:
    held = HeldLog()
    writer = LogWriter(held)
    first = writer.submit(b"first")
    assert held.entered.acquire(timeout=WAIT_S)
    rest = [writer.submit(b"%d" % number) for number in range(100)]
    assert writer.waiting == 100
    assert not first.done()
    held.go.release(2)
    assert [future.result(WAIT_S) for future in rest] == list(range(1, 101))
    assert [len(batch) for batch in held.batches] == [1, 100]
    writer.close()


def test_closing_makes_everything_durable_and_signs_it(log: Log) -> None:
    writer = LogWriter(log)
    futures = [writer.submit(payload(number)) for number in range(50)]
    writer.close()
    writer.close()
    assert [future.result(0) for future in futures] == list(range(50))
    assert log.signed.size == 50
    with pytest.raises(LogClosed):
        writer.submit(payload(50))
    assert writer.failure is None


def test_a_checkpoint_follows_without_closing(log: Log) -> None:
    signed = threading.Event()
    real = log.checkpoint

    def checkpoint() -> Checkpoint:
        done = real()
        signed.set()
        return done

    log.checkpoint = checkpoint  # type: ignore[method-assign]
    with LogWriter(log, checkpoint_every_s=0.01) as writer:
        writer.submit(payload(0)).result(WAIT_S)
        assert signed.wait(WAIT_S)
        assert log.signed.size == 1


def test_a_full_queue_is_refused_at_once_and_works_again_later() -> None:
    held = HeldLog()
    writer = LogWriter(held, queue_max=3)
    writer.submit(b"in the disk")
    assert held.entered.acquire(timeout=WAIT_S)
    for _ in range(3):
        writer.submit(b"queued")
    with pytest.raises(LedgerBusy, match="3 entries wait"):
        writer.submit(b"one too many")
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(lambda: writer.submit(b"patient", wait_s=WAIT_S))
        held.go.release(9)
        assert patient.result(WAIT_S).result(WAIT_S) == 4
    writer.close()


def test_a_queue_full_of_large_entries_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.writer.QUEUE_BYTES_MAX", 100_000)
    held = HeldLog()
    writer = LogWriter(held)
    writer.submit(b"in the disk")
    assert held.entered.acquire(timeout=WAIT_S)
    large = [writer.submit(b"x" * 60_000) for _ in range(2)]
    with pytest.raises(LedgerBusy, match="2 entries wait"):
        writer.submit(b"one too many")
    held.go.release(9)
    assert [future.result(WAIT_S) for future in large] == [1, 2]
    writer.submit(b"room again").result(WAIT_S)
    writer.close()


def test_a_failing_disk_fails_every_pending_and_every_later_entry() -> None:
    held = HeldLog()
    held.failure = LogFailed("the disk refused a write")
    writer = LogWriter(held)
    pending = [writer.submit(b"first")]
    assert held.entered.acquire(timeout=WAIT_S)
    pending += [writer.submit(b"%d" % number) for number in range(20)]
    held.go.release()
    for future in pending:
        assert isinstance(future.exception(WAIT_S), LogFailed)
    writer.close()
    with pytest.raises(LogFailed):
        writer.submit(b"later")
    assert isinstance(writer.failure, LogFailed)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_even_a_defect_in_the_writer_leaves_no_caller_waiting() -> None:
    held = HeldLog()
    held.failure = MemoryError()
    writer = LogWriter(held)
    first = writer.submit(b"first")
    assert held.entered.acquire(timeout=WAIT_S)
    second = writer.submit(b"second")
    held.go.release()
    assert isinstance(first.exception(WAIT_S), LogFailed)
    assert isinstance(second.exception(WAIT_S), LogFailed)
    writer.close()


def test_a_caller_that_gave_up_does_not_disturb_the_others() -> None:
    held = HeldLog()
    writer = LogWriter(held)
    futures: list[Future[int]] = [writer.submit(b"first")]
    assert held.entered.acquire(timeout=WAIT_S)
    futures += [writer.submit(b"second"), writer.submit(b"third")]
    assert futures[1].cancel()
    held.go.release(9)
    assert futures[2].result(WAIT_S) == 2
    writer.close()


@pytest.mark.parametrize(("data", "error"), [(b"", EntryError), (b"x" * 65_536, EntryTooLarge)])
def test_an_impossible_entry_is_refused_where_it_is_submitted(log: Log, data: bytes, error: type[EntryError]) -> None:
    with LogWriter(log) as writer, pytest.raises(error):
        writer.submit(data)
