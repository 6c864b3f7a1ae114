"""What a route is, what a call of it carries and what it may answer; must not know any route."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from control.api.given import check_depth, check_json
from control.api.part import Parts
from control.identity import Caller
from twin.errors import BadRequest
from twin.role import Act
from twin.when import parse_when_ns

API = "/api/v1"
TIME_MS_MAX = 9.2e12  # what fits 64 bits in ns: the year 2261
BODY_MAX = 1_000_000  # bytes: a statement or a scenario is far smaller

_DATE = re.compile(r"\d{8}")  # such as 20261121: no number


@dataclass(frozen=True, slots=True)
class Call:
    """One call: path and query values as text, the parsed body, headers by small name.

    `peer` is the client's address; `secrets` are the session's and bearer's secrets that it has shown; `secure`: over TLS.
    """

    caller: Caller
    path: dict[str, Any]
    query: dict[str, str]
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    base_url: str = ""
    peer: str = ""
    secrets: tuple[str, ...] = ()
    secure: bool = False

    def number(self, key: str, default: float, low: float, high: float) -> float:
        text = self.query.get(key)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise BadRequest(f"{key}={text!r}", f"give a number in {low:g} … {high:g}")
        return value

    def moment(self, key: str, now_ns: int, default: str = "") -> int | None:
        """A moment in ns since 1970 UTC, as people write it (twin/when.py) or in ms since 1970 UTC; None where none is said."""
        text = self.query.get(key) or default
        try:
            if not text or _DATE.fullmatch(text):
                raise ValueError
            ms = float(text)
        except ValueError:
            return parse_when_ns(text, now_ns, key) if text else None
        if not 0 <= ms <= TIME_MS_MAX:
            raise BadRequest(f"{key}={text!r}", f"give ms since 1970 in 0 … {TIME_MS_MAX:g}, or a moment such as -15m")
        return round(ms * 1e3) * 1_000  # to the microsecond, as exact as a number of JavaScript is

    def span(self, now_ns: int, start: str = "", end: str = "") -> tuple[int | None, int | None]:
        """`from` and `to`, each a moment."""
        return self.moment("from", now_ns, start), self.moment("to", now_ns, end)

    def flag(self, key: str) -> bool:
        """False when it is not given."""
        return self.choice(key, {"false": False, "true": True, "0": False, "1": True})

    def choice(self, key: str, choices: Mapping[str, bool]) -> bool:
        """The first of the choices when the key is not given."""
        text = self.query.get(key, next(iter(choices)))
        if text not in choices:
            raise BadRequest(f"{key}={text!r}", f"one of {', '.join(choices)}")
        return choices[text]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with headers, or another status than the route's; `body` None is no content, `stream` is JSON text."""

    body: Any = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: Iterator[bytes] | None = None


Handler = Callable[[Parts, Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the API: `takes` and `gives` are wire types; `query` names its query parameters, `needs` those without which
    it does not answer.

    `raw`: the handler gets the body's bytes, to read them off the event loop; `body_max` is in bytes.
    `act`: the right that a caller needs for it; None: nobody needs to be signed in.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    gives: Any
    takes: Any = None
    query: tuple[str, ...] = ()
    status: int = 200
    raw: bool = False
    body_max: int = BODY_MAX
    act: Act | None = Act.SEE
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its handler's, and no other route's: scopes of tokens and the OpenAPI document go by it."""
        return self.handler.__name__


def parse_body(route: Route, raw: bytes) -> Any:
    """
    Raises:
        BadRequest: not JSON, not of the route's type, or not what anybody may send; the message names the field.
    """
    if route.raw:
        return raw
    if route.takes is None:
        return None
    raw = raw or b"{}"
    check_depth(raw)
    try:
        body = msgspec.json.decode(raw, type=route.takes)
    except msgspec.ValidationError as error:
        wanted = "JSON object" if route.takes.__name__ == "dict" else route.takes.__name__
        raise BadRequest(f"the body is not a {wanted}: {error}", "/openapi.json and docs/wire.md say what is") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not JSON: {error}", "send application/json") from None
    check_json(raw)
    return body
