"""Alarms over HTTP, WebSocket, SQL and the command line of a real server with a real PLC, and who may do what."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from control import offline
from control.accounts import Accounts
from control.api.alarm_routes import ALARM_ROUTES
from control.api.alarm_verbs import ALARM_VERBS
from control.api.command_verbs import route as route_of
from control.api.route import Route
from control.client import Client
from tests.control.command_site import RULES, CommandSite, command_site, wire
from tests.control.conftest import Run
from tests.control.served_plant import PASSWORD
from tests.plant.site import until
from twin.errors import BadRequest, Conflict, NotFound, NotPermitted
from twin.role import Role, may

LEVEL, SPEED = "tank.level:high", "pump.speed:high"
ROWS = """
[alarms]
shelve_operator = "1h"

[[alarm]]
id = "high"
points = ["tank.level", "pump.speed"]
hi = 90
deadband = 0.5
priority = "high"
response = "stop the pump"

[[alarm]]
id = "high"
points = ["tank.level"]
hi = 8
priority = "low"

[[alarm]]
id = "dead"
points = ["dead.online"]
is = false
priority = "journal"

[[alarm_rule]]
id = "stop"
alarms = ["tank.level:high"]
set = { "pump.status" = 0 }
"""
ROUTES = (*ALARM_ROUTES, *map(route_of, ALARM_VERBS))
PEOPLE = {"anna": Role.OPERATOR, "sven": Role.SUPERVISOR, "otto": Role.VIEWER, "emma": Role.ENGINEER,
          "root": Role.ADMIN, "audi": Role.AUDITOR}  # fmt: skip


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandSite]:
    with command_site(tmp_path_factory.mktemp("alarms"), RULES + ROWS) as made:
        accounts = Accounts(made.site.data, time.time_ns)
        for name in ("root", "audi"):
            accounts.add(name, PASSWORD, PEOPLE[name])
        yield made


@pytest.fixture(scope="module")
def people(works: CommandSite) -> Iterator[dict[str, Client]]:
    made = {name: works.client_of(name) for name in PEOPLE}
    yield made
    for client in made.values():
        client.close()


@pytest.fixture(autouse=True)
def normal(works: CommandSite, people: dict[str, Client]) -> None:
    """Every test finds the level and the speed normal, and nothing owed or kept silent."""
    works.show({"tank.level": 3.25, "pump.speed": 80.0})
    for alarm in (LEVEL, SPEED):
        until(lambda a=alarm: state(works, a)["active"], lambda active: not active, 10)  # type: ignore[misc]
        for verb in ("return", "unsuppress", "unshelve", "acknowledge"):
            people["root"].post(f"/alarms/{verb}", {"alarms": [alarm, "dead.online:dead"], "reason": "test"})


def state(works: CommandSite, alarm: str) -> dict[str, Any]:
    found: dict[str, Any] = works.client.get(f"/alarms/{alarm}")["alarm"]
    return found


def come(works: CommandSite, alarm: str = LEVEL) -> dict[str, Any]:
    """Once it is active."""
    works.show({"tank.level": 9.0} if alarm == LEVEL else {"pump.speed": 95.0})
    return until(lambda: state(works, alarm), lambda a: a["active"], 10)


def test_an_alarm_comes_is_acknowledged_and_goes(works: CommandSite, people: dict[str, Client]) -> None:
    came = come(works)
    assert (came["state"], came["value"], came["unit"], came["condition"]) == ("unacknowledged", 9.0, "m", "hi 8")
    listed = works.client.get("/alarms")
    assert [a["id"] for a in listed["alarms"]] == [LEVEL] and listed["total"] == 1
    answer = people["anna"].post("/alarms/acknowledge", {"alarms": [LEVEL], "reason": "pump stopped"})
    assert answer["done"] == 1 and answer["outcomes"][0]["alarm"]["acked_by"] == "anna"
    works.show({"tank.level": 3.0})
    until(lambda: works.client.get("/alarms")["alarms"], lambda found: found == [], 10)
    steps = works.client.get("/alarms/history", alarm=LEVEL, limit=3)
    assert [(s["step"], s["by"]) for s in steps] == [("cleared", ""), ("acknowledged", "anna"), ("active", "")]
    assert works.client.get(f"/alarms/{LEVEL}")["response"] == "stop the pump"


def test_an_acknowledgement_of_what_came_again_since_is_refused(works: CommandSite) -> None:
    seen = come(works)["occurrence"]
    works.show({"tank.level": 3.0})
    until(lambda: state(works, LEVEL)["active"], lambda active: not active, 10)
    come(works)
    with pytest.raises(Conflict, match="came again"):
        works.client.post("/alarms/acknowledge", {"alarms": [LEVEL], "occurrence": seen})


def test_many_at_once_each_with_its_outcome_and_by_twin(works: CommandSite) -> None:
    come(works)
    answer = works.client.post("/alarms/acknowledge", {"alarms": [LEVEL, SPEED]})
    assert answer["done"] == 1 and [o["problem"] for o in answer["outcomes"]] == ["", "conflict"]
    come(works, SPEED)
    answer = works.client.post("/alarms/acknowledge", {"twin": "pump", "priority": "high"})
    assert [o["alarm"]["id"] for o in answer["outcomes"]] == [SPEED]


def test_of_several_only_those_that_have_not_come_again_are_acknowledged(works: CommandSite) -> None:
    seen = {a["id"]: a["occurrence"] for a in (come(works), come(works, SPEED))}
    answer = works.client.post(
        "/alarms/acknowledge", {"alarms": [*seen], "occurrences": {**seen, LEVEL: seen[LEVEL] - 1}}
    )
    assert {o["alarm"]["id"]: o["problem"] for o in answer["outcomes"]} == {LEVEL: "conflict", SPEED: ""}
    with pytest.raises(BadRequest, match="an occurrence of"):
        works.client.post("/alarms/acknowledge", {"alarms": [LEVEL], "occurrences": seen})


async def test_people_do_with_alarms_over_the_socket_what_they_do_over_http(
    works: CommandSite, people: dict[str, Client]
) -> None:
    import asyncio

    came = await asyncio.to_thread(come, works)
    anna, otto = await wire(people["anna"]), await wire(people["otto"])
    try:
        body = {"alarms": [LEVEL], "occurrence": came["occurrence"], "reason": "seen"}
        assert (await otto.call("acknowledge_alarms", **body))["code"] == "not_permitted"
        answer = (await anna.call("acknowledge_alarms", **body))["body"]
        assert answer["done"] == 1 and answer["outcomes"][0]["alarm"]["acked_by"] == "anna"
        assert (await anna.call("acknowledge_alarms", **body))["code"] == "conflict"
        shelf = {"alarms": [LEVEL], "for_s": 60.0, "reason": "meter"}
        assert (await anna.call("shelve_alarms", **shelf))["body"]["outcomes"][0]["alarm"]["state"] == "shelved"
        assert (await anna.call("shelve_alarms", **{**shelf, "for_s": 7200.0}))["code"] == "not_permitted"
        assert (await anna.call("unshelve_alarms", alarms=[LEVEL]))["body"]["done"] == 1
        assert (await anna.call("suppress_alarms", alarms=[LEVEL], reason="x"))["code"] == "not_permitted"
    finally:
        await anna.close()
        await otto.close()


def test_the_list_says_up_to_which_step_it_reaches_and_who_is_blind(works: CommandSite) -> None:
    come(works)
    listed = works.client.get("/alarms")
    assert listed["n"] == works.client.get("/alarms/history", limit=1)[0]["n"]
    assert listed["shelve_operator_s"] == 3600
    assert works.client.get("/alarms", state="blind") | {"n": 0} == {
        "alarms": [], "total": 0, "flood": False, "rate_10min": listed["rate_10min"], "waiting": 0, "n": 0,
        "shelve_operator_s": 3600,
    }  # fmt: skip


def test_filters_by_state_twin_priority_and_time(works: CommandSite, people: dict[str, Client]) -> None:
    come(works)
    come(works, SPEED)
    people["sven"].post("/alarms/suppress", {"alarms": [SPEED], "reason": "tests"})

    def ids(**query: Any) -> set[str]:
        return {a["id"] for a in works.client.get("/alarms", **query)["alarms"]} - {"dead.online:dead"}

    assert ids() == {LEVEL} and ids(state="silent") == ids(state="suppressed") == {SPEED}
    assert ids(state="retained") == {LEVEL, SPEED} and ids(state="all", twin="tank") == {LEVEL}
    assert ids(state="retained", priority="high") == {SPEED} and ids(state="retained", priority="high,low") == {
        LEVEL,
        SPEED,
    }
    assert ids(**{"from": "-1m"}) == {LEVEL} and ids(to="-1h") == set()
    for wrong in ({"state": "odd"}, {"priority": "urgent"}, {"from": "soon"}):
        with pytest.raises(BadRequest):
            works.client.get("/alarms", **wrong)
    with pytest.raises(NotFound):
        works.client.get("/alarms", twin="tonk")
    with pytest.raises(NotFound):
        works.client.get("/alarms/nothing")


def test_what_keeps_an_alarm_silent_takes_a_reason(works: CommandSite, people: dict[str, Client]) -> None:
    for verb in ("shelve", "suppress", "remove", "comment"):
        with pytest.raises(BadRequest, match="without a reason"):
            people["root"].post(f"/alarms/{verb}", {"alarms": [LEVEL]})
    for body in ({}, {"alarms": [LEVEL], "twin": "tank"}):
        with pytest.raises(BadRequest, match="which alarms"):
            people["root"].post("/alarms/acknowledge", body)


def test_an_operator_shelves_for_an_hour_and_a_supervisor_for_longer(
    works: CommandSite, people: dict[str, Client]
) -> None:
    body = {"alarms": [LEVEL], "for_s": 7200, "reason": "meter"}
    with pytest.raises(NotPermitted, match="may not shelve for 7200 s"):
        people["anna"].post("/alarms/shelve", body)
    assert people["anna"].post("/alarms/shelve", {**body, "for_s": 3600})["done"] == 1
    shelved = people["sven"].post("/alarms/shelve", body)["outcomes"][0]["alarm"]
    assert shelved["state"] == "shelved" and shelved["until"] > time.time() * 1e3 + 7_000_000
    with pytest.raises(BadRequest, match="too long"):
        people["sven"].post("/alarms/shelve", {**body, "for_s": 90_000})
    assert come(works)["state"] == "shelved" and works.client.get("/alarms")["alarms"] == []
    assert (
        people["anna"].post("/alarms/unshelve", {"alarms": [LEVEL]})["outcomes"][0]["alarm"]["state"]
        == "unacknowledged"
    )


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path.rpartition('/')[2]}")
@pytest.mark.parametrize("name", PEOPLE)
def test_every_route_is_open_to_its_roles_and_to_no_other(
    works: CommandSite, people: dict[str, Client], route: Route, name: str
) -> None:
    path = route.path.removeprefix("/api/v1").replace("{id}", LEVEL)
    with httpx.Client(base_url=f"{works.client.url}/api/v1", trust_env=False) as http:
        headers = {"Authorization": people[name]._http.headers["Authorization"]}
        body = {"alarms": ["nothing"], "reason": "x"} if "retry" not in path else {"id": "nothing"}
        answer = http.request(route.method, path, headers=headers, json=None if route.method == "GET" else body)
    assert route.act is not None
    allowed = may(PEOPLE[name], route.act)
    wanted = (200,) if route.method == "GET" else (404,)
    assert answer.status_code in (wanted if allowed else (403,)), answer.text


def test_the_rights_are_those_of_the_guide(people: dict[str, Client]) -> None:
    table = {
        "acknowledge": {"anna", "sven", "emma", "root"}, "suppress": {"sven", "emma", "root"}, "remove": {"emma", "root"},
    }  # fmt: skip
    for verb, names in table.items():
        for name, client in people.items():
            kind = NotFound if name in names else NotPermitted
            with pytest.raises(kind):
                client.post(f"/alarms/{verb}", {"alarms": ["nothing"], "reason": "x"})


async def test_every_step_comes_over_the_socket_in_order(works: CommandSite) -> None:
    import asyncio

    socket = await wire(works.client)
    try:
        heard: list[dict[str, Any]] = []
        await socket.hear(lambda m: m["t"] == "snapshot")  # what comes from here on it is told
        await asyncio.to_thread(come, works)
        await asyncio.to_thread(works.client.post, "/alarms/acknowledge", {"alarms": [LEVEL]})
        while not heard or heard[-1]["step"] != "acknowledged":
            event = await socket.hear(lambda m: m["t"] == "event" and m["kind"] == "alarm")
            heard += [c for c in event["body"]["changes"] if c["alarm"]["id"] == LEVEL]
    finally:
        await socket.close()
    assert [c["step"] for c in heard][-2:] == ["active", "acknowledged"]
    assert [c["n"] for c in heard] == sorted(c["n"] for c in heard)
    assert heard[-1]["alarm"]["acked_by"] == "cli" and heard[-2]["rings"]


def test_history_as_csv_is_page_by_page_and_no_formula(works: CommandSite, monkeypatch: pytest.MonkeyPatch) -> None:
    works.client.post("/alarms/comment", {"alarms": [LEVEL], "reason": "=1+1, and more"})
    text = works.client.get_bytes(f"/alarms/export?alarm={LEVEL}").decode()
    head, first, *more = text.splitlines()
    assert head.startswith("time_utc,n,time,alarm,point,twin,priority,step,rings,by,reason")
    assert ",commented," in first and '"\'=1+1, and more"' in first
    assert len(more) + 1 == len(works.client.get("/alarms/history", alarm=LEVEL, limit=5000))


def test_alarms_and_their_history_are_tables_of_sql(works: CommandSite) -> None:
    come(works)

    def rows(sql: str) -> list[list[Any]]:
        found: list[list[Any]] = works.client.post("/query", {"sql": sql})["rows"]
        return found

    assert rows(f"SELECT state, active, value, priority FROM alarms WHERE id = '{LEVEL}'") == [
        ["unacknowledged", True, 9.0, "low"]
    ]
    sql = f"SELECT step FROM alarm_history WHERE alarm = '{LEVEL}' ORDER BY n DESC LIMIT 1"
    assert rows(sql) == [["active"]]
    joined = "SELECT t.id, count(*) FROM twins t JOIN alarms a ON a.twin = t.id WHERE t.id = 'pump' GROUP BY 1"
    assert rows(joined) == [["pump", 1]]


def test_figures_rollup_and_metrics(works: CommandSite) -> None:
    come(works)
    found = works.client.get("/alarms/statistics", **{"from": "-1h"})
    assert found["count"] >= 1 and found["top"][0]["alarm"] in (LEVEL, SPEED)
    assert 0 < found["watched_s"] < 3600 and found["mean_10min"] <= found["count"]  # the server began just now
    assert {p["priority"]: p["configured"] for p in found["priorities"]} == {"high": 1, "medium": 0, "low": 1}
    up = {r["twin"]: r for r in works.client.get("/alarms/rollup")}
    assert (up["tank"]["low"], up["tank"]["unacked"], up["tank"]["worst"]) == (1, 1, "unacked_active")
    metrics = httpx.get(f"{works.client.url}/metrics", trust_env=False).text
    assert 'twinloop_alarms_active{priority="low"} 1.0' in metrics and "twinloop_alarm_rate_10m " in metrics
    with pytest.raises(BadRequest):
        works.client.get("/alarms/statistics", **{"from": "-2d", "to": "-3d"})


def test_a_rule_commands_through_the_queue(works: CommandSite) -> None:
    come(works)
    step = next(s for s in works.client.get("/alarms/history", alarm=LEVEL) if s["step"] == "active")
    found = until(
        lambda: [c for c in works.client.get("/commands")["commands"] if c["key"] == f"alarm:stop:{step['n']}:pump.status"],
        len, 20,
    )  # fmt: skip
    assert len(found) == 1 and (found[0]["author"], found[0]["priority"], found[0]["value"]) == (
        "alarm rule",
        "safety",
        0.0,
    )
    rules = until(
        lambda: works.client.get("/alarms/rules", state="done"),
        lambda r: f"stop:{step['n']}" in str(r["deliveries"]),
        20,
    )
    assert rules["rules"][0]["id"] == "stop" and rules["rules"][0]["done"] >= 1


def test_the_command_line_lists_acknowledges_and_tells(works: CommandSite, run: Run) -> None:
    come(works)
    data = works.site.data

    def told(*words: str) -> tuple[int, str, str]:
        return run("alarm", *words, "--data", str(data))

    assert LEVEL in told("list")[1] and "stop the pump" in told("show", LEVEL)[1]
    assert json.loads(told("list", "--json")[1])["alarms"][0]["id"] == LEVEL
    assert "is acknowledged" in told("ack", LEVEL, "--reason", "seen")[1]
    code, _, said = told("ack", LEVEL)
    assert code == 5 and "already" in said
    assert told("shelve", LEVEL, "--reason", "x", "--for", "9h")[0] == 6
    assert "is shelved until" in told("shelve", LEVEL, "--reason", "x", "--for", "10m")[1]
    for words in (("stats",), ("rollup",), ("rules",), ("history",), ("stats", "--json")):
        code, out, _ = told(*words)
        assert code == 0 and out
    assert told("history", "--csv")[0] == 0


def test_states_survive_sigkill_and_the_audit_fits(works: CommandSite, people: dict[str, Client]) -> None:
    """Last: it takes the server down."""
    come(works)
    people["anna"].post("/alarms/acknowledge", {"alarms": [LEVEL], "reason": "seen"})
    people["emma"].post("/alarms/remove", {"alarms": [SPEED], "reason": "new gauge"})
    works.site.kill_server()
    with works.site.start_server(str(works.site.data.parent / "works"), plc=works.plc.served.endpoint) as client:
        ask: Callable[[], dict[str, Any]] = lambda: client.get(f"/alarms/{LEVEL}")["alarm"]  # noqa: E731
        found = until(ask, lambda a: a["active"] and not a["unsure"], 20)
        assert found["acked_by"] == "anna" and found["occurrence"] >= 1
        assert client.get(f"/alarms/{SPEED}")["alarm"]["state"] == "out_of_service"
        wanted = client.get("/alarms/history", limit=1)[0]["n"]
        until(lambda: client.get("/audit", kind="alarm", last=1)["entries"][0]["body"]["n"], lambda n: n >= wanted, 20)
        sql = (
            "SELECT id, row, point, twin, priority, state, acked_by, acked, latched, occurrence, value FROM alarms "
            f"WHERE id IN ('{LEVEL}', '{SPEED}') ORDER BY id"
        )
        told = client.post("/query", {"sql": sql})["rows"]
        assert offline.verify(works.site.data)["problems"] == []
    works.site.kill_server()
    assert offline.ask(works.site.data, sql, 10)["rows"] == told and len(told) == 2
    unknown = offline.ask(works.site.data, f"SELECT condition, message, blind FROM alarms WHERE id = '{LEVEL}'", 10)
    assert unknown["rows"] == [[None, None, None]]
