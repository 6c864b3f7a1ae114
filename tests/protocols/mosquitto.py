"""A mosquitto of the test's own: its process, its files, its settings."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.protocols.protocol_bench import free_port

START_S = 5.0


class Mosquitto:
    """The broker process of one test. `config`: more lines for its file, after the first listener's."""

    def __init__(self, folder: Path, config: str = "allow_anonymous true\n") -> None:
        binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if binary is None:
            assert not os.environ.get("CI"), "mosquitto is missing, and CI must not skip these tests"
            pytest.skip("mosquitto is not installed")
        self._binary = binary
        self.folder = folder
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._log = folder / "mosquitto.log"
        self._more = config
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        own = os.environ.get("USER") or "root"
        self._config.write_text(
            "set_tcp_nodelay true\nmax_inflight_messages 1000\nmax_queued_messages 0\n"
            f"user {own}\nlistener {self.port} 127.0.0.1\n{self._more}"
        )
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([self._binary, "-c", str(self._config)], stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                assert time.monotonic() < deadline, f"mosquitto does not start: {self._log.read_text()}"
                time.sleep(0.02)

    @property
    def endpoint(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """As an operator would: it writes down what it keeps."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None
