"""Before everything: the Host must be ours, a changing request must come from our own page, bodies and rates are bounded.

Must not know any route's meaning.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control.api.route import API
from control.logs import correlation
from control.rates import Buckets, Rate
from control.settings import CALLER_RATE, PEER_RATE
from protocols.link import Clock
from twin.errors import Forbidden, LimitExceeded, TooLarge, TwinloopError, Unavailable

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        b"require-trusted-types-for 'script'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"permissions-policy",
        b"accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), "
        b"microphone=(), midi=(), payment=(), usb=()",
    ),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
)
HSTS = (b"strict-transport-security", b"max-age=31536000")
BODY_S = 30.0  # for a body, and a second more for each BODY_BYTES_S of what it may be
BODY_BYTES_S = 100_000
REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
OUR_PAGE = ("same-origin", "none")  # Sec-Fetch-Site of our own page, and of what somebody typed


@dataclass(frozen=True, slots=True)
class Site:
    """What the server is called and how it is reached.

    `hosts` are the Host headers it answers to (a foreign name means DNS rebinding); `secure`: over TLS.
    """

    hosts: frozenset[str]
    secure: bool = False
    metrics: str = "loopback"
    caller: Rate = CALLER_RATE
    peer: Rate = PEER_RATE


@dataclass(slots=True)
class Guard:
    """`answer` makes an error a response; `bodies` is what a body may have where it is not `body_max`, by method and path."""

    app: ASGIApp
    site: Site
    clock: Clock
    new_id: Callable[[], str]
    answer: Callable[[Request, Exception], Awaitable[Response]]
    bodies: Mapping[tuple[str, str], int]
    body_max: int
    _peers: Buckets = field(init=False)

    def __post_init__(self) -> None:
        self._peers = Buckets(self.site.peer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        given = request.headers.get("x-request-id", "")
        identity = given if REQUEST_ID.fullmatch(given) else self.new_id()
        correlation.set(identity)
        more = [*HEADERS, (b"x-request-id", identity.encode())]
        if self.site.secure:
            more.append(HSTS)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *more]
            await send(message)

        most = self.bodies.get((request.method, request.url.path), self.body_max)
        try:
            check_origin(request, self.site)
            self._check_rate(request)
            _check_length(request, most)
        except TwinloopError as error:
            await (await self.answer(request, error))(scope, receive, with_headers)
            return
        await self.app(scope, _bounded(receive, most), with_headers)

    def _check_rate(self, request: Request) -> None:
        peer = request.client.host if request.client else ""
        check_rate(self._peers, peer, self.clock(), f"calls from {peer}")


def check_rate(buckets: Buckets, key: str, now: int, whose: str) -> None:
    """
    Raises:
        LimitExceeded: it says when the next call is taken.
    """
    wait_s = buckets.take(key, now)
    if wait_s:
        raise LimitExceeded(f"too many {whose}", "make fewer, or raise [limits] in server.toml", retry_after_s=wait_s)


def _bounded(receive: Receive, most: int) -> Receive:
    """The same, while its bytes and its time are within limits."""
    taken, whole = 0, False
    end: float | None = None

    async def bounded() -> Message:
        nonlocal taken, whole, end
        if whole:
            return await receive()  # waits for the client to go
        loop = asyncio.get_running_loop()
        if end is None:
            end = loop.time() + BODY_S + most / BODY_BYTES_S
        try:
            async with asyncio.timeout_at(end):
                message = await receive()
        except TimeoutError:
            raise Unavailable("the body did not come in time", "send it again over a better line") from None
        taken += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if taken > most:
            raise _too_large(most)
        return message

    return bounded


def _check_length(request: Request, most: int) -> None:
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:20]) > most:
        raise _too_large(most)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is larger than {most} bytes", "send less")


def check_origin(connection: HTTPConnection, site: Site) -> None:
    """
    Raises:
        Forbidden: the Host header is not one of ours, or the request comes from another site's page.
    """
    said_hosts = connection.headers.getlist("host")
    if len(said_hosts) > 1:
        raise Forbidden("more than one Host header", "send one")
    host = said_hosts[0] if said_hosts else ""
    if host not in site.hosts:
        raise Forbidden(f"unknown host {host[:200]!r}", f"open one of {', '.join(sorted(site.hosts))}")
    origin = connection.headers.get("origin")
    if origin is not None:
        scheme, _, said = origin.partition("://")
        if said != host or (site.secure and scheme != "https"):
            raise Forbidden(f"a page of {origin[:200]} may not call this server", "open the console itself")
    fetch = connection.headers.get("sec-fetch-site", "none")
    if fetch not in OUR_PAGE and (
        connection.scope["type"] == "websocket"
        or connection.scope.get("method") != "GET"
        or connection.url.path.startswith(f"{API}/")
    ):
        raise Forbidden("another site's page may not call this server", "open the console itself")
