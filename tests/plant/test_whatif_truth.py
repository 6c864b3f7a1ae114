"""What was predicted from the twin alone, then done in the plant: the plant stays inside the band."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from tests.plant.site import live, rows, site, until

SPEED = 720.0  # four plant hours in twenty seconds
HOURS = 4
TANKS = ("tank_1.level", "tank_2.level", "tank_3.level")
GAUGE_M = 0.02  # two standard deviations of the level gauges: bands are of levels, observations are readings


@pytest.mark.timeout(170)
@pytest.mark.parametrize("seed", [2, 5])
def test_the_tanks_follow_the_forecast_of_a_pump_trip(tmp_path: Path, seed: int) -> None:
    start = random.Random(seed).randrange(0, 24)
    with site(tmp_path) as plant:
        plant.start_fleet(SPEED, seed=seed, start=f"{start}h")
        client = plant.start_server()
        until(lambda: live(client), lambda found: found[0] == found[1])
        asked = {"scenarios": [f"pump_335.status=off for {HOURS}h"], "horizon_s": HOURS * 3600.0, "replications": 128}
        run = client.post("/whatif", asked)
        command = client.post("/commands", {"key": "trip", "point": "pump_335.status", "value": 0.0})
        until(lambda: client.get(f"/commands/{command['id']}"), lambda c: c["status"] == "CONFIRMED")
        result = until(lambda: client.get(f"/whatif/{run['id']}"), lambda r: r["state"] == "done")["result"]
        begun, end = result["clock_s"], result["clock_s"] + HOURS * 3600
        until(lambda: rows(client, "SELECT value FROM points WHERE name = 'network.clock'")[0][0], lambda t: t > end)
        sql = (
            "WITH c AS (SELECT source_time, value AS clock FROM history WHERE point = 'network.clock') "
            "SELECT h.point, c.clock, h.value FROM history h JOIN c USING (source_time) "
            f"WHERE h.point IN {TANKS} AND c.clock BETWEEN {begun} AND {end}"
        )
        observed = rows(client, sql)
    times = np.array(result["times_s"])
    times = times - times[0] + begun
    inside = []
    for point, clock, level in observed:
        fan = np.array(result["outcomes"][1]["fans"][point])
        low, high = (np.interp(clock, times, fan[row]) for row in (0, 4))
        inside.append(low - GAUGE_M <= level <= high + GAUGE_M)
    drop = observed[0][2]
    print(
        f"seed {seed}, start {start} h: {np.mean(inside):.1%} of {len(inside)} readings inside the 90 % band ({drop})"
    )
    assert len(inside) > 90
    assert np.mean(inside) >= 0.8
