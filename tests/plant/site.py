"""A whole site as a user has it: fleet and server as real processes on free ports, asked over HTTP."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil

from control.client import Client
from control.demo import Child, fleet_words, server_words

MARK = "TWINLOOP_TEST_SITE"
WAIT_S = 60.0
T = TypeVar("T")


def until(ask: Callable[[], T], holds: Callable[[T], bool], wait_s: float = WAIT_S) -> T:
    """What `ask` gives once it `holds`."""
    end = time.monotonic() + wait_s
    while True:
        got = ask()
        if holds(got):
            return got
        assert time.monotonic() < end, f"still {got!r} after {wait_s:g} s"
        time.sleep(0.05)


class Site:
    """One fleet, one server, one data folder. `mark` is in the environment of every process it starts."""

    def __init__(self, folder: Path, messages: IO[str]) -> None:
        self.data = folder / "data"
        self.mark = uuid.uuid4().hex
        self._messages = messages
        self._children: list[Child] = []
        self.fleet: Child | None = None
        self.server: Child | None = None
        self.endpoints: dict[str, str] = {}
        self.login = ""

    def start_fleet(self, speed: float, seed: int = 1, start: str = "6h") -> dict[str, str]:
        words = fleet_words(speed, seed)
        words[words.index("6h")] = start
        return self.start_any_fleet(words[1:])

    def start_any_fleet(self, words: list[str]) -> dict[str, str]:
        self.fleet = self._child(["fleet", *words])
        self.endpoints = self.fleet.first_line()["endpoints"]
        return self.endpoints

    def start_server(self, plant: str = "water", at_port: int = 0, **endpoints: str) -> Client:
        words = server_words(self.data, at_port, {**self.endpoints, **endpoints})
        words[1] = plant
        self.server = self._child(words)
        self.login = self.server.first_line()["login"]
        return Client(self.data)

    def kill_server(self) -> None:
        """SIGKILL: no chance to tidy up."""
        assert self.server is not None
        os.kill(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait()

    def stop(self) -> list[int]:
        """Exit codes, newest process first."""
        return [child.stop() for child in reversed(self._children)]

    def processes(self) -> list[psutil.Process]:
        """Everything alive that this site started, at any depth."""
        return [p for p in psutil.process_iter() if _environment(p).get(MARK) == self.mark]

    def _child(self, words: list[str]) -> Child:
        os.environ[MARK] = self.mark
        try:
            child = Child(words, self._messages)
        finally:
            del os.environ[MARK]
        self._children.append(child)
        return child


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A site that leaves no process behind, whatever the test did; its messages are printed when the test fails."""
    with (folder / "messages.log").open("w+") as messages:
        made = Site(folder, messages)
        try:
            yield made
        finally:
            made.stop()
            messages.seek(0)
            print(messages.read()[-8000:])
    until(made.processes, lambda left: not left, 10)


def live(client: Client) -> tuple[int, int]:
    sql = "SELECT count(*), count(*) FILTER (quality >> 30 = 0) FROM points WHERE device <> ''"
    points, good = client.post("/query", {"sql": sql})["rows"][0]
    return points, good


def rows(client: Client, sql: str) -> list[list[Any]]:
    found: list[list[Any]] = client.post("/query", {"sql": sql})["rows"]
    return found
