"""What a route is, what a call of it carries and what it may answer; must not know any route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from control.api.part import Parts
from control.identity import Caller
from twin.errors import BadRequest
from twin.role import Act

API = "/api/v1"
BODY_MAX = 1_000_000  # bytes: a statement or a scenario is far smaller


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
    """A row of the API: `takes` and `gives` are wire types; `query` names its query parameters.

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
