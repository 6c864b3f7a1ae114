"""A node-opcua client (`node_opcua/client.js`) as a process, spoken to over its stdin; must not know the product."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.peers.node_server import installed

START_S = 60.0  # a cold file cache and two busy cores
LEAVE_S = 10.0


class NodeClient:
    """`ask` sends one of the commands that client.js lists and returns its answer."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self.line())

    def line(self) -> str:
        """The next line that is an answer; node-opcua itself prints warnings, too."""
        assert self._process.stdout is not None
        while not (line := self._process.stdout.readline()).startswith(("{", "[", "READY")):
            assert line, "the node-opcua client has gone"
        return line


@contextmanager
def node_client(endpoint: str, **options: object) -> Iterator[NodeClient]:
    """A client with the options of client.js, once its session is there."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen(
        ["node", "client.js", "--endpoint", endpoint, *words], cwd=installed(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    watchdog = threading.Timer(START_S, process.kill)
    watchdog.start()
    try:
        client = NodeClient(process)
        line = client.line()
        assert line.startswith("READY"), line
        watchdog.cancel()
        yield client
    finally:
        watchdog.cancel()
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # it signs out and ends
        try:
            process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
