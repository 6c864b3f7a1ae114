"""The Starlette application: routes, sign-in, errors, static console; must not know any route's meaning."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, WebSocketRoute
from starlette.routing import Route as StarletteRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from control.api import asyncapi, wire
from control.api.guard import Guard, Site, check_rate
from control.api.openapi import document
from control.api.part import Parts
from control.api.problem import error_body
from control.api.route import API, BODY_MAX, Call, Reply, Route
from control.api.routes import ROUTES, parse_body
from control.api.scope import permit_scope
from control.api.session_routes import OIDC_PATH, cookie, cookie_name, flow_cookie, flow_cookie_name
from control.api.ws import Console
from control.errors import INTERNAL, codes
from control.identity import Caller
from control.permissions import permit
from control.rates import Buckets
from control.sessions import Origin
from twin.errors import BadRequest, NotFound, TooLarge, TwinloopError
from twin.role import Act, Role

STATIC = Path(__file__).parent / "static"
NOBODY = Caller("", Role.VIEWER)
"""Who calls where nobody needs to be signed in."""
GONE = 499  # nginx's word for it; it reaches nobody
NOT_BUILT = "The console is not built. Run `make setup`, or `python control/console/build.py`.\n"
BODIES = {(r.method, r.path): r.body_max for r in ROUTES if r.body_max != BODY_MAX}
"""Bytes that a body may have where it is not BODY_MAX; only routes without parameters in their path."""
log = logging.getLogger("twinloop.http")


def application(parts: Parts, registry: CollectorRegistry, site: Site, console: Console) -> ASGIApp:
    """The whole server."""
    callers = Buckets(site.caller)
    routes: list[BaseRoute] = [
        StarletteRoute(r.path, endpoint_of(parts, r, site, callers), methods=[r.method])
        for r in sorted(ROUTES, key=lambda r: r.path)
    ]
    api_document = msgspec.json.encode(document(parts.version))

    async def openapi(_: Request) -> Response:
        return Response(api_document, media_type="application/json")

    socket_document = msgspec.json.encode(asyncapi.document(parts.version))

    async def async_api(_: Request) -> Response:
        return Response(socket_document, media_type="application/json")

    async def login(request: Request) -> Response:
        try:
            origin = Origin("login link", _peer(request), request.headers.get("user-agent", ""))
            _, session = parts.sign_in.by_link(request.query_params.get("token", ""), origin)
        except TwinloopError as error:
            return await _answer_error(request, error)
        return RedirectResponse("/", 303, {"set-cookie": cookie(session, site.secure)})

    async def oidc(request: Request) -> Response:
        try:
            if parts.oidc is None:
                raise NotFound("there is no provider to sign in by", "docs/security.md says how to name one")
            to, browser = await parts.oidc.begin(_peer(request))
        except TwinloopError as error:
            return _back(error)
        return RedirectResponse(to, 303, {"set-cookie": flow_cookie(browser, site.secure)})

    async def oidc_done(request: Request) -> Response:
        browser = request.cookies.get(flow_cookie_name(site.secure), "")
        origin = Origin("", _peer(request), request.headers.get("user-agent", ""))
        try:
            if parts.oidc is None:
                raise NotFound("there is no provider to sign in by", "docs/security.md says how to name one")
            _, session = await parts.oidc.end(dict(request.query_params), browser, origin)
        except TwinloopError as error:
            return _back(error)
        answer = RedirectResponse("/", 303, {"set-cookie": cookie(session, site.secure)})
        answer.headers.append("set-cookie", flow_cookie("", site.secure))
        return answer

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        fault = parts.operations.fault()
        return PlainTextResponse(f"{fault or 'ready'}\n", 503 if fault else 200)

    async def metrics(request: Request) -> Response:
        try:
            _check_metrics(parts, request, site)
        except TwinloopError as error:
            return await _answer_error(request, error)
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    routes += [
        StarletteRoute("/openapi.json", openapi),
        StarletteRoute("/asyncapi.json", async_api),
        StarletteRoute("/login", login),
        StarletteRoute(OIDC_PATH, oidc),
        StarletteRoute(f"{OIDC_PATH}/done", oidc_done),
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
    return Guard(app, site, parts.clock, parts.new_id, _answer_error, BODIES, BODY_MAX)


async def _not_built(_: Request) -> Response:
    return PlainTextResponse(NOT_BUILT, 503)


def credentials(connection: HTTPConnection, site: Site) -> tuple[str | None, str | None]:
    """(session cookie, bearer token)."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return connection.cookies.get(cookie_name(site.secure)), token.strip() if scheme.lower() == "bearer" else None


def _back(error: TwinloopError) -> Response:
    """To the page where one signs in, which says what is wrong."""
    return RedirectResponse(f"/?{urlencode({'problem': codes(error).code})}", 303)


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _check_metrics(parts: Parts, request: Request, site: Site) -> None:
    """
    Raises:
        Denied, NotPermitted: the figures are not for everybody who can reach the port.
    """
    peer = _peer(request)
    near = peer in ("", "localhost") or (peer.count(".") == 3 and peer.startswith("127.")) or peer == "::1"
    if site.metrics == "everybody" or (site.metrics == "loopback" and near):
        return
    permit(parts.identity.caller(*credentials(request, site)), Act.SEE)


def endpoint_of(parts: Parts, route: Route, site: Site, callers: Buckets) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            secrets = credentials(request, site)
            caller = NOBODY
            if route.act is not None:
                caller = parts.identity.caller(*secrets)
                check_rate(
                    callers, caller.session or caller.token or caller.name, parts.clock(), f"calls of {caller.name}"
                )
                permit(caller, route.act)
            _check_query(route, request)
            body = parse_body(route, await request.body())
            if caller.points:
                await permit_scope(parts, caller, route.name, _given(request, body))
            call = Call(
                caller, request.path_params, dict(request.query_params), body, request.headers,
                str(request.base_url).rstrip("/"), _peer(request), tuple(s for s in secrets if s), site.secure,
            )  # fmt: skip
            return _response(route, await route.handler(parts, call))
        except ClientDisconnect:  # it went while it sent the body: nobody is there to hear an answer
            return Response(status_code=GONE)
        except Exception as error:  # the edge: every type has its code, and one caller's error stops nobody else
            return await _answer_error(request, error)

    return endpoint


def _given(request: Request, body: Any) -> dict[str, Any]:
    """Path, query and body in one."""
    fields = msgspec.to_builtins(body) if isinstance(body, msgspec.Struct | dict) else {}
    return {**request.query_params, **fields, **request.path_params}


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
    headers = {}
    if isinstance(error, TwinloopError) and error.retry_after_s > 0:
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, TooLarge):
        headers["connection"] = "close"  # what is still on its way is not read
    return Response(msgspec.json.encode(error_body(error)), found.http, headers, "application/json")
