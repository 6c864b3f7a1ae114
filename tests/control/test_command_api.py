"""Commands over HTTP and WebSocket of a real server with a real PLC: who may, who did, why, and what was seen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from control.accounts import Accounts
from control.api.calls import CALLS_MAX
from control.client import Client
from tests.control.command_site import PASSWORD, CommandSite, command_site, wire
from tests.plant.site import until
from twin.errors import BadRequest, Conflict, Denied, Interlocked, NotFound, NotPermitted, Reserved
from twin.role import Role


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandSite]:
    with command_site(tmp_path_factory.mktemp("commands")) as made:
        yield made


@pytest.fixture(scope="module")
def people(works: CommandSite) -> Iterator[dict[str, Client]]:
    made = {name: works.client_of(name) for name in ("anna", "sven", "otto", "emma")}
    yield made
    for client in made.values():
        client.close()


KEYS = iter(range(10**6))


def body(point: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"key": f"k{next(KEYS)}", "point": point, "value": value, **more}


def statuses(record: dict[str, Any]) -> list[str]:
    return [t["status"] for t in record["transitions"]]


# --- who is there ----------------------------------------------------------------------------------------------------


def test_an_account_signs_in_and_hears_what_it_may(works: CommandSite, people: dict[str, Client]) -> None:
    who = people["sven"].get("/session")
    assert (who["name"], who["role"], who["account"]) == ("sven", "supervisor", True)
    assert who["approves"] == ["operator", "supervisor"]
    assert people["otto"].get("/session")["may"] == ["see"]
    assert works.client.get("/session")["name"] == "cli"


def test_a_wrong_password_signs_nobody_in_and_a_session_that_ended_is_over(works: CommandSite) -> None:
    with pytest.raises(Denied, match="another password"):
        Client(works.site.data, "anna", "eleven bumps")
    answer = httpx.post(
        f"{works.client.url}/api/v1/session", json={"account": "anna", "password": PASSWORD}, trust_env=False
    )
    assert "HttpOnly" in answer.headers["set-cookie"]
    bearer = {"Authorization": f"Bearer {answer.json()['secret']}"}
    url = f"{works.client.url}/api/v1/session"
    ways = f"{works.client.url}/api/v1/sign-in"
    assert httpx.get(url, headers=bearer, trust_env=False).json()["name"] == "anna"
    assert httpx.get(ways, headers=bearer, trust_env=False).json()["signed_in"]
    assert not httpx.get(ways, trust_env=False).json()["signed_in"]
    assert httpx.delete(url, headers=bearer, trust_env=False).status_code == 200
    assert httpx.get(url, headers=bearer, trust_env=False).status_code == 401
    assert not httpx.get(ways, headers=bearer, trust_env=False).json()["signed_in"]


def test_a_link_for_an_account_signs_a_browser_in_as_that_person(works: CommandSite, people: dict[str, Client]) -> None:
    with pytest.raises(NotPermitted, match="may not make login links"):
        people["sven"].post("/login-link", {"account": "emma"})
    path = works.client.post("/login-link", {"account": "emma"})["path"]
    with httpx.Client(base_url=works.client.url, trust_env=False) as browser:
        assert browser.get(path).status_code == 303
        assert browser.get("/api/v1/session").json()["name"] == "emma"
    with pytest.raises(Denied, match="no account"):
        works.client.post("/login-link", {"account": "nobody"})


def test_a_removed_account_is_out_at_once(works: CommandSite) -> None:
    accounts = Accounts(works.site.data, lambda: 0)
    accounts.add("gone", PASSWORD, Role.OPERATOR)
    with Client(works.site.data, "gone", PASSWORD) as client:
        assert client.get("/session")["role"] == "operator"
        accounts.remove("gone")
        with pytest.raises(Denied, match="no account 'gone'"):
            client.post("/commands", body("pump.status", 0))


# --- the life of a command -------------------------------------------------------------------------------------------


def test_a_command_is_selected_by_one_and_operated_by_nobody_else(
    works: CommandSite, people: dict[str, Client]
) -> None:
    anna, sven = people["anna"], people["sven"]
    record = anna.post("/commands", body("pump.status", 0, select=True, reason="service"))
    assert record["status"] == "SELECTED"
    assert record["waits_for"]
    with pytest.raises(Reserved, match="anna has selected"):
        sven.post("/commands", body("pump.status", 1))
    with pytest.raises(NotPermitted, match="anna selected"):
        sven.post(f"/commands/{record['id']}/operate")
    anna.post(f"/commands/{record['id']}/operate")
    done = works.status(record["id"], "CONFIRMED")
    assert statuses(done) == ["SELECTED", "QUEUED", "SENT", "ACKNOWLEDGED", "CONFIRMED"]
    assert done["transitions"][1]["by"] == "anna"
    assert done["reason"] == "service"
    assert done["transitions"][-1]["seen"][0]["point"] == "pump.running"
    assert done["waits_for"] == ""


def test_two_people_and_the_right_role_let_a_command_go(works: CommandSite, people: dict[str, Client]) -> None:
    record = people["anna"].post("/commands", body("pump.speed", 90))
    assert (record["status"], record["approver"], record["approved_by"]) == ("AWAITING_APPROVAL", "supervisor", [])
    approval = f"/commands/{record['id']}/approve"
    for stranger in (people["anna"], people["otto"], people["emma"], works.client):
        with pytest.raises(NotPermitted):
            stranger.post(approval)
    approved = people["sven"].post(approval, {"reason": "seen at the pump"})
    assert approved["approved_by"] == ["sven"]
    done = works.status(record["id"], "CONFIRMED")
    step = done["transitions"][1]
    assert step["by"] == "sven"
    assert "seen at the pump" in step["detail"]
    with pytest.raises(Conflict):
        people["sven"].post(approval)


def test_what_is_rejected_or_cancelled_reaches_no_device(works: CommandSite, people: dict[str, Client]) -> None:
    asked = body("pump.speed", 11)
    rejected, cancelled = (people["anna"].post("/commands", b) for b in (asked, body("pump.speed", 12)))
    found = people["sven"].post(f"/commands/{rejected['id']}/reject", {"reason": "not today"})
    assert found["status"] == "REFUSED"
    assert "not today" in found["transitions"][-1]["detail"]
    assert people["anna"].post("/commands", asked) == found, "the key keeps its answer"
    gone = people["anna"].post(f"/commands/{cancelled['id']}/cancel", {"reason": "changed my mind"})
    assert (gone["status"], gone["transitions"][-1]["by"]) == ("CANCELLED", "anna")
    assert not [w for w in works.plc.writes if w in (("pump.speed", 11.0), ("pump.speed", 12.0))]


def test_an_interlock_refuses_with_a_record_of_what_was_seen_and_the_same_key_hears_the_same(
    works: CommandSite, people: dict[str, Client]
) -> None:
    works.show({"tank.level": 0.5})
    try:
        asked = body("pump.status", 1)
        said = []
        for _ in range(2):
            with pytest.raises(Interlocked, match="run dry") as caught:
                people["anna"].post("/commands", asked)
            said.append(caught.value.command)
        assert said[0] == said[1] != ""
        record = works.client.get(f"/commands/{said[0]}")
        assert record["status"] == "REFUSED"
        seen = record["transitions"][-1]["seen"][0]
        assert (seen["point"], seen["value"], seen["quality"]) == ("tank.level", 0.5, "Good")
        checked = people["anna"].post("/commands?dry_run=true", body("pump.status", 1))
        assert (checked["allowed"], checked["status"]) == (False, "REFUSED")
    finally:
        works.show({"tank.level": 3.25})


def test_a_dry_run_says_what_the_way_asks_for_and_records_nothing(
    works: CommandSite, people: dict[str, Client]
) -> None:
    before = works.client.get("/commands", limit=1)
    checked = people["anna"].post("/commands?dry_run=true", body("pump.speed", 50))
    assert (checked["allowed"], checked["status"]) == (True, "AWAITING_APPROVAL")
    assert checked["needs"] == ["approval by 1 of role supervisor"]
    assert works.client.get("/commands", limit=1) == before


def test_commands_are_found_by_status_point_author_and_page_by_page(
    works: CommandSite, people: dict[str, Client]
) -> None:
    waiting = [people["anna"].post("/commands", body("far.status", n % 2, deadline_s=600)) for n in range(3)]
    newest = waiting[-1]["id"]
    far = works.client.get("/commands", point="far.status", author="anna", open="true")["commands"]
    assert [c["id"] for c in far] == [newest], "each later one supersedes those before"
    assert far[0]["waits_for"] == "the link to dead"
    assert (
        works.client.get("/commands", status="superseded", point="far.status")["commands"][0]["id"] == waiting[1]["id"]
    )
    assert works.client.get("/commands", author="nobody") == {"commands": [], "next": None}
    pages, cursor = [], ""
    while cursor is not None:
        page = works.client.get("/commands", limit=2, cursor=cursor)
        assert len(page["commands"]) <= 2
        pages += [c["id"] for c in page["commands"]]
        cursor = page["next"]
    whole = [c["id"] for c in works.client.get("/commands", limit=1000)["commands"]]
    assert pages == whole
    assert len(set(whole)) == len(whole)
    people["anna"].post(f"/commands/{newest}/cancel")


@pytest.mark.parametrize("query", ["dryrun=true", "dry-run=true", "Dry_run=true"])
def test_a_misspelt_dry_run_sends_nothing(works: CommandSite, people: dict[str, Client], query: str) -> None:
    before = works.client.get("/commands", limit=1)
    with pytest.raises(BadRequest, match="no query parameter"):
        people["anna"].post(f"/commands?{query}", body("pump.status", 1))
    assert works.client.get("/commands", limit=1) == before


def test_a_command_nobody_can_confirm_is_settled_by_a_person_with_a_reason(
    works: CommandSite, people: dict[str, Client]
) -> None:
    works.plc.gate = threading.Event()
    try:
        record = people["anna"].post("/commands", body("pump.status", 0))
        works.status(record["id"], "UNKNOWN")
        address = f"/commands/{record['id']}/settle"
        with pytest.raises(BadRequest, match="no reason"):
            people["sven"].post(address, {"status": "FAILED", "reason": " "})
        settled = people["sven"].post(address, {"status": "FAILED", "reason": "the valve is stuck"})
        assert (settled["status"], settled["transitions"][-1]["by"]) == ("FAILED", "sven")
        assert "the valve is stuck" in settled["transitions"][-1]["detail"]
    finally:
        works.plc.gate.set()
        works.plc.gate = None
        until(lambda: works.client.get("/points/tank.level")["good"], bool)


# --- stops -----------------------------------------------------------------------------------------------------------


def test_a_stop_commands_every_point_at_once_whatever_becomes_of_the_others(
    works: CommandSite, people: dict[str, Client]
) -> None:
    assert [(s["id"], s["set"]) for s in works.client.get("/stop")] == [
        ("pump", {"pump.status": 0.0}),
        ("all", {"pump.status": 0.0, "far.status": 0.0}),
    ]
    asked = {"key": "pressed once", "reason": "smoke"}
    answer = people["anna"].post("/stop/all", asked)
    assert answer["problems"] == []
    pump, far = answer["commands"]
    assert (pump["priority"], pump["reason"], far["point"]) == ("emergency", "smoke", "far.status")
    assert works.status(pump["id"], "CONFIRMED")["author"] == "anna"
    assert [c["id"] for c in people["anna"].post("/stop/all", asked)["commands"]] == [pump["id"], far["id"]]
    works.client.post(f"/commands/{far['id']}/cancel")
    with pytest.raises(NotPermitted):
        people["otto"].post("/stop/all")
    with pytest.raises(NotFound, match="no stop"):
        people["anna"].post("/stop/al")


# --- WebSocket -------------------------------------------------------------------------------------------------------


async def test_a_program_commands_over_the_socket_and_hears_the_end_there(
    works: CommandSite, people: dict[str, Client]
) -> None:
    socket = await wire(people["anna"])
    answer = await socket.call("submit", **body("pump.status", "on"))
    assert answer["t"] == "answer"
    identity = answer["body"]["id"]
    event = await socket.hear(
        lambda m: m["t"] == "event" and m["body"].get("id") == identity and m["body"].get("status") == "CONFIRMED"
    )
    assert event["body"]["author"] == "anna"
    found = await socket.call("command", id=identity)
    assert found["body"]["transitions"] == event["body"]["transitions"]
    page = await socket.call("commands", limit=1)
    assert page["body"]["commands"][0]["id"] == identity
    checked = await socket.call("check", **body("pump.speed", 10))
    assert checked["body"]["status"] == "AWAITING_APPROVAL"
    await socket.close()


async def test_an_error_answers_its_call_and_the_socket_goes_on(works: CommandSite, people: dict[str, Client]) -> None:
    socket = await wire(people["otto"])
    refused = await socket.call("submit", **body("pump.status", 1))
    assert (refused["t"], refused["code"]) == ("error", "not_permitted")
    wrong = await socket.call("comand", id="x")
    assert wrong["code"] == "bad_request"
    assert "command" in wrong["hint"]
    assert (await socket.call("commands", limit="x"))["code"] == "bad_request"
    assert (await socket.call("commands", limit=1))["t"] == "answer"
    await socket.close()


async def test_a_role_that_was_taken_away_counts_on_an_open_socket_and_so_does_signing_out(works: CommandSite) -> None:
    accounts = Accounts(works.site.data, lambda: 0)
    accounts.add("fred", PASSWORD, Role.OPERATOR)
    client = Client(works.site.data, "fred", PASSWORD)
    first, second = await wire(client), await wire(client)
    assert (await first.call("check", **body("pump.speed", 10)))["t"] == "answer"
    await asyncio.to_thread(client.close)
    assert (await second.call("check", **body("pump.speed", 10)))["code"] == "denied"
    again = await asyncio.to_thread(Client, works.site.data, "fred", PASSWORD)
    third = await wire(again)
    accounts.remove("fred")
    assert (await third.call("submit", **body("pump.speed", 10)))["code"] == "denied"
    for socket in (first, second, third):
        await socket.close()
    with suppress(Denied):
        again.close()


async def test_a_stop_is_taken_however_much_else_one_client_asks(works: CommandSite, people: dict[str, Client]) -> None:
    socket = await wire(people["anna"])
    asked = [await socket.ask("commands", {"limit": 1000}) for _ in range(2 * CALLS_MAX)]
    stop = await socket.ask("stop", {"id": "pump"})
    heard: dict[int, dict[str, Any]] = {}
    while len(heard) < len(asked) + 1:
        message = await socket.hear(lambda m: m.get("ref") is not None)
        heard[message["ref"]] = message
    assert heard[stop]["t"] == "answer"
    codes = [heard[ref].get("code") for ref in asked]
    assert codes.count(None) >= CALLS_MAX
    assert set(codes) <= {None, "limit_exceeded"}
    await socket.close()
