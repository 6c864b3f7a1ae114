"""Interlocks of the water plant against its real fleet: they refuse, let go again, and refuse what cannot be told."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from control.client import Client
from tests.plant.site import live, site, until
from twin.errors import Interlocked


def body(point: str, value: float, **more: Any) -> dict[str, Any]:
    return {"key": uuid.uuid4().hex, "point": point, "value": value, **more}


def refused(client: Client, point: str, value: float, **more: Any) -> tuple[str, dict[str, Any]]:
    """What is said and the record."""
    with pytest.raises(Interlocked) as caught:
        client.post("/commands", body(point, value, **more))
    record: dict[str, Any] = client.get(f"/commands/{caught.value.command}")
    assert record["status"] == "REFUSED"
    return caught.value.message, record


def done(client: Client, point: str, value: float) -> str:
    identity = client.post("/commands", body(point, value))["id"]
    ended: dict[str, Any] = until(lambda: client.get(f"/commands/{identity}"), lambda c: bool(c["final"]))
    return str(ended["status"])


@pytest.mark.timeout(180)
def test_the_bypass_stays_shut_while_its_pump_runs_and_while_nobody_knows(tmp_path: Path) -> None:
    with site(tmp_path) as plant:
        plant.start_fleet(speed=60)
        client = plant.start_server()
        until(lambda: live(client), lambda found: found[0] == found[1] > 0)
        said, record = refused(client, "station.bypass", 1.0)
        assert "interlock bypass: not pump_335.running does not hold: pump_335.running is on" in said
        assert [(s["point"], s["value"]) for s in record["transitions"][-1]["seen"]] == [("pump_335.running", 1.0)]
        assert done(client, "pump_335.status", 0.0) == "CONFIRMED"
        assert done(client, "station.bypass", 1.0) == "CONFIRMED"
        assert plant.fleet is not None
        plant.fleet.stop()
        until(lambda: live(client), lambda found: found[1] == 0)
        for more in ({}, {"priority": "emergency"}):
            said, record = refused(client, "station.bypass", 1.0, **more)
            assert "not pump_335.running cannot be told: pump_335.running is Bad" in said
        client.close()
