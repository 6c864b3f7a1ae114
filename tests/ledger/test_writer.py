"""Group commit: many callers, one flush; nobody waits for ever, whatever the disk does."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.bulk import Packed
from ledger.entry import Entry, encode
from ledger.errors import EntryError, EntryTooLarge, LedgerBusy, LogClosed, LogFailed
from ledger.frames import whole
from ledger.log import Log
from ledger.note import Checkpoint
from ledger.tickets import Ticket
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

    def append_packed(self, packed: Packed) -> range:
        self.entered.release()
        assert self.go.acquire(timeout=WAIT_S)
        if self.failure is not None:
            raise self.failure
        batch, _ = whole(packed.data)
        self.batches.append(batch)
        self.size += len(batch)
        return range(self.size - len(batch), self.size)

    def checkpoint(self) -> Checkpoint:
        self.checkpoints += 1
        return Checkpoint("o", self.size, bytes(32))


def test_each_ticket_gives_the_index_of_its_own_entry(log: Log) -> None:
    with LogWriter(log) as writer, ThreadPoolExecutor(8) as pool:
        tickets = dict(pool.map(lambda number: (number, writer.submit(payload(number))), range(500)))
        indexes = {number: ticket.result(WAIT_S) for number, ticket in tickets.items()}
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
    assert [ticket.result(WAIT_S) for ticket in rest] == list(range(1, 101))
    assert [len(batch) for batch in held.batches] == [1, 100]
    writer.close()


def test_entries_submitted_together_follow_on_each_other(log: Log) -> None:
    with LogWriter(log) as writer, ThreadPoolExecutor(4) as pool:
        many = [[payload(number) for number in range(start, start + 50)] for start in range(0, 1_000, 50)]
        indexes = list(pool.map(lambda some: writer.submit_many(some).result(WAIT_S), many))
        assert writer.submit_many([]).result(WAIT_S) == range(1_000, 1_000)
        with pytest.raises(EntryTooLarge):
            writer.submit_many([b"x", b"x" * 65_536])
    assert sorted(index for found in indexes for index in found) == list(range(1_000))
    assert all([log.read(index) for index in found] == some for found, some in zip(indexes, many, strict=True))


def test_closing_makes_everything_durable_and_signs_it(log: Log) -> None:
    writer = LogWriter(log)
    tickets = [writer.submit(payload(number)) for number in range(50)]
    writer.close()
    writer.close()
    assert [ticket.result(0) for ticket in tickets] == list(range(50))
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
    assert [ticket.result(WAIT_S) for ticket in large] == [1, 2]
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
    for ticket in pending:
        assert isinstance(ticket.exception(WAIT_S), LogFailed)
    writer.close()
    with pytest.raises(LogFailed):
        writer.submit(b"later")
    assert isinstance(writer.failure, LogFailed)


def test_a_log_that_cannot_be_signed_takes_no_more_entries(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Checkpoint:
        raise LogFailed("the disk refused the checkpoint")

    monkeypatch.setattr(log, "checkpoint", refuse)
    writer = LogWriter(log, checkpoint_every_s=0.001)
    assert writer.submit(payload(0)).result(WAIT_S) == 0
    writer._signing.join(WAIT_S)
    with pytest.raises(LogFailed, match="refused the checkpoint"):
        writer.submit(payload(1)).result(WAIT_S)
    assert isinstance(writer.failure, LogFailed)
    writer.close()


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
    tickets = [writer.submit(b"first")]
    assert held.entered.acquire(timeout=WAIT_S)
    tickets += [writer.submit(b"second"), writer.submit(b"third")]
    with pytest.raises(TimeoutError):
        tickets[1].result(0.0)
    held.go.release(9)
    assert tickets[2].result(WAIT_S) == 2
    assert tickets[1].done()
    writer.close()


async def test_tasks_await_their_entries_and_one_that_was_cancelled_harms_nobody() -> None:
    held = HeldLog()
    writer = LogWriter(held)

    async def index(ticket: Ticket[int]) -> int:
        return await ticket

    tasks = [asyncio.create_task(index(writer.submit(b"%d" % number))) for number in range(20)]
    while len(writer._progress._awaited) < 20:
        await asyncio.sleep(0)
    tasks[3].cancel()
    held.go.release(9)
    found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), WAIT_S)
    assert isinstance(found.pop(3), asyncio.CancelledError)
    assert found == [number for number in range(20) if number != 3]
    assert await writer.submit_many([b"x", b"y"]) == range(20, 22)
    await asyncio.to_thread(writer.close)


async def test_a_task_hears_of_the_failing_disk() -> None:
    held = HeldLog()
    held.failure = LogFailed("the disk refused a write")
    writer = LogWriter(held)
    ticket = writer.submit(b"first")
    held.go.release()
    await asyncio.wait_for(ticket.settled(), WAIT_S)
    with pytest.raises(LogFailed):
        await ticket
    writer.close()


def test_a_loop_that_ended_keeps_no_entry_from_the_disk() -> None:
    held = HeldLog()
    writer = LogWriter(held)
    ticket = writer.submit(b"first")

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ticket.settled(), 0.01)

    asyncio.run(give_up())
    held.go.release(9)
    assert ticket.result(WAIT_S) == 0
    assert writer.submit(b"second").result(WAIT_S) == 1
    writer.close()


def test_an_entry_that_came_into_the_log_beside_the_writer_ends_it(log: Log) -> None:
    with LogWriter(log) as writer:
        log.append([payload(0)])
        with pytest.raises(LogFailed, match="only its writer may append"):
            writer.submit(payload(1)).result(WAIT_S)


@pytest.mark.parametrize(("data", "error"), [(b"", EntryError), (b"x" * 65_536, EntryTooLarge)])
def test_an_impossible_entry_is_refused_where_it_is_submitted(log: Log, data: bytes, error: type[EntryError]) -> None:
    with LogWriter(log) as writer, pytest.raises(error):
        writer.submit(data)
