"""The fleet with faults and the server as two real processes: in the end the server's points are the fleet's own truth."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.plant.site import rows, site, until

DEVICES, POINTS = 6, 24  # one OPC UA, one MQTT, four Modbus
FAULTS = "3:60:0.25"  # sixty a minute, for a quarter of one
SETTLE_S = 40.0  # waits between two tries grow to 10 s


def same(held: Any, shown: float | str) -> bool:
    if isinstance(shown, str):
        return bool(held == shown)
    return held is not None and math.isclose(held, shown, rel_tol=1e-6, abs_tol=1e-6)


@pytest.mark.timeout(150)
def test_a_server_that_lived_through_faults_shows_what_the_fleet_says_is_true(tmp_path: Path) -> None:
    plant, truth, log = tmp_path / "works", tmp_path / "truth.json", tmp_path / "faults.jsonl"
    with site(tmp_path) as running:
        running.start_any_fleet(
            [str(plant), "--make", f"{DEVICES}x{POINTS}", "--free-ports", "--faults", FAULTS, "--rest-after", "16s",
             "--truth", str(truth), "--fault-log", str(log)]
        )  # fmt: skip
        client = running.start_server(str(plant))
        until(truth.exists, bool, 60)
        shown: dict[str, float | str] = json.loads(truth.read_text())
        assert len(shown) == DEVICES * POINTS

        def wrong() -> list[list[Any]]:
            found = rows(client, "SELECT name, value, text, quality FROM points WHERE device <> ''")
            held = [(n, text if isinstance(shown[n], str) else value, q) for n, value, text, q in found]
            return [[name, value, shown[name], q] for name, value, q in held if q >> 30 or not same(value, shown[name])]

        until(wrong, lambda left: not left, SETTLE_S)
        assert rows(client, "SELECT count(*) FROM points WHERE name LIKE '%.online' AND value = 1") == [[DEVICES]]
        client.close()
        assert running.server is not None and running.server.process.poll() is None
    events = [json.loads(line) for line in log.read_text().splitlines()]
    told = Counter(event.get("is", "rest") for event in events)
    assert told["begins"] == told["over"] > 5 and told["rest"] == 1
