"""The AsyncAPI document: whole, resolved, of the form that AsyncAPI 3.0 asks for, and the guide names what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from control.api import wire
from control.api.asyncapi import SILENT_CLOSES, document
from control.api.verbs import VERB_OF_NAME
from control.api.wire_event import EVENTS
from control.errors import CODES, INTERNAL

DOCUMENT = msgspec.json.decode(msgspec.json.encode(document("1")))
GUIDE = (Path(__file__).parents[2] / "docs/wire.md").read_text()
SOCKET = GUIDE[GUIDE.index("## WebSocket") : GUIDE.index("## A client in Python")]


def references(value: Any) -> Iterator[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and "$ref" in value:
        yield value["$ref"]
    for part in inner:
        yield from references(part)


def resolved(reference: str) -> Any:
    found = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert found
    assert all(r.startswith("#/") and resolved(r) is not None for r in found)


def test_it_has_what_asyncapi_3_asks_for() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0" and {"title", "version"} <= DOCUMENT["info"].keys()
    for server in DOCUMENT["servers"].values():
        assert {"host", "protocol"} <= server.keys()
    channel = DOCUMENT["channels"]["socket"]
    assert channel["address"] == "/ws"
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"] == {"$ref": "#/channels/socket"}
        for message in [*operation["messages"], *operation.get("reply", {}).get("messages", [])]:
            assert message["$ref"].startswith("#/channels/socket/messages/")
    for message in DOCUMENT["components"]["messages"].values():
        assert message["payload"] and message["summary"]


def test_every_message_event_verb_and_error_is_in_it() -> None:
    messages = DOCUMENT["components"]["messages"]
    kinds = [*get_args(wire.ClientMessage), *get_args(wire.ServerMessage)]
    assert {str(k.__struct_config__.tag) for k in kinds} <= messages.keys()
    assert {f"event_{k}" for k in EVENTS} <= messages.keys()
    assert {f"{way}_{v}" for v in VERB_OF_NAME for way in ("call", "answer")} <= messages.keys()
    rows = [*CODES.values(), INTERNAL]
    assert DOCUMENT["x-errors"].keys() == {c.code for c in rows}
    closes = {code: e["close"] for code, e in DOCUMENT["x-errors"].items()}
    assert (closes["unavailable"], closes["limit_exceeded"], closes["internal"], closes["conflict"]) == (
        1013,
        1013,
        1011,
        1008,
    )
    assert [c.code for c in rows if c.ws and closes[c.code] != c.ws] == []
    assert [c.code for c in rows if DOCUMENT["x-errors"][c.code]["http"] != c.http] == []


def test_the_limits_of_a_subscription_are_in_it() -> None:
    frames = DOCUMENT["components"]["schemas"]["Sub"]["properties"]["frames_per_s"]
    assert (frames["minimum"], frames["maximum"], frames["default"]) == (1, 20, 10)


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_the_guide_names_every_kind_of_event(kind: str) -> None:
    assert f"| `{kind}` |" in SOCKET


def test_the_guide_names_every_message_field_error_and_close() -> None:
    for kind in [*get_args(wire.ClientMessage), *get_args(wire.ServerMessage)]:
        assert f"`{kind.__struct_config__.tag}" in SOCKET, kind
    assert [f for f in wire.Sub.__struct_encode_fields__ if f"`{f}`" not in SOCKET] == []
    assert [c for c in DOCUMENT["x-errors"] if f"`{c}`" not in GUIDE] == []
    closes = {e["close"] for e in DOCUMENT["x-errors"].values()} | set(SILENT_CLOSES)
    assert [c for c in sorted(closes) if str(c) not in GUIDE] == []
