"""Seconds of `twinloop discover` for 5,000 nodes, folder written; `limit`: browsing them one by one with asyncua.

Two servers, each in a process of its own: asyncua's and node-opcua. The peer walks a part and is scaled to the whole.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from asyncua import Client, Server, ua

from tests.bench import line
from tests.peers.node_server import node_server

OBJECTS, VARIABLES = 500, 9
PEER_NODES = 300
START_S, COMMAND_S = 120.0, 120.0
TARGET_S = 10.0
ATTRIBUTES = (
    ua.AttributeIds.Description, ua.AttributeIds.DataType, ua.AttributeIds.ValueRank, ua.AttributeIds.AccessLevel,
    ua.AttributeIds.UserAccessLevel,
)  # fmt: skip


async def serve() -> None:
    """The asyncua server; ends with its stdin."""
    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace("urn:bench")
    for number in range(OBJECTS):
        made = await server.nodes.objects.add_object(index, f"Machine {number}")
        for value in range(VARIABLES):
            await made.add_variable(ua.NodeId(f"m{number}.v{value}", index), f"Value {value}", float(value))
    await server.start()
    sys.stdout.write(f"opc.tcp://127.0.0.1:{server.bserver.port}/\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


@asynccontextmanager
async def asyncua_server() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.discover_opcua", "serve",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None and process.stdin is not None
    try:
        async with asyncio.timeout(START_S):
            yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


async def discovered_s(endpoint: str) -> tuple[float, dict[str, int]]:
    """The whole command, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("discover", endpoint, "-o", str(Path(folder) / "plant"), "--json")
        begun = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "control", *words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(COMMAND_S):
            out, _ = await process.communicate()
        took = time.perf_counter() - begun
    found = json.loads(out)
    assert found["written"], found
    return took, {"values": found["values"], "things": found["things"], "skipped": len(found["skipped"])}


async def one_by_one_s(endpoint: str) -> float:
    """Seconds a node: its children, then its attributes, each with a question of its own, as asyncua's Node offers it."""
    async with Client(endpoint, timeout=60) as client:
        todo, seen = [client.nodes.objects], 0
        begun = time.perf_counter()
        while todo and seen < PEER_NODES:
            node = todo.pop()
            if node.nodeid == ua.NodeId(ua.ObjectIds.Server):
                continue
            todo += await node.get_children()
            await node.read_browse_name()
            if await node.read_node_class() is ua.NodeClass.Variable:
                await node.read_attributes(ATTRIBUTES)
            seen += 1
        return (time.perf_counter() - begun) / seen


async def measure(name: str, endpoint: str) -> None:
    a_node_s = await one_by_one_s(endpoint)
    took, found = await discovered_s(endpoint)
    nodes = found["values"] + found["things"] + found["skipped"]
    detail: dict[str, object] = {**found, "nodes": nodes, "target_s": TARGET_S, "peer_nodes": PEER_NODES}
    line(name, round(took, 2), "s", round(a_node_s * nodes, 2), detail)


async def run() -> None:
    async with asyncua_server() as endpoint:
        await measure("discover_opcua", endpoint)
    async with node_server(items=4600, machines=100) as server:
        await measure("discover_opcua_node", server.endpoint)


def main() -> None:
    asyncio.run(serve() if sys.argv[1:] == ["serve"] else run())


if __name__ == "__main__":
    main()
