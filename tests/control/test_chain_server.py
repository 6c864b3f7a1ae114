"""A server whose chain others run, here Foundry's anvil: away, back, asked by a stranger, its events commanding a pump."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account

from control import cli
from control.chain_rules import FILE
from ledger.chain_keys import load_keys
from ledger.entry import Entry, encode
from ledger.log import Log
from tests.control.command_site import CommandSite, command_site
from tests.peers.ethereum import CHAIN_ID, Anvil, anvil
from tests.plant.site import until

ROOT = Path(__file__).parents[2]
RULES = """
[chain]
rpc = "http://127.0.0.1:{port}/?key=secret"
chain_id = 31337
timeout = "5s"
alarm_after = "30s"

[[chain_event]]
contract = "DeviceRegistry"
event = "Revoked"
device = "plc"
set = {{ "pump.status" = 0 }}
"""
Run = Callable[..., tuple[int, str, str]]


@dataclass
class Chained:
    """The server, and its node while that runs."""

    works: CommandSite
    port: int
    state: Path
    nodes: ExitStack
    node: Anvil | None = None

    def start_node(self) -> Anvil:
        self.node = self.nodes.enter_context(anvil("--state", str(self.state), port=self.port))
        return self.node

    def stop_node(self) -> None:
        assert self.node is not None
        self.node.leave()
        self.node = None

    @property
    def ledger(self) -> Path:
        return self.works.site.data / "ledger"

    def head(self) -> dict[str, Any]:
        found: dict[str, Any] = self.works.client.get("/audit", last=200)
        return found

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.works.client.url}/metrics").text
        return float(next(line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def chained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chained]:
    """Its node is away, and an entry has waited for an anchor for an hour."""
    folder, port = tmp_path_factory.mktemp("chained"), free_port()

    def left_behind(data: Path) -> None:
        with Log.open(data / "ledger", "twinloop.local/works") as log:
            log.append([encode(Entry("server.stop", time.time_ns() - 3_600 * 10**9, {"epoch": 1}))])
            log.checkpoint()
        (data / "ledger" / "chain").mkdir()
        load_keys(data / "ledger" / "chain", create=True)

    with ExitStack() as nodes, command_site(folder, RULES.format(port=port), left_behind) as works:
        yield Chained(works, port, folder / "state.json", nodes)


@pytest.fixture
def run(chained: Chained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """(exit code, stdout, stderr) of `twinloop WORDS`."""

    def twinloop(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["twinloop", *words, "--data", str(chained.works.site.data)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return twinloop


def stranger(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "ledger", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def anchored(run: Run, chained: Chained) -> dict[str, Any]:
    """The head once all that was recorded until now is anchored."""
    size = chained.head()["size"]

    until(lambda: json.loads(run("audit", "anchor", "--json")[1]), lambda head: head["anchored"] >= size, 40)
    return chained.head()


def test_a_node_that_is_away_is_an_alarm_everywhere_and_keeps_nobody_from_recording(run: Run, chained: Chained) -> None:
    chained.works.show({"tank.level": 2.0})
    asked = {"key": "k1", "point": "pump.status", "value": 1.0, "reason": "while the node is away"}
    chained.works.status(chained.works.client.post("/commands", asked)["id"], "CONFIRMED")
    head = until(chained.head, lambda found: "cannot be reached" in found["anchor_alarm"], 30)
    assert "the oldest for 36" in head["anchor_alarm"]
    assert "secret" not in json.dumps(head)
    assert (head["chain"], head["anchored"]) == (str(CHAIN_ID), 0)
    assert all("anchored" not in entry["levels"] for entry in head["entries"])
    assert "checkpointed" in head["entries"][-1]["levels"]
    code, _, err = run("audit", "show")
    assert code == 0
    assert "ALARM: " in err
    assert chained.metric("twinloop_anchor_alarm") == 1.0
    assert chained.metric("twinloop_anchor_wait_seconds") > 3_600
    assert httpx.get(f"{chained.works.client.url}/readyz").status_code == 503
    assert run("audit", "anchor")[0] == 1
    assert run("chain", "show", "device", "plc")[0] == 7


def test_when_the_node_is_there_all_is_anchored_and_the_alarm_goes(run: Run, chained: Chained) -> None:
    node = chained.start_node()
    node.enrich(*(Account.from_key(key).address for key in load_keys(chained.ledger / "chain", create=False).values()))
    head = anchored(run, chained)
    assert (head["anchor_alarm"], head["anchor_wait_s"] < 30.0) == ("", True)
    assert "anchored" in head["entries"][-1]["levels"]
    until(lambda: chained.metric("twinloop_anchor_alarm"), lambda value: value == 0.0, 20)
    assert httpx.get(f"{chained.works.client.url}/readyz").status_code == 200


def test_a_stranger_asks_a_node_for_the_anchor_of_the_log_and_of_a_proof(
    run: Run, chained: Chained, tmp_path: Path
) -> None:
    assert chained.node is not None
    code, out, _ = run("audit", "verify", "--rpc", chained.node.url, "--json")
    assert (code, json.loads(out)["chain"]) == (0, "ok")
    key = (chained.ledger / "key.pub").read_text().strip()
    code, out = stranger("verify", str(chained.ledger), "--key", key, "--rpc", chained.node.url)
    assert code == 0, out
    assert "entries, as the node you named says" in out
    file = tmp_path / "proof.json"
    assert run("audit", "prove", "1", "-o", str(file))[0] == 0
    code, out = stranger("verify-bundle", str(file), "--key", key, "--rpc", chained.node.url)
    assert code == 0, out
    assert f"on chain {CHAIN_ID} took that root in block " in out
    with anvil() as another:  # a chain that has none of it
        code, out = stranger("verify-bundle", str(file), "--key", key, "--rpc", another.url)
        assert (code, "no contract is at 0x" in out) == (3, True)
    bundle = json.loads(file.read_text())
    bundle["anchor"]["block_time_s"] -= 3_600
    file.write_text(json.dumps(bundle))
    code, out = stranger("verify-bundle", str(file), "--rpc", chained.node.url)
    assert (code, "another block, time, transaction or contract" in out) == (3, True)


def test_an_event_on_the_chain_stops_the_pump_once_also_over_a_kill(run: Run, chained: Chained, tmp_path: Path) -> None:
    works = chained.works
    key, why = tmp_path / "key.pem", tmp_path / "why.txt"
    key.write_text("a public key")
    why.write_text("stolen")
    assert run("chain", "register-device", "plc", "--key", str(key))[0] == 0
    assert run("chain", "revoke-device", "plc", "--reason", str(why))[0] == 0
    assert run("chain", "revoke-device", "plc", "--reason", str(why))[0] == 6  # once

    def theirs() -> list[dict[str, Any]]:
        found = works.client.get("/commands", limit=100)["commands"]
        return [command for command in found if command["author"] == "chain"]

    (command,) = until(theirs, lambda found: len(found) == 1, 20)
    works.site.kill_server()
    assert works.site.server is not None
    (works.site.data / FILE).unlink(missing_ok=True)  # as if it had been killed between the command and its note
    with works.site.start_server(str(works.site.data.parent / "works"), plc=works.plc.served.endpoint) as client:
        works.client = client
        until((works.site.data / FILE).is_file, bool, 30)  # every event was read once more
        until(lambda: theirs()[0]["status"], lambda status: status == "CONFIRMED", 20)
        assert [(one["id"], one["key"], one["point"], one["value"]) for one in theirs()] == [
            (command["id"], command["key"], "pump.status", 0.0)
        ]
        assert command["key"].startswith("chain:0x")
        assert [value for point, value in works.plc.writes if point == "pump.status"] == [1.0, 0.0]
        assert run("audit", "verify")[0] == 0

        chained.stop_node()
        works.show({"tank.level": 2.5})
        assert run("audit", "anchor")[0] == 1
        assert run("chain", "revoke-device", "plc", "--reason", str(why))[0] == 7
        before = chained.head()
        assert 0 < before["anchored"] < before["size"]
        chained.start_node()
        assert anchored(run, chained)["anchored"] >= before["size"]
