"""Changes a CPU second from the bytes of Publish responses to the point table; `limit`: decoded by asyncua instead.

The responses are recorded from a node-opcua server: items of twelve types, with status, source and server times.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.client.ua_client import UASocketProtocol
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from protocols.delivery import Delivery
from protocols.link import DeadLetter, LinkState
from protocols.opcua import binary
from protocols.opcua.intake import Intake
from protocols.opcua.link import OpcUaLink
from protocols.opcua.messages import Answers
from tests.bench import line
from tests.peers.node_server import node_server
from tests.protocols.protocol_bench import device, running, until
from twin.points import Point, Selection
from twin.readings import Readings
from twin.table import PointTable

ITEMS, RATE, RECORD, TURNS = 1000, 20_000, 60_000, 5
TYPES = ("double", "double", "integer", "integer", "integer", "integer", "integer", "integer", "boolean", "integer",
         "integer", "string")  # fmt: skip


class TableSink:
    """Into a point table, and nothing else."""

    def __init__(self) -> None:
        self.table = PointTable.sized(ITEMS)
        self.readings_taken = self.letters = 0

    def readings(self, batch: Readings) -> None:
        self.table.apply(batch)
        self.readings_taken += len(batch)

    def dead_letter(self, letter: DeadLetter) -> None:
        self.letters += 1

    def heard(self, device_id: str) -> None: ...

    def link_state(self, device_id: str, state: LinkState, detail: str) -> None: ...

    def metric(self, device_id: str, name: str, value: float) -> None: ...


async def record() -> list[bytes]:
    """Bodies of Publish responses that hold RECORD changes together."""
    bodies: list[bytes] = []
    call_back = UASocketProtocol._call_callback

    def note(self: UASocketProtocol, request_id: int, body: Any) -> None:
        if isinstance(body, Buffer) and bytes(body)[2:4] == binary.PUBLISH.to_bytes(2, "little"):
            bodies.append(bytes(body))
        call_back(self, request_id, body)

    UASocketProtocol._call_callback = note
    try:
        async with node_server(items=ITEMS) as server:
            settings = {"publishing_ms": 50.0, "sampling_ms": 0.0, "queue_size": 100}
            at, sink = device("opcua", server.endpoint, **settings), TableSink()
            async with running(OpcUaLink(at, points(), sink, time.time_ns, random.Random(1))):
                await until(lambda: sink.readings_taken >= ITEMS, "every item is heard of once", 60.0)
                await server.ask(do="rate", changes_per_s=RATE)
                await until(lambda: sink.readings_taken >= RECORD, f"{RECORD} changes are recorded", 120.0)
    finally:
        UASocketProtocol._call_callback = call_back
    return bodies


def points() -> Selection:
    return Selection.of(
        Point(n, f"item{n}.value", f"item{n}", "value", TYPES[n % len(TYPES)], "", "d1", f"ns=1;s=item.{n}")
        for n in range(ITEMS)
    )


def cpu_s(work: Callable[[], None]) -> float:
    """CPU time of one call: what others do on the same cores does not count."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> None:
    bodies = asyncio.run(record())
    sink, answers = TableSink(), Answers()
    delivery, intake = Delivery("d1", sink, time.time_ns, points()), Intake(points())
    changes = sum(len(answers.decode(body)) for body in bodies)

    def ours() -> None:
        for body in bodies:
            answer, batch = answers.decode(body), delivery.batch()
            intake.take(batch, answer, answer.handle.view(np.int32), slice(0, len(answer)))
            batch.deliver()

    def theirs() -> None:
        for body in bodies:
            told, batch = struct_from_binary(ua.PublishResponse, Buffer(body)), delivery.batch()
            for part in told.Parameters.NotificationMessage.NotificationData:
                intake.take_slowly(batch, [(item.ClientHandle, item.Value) for item in part.MonitoredItems])
            batch.deliver()

    def decoder() -> None:
        for body in bodies:
            answers.decode(body)

    def asyncuas() -> None:
        for body in bodies:
            struct_from_binary(ua.PublishResponse, Buffer(body))

    found: list[list[float]] = [[], [], [], []]
    for _ in range(TURNS):
        for times, work in zip(found, (ours, theirs, decoder, asyncuas), strict=True):
            times.append(cpu_s(work))
    ours_s, theirs_s, decoder_s, peer_s = map(median, found)
    assert sink.letters == 0 and sink.readings_taken >= 2 * TURNS * changes
    detail = {
        "changes": changes, "messages": len(bodies), "bytes_each": round(sum(map(len, bodies)) / changes, 1),
        "text_share": round(TYPES.count("string") / len(TYPES), 3),
        "decoder_alone_per_s": round(changes / decoder_s), "asyncua_alone_per_s": round(changes / peer_s),
        "decoder_alone_ratio": round(peer_s / decoder_s, 1),
    }  # fmt: skip
    line("ingest_opcua", round(changes / ours_s), "changes/s", round(changes / theirs_s), detail)


if __name__ == "__main__":
    main()
