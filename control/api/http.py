"""The Starlette application: routes, sign-in, headers, errors, static console; must not know any route's meaning."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, WebSocketRoute
from starlette.routing import Route as StarletteRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control.api import wire
from control.api.openapi import document
from control.api.part import Parts
from control.api.problem import error_body
from control.api.route import API, BODY_MAX, Call, Reply, Route
from control.api.routes import ROUTES, parse_body
from control.api.session_routes import COOKIE, cookie
from control.api.ws import Console
from control.errors import INTERNAL, codes
from control.identity import Caller
from control.permissions import permit
from twin.errors import BadRequest, Forbidden, LimitExceeded, NotFound
from twin.role import Role

STATIC = Path(__file__).parent / "static"
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
    (b"cache-control", b"no-store"),
)
NOBODY = Caller("", Role.VIEWER)
"""Who calls where nobody needs to be signed in."""
NOT_BUILT = "The console is not built. Run `make setup`, or `python control/console/build.py`.\n"
BODIES = {(r.method, r.path): r.body_max for r in ROUTES if r.body_max != BODY_MAX}
"""Bytes that a body may have where it is not BODY_MAX; only routes without parameters in their path."""
log = logging.getLogger("twinloop.http")


def application(parts: Parts, registry: CollectorRegistry, hosts: frozenset[str]) -> ASGIApp:
    """The whole server. `hosts` are the Host headers it answers to (a foreign name means DNS rebinding)."""
    routes: list[BaseRoute] = [
        StarletteRoute(r.path, _endpoint(parts, r), methods=[r.method]) for r in sorted(ROUTES, key=lambda r: r.path)
    ]
    api_document = msgspec.json.encode(document(parts.version))

    async def openapi(_: Request) -> Response:
        return Response(api_document, media_type="application/json")

    async def login(request: Request) -> Response:
        caller, session = parts.identity.log_in(request.query_params.get("token", ""))
        parts.evidence.record("login", {"user": caller.name, "role": caller.role.value, "by": "login link"})
        return RedirectResponse("/", 303, {"set-cookie": cookie(session)})

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        failure = parts.evidence.reach().failure or parts.live.history.failure
        return PlainTextResponse(f"{failure or 'ready'}\n", 503 if failure else 200)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    console = Console(parts, hosts)
    routes += [
        StarletteRoute("/openapi.json", openapi),
        StarletteRoute("/login", login),
        StarletteRoute("/healthz", healthz),
        StarletteRoute("/readyz", readyz),
        StarletteRoute("/metrics", metrics),
        WebSocketRoute("/ws", console.serve),
    ]
    if (STATIC / "index.html").exists():
        routes.append(Mount("/", StaticFiles(directory=STATIC, html=True)))
    else:
        routes.append(StarletteRoute("/", _not_built))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_route, Exception: _answer_error})
    return _Guard(app, hosts)


async def _not_built(_: Request) -> Response:
    return PlainTextResponse(NOT_BUILT, 503)


def credentials(connection: HTTPConnection) -> tuple[str | None, str | None]:
    """(session cookie, bearer token)."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return connection.cookies.get(COOKIE), token.strip() if scheme.lower() == "bearer" else None


def _endpoint(parts: Parts, route: Route) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            secrets = credentials(request)
            caller = NOBODY
            if route.act is not None:
                caller = parts.identity.caller(*secrets)
                permit(caller, route.act)
            _check_query(route, request)
            body = parse_body(route, await request.body())
            call = Call(
                caller, request.path_params, dict(request.query_params), body, request.headers,
                str(request.base_url).rstrip("/"), request.client.host if request.client else "",
                tuple(s for s in secrets if s),
            )  # fmt: skip
            return _response(route, await route.handler(parts, call))
        except Exception as error:  # the edge: every type has its code, and one caller's error stops nobody else
            return await _answer_error(request, error)

    return endpoint


def _check_query(route: Route, request: Request) -> None:
    """What is not known is not passed over: `dryrun=true` must not send anything.

    Raises:
        BadRequest: a query parameter that the route does not have.
    """
    for name in request.query_params:
        if name not in route.query:
            known = f"it has {', '.join(route.query)}" if route.query else "it has none"
            raise BadRequest(f"{request.method} {route.path} has no query parameter {name[:80]!r}", known)


def _response(route: Route, answer: Any) -> Response:
    if isinstance(answer, Response):
        return answer
    reply = answer if isinstance(answer, Reply) else Reply(answer)
    status, headers = reply.status or route.status, dict(reply.headers)
    if reply.stream is not None:
        return StreamingResponse(reply.stream, status, headers, "application/json")
    if status in (204, 304):
        return Response(None, status, headers)
    return Response(msgspec.json.encode(reply.body, enc_hook=wire.as_json), status, headers, "application/json")


async def _no_route(request: Request, error: Exception) -> Response:
    """The API says so in its own words, as every error; pages in a browser's."""
    if not request.url.path.startswith(f"{API}/"):
        assert isinstance(error, HTTPException)
        return PlainTextResponse(error.detail, error.status_code)
    return await _answer_error(
        request, NotFound(f"there is no {request.method} {request.url.path}", "docs/wire.md lists all")
    )


async def _answer_error(request: Request, error: Exception) -> Response:
    found = codes(error)
    if found is INTERNAL:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return Response(msgspec.json.encode(error_body(error)), found.http, media_type="application/json")


class _Guard:
    """Before everything: the Host must be ours, a changing request must come from our own page, bodies are bounded."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        taken = 0
        most = BODIES.get((request.method, request.url.path), BODY_MAX)

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise LimitExceeded(f"the body is larger than {most} bytes", "send less")
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        try:
            check_origin(request, self._hosts)
        except Forbidden as error:
            await (await _answer_error(request, error))(scope, receive, with_headers)
            return
        await self._app(scope, bounded, with_headers)


def check_origin(connection: HTTPConnection, hosts: frozenset[str]) -> None:
    """
    Raises:
        Forbidden: the Host header is not one of ours, or the request comes from another site's page.
    """
    host = connection.headers.get("host", "")
    if host not in hosts:
        raise Forbidden(f"unknown host {host!r}", f"open one of {', '.join(sorted(hosts))}")
    origin = connection.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
        raise Forbidden(f"a page of {origin} may not call this server", "open the console itself")
