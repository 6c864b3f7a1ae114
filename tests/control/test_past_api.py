"""Looking back over HTTP: the whole plant at a moment, and what happened, of a real server with a real PLC."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from control.client import Client
from tests.control.command_site import RULES, CommandSite, command_site
from tests.plant.site import until
from twin.errors import BadRequest, NotPermitted

ALARM = """
[[alarm]]
id = "high"
points = ["tank.level"]
hi = 8
priority = "low"
"""


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandSite]:
    with command_site(tmp_path_factory.mktemp("past"), RULES + ALARM) as made:
        yield made


def moment() -> str:
    return datetime.now(UTC).isoformat()


def values(works: CommandSite, state: dict[str, Any]) -> dict[str, float]:
    columns = {k: base64.b64decode(v) for k, v in state["columns"].items() if k != "text"}
    count = len(columns["point"]) // 4
    names = {p["id"]: p["name"] for p in works.client.get("/plant")["points"]}
    ids, held = struct.unpack(f"<{count}I", columns["point"]), struct.unpack(f"<{count}d", columns["value"])
    assert len(columns["quality"]) == 4 * count and len(columns["source"]) == len(columns["received"]) == 8 * count
    return {names[i]: v for i, v in zip(ids, held, strict=True)}


def test_the_plant_is_as_it_was_with_its_alarms_and_commands(works: CommandSite) -> None:
    client = works.client
    works.show({"tank.level": 3.25, "pump.status": 0.0})
    time.sleep(0.05)  # the next reading has a later source time
    before = moment()
    works.show({"tank.level": 9.0})
    until(lambda: client.get("/alarms")["total"], lambda total: total == 1, 10)
    sent = client.post("/commands", {"key": "k", "point": "pump.speed", "value": 60, "reason": "less noise"})
    until(lambda: open_now(client), lambda found: found == [sent["id"]], 10)
    between = client.get("/state")
    works.show({"tank.level": 3.0})
    until(lambda: client.get("/alarms", state="active")["total"], lambda total: total == 0, 10)
    until(lambda: client.get("/state")["alarms"], lambda found: found == [], 10)

    past = client.get("/state", at=before)
    assert values(works, past)["tank.level"] == 3.25 and past["alarms"] == past["commands"] == []
    then = datetime.fromtimestamp(between["at"] / 1e3, UTC).isoformat()
    again = client.get("/state", at=then)
    assert values(works, again)["tank.level"] == 9.0
    assert [(a["alarm"], a["acked"], a["value"]) for a in again["alarms"]] == [("tank.level:high", False, 9.0)]
    assert [(c["id"], c["status"]) for c in again["commands"]] == [(sent["id"], "AWAITING_APPROVAL")]
    unknown = client.get("/state", at=then, known=before)
    assert unknown["alarms"] == unknown["commands"] == []
    assert values(works, client.get("/state"))["tank.level"] == 3.0
    assert "tank.level" not in values(works, client.get("/state", known="-1h"))


def test_an_alarm_that_was_shelved_then_was_told_to_nobody(works: CommandSite) -> None:
    client = works.client
    works.show({"tank.level": 9.0})
    until(lambda: client.get("/alarms", state="active")["total"], lambda total: total == 1, 10)
    body = {"alarms": ["tank.level:high"], "reason": "the sensor is cleaned", "for_s": 600}
    assert client.post("/alarms/shelve", body)["done"] == 1
    until(lambda: [a["silent"] for a in client.get("/state")["alarms"]], lambda found: found == [True], 10)
    client.post("/alarms/unshelve", {"alarms": ["tank.level:high"]})
    until(lambda: [a["silent"] for a in client.get("/state")["alarms"]], lambda found: found == [False], 10)
    works.show({"tank.level": 3.0})
    until(lambda: client.get("/state")["alarms"], lambda found: found == [], 10)


def open_now(client: Client) -> list[str]:
    return [c["id"] for c in client.get("/state")["commands"]]


def test_what_happened_is_told_page_by_page(works: CommandSite) -> None:
    first = works.client.get("/happenings", kind="alarm,command", limit=1)
    rest = works.client.get("/happenings", kind="alarm,command", before=first["next"])
    told = [(h["kind"], h["action"]) for h in [*first["happenings"], *rest["happenings"]]]
    assert ("alarm", "cleared") in told and told.index(("alarm", "cleared")) < told.index(("alarm", "active"))
    assert ("command", "AWAITING_APPROVAL") in told and rest["next"] is None
    assert works.client.get("/happenings", to="-30m")["happenings"] == []


@pytest.mark.parametrize(
    ("path", "query"),
    [("/state", {"at": "+1h"}), ("/state", {"known": "soon"}), ("/happenings", {"kind": "login"}),
     ("/happenings", {"limit": 0}), ("/happenings", {"from": "soon"})],
)  # fmt: skip
def test_what_makes_no_sense_is_said(works: CommandSite, path: str, query: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        works.client.get(path, **query)


def test_a_token_for_some_points_sees_nothing_of_it(works: CommandSite) -> None:
    made = works.client.post("/tokens", {"name": "one", "may": ["see"], "points": ["tank.level"], "account": "anna"})
    client = Client(works.site.data)
    client._http.headers["Authorization"] = f"Bearer {made['secret']}"
    for path in ("/state", "/happenings"):
        with pytest.raises(NotPermitted):
            client.get(path)
    client.close()
