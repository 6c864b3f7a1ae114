"""Every way in which a command can be asked for wrongly, through HTTP, WebSocket and command line: one table of codes."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import msgpack
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from control import cli
from control.api.command_verbs import COMMAND_VERBS
from control.api.verbs import VERB_OF_NAME
from control.api.wire import SUBPROTOCOL
from control.client import Client
from control.errors import CODES, Codes
from tests.control.command_site import PASSWORD, CommandSite, command_site, wire
from twin import errors

FAR = 10**9
KEYS = iter(range(10**6))
Body = dict[str, Any]


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandSite]:
    with command_site(tmp_path_factory.mktemp("bad")) as made:
        yield made


@pytest.fixture(scope="module")
def people(works: CommandSite) -> Iterator[dict[str, Client]]:
    with contextlib.ExitStack() as closing:
        yield {n: closing.enter_context(works.client_of(n)) for n in ("anna", "sven", "otto", "emma")}


@dataclass(frozen=True)
class Plant:
    works: CommandSite
    people: dict[str, Client]

    def submit(self, who: str, point: str, value: Any, **more: Any) -> Body:
        found: Body = self.people[who].post("/commands", body(point, value, **more))
        return found


def body(point: str, value: Any, **more: Any) -> Body:
    return {"key": f"bad{next(KEYS)}", "point": point, "value": value, **more}


# --- what must be there before -------------------------------------------------------------------------------------------


def selected_by_another(plant: Plant) -> Body:
    plant.submit("sven", "pump.status", 0, select=True)
    return body("pump.status", 1)


def with_a_used_key(plant: Plant) -> Body:
    used = body("far.status", 1)
    plant.people["anna"].post("/commands", used)
    return {**used, "value": 0}


def while_the_tank_is_empty(plant: Plant) -> Body:
    plant.works.show({"tank.level": 0.5})
    return body("pump.status", 1)


def faster_than_the_plant_allows(plant: Plant) -> Body:
    done = plant.works.client.get("/commands", point="pump.mode", status="CONFIRMED")["commands"]
    if not done:
        first = plant.submit("anna", "pump.mode", "hand", select=True)
        plant.people["anna"].post(f"/commands/{first['id']}/operate")
        plant.works.status(first["id"], "CONFIRMED")
    return body("pump.mode", "auto", select=True)


def awaiting(plant: Plant) -> Body:
    return {"id": plant.submit("anna", "pump.speed", 50)["id"]}


def selected(plant: Plant) -> Body:
    return {"id": plant.submit("sven", "pump.status", 0, select=True)["id"]}


def ended(plant: Plant) -> Body:
    record = plant.submit("anna", "far.status", 1)
    return {"id": plant.people["anna"].post(f"/commands/{record['id']}/cancel")["id"]}


def settled_without_words(plant: Plant) -> Body:
    return {**ended(plant), "status": "CONFIRMED", "reason": " "}


def settled_although_known(plant: Plant) -> Body:
    return {**ended(plant), "status": "CONFIRMED", "reason": "seen"}


@dataclass(frozen=True)
class Bad:
    """A row: what is asked of `verb` is answered with `code`; `given` is the body, or makes it."""

    name: str
    code: str
    given: Body | Callable[[Plant], Body]
    verb: str = "submit"
    who: str = "anna"
    faces: tuple[str, ...] = ("http", "ws", "cli")


TABLE = (
    Bad("a point that there is not", "not_found", body("pump.staus", 1)),
    Bad("a point that nobody can write", "refused", body("tank.level", 1)),
    Bad("a unit of something else", "wrong_unit", body("pump.speed", 50, unit="bar")),
    Bad("a unit that would have to be converted", "wrong_unit", body("pump.speed", 500, unit="ppm")),
    Bad("a value out of range", "out_of_range", body("pump.speed", 1000)),
    Bad("half a switch", "out_of_range", body("pump.status", 0.5)),
    Bad("a word that is no value", "bad_request", body("pump.status", "up")),
    Bad("a key without end", "bad_request", {**body("pump.status", 0), "key": "k" * 201}),
    Bad("a deadline that is none", "bad_request", body("pump.status", 0, deadline_s=0), faces=("http", "ws")),
    Bad("a deadline that nothing meets", "bad_request", body("pump.status", 0, deadline_s=0.001), faces=("http", "ws")),
    Bad("a wait that is none", "bad_request", body("pump.status", 0, wait_s=0.001), faces=("http", "ws")),
    Bad("a deadline that has passed", "expired", body("pump.status", 0, latest="2020-01-01T00:00:00Z")),
    Bad("a moment that is none", "bad_request", body("pump.status", 0, at="tomorrow")),
    Bad("a moment that moves", "bad_request", body("pump.status", 0, at="+30m"), faces=("http", "ws")),
    Bad("a class that there is not", "bad_request", body("pump.status", 0, priority="urgent")),
    Bad("a field that there is not", "bad_request", body("pump.status", 0, prio="safety"), faces=("http", "ws")),
    Bad("a revision that has gone by", "precondition_failed", body("pump.status", 0, revision=FAR)),
    Bad("a command that must be selected first", "refused", body("pump.mode", "hand")),
    Bad("a point that somebody else has selected", "reserved", selected_by_another),
    Bad("a key of another command", "conflict", with_a_used_key),
    Bad("an interlock that does not hold", "interlocked", while_the_tank_is_empty),
    Bad("faster than the plant allows", "limit_exceeded", faster_than_the_plant_allows),
    Bad("a command of somebody who only looks", "not_permitted", body("pump.status", 0), who="otto"),
    Bad("an own command approved", "not_permitted", awaiting, "approve"),
    Bad("an approval by another role", "not_permitted", awaiting, "approve", who="emma"),
    Bad("a rejection by another role", "not_permitted", awaiting, "reject", who="emma"),
    Bad("an approval that nobody awaits", "conflict", ended, "approve", who="sven"),
    Bad("a selection of somebody else operated", "not_permitted", selected, "operate"),
    Bad("what was never selected operated", "conflict", ended, "operate"),
    Bad("a command that there is not", "not_found", {"id": "nothing"}, "cancel"),
    Bad("a command that has ended cancelled", "conflict", ended, "cancel"),
    Bad("an outcome without a reason", "bad_request", settled_without_words, "settle"),
    Bad("an outcome of what is known", "conflict", settled_although_known, "settle"),
    Bad("a record that there is not", "not_found", {"id": "nothing"}, "command"),
    Bad("a list by a status that there is not", "bad_request", {"status": "DONE"}, "commands"),
    Bad("a stop that there is not", "not_found", {"id": "nothing"}, "stop"),
    Bad("a stop by somebody who only looks", "not_permitted", {"id": "pump"}, "stop", who="otto"),
)
NOT_OF_COMMANDS = {
    "bad_plant": "a plant is read at the start",
    "bad_graph": "an edit of the graph",
    "forbidden": "another site's page, before any command is read: test_api.py",
    "too_large": "a body beyond its bound, before any command is read: test_api.py",
    "throttled": "wrong passwords, before any command is read: test_accounts.py",
    "device_fault": "a device that refuses makes a record REFUSED, and no error",
    "error": "nothing raises it by itself",
}


@pytest.fixture
def plant(works: CommandSite, people: dict[str, Client]) -> Iterator[Plant]:
    """As it was before, afterwards: nothing selected, nothing waiting, water in the tank."""
    yield Plant(works, people)
    for record in works.client.get("/commands", open="true")["commands"]:
        with contextlib.suppress(errors.Conflict):
            works.client.post(f"/commands/{record['id']}/cancel")
    if works.client.get("/points/tank.level")["value"] < 1:
        works.show({"tank.level": 3.25})


def codes_of(word: str) -> Codes:
    return next(c for c in CODES.values() if c.code == word)


CASES = [pytest.param(row, face, id=f"{row.name}, {face}") for row in TABLE for face in row.faces]


@pytest.mark.parametrize(("row", "face"), CASES)
def test_what_is_asked_wrongly_gets_its_code_in_every_face(
    plant: Plant, row: Bad, face: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = row.given(plant) if callable(row.given) else {**row.given}
    wanted = codes_of(row.code)
    writes = len(plant.works.plc.writes)
    client = plant.people[row.who]
    if face == "http":
        status, said = over_http(client, row.verb, given)
        assert (status, said["code"]) == (wanted.http, row.code)
        assert said["message"]
        assert bool(said["command"]) == (row.code == "interlocked")
    elif face == "ws":
        said = asyncio.run(over_socket(client, row.verb, given))
        assert (said["t"], said["code"]) == ("error", row.code)
        assert bool(said["command"]) == (row.code == "interlocked")
    else:
        monkeypatch.setenv("TWINLOOP_ACCOUNT", row.who)
        monkeypatch.setenv("TWINLOOP_PASSWORD", PASSWORD)
        words = as_words(row.verb, given)
        assert exit_of([*words, "--data", str(plant.works.site.data)], monkeypatch) == wanted.exit
        told = capsys.readouterr()
        assert told.err.startswith("twinloop: ")
        assert f"[{row.code}]" in told.err
        assert told.out == ""
    assert len(plant.works.plc.writes) == writes, "nothing of it has reached the device"


def over_http(client: Client, verb: str, given: Body) -> tuple[int, Body]:
    row = VERB_OF_NAME[verb]
    path = row.path.removeprefix("/api/v1").replace("{id}", quote(str(given.get("id", "")), safe=""))
    rest = {k: v for k, v in given.items() if k != "id" or "{id}" not in row.path}
    how: dict[str, Any] = {"params": rest} if row.method == "GET" else {"json": rest}
    answer = client._http.request(row.method, path, **how)
    return answer.status_code, answer.json()


async def over_socket(client: Client, verb: str, given: Body) -> Body:
    socket = await wire(client)
    try:
        return await socket.call(verb, **given)
    finally:
        await socket.close()


def as_words(verb: str, given: Body) -> list[str]:
    """The command line that asks for it."""
    rest = dict(given)
    match verb:
        case "submit":
            words = ["command", "send", rest.pop("point"), str(rest.pop("value")), "--no-wait"]
        case "stop":
            words = ["stop", rest.pop("id"), "--no-wait"]
        case "command":
            words = ["command", "show", rest.pop("id")]
        case "commands":
            words = ["command", "list"]
        case "settle":
            words = ["command", "settle", rest.pop("id"), rest.pop("status")]
        case _:
            words = ["command", verb, rest.pop("id")]
    for name, value in rest.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def exit_of(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["twinloop", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_the_table_has_every_error_that_a_command_can_meet() -> None:
    ours = {
        e.code for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, errors.TwinloopError)
    }  # fmt: skip
    elsewhere = {"denied", "unavailable"}  # tests below: they come before the command is read
    assert ours - {row.code for row in TABLE} - elsewhere == set(NOT_OF_COMMANDS)
    asked = {row.verb for row in TABLE}
    assert {v.name for v in COMMAND_VERBS} - asked == {"check", "stops"}, (
        "check is asked as submit is, stops asks for nothing"
    )


# --- what never becomes a request ----------------------------------------------------------------------------------------


def test_what_is_no_json_is_a_bad_request_and_the_key_stays_free(works: CommandSite) -> None:
    asked = {**body("far.status", 1), "value": [1]}
    for content in (b"{", b"[]", b"\xff", json.dumps(asked).encode()):
        answer = works.client._http.post("/commands", content=content)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    record = works.client.post("/commands", {**asked, "value": 1})
    works.client.post(f"/commands/{record['id']}/cancel")


async def test_a_frame_that_is_none_closes_the_socket_with_its_code(works: CommandSite) -> None:
    address = works.client.url.replace("http", "ws") + "/ws"
    ticket = (await asyncio.to_thread(works.client.post, "/ticket"))["ticket"]
    async with connect(address, subprotocols=[SUBPROTOCOL], proxy=None) as socket:  # type: ignore[list-item]
        await socket.send(msgpack.packb({"t": "auth", "ticket": ticket}))
        await socket.send(msgpack.packb({"t": "sub", "from": None}))
        await socket.send(msgpack.packb({"t": "call", "verb": "stops"}))
        assert await ended_with(socket) == ("bad_request", 1008)


async def test_a_ticket_that_was_used_commands_nothing(works: CommandSite) -> None:
    address = works.client.url.replace("http", "ws") + "/ws"
    ticket = (await asyncio.to_thread(works.client.post, "/ticket"))["ticket"]
    async with connect(address, subprotocols=[SUBPROTOCOL], proxy=None) as first:  # type: ignore[list-item]
        await first.send(msgpack.packb({"t": "auth", "ticket": ticket}))
        await first.recv()
        await first.recv()
        async with connect(address, subprotocols=[SUBPROTOCOL], proxy=None) as second:  # type: ignore[list-item]
            await second.send(msgpack.packb({"t": "auth", "ticket": ticket}))
            assert await ended_with(second) == ("denied", codes_of("denied").ws)


async def ended_with(socket: Any) -> tuple[str, int]:
    """(code of the last error, close code)."""
    said: Body = {}
    async with asyncio.timeout(10):
        try:
            while True:
                message = msgpack.unpackb(await socket.recv())
                said = message if message["t"] == "error" else said
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            return said["code"], closed.rcvd.code


def test_who_is_nobody_is_denied_in_every_face(
    works: CommandSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = httpx.post(f"{works.client.url}/api/v1/commands", json=body("pump.status", 0), trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (401, "denied")
    monkeypatch.setenv("TWINLOOP_PASSWORD", "a guess of mine")
    words = ["command", "send", "pump.status", "0", "--account", "anna", "--data", str(works.site.data)]
    assert exit_of(words, monkeypatch) == codes_of("denied").exit == 6
    assert "another password" in capsys.readouterr().err


def test_no_server_is_unavailable_and_no_sense_is_usage(
    works: CommandSite, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        exit_of(["command", "send", "a.b", "1", "--data", str(tmp_path)], monkeypatch) == codes_of("unavailable").exit
    )
    data = ["--data", str(works.site.data)]
    assert exit_of(["command", "send", "pump.status", *data], monkeypatch) == 2
    assert exit_of(["command", "send", "pump.status", "0", "--deadline", "soon", *data], monkeypatch) == 2
    assert exit_of(["stop", *data], monkeypatch) == 2
    assert "Pump off" in capsys.readouterr().out
