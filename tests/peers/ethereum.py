"""Starts Foundry's node anvil as a process and drives its chain; must not know the product."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.node_server import installed

FOLDER = Path(__file__).parent / "anvil"
BINARY = "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
ANSWER_S = 30.0
START_LINES_MAX = 200
RICH = hex(10**21)  # a thousand ether
CHAIN_ID = 31_337


@dataclass(slots=True)
class Anvil:
    """A running node."""

    url: str
    process: subprocess.Popen[str]

    def ask(self, method: str, *parameters: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return json.load(answer)["result"]

    def enrich(self, *addresses: str) -> None:
        for address in addresses:
            self.ask("anvil_setBalance", address, RICH)

    def leave(self) -> None:
        """End as when a machine is taken down in order: what `--state` names holds the whole chain then."""
        self.process.terminate()
        self.process.wait(ANSWER_S)

    def mine(self, blocks: int = 1) -> None:
        self.ask("anvil_mine", hex(blocks))


@contextlib.contextmanager
def anvil(*options: str, port: int = 0) -> Iterator[Anvil]:
    """A chain of its own, with one block for each transaction unless the options say otherwise."""
    binary = shutil.which("anvil") or str(installed(FOLDER) / BINARY)
    with subprocess.Popen([binary, "--port", str(port), *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = None
            for _ in range(START_LINES_MAX):
                found = re.search(r"Listening on ([\d.]+:\d+)", process.stdout.readline())
                if found:
                    break
            assert found, "anvil did not say where it listens"
            threading.Thread(target=process.stdout.read, daemon=True).start()  # a full pipe would stop it
            yield Anvil(f"http://{found[1]}", process)
        finally:
            process.kill()
