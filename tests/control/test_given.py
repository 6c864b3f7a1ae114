"""What anybody may send: names once, texts that people can read; without a server, and over HTTP and WebSocket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import httpx
import msgpack
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Route as StarletteRoute

from control.api.given import check_json
from control.api.guard import Site
from control.api.http import BODY_SMALL, endpoint_of
from control.api.part import Parts
from control.api.route import Call, Route
from control.rates import Buckets
from control.settings import CALLER_RATE
from tests.control.sockets import serving
from twin.errors import BadRequest


async def told(_: Any, call: Call) -> dict[str, Any]:
    """What arrived."""
    return {"body": call.body, "query": call.query}


@pytest.fixture
def http() -> httpx.AsyncClient:
    """One route that anybody may call."""
    row = Route("POST", "/x", told, "", dict, dict, ("limit", "dry_run"), act=None)
    site = Site(frozenset())
    endpoint = endpoint_of(cast(Parts, None), row, site, Buckets(CALLER_RATE))
    app = Starlette(routes=[StarletteRoute("/x", endpoint, methods=["POST"])])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x")


TWICE = (
    b'{"value": 1, "value": 9}',
    b'{"a": [{"b": {"value": 1, "c": 2, "value": 1}}]}',
    b'{"value": 1, "\\u0076alue": 9}',
    b'{"a": [' + b"1," * BODY_SMALL + b'{"value": 1, "value": 2}]}',
)


@pytest.mark.parametrize("body", TWICE, ids=["plain", "deep", "escaped", "long"])
async def test_a_name_that_stands_twice_in_a_body_is_refused_by_name(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/x", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "'value' stands twice" in answer.json()["message"]


async def test_the_same_name_in_two_objects_is_no_mistake(http: httpx.AsyncClient) -> None:
    body = {"a": {"value": 1}, "b": [{"value": 2}, {"value": 3}], "value": 4, "none": {}}
    assert (await http.post("/x", json=body)).json()["body"] == body


async def test_a_body_that_nests_without_end_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/x", content=b'{"a":' * 20_000 + b"1" + b"}" * 20_000)
    assert (answer.status_code, answer.json()["message"]) == (400, "the body nests too deep")


async def test_a_query_parameter_stands_once_and_an_unknown_one_is_told_its_nearest(http: httpx.AsyncClient) -> None:
    answer = await http.post("/x?limit=1&dry_run=true&limit=2")
    assert (answer.status_code, answer.json()["message"]) == (400, "query parameter 'limit' stands twice")
    answer = await http.post("/x?dryrun=true")
    assert (answer.status_code, answer.json()["hint"]) == (400, "did you mean dry_run?; it has limit, dry_run")
    assert (await http.post("/x?limit=1&dry_run=true")).json()["query"] == {"limit": "1", "dry_run": "true"}


async def test_every_body_that_python_writes_is_read(http: httpx.AsyncClient) -> None:
    body = {"text": 'a "b": {\n\t', "n": [1, -2.5e300, None, True], "": {"é": "日本"}}
    for raw in (json.dumps(body).encode(), msgspec.json.encode(body)):
        check_json(raw)
        assert (await http.post("/x", content=raw)).json()["body"] == body


async def test_a_name_that_stands_twice_in_a_message_is_refused_by_name(tmp_path: Path) -> None:
    def packed(*pairs: tuple[str, Any]) -> bytes:
        return bytes([0x80 + len(pairs)]) + b"".join(msgpack.packb(part) for pair in pairs for part in pair)

    async with serving(tmp_path) as server, server.client() as client:
        await client.until("snapshot")
        await client.socket.send(packed(("t", "call"), ("ref", 1), ("verb", "who"), ("verb", "stop"), ("body", {})))
        said = await client.until("error")
        assert (said["code"], "'verb' stands twice" in said["message"]) == ("bad_request", True)


def test_what_no_reader_can_be_sure_of_is_refused() -> None:
    with pytest.raises(BadRequest, match="'a' stands twice"):
        check_json(b'{"a": 1, "a": 1}')


CONTROLS = ("\x00", "\x08", "\x1b", "\x7f", "\x85", "\x9f", "over\rwritten")


@pytest.mark.parametrize("text", CONTROLS)
@pytest.mark.parametrize("escaped", [True, False])
async def test_a_text_with_control_characters_is_refused_by_field(
    http: httpx.AsyncClient, text: str, escaped: bool
) -> None:
    body = {"alarms": [{"reason": f"because {text}"}], "ok": "fine"}
    raw = json.dumps(body).encode() if escaped else msgspec.json.encode(body)
    answer = await http.post("/x", content=raw)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert answer.json()["message"].startswith("alarms[0].reason has the control character U+00")


@pytest.mark.parametrize("escaped", [True, False])
async def test_a_text_that_turns_its_direction_by_force_is_refused(http: httpx.AsyncClient, escaped: bool) -> None:
    for text in ("x\u202etxt", "a\u2066b"):
        raw = json.dumps({"reason": text}).encode() if escaped else msgspec.json.encode({"reason": text})
        assert (
            (await http.post("/x", content=raw)).json()["message"].startswith("reason has the control character U+20")
        )
    assert (await http.post("/x", json={"reason": "נבדק، تم"})).status_code == 200


async def test_a_name_with_control_characters_is_refused_where_its_object_stands(http: httpx.AsyncClient) -> None:
    answer = await http.post("/x", json={"values": {"tank\x00": 1}})
    assert answer.json()["message"] == "a name in values has the control character U+0000"


async def test_lines_tabs_and_other_scripts_are_texts_and_passwords_are_nobodys(http: httpx.AsyncClient) -> None:
    body = {"text": "one\ntwo\r\n\tthree \u200f\u2028 日本 \U0001f600", "password": "bell \x07"}
    assert (await http.post("/x", json=body)).json()["body"] == body


async def test_a_call_with_control_characters_is_answered_and_the_socket_stays(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.client() as client:
        await client.until("snapshot")
        await client.say(t="call", ref=7, verb="acknowledge_alarms", body={"alarms": ["a"], "reason": "\x1b[2J"})
        said = await client.until("error")
        assert (said["ref"], said["message"]) == (7, "reason has the control character U+001B")
        await client.say(t="ping")
        await client.until("heartbeat")
