"""CPU of the client for one change, from the socket to the point table; `limit`: a plain asyncua subscription.

A node-opcua server in its own process changes 1,000 items of twelve types 10,000 times a second. Both clients see the
same load in turns, and both must hear of every change.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from statistics import median

from asyncua import Client

from protocols.opcua.link import OpcUaLink
from tests.bench import line
from tests.bench.ingest_opcua import ITEMS, TableSink, points
from tests.peers.node_server import NodeServer, node_server
from tests.protocols.protocol_bench import device, until

RATE, SECONDS, TURNS = 10_000, 4.0, 3
PUBLISHING_MS, QUEUE = 100.0, 100

Listener = Callable[[NodeServer], AbstractAsyncContextManager[Callable[[], int]]]
"""A client that listens while the context lasts; gives how many changes it has heard of."""


@asynccontextmanager
async def ours(server: NodeServer) -> AsyncIterator[Callable[[], int]]:
    sink = TableSink()
    settings = {"publishing_ms": PUBLISHING_MS, "sampling_ms": 0.0, "queue_size": QUEUE}
    link = OpcUaLink(device("opcua", server.endpoint, **settings), points(), sink, time.time_ns, random.Random(1))
    task = asyncio.create_task(link.run())
    yield lambda: sink.readings_taken
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sink.letters == 0


@asynccontextmanager
async def plain(server: NodeServer) -> AsyncIterator[Callable[[], int]]:
    held: dict[object, object] = {}
    heard = 0

    class Handler:
        def datachange_notification(self, node: object, value: object, data: object) -> None:
            nonlocal heard
            held[node] = value
            heard += 1

    async with Client(server.endpoint) as client:
        subscription = await client.create_subscription(PUBLISHING_MS, Handler())
        nodes = [client.get_node(f"ns=1;s=item.{n}") for n in range(ITEMS)]
        await subscription.subscribe_data_change(nodes, queuesize=QUEUE, sampling_interval=0)
        yield lambda: heard
        await subscription.delete()


async def cost_us(listener: Listener, server: NodeServer) -> float:
    """CPU of this process for one change."""
    async with listener(server) as heard:
        await until(lambda: heard() >= ITEMS, "every item is heard of once", 30.0)
        first, cpu_s = heard(), time.process_time()
        await server.ask(do="rate", changes_per_s=RATE)
        await asyncio.sleep(SECONDS)
        sent = (await server.ask(do="hold"))["sent"]
        await until(lambda: heard() - first >= sent, f"all {sent} changes arrive", 30.0)
        assert heard() - first == sent
        return (time.process_time() - cpu_s) / sent * 1e6


async def measure() -> None:
    found: dict[str, list[float]] = {"ours": [], "plain": []}
    async with node_server(items=ITEMS) as server:
        for _ in range(TURNS):
            found["plain"].append(await cost_us(plain, server))
            found["ours"].append(await cost_us(ours, server))
    detail: dict[str, object] = {
        "items": ITEMS, "offered_per_s": RATE, "received": "all",
        **{name: [round(one, 2) for one in costs] for name, costs in found.items()},
    }  # fmt: skip
    line("ingest_opcua_live", round(median(found["ours"]), 2), "us/change", round(median(found["plain"]), 2), detail)


def main() -> None:
    asyncio.run(measure())


if __name__ == "__main__":
    main()
