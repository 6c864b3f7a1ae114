"""The pump of Publish requests against a server that does what the test says, message by message."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer

from protocols.delivery import Delivery
from protocols.opcua import messages
from protocols.opcua.intake import Intake
from protocols.opcua.monitoring import Monitored, Subscription
from protocols.opcua.publishing import FAULTS_MAX, ROWS_PER_TURN, Gone, Pump
from protocols.opcua.window import Window
from tests.protocols import opcua_answers as wire
from tests.protocols.protocol_bench import RecordingSink, point, until
from twin.points import Selection
from twin.quality import GOOD

SUBSCRIPTION = 5
POINTS = Selection.of([point(n, f"ns=1;i={n}") for n in range(5)] + [point(5, "ns=1;i=5", "string")])


@dataclass
class Server:
    """Stands where the channel and the monitor stand: keeps requests, answers when the test wants it to."""

    kept: dict[int, bytes] = field(default_factory=dict)  # messages for Republish
    asked_again: list[int] = field(default_factory=list)
    deleted: list[int] = field(default_factory=list)
    acknowledged: list[tuple[int, int]] = field(default_factory=list)
    waiting: list[asyncio.Future[Buffer]] = field(default_factory=list)
    timeout_s: float = 1.0

    def send(self, encoding: int, parameters: bytes, hint_s: float) -> asyncio.Future[Buffer]:
        assert encoding == messages.PUBLISH and hint_s == 0
        (count,) = struct.unpack_from("<i", parameters)
        self.acknowledged += [struct.unpack_from("<II", parameters, 4 + 8 * n) for n in range(count)]
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    async def exchange(self, encoding: int, parameters: bytes) -> bytes:
        assert encoding == messages.REPUBLISH
        subscription, sequence = struct.unpack("<II", parameters)
        assert subscription == SUBSCRIPTION
        self.asked_again.append(sequence)
        if sequence not in self.kept:
            return wire.header(397, ua.StatusCodes.BadMessageNotAvailable)
        return wire.header(835) + self.kept[sequence]

    async def delete(self, channel: Any, ids: Sequence[int]) -> None:
        self.deleted += ids

    async def answer(self, body: bytes) -> None:
        """Answer the oldest request, and wait until it has been taken."""
        await until(lambda: bool(self.waiting), "a request waits")
        self.waiting.pop(0).set_result(Buffer(body))
        for _ in range(10):
            await asyncio.sleep(0)


@dataclass
class Field:
    server: Server
    pump: Pump
    sink: RecordingSink
    lost: list[int]
    task: asyncio.Task[None]

    async def gone(self) -> str:
        with pytest.raises(Gone) as ended:
            await asyncio.wait_for(self.task, 5)
        return str(ended.value)


@contextlib.asynccontextmanager
async def pumping(publishes: int = 3) -> AsyncIterator[Field]:
    server, sink, lost = Server(), RecordingSink(), list[int]()
    monitored = Monitored({SUBSCRIPTION: Subscription(SUBSCRIPTION, Window(), 0.0)})
    monitored.begun.set()
    delivery = Delivery("d1", sink, time.time_ns, POINTS)
    pump = Pump(server, server, monitored, delivery, Intake(POINTS), publishes, lost.append)  # type: ignore[arg-type]
    task = asyncio.create_task(pump.run())
    await until(lambda: len(server.waiting) == publishes, "the requests are at the server")
    yield Field(server, pump, sink, lost, task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def change(value: float, id: int = 0, quality: int = GOOD) -> bytes:
    return wire.data_change([(id, wire.data_value(wire.number("Double", value), quality))])


def told(sequence: int, value: float, **more: Any) -> bytes:
    return wire.publish([change(value)], sequence=sequence, subscription=SUBSCRIPTION, **more)


def values(sink: RecordingSink) -> list[float]:
    return [value for batch in sink.batches for value in batch.value.tolist()]


async def test_as_many_requests_as_asked_for_wait_at_the_server_and_each_is_replaced() -> None:
    async with pumping(publishes=4) as f:
        for sequence in range(1, 8):
            await f.server.answer(told(sequence, float(sequence)))
            assert len(f.server.waiting) == 4
        assert values(f.sink) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
        assert f.server.acknowledged == [(SUBSCRIPTION, n) for n in range(1, 8)]


async def test_what_came_together_is_one_batch() -> None:
    async with pumping(publishes=4) as f:
        for sequence in (1, 2, 3):
            f.server.waiting.pop(0).set_result(Buffer(told(sequence, float(sequence))))
        await until(lambda: len(f.server.waiting) == 4, "all are taken")
        assert [batch.value.tolist() for batch in f.sink.batches] == [[1.0, 2.0, 3.0]]


async def test_lost_messages_are_asked_for_again_and_come_in_their_order() -> None:
    async with pumping() as f:
        await f.server.answer(told(1, 1.0))
        f.server.kept = {n: wire.notification_message(n, [change(float(n))]) for n in (2, 3)}
        await f.server.answer(told(4, 4.0))
        assert values(f.sink) == [1.0, 2.0, 3.0, 4.0] and f.server.asked_again == [2, 3]
        await f.server.answer(told(5, 5.0))
        assert set(f.server.acknowledged) >= {(SUBSCRIPTION, n) for n in (1, 2, 3, 4)} and f.lost == []


async def test_a_keep_alive_is_not_acknowledged_and_shows_a_lost_message() -> None:
    async with pumping() as f:
        await f.server.answer(told(1, 1.0))
        f.server.kept = {2: wire.notification_message(2, [change(2.0)])}
        await f.server.answer(wire.publish([], sequence=3, subscription=SUBSCRIPTION))
        await f.server.answer(told(3, 3.0))
        assert values(f.sink) == [1.0, 2.0, 3.0]
        await f.server.answer(told(4, 4.0))
        assert sorted(f.server.acknowledged) == [(SUBSCRIPTION, n) for n in (1, 2, 3, 4)]


async def test_what_the_server_no_longer_has_is_counted_as_lost() -> None:
    async with pumping() as f:
        await f.server.answer(told(1, 1.0))
        f.server.kept = {3: wire.notification_message(3, [change(3.0)])}
        await f.server.answer(told(4, 4.0))
        assert values(f.sink) == [1.0, 3.0, 4.0] and f.lost == [1]


async def test_a_message_that_comes_twice_is_taken_once() -> None:
    async with pumping() as f:
        for sequence in (1, 2, 2, 1, 3):
            await f.server.answer(told(sequence, float(sequence)))
        assert values(f.sink) == [1.0, 2.0, 3.0]


async def test_a_server_that_keeps_fewer_requests_gets_fewer() -> None:
    async with pumping(publishes=4) as f:
        refused = f.server.waiting.pop()
        refused.set_result(Buffer(wire.header(397, ua.StatusCodes.BadTooManyPublishRequests)))
        await f.server.answer(told(1, 1.0))
        assert len(f.server.waiting) == 3 and not f.task.done()


async def test_values_that_the_servers_queue_lost_are_counted_and_keep_their_quality() -> None:
    async with pumping() as f:
        await f.server.answer(wire.publish([change(1.0, quality=0x480)], subscription=SUBSCRIPTION))
        assert f.sink.quality(0) == 0x480 and f.lost == [1]


@pytest.mark.parametrize(("code", "words"), [(0x800A_0000, "BadTimeout"), (0x002D_0000, "GoodSubscriptionTransferred")])
async def test_a_subscription_that_the_server_ends_ends_the_session(code: int, words: str) -> None:
    async with pumping() as f:
        body = wire.publish([change(1.0), wire.status_change(code)], subscription=SUBSCRIPTION)
        f.server.waiting.pop(0).set_result(Buffer(body))
        assert words in await f.gone()
        assert f.sink.value(0) == 1.0, "what came with the news is delivered"


@pytest.mark.parametrize("name", ["BadNoSubscription", "BadSessionIdInvalid", "BadSessionClosed"])
async def test_a_session_without_subscriptions_is_given_up(name: str) -> None:
    async with pumping() as f:
        f.server.waiting.pop(0).set_result(Buffer(wire.header(397, getattr(ua.StatusCodes, name))))
        assert name in await f.gone()


async def test_an_acknowledgement_of_a_subscription_that_is_gone_is_noticed() -> None:
    async with pumping(publishes=1) as f:
        await f.server.answer(told(1, 1.0))
        f.server.waiting.pop(0).set_result(Buffer(told(2, 2.0, results=[ua.StatusCodes.BadSubscriptionIdInvalid])))
        assert "dropped" in await f.gone()


async def test_a_server_that_only_refuses_is_given_up_after_a_while_and_one_that_was_busy_is_not() -> None:
    busy = wire.header(397, ua.StatusCodes.BadServerTooBusy)
    async with pumping() as f:
        for _ in range(FAULTS_MAX - 1):
            await f.server.answer(busy)
        await f.server.answer(told(1, 1.0))
        for _ in range(FAULTS_MAX - 1):
            await f.server.answer(busy)
        assert not f.task.done()
        f.server.waiting.pop(0).set_result(Buffer(busy))
        assert "BadServerTooBusy" in await f.gone()


async def test_an_answer_that_cannot_be_read_is_a_dead_letter_and_its_message_is_asked_for_again() -> None:
    async with pumping() as f:
        await f.server.answer(told(1, 1.0))
        f.server.kept = {2: wire.notification_message(2, [change(2.0)])}
        await f.server.answer(told(2, 2.0)[:60])
        await f.server.answer(told(3, 3.0))
        assert values(f.sink) == [1.0, 2.0, 3.0]
        assert [(letter.reason, len(letter.raw)) for letter in f.sink.letters] == [("decode", 60)]


async def test_a_message_that_the_compiled_decoder_leaves_alone_is_decoded_by_the_library() -> None:
    nested = wire.number("Variant", [ua.Variant(1.5)])
    items = [(5, wire.data_value(nested)), (0, wire.data_value(wire.number("Double", 7.5), 0x480, wire.ticks(10**18)))]
    async with pumping() as f:
        body = wire.publish([wire.data_change(items)], sequence=1, subscription=SUBSCRIPTION)
        await f.server.answer(body)
        assert f.sink.latest[0] == (7.5, 0x480, 10**18) and f.lost == [1]
        assert f.sink.reasons == {("twin5.value", "type")}
        await f.server.answer(told(2, 8.0))
        assert f.sink.value(0) == 8.0 and not f.task.done()


async def test_a_handle_that_nobody_asked_for_is_a_dead_letter_and_the_others_go_on() -> None:
    async with pumping() as f:
        parts = [change(1.0, id=77), change(2.0, id=2**32 - 1), change(3.0, id=1)]
        await f.server.answer(wire.publish(parts, subscription=SUBSCRIPTION))
        assert f.sink.value(1) == 3.0
        assert [letter.address for letter in f.sink.letters] == ["handle 77", "handle 4294967295"]


async def test_a_text_that_is_not_utf_8_is_a_dead_letter_with_its_bytes() -> None:
    async with pumping() as f:
        text = b"\x0c\x02\x00\x00\x00\xff\xfe"
        await f.server.answer(wire.publish([wire.data_change([(5, wire.data_value(text))])], subscription=SUBSCRIPTION))
        assert [(letter.reason, letter.raw) for letter in f.sink.letters] == [("decode", text)]


async def test_a_subscription_of_nobody_is_deleted_once() -> None:
    async with pumping() as f:
        for sequence in (1, 2):
            await f.server.answer(wire.publish([change(1.0)], sequence=sequence, subscription=99))
        assert f.server.deleted == [99] and f.sink.batches == []


async def test_a_large_message_comes_in_parts_so_that_others_get_their_turn() -> None:
    async with pumping() as f:
        one = wire.data_value(wire.number("Double", 1.0))
        items = [(n % 5, one) for n in range(3 * ROWS_PER_TURN + 7)]
        await f.server.answer(wire.publish([wire.data_change(items)], subscription=SUBSCRIPTION))
        await until(lambda: sum(map(len, f.sink.batches)) == len(items), "everything is delivered")
        assert [len(batch) for batch in f.sink.batches] == [ROWS_PER_TURN] * 3 + [7]
