"""The server is killed in the middle of its work: what it acknowledged is there afterwards."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from control import offline
from control.client import Client
from ledger.entry import decode
from ledger.log import Log
from tests.plant.site import live, rows, site, until
from twin.errors import TwinloopError

ROUNDS = 4


def submit_until_dead(client: Client, seed: int, taken: list[dict[str, Any]]) -> None:
    """Toggle pumps and speeds as fast as answers come; keep what was acknowledged."""
    chance = random.Random(seed)
    for n in range(10_000):
        point, value = chance.choice(
            [
                ("pump_335.status", 1.0),
                ("pump_10.status", chance.choice([0.0, 1.0])),
                ("pump_335.speed", chance.randint(900, 1000) / 10),
            ]
        )
        body = {"key": f"{seed}-{n}", "point": point, "value": value, "deadline_s": 60.0}
        try:
            taken.append({**body, "id": client.post("/commands", body)["id"]})
        except TwinloopError:
            return


@pytest.mark.timeout(240)
def test_a_killed_server_loses_no_acknowledged_command_and_no_entry(tmp_path: Path) -> None:
    with site(tmp_path) as plant:
        plant.start_fleet(speed=60)
        taken: list[dict[str, Any]] = []
        entries: list[bytes] = []
        chance = random.Random(11)
        for round_ in range(ROUNDS):
            client = plant.start_server()
            until(lambda c=client: live(c), lambda found: found[0] == found[1])  # type: ignore[misc]
            submitting = threading.Thread(target=submit_until_dead, args=(client, round_, taken))
            before = len(taken)
            submitting.start()
            until(lambda b=before: len(taken) - b, lambda n: n > 10)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 1))
            known = client.get("/audit", last=1)["size"]
            plant.kill_server()
            submitting.join()
            client.close()
            with Log.open(plant.data / "ledger") as log:
                assert log.size >= known
                kept = [log.read(i) for i in range(log.size)]
            assert kept[: len(entries)] == entries
            entries = kept
        client = plant.start_server()
        found = {c["id"]: c for c in client.get("/commands", limit=1000)["commands"]}
        assert len(taken) > 10 * ROUNDS
        for command in taken[-900:]:
            assert command["id"] in found
            assert {k: found[command["id"]][k] for k in ("key", "point", "value")} == {
                k: command[k] for k in ("key", "point", "value")
            }
        until(lambda: rows(client, "SELECT count(*) FROM commands WHERE status IN ('QUEUED', 'SENT', 'UNKNOWN', 'ACKNOWLEDGED')"),
              lambda left: left == [[0]])  # fmt: skip
        doubled = rows(client, "SELECT key, count(*) FROM commands GROUP BY author, key HAVING count(*) > 1")
        assert doubled == []
        client.close()
        assert plant.server is not None
        assert plant.server.stop() == 0
        report = offline.verify(plant.data)
        assert report["ok"], report["problems"]
        with Log.open(plant.data / "ledger") as log:
            transitions = [(e.body["id"], e.body["n"]) for e in map(decode, log.entries()) if e.kind == "command"]
        assert len(transitions) == len(set(transitions)), "a transition was audited twice"
