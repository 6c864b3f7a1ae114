"""A command is predicted, sent into a plant on real sockets, and its prediction is scored when the plant's hour is over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from control import offline
from control.client import Client
from tests.plant.site import live, site, until

SPEED = 240.0  # two plant hours in thirty seconds
AHEAD_S = 2400.0  # of plant time: what a prediction takes on a busy machine, and the way into the queue
PUMP = "pump_10.status"  # the water plant predicts commands on it


@pytest.mark.timeout(300)
def test_a_pump_is_predicted_switched_and_its_prediction_scored_across_a_crash(tmp_path: Path) -> None:
    with site(tmp_path) as plant:
        plant.start_fleet(SPEED, seed=4, start="9h")
        client = plant.start_server()
        until(lambda: live(client), lambda found: found[0] == found[1])
        warm_up(client)
        running = client.get(f"/points/{PUMP}")["value"]
        dry = twinloop("command", "check", PUMP, str(1.0 - running), "--predict", "--json", "--data", str(plant.data))
        assert dry["allowed"] and dry["prediction"]["fans"] and client.get("/predictions")["predictions"] == []
        clock_s = client.get("/points/network.clock")["value"]
        body = {"key": "pump", "point": PUMP, "value": 1.0 - running, "at_plant_s": clock_s + AHEAD_S}
        command = client.post("/commands", body)
        assert command["status"] == "DRAFT"
        ended = until(lambda: client.get(f"/commands/{command['id']}"), lambda c: c["final"])
        assert ended["status"] == "CONFIRMED", ended
        steps = [(t["status"], t["detail"]) for t in ended["transitions"]]
        assert [s for s, _ in steps] == ["DRAFT", "SCHEDULED", "QUEUED", "SENT", "ACKNOWLEDGED", "CONFIRMED"]
        assert steps[1][1].startswith("pre-flight"), steps[1]
        made = client.get(f"/commands/{command['id']}/prediction")
        assert made["score"] is None and made["replications"] == 200
        assert {r["limit"] for r in made["risks"]} == {"tank_1.level<1", "tank_2.level<2.5", "tank_3.level<2"}
        plant.kill_server()
        client = plant.start_server()
        scored = until(
            lambda: client.get(f"/commands/{command['id']}/prediction"), lambda p: p["score"] is not None
        )["score"]  # fmt: skip
        assert scored["outcome"] == "scored", scored
        print(f"inside the 90 % band: {scored['inside']} of {scored['readings']}; sent {scored['delay_s']:.0f} s late")
        print(scored["points"])
        assert scored["readings"] > 30, "what was heard before and after the crash"
        assert scored["coverage"] > 0.3  # one truth, three tanks that move together: it may be outside for an hour
        assert sum(p["loss"] for p in scored["points"]) < sum(p["persistence"] for p in scored["points"])
        assert [x["violated"] for x in scored["limits"]] in ([False] * 3, [None] * 3), (
            "nobody listened during the crash"
        )
        found = client.get("/predictions")
        assert found["summary"]["scored"] == 1 and found["summary"]["coverage"] == scored["coverage"]
        assert found["predictions"][0]["command"] == command["id"] and found["predictions"][0]["fans"] == {}
        printed = twinloop("command", "predictions", "--json", "--data", str(plant.data))
        assert client.get(f"/commands/{command['id']}")["prediction"]["score"]["coverage"] == scored["coverage"]
        assert printed["summary"]["scored"] == 1
        until(lambda: client.get("/audit", kind="prediction.score")["entries"], lambda entries: len(entries) == 1)
        assert [e["body"]["id"] for e in client.get("/audit", kind="prediction")["entries"]] == [command["id"]]
        client.close()
        assert plant.server is not None and plant.server.stop() == 0
        report = offline.verify(plant.data)
        assert report["ok"], report["problems"]


def warm_up(client: Client) -> None:
    """The simulation's processes start with its first question; at this speed that is half an hour of the plant."""
    run = client.post("/whatif", {"scenarios": [f"{PUMP}=on"], "horizon_s": 3600.0, "replications": 8})
    until(lambda: client.get(f"/whatif/{run['id']}"), lambda r: r["state"] == "done")


def twinloop(*words: str) -> Any:
    ran = subprocess.run(
        [sys.executable, "-m", "control", *words],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
        timeout=60,
    )
    return json.loads(ran.stdout)
