"""Starts the edge node of `tahu/`, Eclipse Tahu's own, as a process and talks to it over its stdin; must not know the product."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.peers.node_server import installed

FOLDER = Path(__file__).parent / "tahu"
START_S = 30.0  # a cold file cache and two busy cores


class TahuNode:
    """A running edge node `Peer Group/tahu`; `events` are what it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.events: list[dict[str, Any]] = []
        self.reached = asyncio.Event()
        self._process = process

    def say(self, what: str, device: str | None = None, compress: str | None = None, *metrics: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        command = {"do": what, "device": device, "metrics": metrics, "compress": compress}
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    @property
    def commands(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == "command"]

    def kill(self) -> None:
        """As a power failure: no farewell to anybody."""
        self._process.kill()

    async def listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.events.append(json.loads(line))
            self.reached.set()


@contextlib.asynccontextmanager
async def tahu_node(port: int) -> AsyncIterator[TahuNode]:
    """Connected to the broker at this port of ours; what it says is up to the test."""
    folder = installed(FOLDER)
    process = await asyncio.create_subprocess_exec(
        "node", "edge.js", str(port), cwd=folder,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    node = TahuNode(process)
    listening = asyncio.create_task(node.listen())
    try:
        async with asyncio.timeout(START_S):
            await node.reached.wait()
        yield node
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await listening
