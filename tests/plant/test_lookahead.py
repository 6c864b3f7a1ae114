"""A pump of the water plant is stopped: the low tank is predicted before it comes, about when it comes, and scored."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from control import offline
from control.client import Client
from tests.plant.site import live, site, until
from tests.plant.test_preflight import twinloop

WATER = Path(__file__).parents[2] / "scenarios" / "water"
SPEED = 300.0  # an hour in twelve seconds
LIMIT = "tank_1.level<3"  # an hour after the pumps stop
LOOKAHEAD = f"""[lookahead]
every = "2s"
horizon = "1h"
replications = 60
p_min = 0.5
p_clear = 0.2
limits = ["{LIMIT}", "tank_1.level<-0.2"]

"""


def plant_folder(folder: Path) -> Path:
    """The water plant, looking ahead more often than people would."""
    made = folder / "plant"
    shutil.copytree(WATER, made)
    text = (made / "plant.toml").read_text()
    cut = re.sub(r"(?ms)^\[lookahead\].*?(?=^# What the simulation)", LOOKAHEAD, text)
    (made / "plant.toml").write_text(cut)
    return made


def ahead(client: Client) -> Any:
    return client.get("/lookahead")


def standing(client: Client) -> list[str]:
    return [a["limit"] for a in ahead(client)["alarms"]]


@pytest.mark.timeout(240)
def test_a_low_tank_is_predicted_before_it_comes_about_when_it_comes_across_a_crash(tmp_path: Path) -> None:
    folder = plant_folder(tmp_path)
    with site(tmp_path) as plant:
        plant.start_fleet(SPEED, seed=4, start="9h")
        client = plant.start_server(str(folder))
        until(lambda: live(client), lambda found: found[0] == found[1])
        until(lambda: ahead(client), lambda s: s["state"] == "current")
        quiet = ahead(client)
        assert quiet["alarms"] == [] and quiet["passed"] == [], "the pumps run: nothing is coming"

        stopped_s = client.get("/points/network.clock")["value"]
        assert client.post("/stop/pumps", {"key": "stop"})["problems"] == []
        until(lambda: standing(client), lambda found: found == [LIMIT])
        (alarm,) = ahead(client)["alarms"]
        said = alarm["first"]
        assert said["probability"] >= 0.5 and said["clock_s"] - stopped_s < 3600.0
        assert said["early_s"] < said["at_s"] < said["late_s"]
        level = client.get("/points/tank_1.level")["value"]
        assert level > 3.0, "it is predicted, and not there"
        print(f"{level:.2f} m when predicted: {alarm['said']}")
        printed = twinloop("lookahead", "--json", "--data", str(plant.data))
        assert [a["id"] for a in printed["alarms"]] == [alarm["id"]]

        until(lambda: client.get("/lookahead/alarms"), lambda found: found[0]["status"] == "came")
        came = client.get("/lookahead/alarms")[0]
        print(f"it came {came['lead_s'] / 60:.0f} min later, {came['error_s'] / 60:+.1f} min from what was first said")
        assert came["id"] == alarm["id"] and came["lead_s"] > 600.0
        assert abs(came["error_s"]) < 900.0
        assert ahead(client)["passed"] == [LIMIT] and standing(client) == []
        assert [(q["limit"], q["came_s"]) for q in ahead(client)["quiet"]] == [(LIMIT, came["ended_clock_s"])]

        found = until(lambda: client.get("/lookahead/scores"), lambda s: enough(s["summary"]))["summary"]
        (tank,) = [p for p in found["points"] if p["point"] == "tank_1.level"]
        print({k: tank["whole"][k] for k in ("readings", "coverage_50", "coverage_90", "crps", "skill")})
        print(found["limits"], found["alarms"])
        assert tank["whole"]["crps"] < tank["whole"]["persistence"], "better than 'it stays as it is'"
        # The base rate knows what came; of so few limits a few percent either way are luck.
        assert found["limits"]["brier"] <= found["limits"]["base"] + 0.02
        assert found["alarms"] | {"lead_s": 0, "error_s": 0, "inside": 0, "again": {}} == {
            "came": 1, "cleared": 0, "lapsed": 0, "missed": 0, "lead_s": 0, "error_s": 0, "inside": 0, "again": {}
        }  # fmt: skip
        entries = until(lambda: client.get("/audit", kind="lookahead")["entries"], lambda found: len(found) == 2)
        assert [(e["body"]["step"], e["body"]["id"]) for e in entries] == [
            ("came", came["id"]),
            ("predicted", came["id"]),
        ]

        client.close()
        plant.kill_server()
        client = plant.start_server(str(folder))
        assert client.get("/lookahead/alarms") == [came], "what was predicted and came is known after a crash"
        again = until(lambda: client.get("/lookahead/scores")["summary"], lambda s: s["scored"] > found["scored"])
        assert again["limits"]["count"] >= found["limits"]["count"], "what waited for its future met it"

        until(lambda: ahead(client), lambda s: s["state"] == "current")
        assert plant.fleet is not None
        plant.fleet.stop()
        stale = until(lambda: ahead(client), lambda s: s["state"] == "stale" and s["turns"]["refused"])
        assert "BadNoCommunication" in stale["why"] and stale["since"] == stale["forecast"]["made_at"]
        assert "no forecast since" in printed_by("lookahead", "--data", str(plant.data))
        client.close()
        assert plant.server is not None and plant.server.stop() == 0
        report = offline.verify(plant.data)
        assert report["ok"], report["problems"]


def printed_by(*words: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "control", *words],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
        timeout=60,
    )
    return ran.stdout


def enough(summary: Any) -> bool:
    """Forecasts of after the stop whose whole time is over, the limit passed within some of them."""
    return bool(summary["scored"] >= 3 and summary["limits"]["passed"])
