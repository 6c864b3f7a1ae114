"""The AsyncAPI 3.0 document of the WebSocket, made from the wire types, the verbs and the table of errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec

from control.api import wire
from control.api.verbs import VERBS
from control.api.wire_event import EVENTS
from control.errors import CODES, INTERNAL, Codes

REF = "#/components/schemas/{name}"
WS_CLOSE = 1008  # of an error without a close code of its own
SILENT_CLOSES: Mapping[int, str] = {
    1002: "the subprotocol is missing; before the handshake, as HTTP 403",
    1009: f"a frame of more than {wire.FRAME_MAX:,} bytes",
    1011: f"the client answers no ping for {wire.PONG_S:g} s",
    1012: "the server stops: connect again",
    4403: "Host or Origin is foreign; before the handshake, as HTTP 403",
}
"""Closes that come without an `error`."""
BINARY = {
    "description": "binary frames of one msgpack map each; columns of `bin` are little-endian",
    "contentType": "application/msgpack",
}


def document(version: str) -> dict[str, Any]:
    """The whole document."""
    said, heard = get_args(wire.ClientMessage), get_args(wire.ServerMessage)
    bodies = [t for v in VERBS for t in (v.takes, v.gives)]
    components = _schemas([*said, *heard, *EVENTS.values(), *bodies])
    messages = {**{m: _message(k) for m, k in _named([*said, *heard])}, **_events(), **_calls()}
    channel = {
        "address": "/ws",
        "title": wire.SUBPROTOCOL,
        "messages": {m: {"$ref": f"#/components/messages/{m}"} for m in messages},
        "bindings": {"ws": {"method": "GET", "headers": _HEADERS}},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Twinloop",
            "version": version,
            "description": f"The WebSocket `/ws`, subprotocol `{wire.SUBPROTOCOL}`: {BINARY['description']}.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": BINARY["contentType"],
        "servers": {"here": {"host": "127.0.0.1:8080", "protocol": "ws", "security": [{"$ref": _TICKET}]}},
        "channels": {"socket": channel},
        "operations": {
            **{f"say_{m}": _operation("receive", m) for m, _ in _named(said)},
            **{f"hear_{m}": _operation("send", m) for m, _ in _named(heard)},
            **{f"hear_{m}": _operation("send", m) for m in _events()},
            **{f"call_{v.name}": _call(v.name, v.summary) for v in VERBS},
        },
        "components": {
            "schemas": components,
            "messages": messages,
            "securitySchemes": {
                "ticket": {
                    "type": "userPassword",
                    "description": "a ticket of POST /api/v1/ticket, good once within 30 s, in the message `auth`",
                }
            },
        },
        "x-errors": _errors(),
        "x-closes": {str(code): said for code, said in SILENT_CLOSES.items()},
    }


_TICKET = "#/components/securitySchemes/ticket"
_HEADERS = {
    "type": "object",
    "required": ["Sec-WebSocket-Protocol"],
    "properties": {"Sec-WebSocket-Protocol": {"const": wire.SUBPROTOCOL}, "Origin": {"type": "string"}},
}


def _schemas(kinds: Iterable[Any]) -> dict[str, Any]:
    """By name, msgpack's `bin` said as such."""
    _, components = msgspec.json.schema_components(list(kinds), ref_template=REF)
    columns = components[wire.Columns.__name__]["properties"]
    for name in (n for n, s in columns.items() if s.get("contentEncoding") == "base64"):
        columns[name] = {"type": "string", "format": "binary"}
    return dict(components)


def _named(kinds: Iterable[type[msgspec.Struct]]) -> list[tuple[str, type[msgspec.Struct]]]:
    return [(str(k.__struct_config__.tag), k) for k in kinds]


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    words = " ".join((kind.__doc__ or "").split())
    return {"summary": words, "payload": {"$ref": REF.format(name=kind.__name__)}}


def _events() -> dict[str, Any]:
    """One message a kind."""
    made = {}
    for kind, body in EVENTS.items():
        narrowed = {"kind": {"const": kind}, "body": {"$ref": REF.format(name=body.__name__)}}
        made[f"event_{kind}"] = {
            "summary": " ".join((body.__doc__ or "").split()),
            "payload": {"allOf": [{"$ref": REF.format(name="Event")}, {"properties": narrowed}]},
        }
    return made


def _calls() -> dict[str, Any]:
    """A call and its answer, each verb."""
    made = {}
    for verb in VERBS:
        takes, gives = (msgspec.json.schema_components([t], ref_template=REF)[0][0] for t in (verb.takes, verb.gives))
        asked = {"verb": {"const": verb.name}, "body": takes}
        made[f"call_{verb.name}"] = {
            "summary": verb.summary,
            "payload": {"allOf": [{"$ref": REF.format(name="Ask")}, {"properties": asked}]},
        }
        made[f"answer_{verb.name}"] = {
            "summary": f"To {verb.name}",
            "payload": {"allOf": [{"$ref": REF.format(name="Answer")}, {"properties": {"body": gives}}]},
        }
    return made


def _operation(action: str, message: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": "#/channels/socket"}, "messages": [_on_channel(message)]}


def _call(name: str, summary: str) -> dict[str, Any]:
    reply = {
        "channel": {"$ref": "#/channels/socket"},
        "messages": [_on_channel(f"answer_{name}"), _on_channel("error")],
    }
    return {**_operation("receive", f"call_{name}"), "summary": summary, "reply": reply}


def _on_channel(message: str) -> dict[str, str]:
    return {"$ref": f"#/channels/socket/messages/{message}"}


def _errors() -> dict[str, Any]:
    """By code: the close that follows one without a `ref`, and what it is."""
    return {c.code: {"close": c.ws or WS_CLOSE, "http": c.http, "summary": _words(c)} for c in _codes()}


def _codes() -> list[Codes]:
    """One row a code: of errors that share one, the first with a close of its own."""
    found: dict[str, Codes] = {}
    for row in (*CODES.values(), INTERNAL):
        if row.code not in found or (row.ws and not found[row.code].ws):
            found[row.code] = row
    return list(found.values())


def _words(row: Codes) -> str:
    kinds = [k for k, c in CODES.items() if c == row]
    return next((" ".join(k.__doc__.split()) for k in kinds if k.__doc__), "a bug; the server's log has it")
