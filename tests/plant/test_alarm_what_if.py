"""An alarm of the water plant has its what-if run by itself: what a pump in its place would bring."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from control.offline import ask
from scenarios import water
from tests.plant.site import live, site, until

ROWS = """
[[alarm]]
id = "stands"
points = ["pump_335.running"]
is = false
priority = "medium"

[[alarm_rule]]
id = "instead"
alarms = ["pump_335.running:stands"]
scenario = ["pump_10.status=on for 1h"]
horizon = "1h"
timeout = "1m"
"""


@pytest.mark.timeout(180)
def test_an_alarm_runs_a_what_if_from_the_state_of_then_once(tmp_path: Path) -> None:
    folder = tmp_path / "plant"
    shutil.copytree(water.__path__[0], folder)
    with (folder / "plant.toml").open("a") as text:
        text.write(ROWS)
    with site(tmp_path) as plant:
        plant.start_fleet(60)
        client = plant.start_server(str(folder))
        until(lambda: live(client), lambda found: found[0] == found[1])
        client.post("/commands", {"key": "stop-1", "point": "pump_335.status", "value": 0, "reason": "it is to stand"})
        told = until(lambda: client.get("/alarms/rules?state=done")["deliveries"], lambda d: len(d) == 1, 60)
        [asked] = until(lambda: client.get("/whatif"), lambda runs: [r["state"] for r in runs] == ["done"], 60)
        assert asked["id"] in told[0]["detail"]
        assert asked["request"]["scenarios"] == ["pump_10.status=on for 1h"]
        base, instead = client.get(f"/whatif/{asked['id']}")["result"]["outcomes"]
        assert instead["kpis"]["energy_kwh"]["mean"] > base["kpis"]["energy_kwh"]["mean"], "pump 10 takes power"
        plant.stop()
        [row] = ask(
            plant.data, "SELECT alarm, step FROM alarm_history WHERE alarm LIKE '%:stands' AND step = 'active'", 9
        )["rows"]
        assert row == ["pump_335.running:stands", "active"], "steps are told without a server, too"
