"""Leases and groups over HTTP, WebSocket and the command line of a real server with a real PLC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from control.cli import app
from control.client import Client
from tests.control.command_site import CommandSite, command_site, wire
from tests.plant.site import until
from twin.errors import (
    BadRequest,
    Conflict,
    Interlocked,
    NotFound,
    NotPermitted,
    OutOfRange,
    Refused,
    Reserved,
    WrongUnit,
)


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandSite]:
    with command_site(tmp_path_factory.mktemp("leases")) as made:
        yield made


@pytest.fixture(scope="module")
def people(works: CommandSite) -> Iterator[dict[str, Client]]:
    made = {name: works.client_of(name) for name in ("anna", "sven", "otto", "emma")}
    yield made
    for client in made.values():
        client.close()


@pytest.fixture(autouse=True)
def free(works: CommandSite) -> Iterator[None]:
    """Every test finds nothing held, and a PLC that takes and follows what it is told."""
    works.plc.accepts = works.plc.follows = True
    works.show({"tank.level": 3.25})
    yield
    for lease in works.client.get("/leases", open="true"):
        with works.client_of("sven") as sven:
            sven.post(f"/leases/{lease['id']}/release")
    for group in works.client.get("/groups", open="true"):
        until(lambda g=group: works.client.get(f"/groups/{g['id']}"), lambda g: g["final"], 20)


KEYS = iter(range(10**6))


def lease(*targets: str, **more: Any) -> dict[str, Any]:
    return {"key": f"lease {next(KEYS)}", "targets": list(targets), **more}


def command(point: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"key": f"command {next(KEYS)}", "point": point, "value": value, **more}


def group(*members: tuple[str, Any, Any], **more: Any) -> dict[str, Any]:
    parts = [{"point": p, "value": v, "compensation": undo} for p, v, undo in members]
    return {"key": f"group {next(KEYS)}", "members": parts, **more}


def ended(client: Client, made: dict[str, Any]) -> dict[str, Any]:
    return until(lambda: client.get(f"/groups/{made['id']}"), lambda g: g["final"], 20)  # type: ignore[no-any-return]


def test_while_one_holds_a_twin_the_others_commands_are_turned_away_by_name(
    works: CommandSite, people: dict[str, Client]
) -> None:
    held = people["anna"].post("/leases", lease("pump", reason="tuning"))
    assert held["targets"] == ["pump.mode", "pump.speed", "pump.status"] and held["status"] == "ACTIVE"
    with pytest.raises(Reserved, match=r"anna holds .* by lease"):
        people["sven"].post("/commands", command("pump.status", "off"))
    with pytest.raises(Reserved, match="anna holds"):
        people["sven"].post("/leases", lease("pump.status"))
    mine = people["anna"].post("/commands", command("pump.status", "off"))
    works.status(mine["id"], "CONFIRMED")
    assert [x["id"] for x in people["otto"].get("/leases", open="true")] == [held["id"]]
    assert people["anna"].post(f"/leases/{held['id']}/beat")["until"] > held["until"]
    people["anna"].post(f"/leases/{held['id']}/release")
    with pytest.raises(Conflict, match="is RELEASED: released"):
        people["anna"].post(f"/leases/{held['id']}/beat")
    works.status(people["sven"].post("/commands", command("pump.status", "off"))["id"], "CONFIRMED")


def test_the_points_of_a_lost_holder_go_where_they_were_promised_to_go(
    works: CommandSite, people: dict[str, Client]
) -> None:
    works.status(people["anna"].post("/commands", command("pump.status", "on"))["id"], "CONFIRMED")
    made = people["anna"].post("/leases", lease("pump.status", ttl_s=1.0, revert={"pump.status": "off"}))
    gone = until(lambda: works.client.get(f"/leases/{made['id']}"), lambda x: x["status"] == "EXPIRED", 20)
    assert "1 reverts commanded" in gone["steps"][-1]["detail"]
    (revert,) = works.client.get("/commands", author=f"lease:{made['id']}")["commands"]
    assert works.status(revert["id"], "CONFIRMED")["priority"] == "safety"
    assert works.plc.writes[-1] == ("pump.status", 0.0)
    entries = until(
        lambda: [e["body"] for e in works.client.get("/audit", kind="lease", last=50)["entries"]],
        lambda found: [e["status"] for e in found if e["id"] == made["id"]] == ["EXPIRED", "ACTIVE"],
        10,
    )
    first = entries[-1] if entries[-1]["id"] == made["id"] else next(e for e in entries if e.get("targets"))
    assert "targets" in first


def test_somebody_strictly_more_urgent_preempts_a_lease(works: CommandSite, people: dict[str, Client]) -> None:
    made = people["anna"].post("/leases", lease("pump.status", priority="schedule"))
    sent = people["sven"].post("/commands", command("pump.status", "off"))
    works.status(sent["id"], "CONFIRMED")
    gone = works.client.get(f"/leases/{made['id']}")
    assert gone["status"] == "PREEMPTED" and gone["steps"][-1]["by"] == "sven" and gone["until"] is None


def test_only_its_holder_keeps_a_lease_and_a_supervisor_may_release_it(people: dict[str, Client]) -> None:
    made = people["anna"].post("/leases", lease("pump.status"))
    for verb in ("beat", "release"):
        with pytest.raises(NotPermitted, match="is anna's"):
            people["emma"].post(f"/leases/{made['id']}/{verb}")
    with pytest.raises(NotPermitted, match="is viewer"):
        people["otto"].post("/leases", lease("pump.status"))
    assert people["sven"].post(f"/leases/{made['id']}/release")["steps"][-1]["by"] == "sven"


def test_the_same_key_is_the_same_lease_and_another_body_a_conflict(people: dict[str, Client]) -> None:
    asked = lease("pump.status")
    made = people["anna"].post("/leases", asked)
    assert people["anna"].post("/leases", asked)["id"] == made["id"]
    with pytest.raises(Conflict, match="was used for another lease"):
        people["anna"].post("/leases", {**asked, "ttl_s": 60.0})
    people["anna"].post(f"/leases/{made['id']}/release")
    assert people["anna"].post("/leases", asked)["status"] == "RELEASED"


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (lease("pomp"), NotFound),
        (lease("pump.running"), BadRequest),
        (lease(), BadRequest),
        (lease("pump.status", ttl_s=0.1), BadRequest),
        (lease("pump.status", priority="emergency"), BadRequest),
        (lease("pump.status", revert={"pump.mode": "auto"}), BadRequest),
        (lease("pump.mode", revert={"pump.mode": "never"}), BadRequest),
        (lease("pump.speed", revert={"pump.speed": 500}), OutOfRange),
        (lease("pump.speed", revert={"pump.speed": 50}), Refused),  # its commands need approval
        (lease("pump.status", holder="bob"), BadRequest),
    ],
)
def test_a_lease_that_cannot_be_is_refused_with_its_own_error(
    people: dict[str, Client], asked: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        people["anna"].post("/leases", asked)
    assert type(caught.value) is error


def test_a_group_goes_step_by_step_to_the_plc(works: CommandSite, people: dict[str, Client]) -> None:
    works.plc.writes.clear()
    made = people["anna"].post("/groups", group(("pump.status", "on", "off"), ("pump.status", "off", None)))
    found = ended(works.client, made)
    assert found["status"] == "CONFIRMED"
    assert works.plc.writes == [("pump.status", 1.0), ("pump.status", 0.0)]
    assert people["anna"].get("/groups", limit=1)[0]["id"] == made["id"]


def test_a_group_that_breaks_is_undone_at_the_plc(works: CommandSite, people: dict[str, Client]) -> None:
    works.status(people["anna"].post("/commands", command("pump.status", "off"))["id"], "CONFIRMED")
    works.plc.writes.clear()
    asked = group(("pump.status", "on", "previous"), ("far.status", "on", None), deadline_s=1.0)
    found = ended(works.client, people["anna"].post("/groups", asked))
    assert found["status"] == "COMPENSATED"
    assert "step 2 (far.status) is EXPIRED" in found["steps"][1]["detail"]
    assert works.plc.writes == [("pump.status", 1.0), ("pump.status", 0.0)]
    assert found["members"][0]["compensation_status"] == "CONFIRMED"
    assert people["anna"].post("/groups", asked)["id"] == found["id"]  # the same answer for ever


def test_a_group_awaits_its_approvals_as_a_whole(works: CommandSite, people: dict[str, Client]) -> None:
    works.plc.writes.clear()
    members = (("pump.status", "off", None), ("pump.speed", 60, 80))
    made = people["anna"].post("/groups", group(*members))
    assert [m["status"] for m in made["members"]] == ["SCHEDULED", "AWAITING_APPROVAL"]
    with pytest.raises(NotPermitted):
        people["anna"].post(f"/groups/{made['id']}/approve")
    assert works.plc.writes == []
    people["sven"].post(f"/groups/{made['id']}/approve", {"reason": "agreed"})
    assert ended(works.client, made)["status"] == "CONFIRMED"
    assert works.plc.writes == [("pump.status", 0.0), ("pump.speed", 60.0)]
    rejected = people["anna"].post("/groups", group(*members))
    assert people["sven"].post(f"/groups/{rejected['id']}/reject")["status"] == "COMPENSATED"
    with pytest.raises(Conflict, match="no member of group"):
        people["sven"].post(f"/groups/{rejected['id']}/approve")
    assert len(works.plc.writes) == 2


def test_an_interlock_refuses_the_whole_group_and_the_same_key_hears_it_again(
    works: CommandSite, people: dict[str, Client]
) -> None:
    works.show({"tank.level": 0.5})
    asked = group(("pump.status", "on", "off"), ("pump.status", "off", None))
    for _ in range(2):
        with pytest.raises(Interlocked, match=r"step 1 \(pump.status\): interlock dry") as caught:
            people["anna"].post("/groups", asked)
    refused = people["anna"].get(f"/groups/{caught.value.command}")
    assert refused["status"] == "REFUSED" and refused["members"][0]["command"] is None


def test_a_cancelled_group_stops_and_undoes_what_took_effect(works: CommandSite, people: dict[str, Client]) -> None:
    works.plc.writes.clear()
    made = people["anna"].post(
        "/groups", group(("pump.status", "off", "off"), ("far.status", "on", None), deadline_s=60.0)
    )
    until(lambda: works.client.get(f"/groups/{made['id']}"), lambda g: g["members"][1]["status"] == "QUEUED", 20)
    people["sven"].post(f"/groups/{made['id']}/cancel", {"reason": "wrong pump"})
    found = ended(works.client, made)
    assert found["status"] == "CANCELLED"
    assert (found["steps"][1]["by"], found["steps"][1]["detail"]) == ("sven", "cancelled: wrong pump")
    assert works.plc.writes == [("pump.status", 0.0), ("pump.status", 0.0)]
    with pytest.raises(Conflict, match="is CANCELLED"):
        people["sven"].post(f"/groups/{made['id']}/cancel")


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (group(), BadRequest),
        (group(("pomp.status", "on", None)), NotFound),
        (group(("pump.running", 1, None)), Refused),
        (group(("pump.speed", 500, None)), OutOfRange),
        (group(("pump.mode", "auto", None)), Refused),  # it must be selected
        (group(("far.status", "on", "previous")), Refused),  # it reports nothing
        (group(("pump.status", "on", None), priority="emergency"), BadRequest),
        (group(("pump.status", "on", None), order="sideways"), BadRequest),
        ({**group(), "members": [{"point": "pump.speed", "value": 5, "unit": "bar"}]}, WrongUnit),
    ],
)
def test_a_group_that_cannot_be_is_refused_with_its_own_error(
    people: dict[str, Client], asked: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        people["anna"].post("/groups", asked)
    assert type(caught.value) is error


async def test_leases_and_groups_are_asked_for_and_told_over_the_socket(works: CommandSite) -> None:
    socket = await wire(works.client)
    try:
        made = (await socket.call("take", **lease("pump.status", ttl_s=60.0)))["body"]
        assert (await socket.call("beat", id=made["id"]))["body"]["holder"] == "cli"
        ref = await socket.ask("release", {"id": made["id"]})
        told = await socket.hear(
            lambda m: m["t"] == "event" and m["kind"] == "lease" and m["body"]["status"] == "RELEASED"
        )
        assert told["body"]["id"] == made["id"]
        await socket.ask("submit_group", group(("pump.status", "off", None)))
        told = await socket.hear(lambda m: m["t"] == "event" and m["kind"] == "group" and m["body"]["final"])
        assert told["body"]["members"][0]["status"] == "CONFIRMED"
        assert ref
    finally:
        await socket.close()


def run(works: CommandSite, *words: str) -> tuple[int, Any]:
    done = CliRunner().invoke(app, [*words, "--data", str(works.site.data), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, json.loads(done.stdout)


def test_the_command_line_holds_leases_and_sends_groups(works: CommandSite) -> None:
    code, made = run(
        works, "lease", "take", "pump.status", "--revert", "pump.status=off", "--ttl", "1m", "--class", "schedule"
    )
    assert (code, made["holder"], made["ttl_s"], made["revert"]) == (0, "cli", 60.0, {"pump.status": 0.0})
    assert run(works, "lease", "beat", made["id"])[1]["status"] == "ACTIVE"
    assert [x["id"] for x in run(works, "lease", "list", "--open")[1]] == [made["id"]]
    assert run(works, "lease", "release", made["id"], "--revert")[1]["status"] == "RELEASED"
    code, done = run(works, "group", "send", "pump.status=off/on", "--reason", "round")
    assert (code, done["status"], done["members"][0]["undo"]) == (0, "CONFIRMED", 1.0)
    assert run(works, "group", "show", done["id"])[1] == done
    assert run(works, "group", "list", "--limit", "1")[1][0]["id"] == done["id"]
    with pytest.raises(BadRequest, match="is no point=value"):
        run(works, "group", "send", "pump.status")
    with pytest.raises(NotFound):
        run(works, "lease", "show", "nobody's")
