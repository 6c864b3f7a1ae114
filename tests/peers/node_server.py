"""Starts the node-opcua server of `node_opcua/` as a process and talks to it over its stdin; must not know the product."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "node_opcua"
INSTALL_S = 300.0
START_S = 60.0  # a cold file cache and two busy cores
ANSWER_S = 30.0


def installed(folder: Path = FOLDER) -> Path:
    """The folder with its packages in place; skips (in CI: fails) where npm cannot bring them."""
    with (folder / "package-lock.json").open() as lock:
        # `npm ci` begins by removing what is there: one at a time, however many run tests.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(folder)
    return folder


def _install(folder: Path) -> None:
    stamp = folder / "node_modules" / ".package-lock.json"
    if stamp.exists() and stamp.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime:
        return
    if shutil.which("npm") is None:
        _missing("npm is not on PATH")
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode:
        _missing(f"npm ci failed: {done.stderr[-500:]}")
    stamp.touch()


def _missing(why: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@dataclass(slots=True)
class NodeServer:
    """A running server. `ask` sends one of the commands that server.js lists and returns its answer."""

    endpoint: str
    port: int
    pid: int
    _process: asyncio.subprocess.Process
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, **command: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        async with self._turn, asyncio.timeout(ANSWER_S):
            stdin.write(json.dumps(command).encode() + b"\n")
            await stdin.drain()
            while not (line := await stdout.readline()).startswith(b"{"):
                assert line, "the node-opcua server has gone"  # node-opcua itself prints warnings here, too
        answer = json.loads(line)
        assert "error" not in answer, answer
        return answer

    async def kill(self) -> None:
        """As a power failure: no farewell to anybody."""
        await _killed(self._process)


async def _killed(process: asyncio.subprocess.Process) -> None:
    """`wait` would wait for its pipes, too, and a child of its own may hold them."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    while process.returncode is None:
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def node_server(**options: object) -> AsyncIterator[NodeServer]:
    """A server with the options of server.js: `node_server(items=100, rate=1000, modes="None,Sign")`."""
    folder = installed()
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    process = await asyncio.create_subprocess_exec(
        "node", "server.js", *words, cwd=folder,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, limit=64 * 2**20,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            while not (line := await process.stdout.readline()).startswith(b"READY"):
                assert line, "the node-opcua server did not start"
        found = json.loads(line[len(b"READY") :])
        server = NodeServer(found["endpoint"], found["port"], process.pid, process)
        yield server
    finally:
        await _killed(process)
