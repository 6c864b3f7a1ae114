"""Every route, verb and northbound write as every role, on a real server; and rights that are taken away count at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
from typer.testing import CliRunner
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from control.accounts import Accounts
from control.api.routes import ROUTES
from control.api.wire import SUBPROTOCOL
from control.api.ws import CHECK_S
from control.cli import app
from control.client import Client
from control.northbound import Sources, View
from protocols.served import Asked, Guest
from tests.control.plants import until as soon
from tests.control.rights_of_routes import NORTHBOUND_WRITES, OF_ROUTE, OF_VERB
from tests.control.served_plant import works
from tests.control.test_api import filled
from tests.plant.site import Site, site, until
from twin.errors import BadRequest, Denied, NotPermitted
from twin.plant import Serving
from twin.role import Role

PASSWORD = "eleven pumps"


class People:
    """One account of each role on a server whose devices are all dead."""

    def __init__(self, made: Site, client: Client) -> None:
        self.site, self.client, self.url = made, client, client.url
        accounts = Accounts(made.data, time.time_ns)
        for role in Role:
            accounts.add(f"the-{role}", PASSWORD, role)
        self.secrets: Mapping[Role, str] = {role: self.sign_in(f"the-{role}") for role in Role}

    def sign_in(self, name: str, password: str = PASSWORD) -> str:
        answer = httpx.post(f"{self.url}/api/v1/session", json={"account": name, "password": password}, trust_env=False)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["secret"])

    def ask(self, secret: str, method: str, path: str, body: Any = None) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {secret}"}
        return httpx.request(method, self.url + path, headers=bearer, json=body, trust_env=False, timeout=30)

    def as_(self, role: Role, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.ask(self.secrets[role], method, f"/api/v1{path}", body)

    def add(self, name: str, role: Role) -> str:
        """The secret of its session."""
        self.client.post("/accounts", {"name": name, "password": PASSWORD, "role": role.value})
        return self.sign_in(name)

    def entries(self, kind: str) -> list[dict[str, Any]]:
        return [e["body"] for e in self.client.get("/audit", kind=kind, last=200)["entries"]]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    with site(tmp_path_factory.mktemp("rights")) as made:
        dead = {"scada": "opc.tcp://127.0.0.1:9/x", "plc": "modbus://127.0.0.1:9/1", "pressures": "mqtt://127.0.0.1:9"}
        with made.start_server(**dead) as client:
            yield People(made, client)


@asynccontextmanager
async def opened(people: People, secret: str) -> AsyncIterator[ClientConnection]:
    """A socket that is signed in and subscribed."""
    ticket = (await asyncio.to_thread(people.ask, secret, "POST", "/api/v1/ticket")).json()["ticket"]
    address = people.url.replace("http", "ws") + "/ws"
    async with connect(address, subprotocols=[SUBPROTOCOL], proxy=None) as socket:  # type: ignore[list-item]
        await socket.send(msgpack.packb({"t": "auth", "ticket": ticket}))
        await heard(socket, "welcome")
        await socket.send(msgpack.packb({"t": "sub", "from": None}))
        await heard(socket, "snapshot")
        yield socket


async def heard(socket: ClientConnection, *kinds: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            message: dict[str, Any] = msgpack.unpackb(await socket.recv())
            if message["t"] in kinds:
                return message


async def closed(socket: ClientConnection) -> tuple[str, int]:
    """(code of the last error, close code) once the server has closed it."""
    code = ""
    try:
        async with asyncio.timeout(10):
            while True:
                message = msgpack.unpackb(await socket.recv())
                code = message["code"] if message["t"] == "error" else code
    except ConnectionClosed as gone:
        return code, 0 if gone.rcvd is None else gone.rcvd.code


async def called(socket: ClientConnection, verb: str, body: Mapping[str, Any]) -> str:
    """The code of the error that it answers, "" for none."""
    await socket.send(msgpack.packb({"t": "call", "ref": 1, "verb": verb, "body": dict(body)}))
    answer = await heard(socket, "answer", "error")
    return str(answer.get("code", ""))


@pytest.mark.parametrize("role", Role)
def test_every_route_is_open_to_those_it_is_for_and_to_nobody_else(people: People, role: Role) -> None:
    spare = people.sign_in(f"the-{role}")  # for the route that signs out
    wrong = []
    for route in ROUTES:
        allowed = OF_ROUTE[f"{route.method} {route.path}"]
        if allowed is None:
            continue
        out = (route.method, route.path) == ("DELETE", "/api/v1/session")
        answer = people.ask(
            spare if out else people.secrets[role], route.method, filled(route.path), None if out else {}
        )
        refused = answer.status_code == 403 and answer.json()["code"] == "not_permitted"
        if refused is (role in allowed) or answer.status_code in (401, 429, 500):
            wrong.append((route.method, route.path, answer.status_code))
        if out:
            spare = people.sign_in(f"the-{role}")
    assert wrong == []


@pytest.mark.parametrize("role", Role)
async def test_every_verb_is_open_to_those_it_is_for_and_to_nobody_else(people: People, role: Role) -> None:
    async with opened(people, people.secrets[role]) as socket:
        refused = {verb for verb in OF_VERB if await called(socket, verb, {}) == "not_permitted"}
    assert refused == {verb for verb, allowed in OF_VERB.items() if role not in allowed}


async def test_every_northbound_write_is_open_to_those_it_is_for_and_to_nobody_else(tmp_path: Path) -> None:
    async with works(tmp_path) as made:
        numbers = iter(range(100))
        sources = Sources(
            made.live, None, made.commands, made.accounts, made.evidence, time.time_ns,  # type: ignore[arg-type]
            lambda: f"n{next(numbers)}",
        )  # fmt: skip
        view = View(sources, Serving("s", "opcua", "", {"points": ("*",)}), asyncio.get_running_loop())
        for role in Role:
            made.accounts.add(f"the-{role}", PASSWORD, role)
            for guest in (Guest(f"test:{role}", role), Guest(f"test:{role}", Role.OPERATOR, f"the-{role}")):
                if role in NORTHBOUND_WRITES:
                    assert (await view.command(Asked("pump.speed", 1.0), guest)).id
                else:
                    with pytest.raises(NotPermitted):
                        await view.command(Asked("pump.speed", 1.0), guest)
        made.accounts.change("the-operator", disabled=True)
        with pytest.raises(Denied):
            await view.command(Asked("pump.speed", 1.0), Guest("test:x", Role.OPERATOR, "the-operator"))


def test_a_socket_notices_within_a_second() -> None:
    assert CHECK_S <= 0.5


COMMAND = {"key": "late", "point": "pump_335.status", "value": 1.0, "deadline_s": 60}


async def test_a_role_that_is_taken_away_stops_the_next_call_and_closes_the_socket(people: People) -> None:
    secret = await asyncio.to_thread(people.add, "rolf", Role.OPERATOR)
    async with opened(people, secret) as socket:
        assert await called(socket, "submit", {**COMMAND, "key": "before"}) == ""
        await asyncio.to_thread(people.client.patch, "/accounts/rolf", {"role": "viewer"})
        await socket.send(msgpack.packb({"t": "call", "ref": 7, "verb": "submit", "body": COMMAND}))
        assert await closed(socket) in (("not_permitted", 4401), ("denied", 4401))
    found = await asyncio.to_thread(people.client.get, "/commands", author="rolf")
    assert [c["key"] for c in found["commands"]] == ["before"]
    async with opened(people, secret) as socket:  # with the other role he may come again
        assert await called(socket, "submit", COMMAND) == "not_permitted"


@pytest.mark.parametrize("how", ["removed", "disabled", "password", "revoked", "all revoked", "signed out"])
async def test_whoever_is_put_out_is_out_on_every_socket_at_once(people: People, how: str) -> None:
    name = f"gone-{how.replace(' ', '-')}"
    secret = await asyncio.to_thread(people.add, name, Role.OPERATOR)
    client = people.client
    async with opened(people, secret) as one, opened(people, secret) as two:
        match how:
            case "removed":
                await asyncio.to_thread(client.delete, f"/accounts/{name}")
            case "disabled":
                await asyncio.to_thread(client.patch, f"/accounts/{name}", {"disabled": True})
            case "password":
                await asyncio.to_thread(client.patch, f"/accounts/{name}", {"password": "twelve pumps"})
            case "revoked":
                held = await asyncio.to_thread(client.get, "/sessions", all="true")
                (session,) = [s["id"] for s in held if s["name"] == name]
                await asyncio.to_thread(client.delete, f"/sessions/{session}")
            case "all revoked":
                await asyncio.to_thread(client.delete, f"/sessions?account={name}")
            case _:
                await asyncio.to_thread(people.ask, secret, "DELETE", "/api/v1/session")
        for socket in (one, two):
            assert await closed(socket) == ("denied", 4401)
    assert people.ask(secret, "GET", "/api/v1/session").status_code == 401


async def test_calls_that_wait_do_nothing_once_their_session_is_over(people: People) -> None:
    secret = await asyncio.to_thread(people.add, "queue", Role.OPERATOR)
    async with opened(people, secret) as socket:
        await asyncio.to_thread(people.client.delete, "/sessions?account=queue")
        with suppress(ConnectionClosed):  # it may be closed before the last of them is on its way
            for n in range(20):
                body = {**COMMAND, "key": f"queued-{n}"}
                await socket.send(msgpack.packb({"t": "call", "ref": n, "verb": "submit", "body": body}))
        assert await closed(socket) == ("denied", 4401)
    assert (await asyncio.to_thread(people.client.get, "/commands", author="queue"))["commands"] == []


def test_sessions_are_shown_to_oneself_and_to_those_who_oversee(people: People) -> None:
    secret = people.add("sina", Role.VIEWER)
    (own,) = people.ask(secret, "GET", "/api/v1/sessions").json()
    assert (own["name"], own["by"], own["peer"], own["own"]) == ("sina", "password", "127.0.0.1", True)
    assert own["agent"].startswith("python-httpx") and own["since"] <= own["seen"] < own["ends"]
    assert people.ask(secret, "GET", "/api/v1/sessions?all=true").status_code == 403
    for role in (Role.ADMIN, Role.AUDITOR):
        everybody = people.as_(role, "GET", "/sessions?all=true").json()
        assert {"sina", "the-viewer"} <= {s["name"] for s in everybody}
    theirs = next(s["id"] for s in everybody if s["name"] == "the-viewer")
    assert people.ask(secret, "DELETE", f"/api/v1/sessions/{theirs}").status_code == 404, "others are not even there"
    assert people.as_(Role.AUDITOR, "DELETE", f"/sessions/{theirs}").status_code == 403
    second = people.sign_in("sina")
    assert people.ask(secret, "DELETE", "/api/v1/sessions").json() == {"ended": 1}
    assert people.ask(second, "GET", "/api/v1/session").status_code == 401
    assert people.ask(secret, "GET", "/api/v1/session").status_code == 200


def test_an_own_password_takes_the_old_one_and_ends_every_other_session(people: People) -> None:
    secret = people.add("petra", Role.VIEWER)
    other = people.sign_in("petra")
    wrong = people.ask(secret, "POST", "/api/v1/password", {"old": "wrong one", "new": "twelve pumps"})
    assert wrong.status_code == 401
    short = people.ask(secret, "POST", "/api/v1/password", {"old": PASSWORD, "new": "short"})
    assert (short.status_code, short.json()["code"]) == (400, "bad_request")
    changed = people.ask(secret, "POST", "/api/v1/password", {"old": PASSWORD, "new": "twelve pumps"})
    assert changed.status_code == 200 and changed.json()["who"]["name"] == "petra"
    for old in (secret, other):
        assert people.ask(old, "GET", "/api/v1/session").status_code == 401
    assert people.ask(changed.json()["secret"], "GET", "/api/v1/session").status_code == 200
    people.sign_in("petra", "twelve pumps")


def test_every_change_of_who_may_what_is_in_the_ledger_and_no_secret_is(people: People) -> None:
    secret = people.add("ledger", Role.ENGINEER)
    people.client.patch("/accounts/ledger", {"role": "operator"})
    made = people.ask(secret, "POST", "/api/v1/tokens", {"name": "robot", "may": ["see"]}).json()
    people.ask(secret, "DELETE", f"/api/v1/tokens/{made['token']['id']}")
    httpx.post(f"{people.url}/api/v1/session", json={"account": "ledger", "password": "a guess!"}, trust_env=False)
    httpx.post(f"{people.url}/api/v1/session", json={"account": "my secret password", "password": "x"}, trust_env=False)
    people.client.delete("/accounts/ledger")
    found = until(lambda: [e for e in people.entries("access") if e["user"] == "ledger"], lambda e: len(e) >= 5)
    assert [e["what"] for e in reversed(found)] == [
        "account added", "account changed", "token made", "token revoked", "account removed",
    ]  # fmt: skip
    assert {e["by"] for e in found} == {"cli", "ledger"}
    logins = [e for e in people.entries("login") if e.get("refused")]
    assert {("ledger", True), ("", False)} <= {(e["user"], e["known"]) for e in logins}
    everything = str(people.entries("access")) + str(people.entries("login"))
    for word in (PASSWORD, "a guess!", "my secret password", made["secret"], secret):
        assert word not in everything


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_does_only_what_it_was_made_for(people: People) -> None:
    secret = people.add("tom", Role.OPERATOR)
    made = people.ask(secret, "POST", "/api/v1/tokens", {"name": "historian", "may": ["see"], "days": 7}).json()
    token = made["secret"]
    assert token.startswith("twinloop_")
    (listed,) = people.ask(secret, "GET", "/api/v1/tokens").json()
    assert "secret" not in listed and listed["name"] == "historian"
    assert token not in (people.site.data / "tokens.json").read_text()
    assert people.ask(token, "GET", "/api/v1/plant").status_code == 200
    who = people.ask(token, "GET", "/api/v1/session").json()
    assert (who["name"], who["may"]) == ("historian:tom", ["see"])
    refused = people.ask(token, "POST", "/api/v1/commands", COMMAND)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
    for method, path, body in (
        ("POST", "/tokens", {"name": "another", "may": ["see"]}), ("POST", "/password", {"old": "x", "new": "y"}),
        ("DELETE", "/sessions", None),
    ):  # fmt: skip
        assert people.ask(token, method, f"/api/v1{path}", body).status_code == 403
    (listed,) = people.ask(secret, "GET", "/api/v1/tokens").json()
    assert listed["used"] is not None
    people.client.patch("/accounts/tom", {"disabled": True})
    assert people.ask(token, "GET", "/api/v1/plant").status_code == 401
    people.client.patch("/accounts/tom", {"disabled": False})
    assert people.ask(token, "DELETE", f"/api/v1/tokens/{listed['id']}").status_code == 204
    assert people.ask(token, "GET", "/api/v1/plant").status_code == 401


def test_a_token_may_no_more_than_its_account_does_now(people: People) -> None:
    secret = people.add("elsa", Role.ENGINEER)
    token = people.ask(secret, "POST", "/api/v1/tokens", {"name": "all", "may": ["see", "edit", "administer"]}).json()
    ask = token["secret"], "DELETE", "/api/v1/twins/nothing"
    assert people.ask(*ask).status_code == 404
    assert people.ask(token["secret"], "GET", "/api/v1/accounts").status_code == 403
    people.client.patch("/accounts/elsa", {"role": "viewer"})
    assert people.ask(*ask).status_code == 403
    people.client.delete("/accounts/elsa")
    people.add("elsa", Role.ADMIN)
    assert people.ask(token["secret"], "GET", "/api/v1/plant").status_code == 401, "another elsa"


def test_a_token_for_some_points_sees_and_commands_these_only(people: People) -> None:
    secret = people.add("paul", Role.OPERATOR)
    body = {"name": "plc", "may": ["see", "command"], "points": ["pump_335.", "tank_1."]}
    token = people.ask(secret, "POST", "/api/v1/tokens", body).json()["secret"]

    def status(method: str, path: str, body: Any = None) -> int:
        return people.ask(token, method, f"/api/v1{path}", body).status_code

    assert status("GET", "/points/tank_1.level") == 200
    assert status("GET", "/history?point=tank_1.level") == 200
    assert status("GET", "/points/tank_2.level") == 403
    assert status("GET", "/history?point=tank_2.level") == 403
    assert status("POST", "/query", {"sql": "SELECT * FROM points"}) == 403
    assert status("GET", "/plant") == 403
    assert status("POST", "/ticket") == 403
    assert status("POST", "/commands", {**COMMAND, "key": "ours"}) == 202
    assert status("POST", "/commands", {**COMMAND, "key": "other", "point": "pump_10.status"}) == 403
    assert status("POST", "/commands", {**COMMAND, "key": "spy", "when": "tank_2.level > 1"}) == 403
    ours = people.ask(secret, "POST", "/api/v1/commands", {**COMMAND, "key": "his"}).json()
    assert status("GET", f"/commands/{ours['id']}") == 200
    token = people.ask(secret, "POST", "/api/v1/tokens", {**body, "name": "tank", "points": ["tank_1."]}).json()[
        "secret"
    ]
    assert status("GET", f"/commands/{ours['id']}") == 403
    assert status("POST", f"/commands/{ours['id']}/cancel", {}) == 403


async def test_a_token_that_is_revoked_closes_its_sockets(people: People) -> None:
    made = await asyncio.to_thread(people.client.post, "/tokens", {"name": "feed", "may": ["see"]})
    async with opened(people, made["secret"]) as socket:
        await asyncio.to_thread(people.client.delete, f"/tokens/{made['token']['id']}")
        assert await closed(socket) == ("denied", 4401)
    gone = people.ask(made["secret"], "GET", "/api/v1/session")
    await soon(lambda: gone.status_code, lambda code: code == 401)


# --- the command line ------------------------------------------------------------------------------------------------


def test_the_command_line_does_it_over_the_running_server(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    run = CliRunner()

    def told(*words: str, given: str = "") -> Any:
        done = run.invoke(app, [*words, "--data", str(people.site.data)], input=given)
        assert done.exit_code == 0, (words, done.output, done.exception)
        return json.loads(done.stdout) if "--json" in words else done.stdout

    told("account", "add", "cara", "--role", "operator", given=f"{PASSWORD}\n")
    secret = people.sign_in("cara")
    assert {"name": "cara", "role": "operator", "disabled": False} in told("account", "list", "--json")
    (shown,) = [s for s in told("session", "list", "--json") if s["name"] == "cara"]
    told("session", "revoke", shown["id"])
    assert people.ask(secret, "GET", "/api/v1/session").status_code == 401
    told("account", "role", "cara", "viewer")
    told("account", "password", "cara", "--own", given=f"{PASSWORD}\ntwelve pumps\n")
    monkeypatch.setenv("TWINLOOP_PASSWORD", "twelve pumps")
    token = told("token", "add", "reader", "--may", "see", "--as", "cara").strip()
    assert people.ask(token, "GET", "/api/v1/session").json()["role"] == "viewer"
    (listed,) = told("token", "list", "--as", "cara", "--json")
    assert listed["name"] == "reader" and listed in [
        {**t, "used": listed["used"]} for t in told("token", "list", "--json")
    ]
    told("token", "revoke", listed["id"])
    assert people.ask(token, "GET", "/api/v1/session").status_code == 401
    made = told("token", "add", "backup", "--may", "keep", "--role", "engineer", "--days", "1", "--json")
    assert made["token"]["account"] == "" and people.ask(made["secret"], "GET", "/api/v1/plant").status_code == 403
    told("account", "disable", "cara")
    with pytest.raises(AssertionError):
        people.sign_in("cara", "twelve pumps")
    told("account", "enable", "cara")
    people.sign_in("cara", "twelve pumps")
    told("session", "revoke", "--account", "cara")
    told("account", "remove", "cara")
    whats = until(
        lambda: [e["what"] for e in people.entries("access") if e["user"] == "cara"],
        lambda found: bool(found) and found[0] == "account removed",
    )
    assert whats.count("account changed") >= 4 and "session revoked" in whats and "token made" in whats
    assert isinstance(run.invoke(app, ["session", "revoke", "--data", str(people.site.data)]).exception, BadRequest)
    assert isinstance(run.invoke(app, ["account", "role", "cara", "king"]).exception, BadRequest)
