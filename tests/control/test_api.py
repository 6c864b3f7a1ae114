"""HTTP and WebSocket of a real server process whose devices are all dead: sign-in, errors, limits, resume."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import msgpack
import pyarrow as pa
import pytest
from typer.testing import CliRunner
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from control.api.guard import HEADERS
from control.api.route import BODY_MAX
from control.api.routes import ROUTES
from control.api.wire import SUBPROTOCOL
from control.cli import app
from control.client import Client
from control.identity import TOKEN_FILE
from control.live import COUNTED
from tests.plant.site import Site, site, until
from twin import errors

POINTS = 145


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Client]]:
    """A server of the water plant without its fleet."""
    with site(tmp_path_factory.mktemp("api")) as made:
        dead = {"scada": "opc.tcp://127.0.0.1:9/x", "plc": "modbus://127.0.0.1:9/1", "pressures": "mqtt://127.0.0.1:9"}
        client = made.start_server(**dead)
        yield made, client
        client.close()


@pytest.fixture(scope="module")
def client(running: tuple[Site, Client]) -> Client:
    return running[1]


@pytest.fixture(scope="module")
def http(running: tuple[Site, Client]) -> Iterator[httpx.Client]:
    token = (running[0].data / TOKEN_FILE).read_text()
    with httpx.Client(base_url=running[1].url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as made:
        yield made


def filled(path: str) -> str:
    return (
        path.replace("{target}", "tank_2")
        .replace("{name}", "tank_1.level")
        .replace("{id}", "nothing")
        .replace("{index}", "0")
    )


@pytest.mark.parametrize("route", [r for r in ROUTES if r.act is not None], ids=lambda r: f"{r.method} {r.path}")
def test_no_route_answers_a_stranger(client: Client, route: Any) -> None:
    answer = httpx.request(route.method, client.url + filled(route.path), trust_env=False)
    assert answer.status_code == 401
    assert answer.json()["code"] == "denied"
    wrong = httpx.request(
        route.method, client.url + filled(route.path), headers={"Authorization": "Bearer x"}, trust_env=False
    )
    assert wrong.status_code == 401


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
def test_no_route_breaks_on_an_empty_or_garbled_request(http: httpx.Client, route: Any) -> None:
    query = {"limit": "x", "last": "-1", "max": "nan"}
    for content in (b"", b"{", b"[]", b"null", b'{"unknown": 1}', b"\xff\xfe"):
        answer = http.request(route.method, filled(route.path), content=content, params=query)
        assert answer.status_code < 500
        if answer.is_error:
            assert answer.json()["message"]


def test_a_request_by_another_name_or_from_another_page_is_refused(http: httpx.Client) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        answer = http.get("/api/v1/plant", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_every_answer_carries_the_security_headers(http: httpx.Client) -> None:
    for path in ("/", "/api/v1/plant", "/openapi.json", "/asyncapi.json", "/healthz", "/metrics", "/nothing"):
        answer = http.get(path)
        assert all(answer.headers[name.decode()] == value.decode() for name, value in HEADERS), path


def test_a_body_that_is_too_large_is_refused_before_it_is_read(http: httpx.Client) -> None:
    answer = http.post("/api/v1/query", content=b" " * (BODY_MAX + 10))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_the_openapi_document_describes_every_route_and_resolves(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    described = {(m.upper(), p) for p, methods in document["paths"].items() for m in methods}
    assert described == {(r.method, r.path) for r in ROUTES}

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "$ref":
                    yield inner
                else:
                    yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    names = {r.rpartition("/")[2] for r in references(document)}
    assert names <= set(document["components"]["schemas"])


def test_the_plant_has_a_place_for_every_twin(client: Client) -> None:
    plant = client.get("/plant")
    assert len(plant["points"]) == POINTS
    assert all(0 <= t["x"] <= 1 and 0 <= t["y"] <= 1 for t in plant["twins"])


def test_of_a_point_that_was_never_read_no_time_is_told(client: Client) -> None:
    found = client.get("/points/tank_1.level")
    assert (found["value"], found["source_time"], found["good"]) == (None, None, False)


BAD_COMMANDS = [
    ({"key": "k", "point": "pump_335.staus", "value": 1}, errors.NotFound, "did you mean pump_335.status"),
    ({"key": "k", "point": "pump_335.running", "value": 1}, errors.Refused, "not writable"),
    ({"key": "k", "point": "pump_335.speed", "value": 1e9}, errors.BadRequest, "outside"),
    ({"key": "k", "point": "pump_335.status", "value": "up"}, errors.BadRequest, "give on or off"),
    ({"key": "k", "point": "pump_335.status", "value": []}, errors.BadRequest, "Expected `float | str`, got `array`"),
    ({"key": "k", "point": "pump_335.status"}, errors.BadRequest, "missing required field `value`"),
    ({"key": "k", "point": "pump_335.status", "value": 1, "prio": 1}, errors.BadRequest, "unknown field `prio`"),
    ({"key": "k", "point": "pump_335.status", "value": 1, "priority": "urgent"}, errors.BadRequest, "urgent"),
    ({"key": "k", "point": "pump_335.status", "value": 1, "deadline_s": -1}, errors.BadRequest, "deadline_s"),
]


def test_a_trend_may_reach_back_to_the_beginning_of_time_and_not_beyond_its_end(http: httpx.Client) -> None:
    path = "/api/v1/history?point=tank_1.level&max=5000"
    assert http.get(f"{path}&from=0&to=9e12").status_code == 200
    assert http.get(f"{path}&to=1e15").status_code == 400


def test_every_span_is_asked_for_in_the_same_words(http: httpx.Client) -> None:
    spans = ("from=-1h", "from=1795300000000&to=now", "from=2026-11-21T06:00Z&to=%2B1m")
    for path in ("history?point=tank_1.level&", "alarms/history?", "alarms?", "happenings?", "history/export?tier=1h&"):
        for span in spans:
            assert http.get(f"/api/v1/{path}{span}").status_code == 200, (path, span)
        assert http.get(f"/api/v1/{path}from=soon").status_code == 400
        assert http.get(f"/api/v1/{path}from=1e15").status_code == 400
    assert http.get("/api/v1/audit?since=-1h&until=1795300000000").status_code == 200


def test_a_dry_run_of_an_import_takes_nothing_and_is_said_as_everywhere(http: httpx.Client) -> None:
    time = pa.array([1_700_000_000_000_000_000], pa.timestamp("ns", "UTC"))
    rows = pa.table({"point": ["tank_1.level"], "value": [1.0], "source_time": time, "received_time": time})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    sent = sink.getvalue().to_pybytes()
    for word in ("true", "1", "true"):
        answer = http.post(f"/api/v1/history/import?dry_run={word}", content=sent)
        assert (answer.status_code, answer.json()) == (200, {"new": 1, "held": 0, "expired": 0})
    for word in ("0.5", "yes"):
        answer = http.post(f"/api/v1/history/import?dry_run={word}", content=sent)
        assert answer.status_code == 400 and "dry_run" in answer.json()["message"]
    assert http.post("/api/v1/history/import?dry_run=true", content=b"no stream").status_code == 400


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("PUT", "/commands"), ("DELETE", "/commands/x")])
def test_what_is_no_route_says_so_as_every_error_does(client: Client, method: str, path: str) -> None:
    with pytest.raises(errors.NotFound, match=f"there is no {method} /api/v1{path}"):
        client._ask(method, path)


@pytest.mark.parametrize(("body", "error", "said"), BAD_COMMANDS)
def test_a_bad_command_says_what_and_where(
    client: Client, body: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        client.post("/commands", body)
    assert said in str(caught.value)


def test_a_command_for_a_dead_device_waits_expires_and_its_key_is_kept(client: Client) -> None:
    body = {"key": "waits", "point": "pump_335.status", "value": 1.0, "deadline_s": 1.0}
    first = client.post("/commands", body)
    assert first["status"] == "QUEUED"
    assert client.post("/commands", body)["id"] == first["id"]
    with pytest.raises(errors.Conflict):
        client.post("/commands", {**body, "value": 0.0})
    done = until(lambda: client.get(f"/commands/{first['id']}"), lambda c: c["final"])
    assert done["status"] == "EXPIRED"
    assert client.post("/commands", body)["status"] == "EXPIRED"
    with pytest.raises(errors.Conflict):
        client.post(f"/commands/{first['id']}/cancel")


def test_a_whatif_from_a_plant_that_is_not_live_is_refused_with_the_list(client: Client) -> None:
    with pytest.raises(errors.Refused) as caught:
        client.post("/whatif", {"scenarios": ["pump_335.status=off for 4h"]})
    assert "tank_1.level" in str(caught.value)
    assert "tank_3.level" in str(caught.value)


OFF = ["pump_335.status=off"]
LESS = "min energy_kwh"
BAD_WHATIFS = [
    ("", {"scenarios": []}, "no scenario"),
    ("", {"scenarios": ["pump_335.status"]}, "pump_335.status"),
    ("", {"scenarios": OFF, "limits": ["tank_1.level=3"]}, "tank_1.level=3"),
    ("", {"scenarios": OFF, "horizon_s": -1}, "horizon of -1"),
    ("", {"scenarios": OFF, "seed": -1}, "seed"),
    ("", {"scenarios": OFF, "goal": "less energy"}, "goal 'less energy'"),
    ("", {"scenarios": OFF, "until": "energy_kwh"}, "precision 'energy_kwh'"),
    ("", {"scenarios": OFF, "kind": "rank"}, "Invalid value 'rank'"),
    ("/rank", {"scenarios": [], "goal": LESS}, "no scenario"),
    ("/rank", {"scenarios": OFF}, "missing required field `goal`"),
    ("/rank", {"scenarios": OFF, "goal": "less energy"}, "goal 'less energy'"),
    ("/rank", {"scenarios": OFF, "goal": LESS, "method": "kno"}, "Invalid enum value 'kno'"),
    ("/rank", {"scenarios": OFF, "goal": LESS}, "an indifference of 0"),
    ("/rank", {"scenarios": OFF, "goal": LESS, "delta": -1}, "an indifference of -1"),
    ("/rank", {"scenarios": OFF, "goal": LESS, "delta": 1, "confidence": 1}, "confidence 1"),
    ("/rank", {"scenarios": OFF, "goal": LESS, "method": "ocba", "budget": 10}, "a budget of 10"),
    ("/rank", {"scenarios": OFF * 200, "goal": LESS, "delta": 1}, "201 options"),
    ("/rank", {"scenarios": OFF, "goal": LESS, "delta": 1, "horizon_s": 0}, "horizon of 0"),
    ("/tornado", {"ranges": [], "kpi": "energy_kwh"}, "0 parameters"),
    ("/tornado", {"ranges": ["pump_10.speed"], "kpi": "energy_kwh"}, "range 'pump_10.speed'"),
    ("/tornado", {"ranges": ["pump_10.speed=nan..3"], "kpi": "energy_kwh"}, "pump_10.speed=nan..3"),
    ("/tornado", {"ranges": ["pump_10.speed=90..60"], "kpi": "energy_kwh"}, "90 … 60"),
    ("/tornado", {"ranges": ["pump_10.speed=6..9", "pump_10.speed=6..9"], "kpi": "energy_kwh"}, "two ranges"),
    ("/tornado", {"ranges": [f"p{n}.speed=1..2" for n in range(51)], "kpi": "energy_kwh"}, "51 parameters"),
    ("/optimise", {"ranges": [], "goal": LESS}, "0 decisions"),
    ("/optimise", {"ranges": ["pump_10.speed=60"], "goal": LESS}, "range 'pump_10.speed=60'"),
    ("/optimise", {"ranges": ["pump_10.speed=90..60"], "goal": LESS}, "from 90 to 60"),
    ("/optimise", {"ranges": ["pump_10.speed=6..9"], "goal": LESS, "trials": 0}, "0 trials"),
    ("/optimise", {"ranges": ["pump_10.speed=6..9"], "goal": LESS, "risk": 1}, "a risk of 1"),
    ("/optimise", {"ranges": ["pump_10.speed=6..9"], "goal": LESS, "limits": ["tank"]}, "'tank'"),
]


@pytest.mark.parametrize(("path", "body", "said"), BAD_WHATIFS)
def test_a_whatif_that_cannot_be_read_says_where(client: Client, path: str, body: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        client.post(f"/whatif{path}", body)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--horizon", "1h", "pump_335.status"], "'pump_335.status'"),  # without a word it compares
        (["rnk", "pump_335.status=off"], "'rnk'"),
        (["rank", *OFF, "--goal", LESS, "--horizon", "soon"], "--horizon"),
        (["rank", *OFF, "--goal", LESS, "--delta", "-2"], "an indifference of -2"),
        (["tornado", "pump_10.speed=9..6", "--kpi", "energy_kwh"], "9 … 6"),
        (["optimise", "pump_10.speed", "--goal", LESS], "range 'pump_10.speed'"),
        (["show", "nothing"], "no what-if 'nothing'"),
        (["submit", "nothing", "--yes"], "no what-if 'nothing'"),
    ],
)
def test_the_command_line_asks_each_kind_by_its_word(running: tuple[Site, Client], words: list[str], said: str) -> None:
    told = CliRunner().invoke(app, ["whatif", *words, "--data", str(running[0].data)])
    assert isinstance(told.exception, errors.TwinloopError) and said in str(told.exception)


@pytest.mark.parametrize("verb", ["get", "delete"])
@pytest.mark.parametrize("path", ["nothing", "rank"])
def test_a_whatif_that_there_is_not_says_so(client: Client, verb: str, path: str) -> None:
    with pytest.raises(errors.NotFound, match=f"no what-if '{path}'"):
        getattr(client, verb)(f"/whatif/{path}")
    with pytest.raises(errors.NotFound, match=f"no what-if '{path}'"):
        client.get(f"/whatif/{path}/plan")


def test_sql_reads_every_table_and_nothing_else(client: Client) -> None:
    for name in ("twins", "relationships", "points", "history", "dead_letters", "commands"):
        client.post("/query", {"sql": f"SELECT count(*) FROM {name}"})
    for sql in ("DELETE FROM readings", "SELECT * FROM read_text('/etc/passwd')", "SELEC 1"):
        with pytest.raises(errors.BadRequest):
            client.post("/query", {"sql": sql})


def test_no_point_looks_good_while_its_device_is_dead(client: Client) -> None:
    found = client.post("/query", {"sql": "SELECT count(*) FROM points WHERE device <> '' AND quality >> 30 = 0"})
    assert found["rows"] == [[0]]


# --- WebSocket -------------------------------------------------------------------------------------------------------


def ticket(client: Client) -> str:
    return str(client.post("/ticket")["ticket"])


def opened(client: Client, **more: Any) -> connect:
    return connect(client.url.replace("http", "ws") + "/ws", subprotocols=[SUBPROTOCOL], proxy=None, **more)  # type: ignore[list-item]


async def say(socket: ClientConnection, **message: Any) -> None:
    await socket.send(msgpack.packb(message))


async def hear(socket: ClientConnection, *kinds: str) -> dict[str, Any]:
    """The next message of one of these kinds."""
    async with asyncio.timeout(10):
        while True:
            message: dict[str, Any] = msgpack.unpackb(await socket.recv())
            if message["t"] in kinds:
                return message


async def subscribed(
    socket: ClientConnection, client: Client, position: dict[str, int] | None = None
) -> dict[str, Any]:
    assert (await hear(socket, "hello"))["protocol"] == SUBPROTOCOL
    await say(socket, t="auth", ticket=await asyncio.to_thread(ticket, client))
    welcome = await hear(socket, "welcome")
    await say(socket, t="sub", **{"from": position})
    return welcome


async def test_a_client_gets_everything_then_heartbeats(client: Client) -> None:
    async with opened(client) as socket:
        welcome = await subscribed(socket, client)
        snapshot = await hear(socket, "snapshot")
        columns = snapshot["columns"]
        assert len(columns["point"]) == 4 * POINTS
        assert len(columns["value"]) == 8 * POINTS
        assert struct.unpack(f"<{POINTS}I", columns["point"]) == tuple(range(POINTS))
        assert snapshot["epoch"] == welcome["epoch"] < 2**53
        first = await hear(socket, "heartbeat", "delta")
        second = await hear(socket, "heartbeat", "delta")
        assert second["seq"] >= first["seq"] >= snapshot["seq"]


async def test_figures_of_clients_are_in_the_metrics_and_the_document_is_served(
    client: Client, http: httpx.Client
) -> None:
    async with opened(client) as socket:
        await subscribed(socket, client)
        await hear(socket, "snapshot")
        text = (await asyncio.to_thread(http.get, "/metrics")).text
        for name in ("clients 1.0", "evicted_total 0.0", "coalesced_total", "messages_total", "encode_seconds_total"):
            assert f"twinloop_ws_{name}" in text
        assert [name for name in COUNTED if f"twinloop_{name}_total " not in text] == []
    document = await asyncio.to_thread(http.get, "/asyncapi.json")
    assert document.json()["asyncapi"] == "3.0.0"


async def test_a_client_that_comes_back_gets_what_it_missed_and_no_snapshot(client: Client) -> None:
    async with opened(client) as socket:
        await subscribed(socket, client)
        snapshot = await hear(socket, "snapshot")
    body = {"key": "missed", "point": "pump_335.status", "value": 1.0, "deadline_s": 0.1}
    record = await asyncio.to_thread(client.post, "/commands", body)
    async with opened(client) as socket:
        await subscribed(socket, client, {"epoch": snapshot["epoch"], "seq": snapshot["seq"]})
        event = await hear(socket, "event", "snapshot")
        while event["kind"] != "command" or event["body"]["id"] != record["id"]:
            event = await hear(socket, "event", "snapshot")
        assert event["t"] == "event"
        assert event["seq"] > snapshot["seq"]


@pytest.mark.parametrize("wrong", [{"epoch": 1, "seq": 0}, {"epoch": 0, "seq": 2**60}])
async def test_a_client_of_another_epoch_starts_from_a_snapshot(client: Client, wrong: dict[str, int]) -> None:
    async with opened(client) as socket:
        await subscribed(socket, client, wrong)
        assert (await hear(socket, "snapshot", "delta", "event", "heartbeat"))["t"] == "snapshot"


async def test_a_ticket_is_good_once(client: Client) -> None:
    used = await asyncio.to_thread(ticket, client)
    async with opened(client) as socket:
        await say(socket, t="auth", ticket=used)
        await hear(socket, "welcome")
    async with opened(client) as socket:
        await say(socket, t="auth", ticket=used)
        problem = await hear(socket, "error")
        assert problem["code"] == "denied"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


@pytest.mark.parametrize(
    "frame",
    ["text", b"", b"\xc1", b"\x81", msgpack.packb({"t": "fly"}), msgpack.packb({"t": "sub"}), msgpack.packb([1]),
     msgpack.packb({"t": "auth"}), msgpack.packb({"t": "auth", "ticket": 5}), b"\x00" * 70_000],
    ids=range(10),
)  # fmt: skip
async def test_a_malformed_frame_gets_an_error_and_a_close_and_hurts_nobody(client: Client, frame: str | bytes) -> None:
    async with opened(client) as good, opened(client) as bad:
        await subscribed(good, client)
        await bad.send(frame)
        assert (await hear(bad, "error"))["code"] == "bad_request"
        with pytest.raises(ConnectionClosed):
            while True:
                await bad.recv()
        await hear(good, "heartbeat", "delta")


async def test_a_page_of_another_site_cannot_open_a_socket(client: Client) -> None:
    with pytest.raises((InvalidHandshake, ConnectionClosed)):
        async with opened(client, origin="http://evil.example") as socket:
            await socket.recv()


def test_signing_out_ends_the_session(running: tuple[Site, Client]) -> None:
    client = running[1]
    with httpx.Client(base_url=client.url, trust_env=False) as browser:
        assert browser.get(client.post("/login-link")["path"]).status_code == 303
        assert browser.get("/api/v1/plant").status_code == 200
        cookie = dict(browser.cookies)
        assert browser.delete("/api/v1/session").json() == {"next": ""}
        assert browser.get("/api/v1/plant").status_code == 401
        assert httpx.get(f"{client.url}/api/v1/plant", cookies=cookie, trust_env=False).status_code == 401


async def test_a_client_that_takes_nothing_is_let_go_and_the_server_stays_calm(running: tuple[Site, Client]) -> None:
    """A stalled reader: its socket fills; others do not notice, and no error reaches the log."""
    client = running[1]
    async with opened(client, max_queue=1) as stalled, opened(client) as good:
        await subscribed(stalled, client)
        await subscribed(good, client)
        stalled.transport.pause_reading()
        for _ in range(5):
            await hear(good, "heartbeat", "delta")
        stalled.transport.abort()
        for _ in range(3):
            await hear(good, "heartbeat", "delta")
    running[0]._messages.flush()
    assert "Traceback" not in (running[0].data.parent / "messages.log").read_text()


def test_a_look_ahead_of_an_unknown_plant_says_why_there_is_none_and_its_limits_can_be_shelved(client: Client) -> None:
    found = until(lambda: client.get("/lookahead"), lambda s: s["turns"]["refused"] > 0)
    assert found["state"] == "waiting" and found["forecast"] is None and found["alarms"] == []
    assert "tank_1.level" in found["why"] and found["limits"][0] == "tank_1.level<1"
    assert client.get("/lookahead/alarms") == [] and client.get("/lookahead/scores")["scores"] == []
    shelf = client.post("/lookahead/shelve", {"limit": "tank_1.level < 1.0", "for_s": 60, "reason": "being emptied"})
    assert shelf["limit"] == "tank_1.level<1" and shelf["by"] == "cli"
    assert client.get("/lookahead")["shelves"] == [shelf]
    client.post("/lookahead/unshelve", {"limit": "tank_1.level<1"})
    assert client.get("/lookahead")["shelves"] == []
    with pytest.raises(errors.NotFound, match=r"has no limit tank_1\.level<7"):
        client.post("/lookahead/shelve", {"limit": "tank_1.level<7"})
    with pytest.raises(errors.BadRequest, match="is not understood"):
        client.post("/lookahead/shelve", {"limit": "low"})
    kinds = until(lambda: client.get("/audit", kind="lookahead")["entries"], lambda entries: len(entries) == 2)
    assert [e["body"]["step"] for e in kinds] == ["unshelved", "shelved"]
