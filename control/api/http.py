"""The Starlette application: the API's routes, and pages beside them; must not know any route's meaning."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp

from control.api import wire
from control.api.edge import answer_error, credentials, peer_of
from control.api.given import check_query
from control.api.guard import Guard, Site, check_rate
from control.api.pages import Pages
from control.api.part import Parts
from control.api.route import API, BODY_MAX, Call, Reply, Route, parse_body
from control.api.routes import ROUTES
from control.api.scope import permit_scope
from control.api.streamed import Streamed
from control.api.ws import Console
from control.identity import Caller
from control.permissions import permit
from control.rates import Buckets
from twin.errors import BadRequest, NotFound
from twin.nearest import nearest
from twin.role import Role

NOBODY = Caller("", Role.VIEWER)
"""Who calls where nobody needs to be signed in."""
BODY_SMALL = 50_000  # bytes: read in 3 ms; longer ones on a thread
GONE = 499  # nginx's word for it; it reaches nobody
BODIES = {(r.method, r.path): r.body_max for r in ROUTES if r.body_max != BODY_MAX}
"""Bytes that a body may have where it is not BODY_MAX; only routes without parameters in their path."""


def application(parts: Parts, registry: CollectorRegistry, site: Site, console: Console) -> ASGIApp:
    """The whole server."""
    callers, pages = Buckets(site.caller), Pages(parts, registry, site)
    routes: list[BaseRoute] = [
        StarletteRoute(r.path, endpoint_of(parts, r, site, callers), methods=[r.method])
        for r in sorted(ROUTES, key=lambda r: r.path)
    ]
    routes += [*pages.routes(), WebSocketRoute("/ws", console.serve), pages.console()]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_route, Exception: answer_error})
    return Guard(app, site, parts.clock, parts.new_id, answer_error, BODIES, BODY_MAX)


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
            body = await _body(route, await request.body())
            if caller.points:
                await permit_scope(parts, caller, route.name, _given(request, body))
            call = Call(
                caller, request.path_params, dict(request.query_params), body, request.headers,
                str(request.base_url).rstrip("/"), peer_of(request), tuple(s for s in secrets if s), site.secure,
            )  # fmt: skip
            answer = _response(route, await route.handler(parts, call))
            if isinstance(answer, StreamingResponse) and route.act is not None:
                act = route.act
                return Streamed(answer, lambda: permit(parts.identity.now(caller), act))
            return answer
        except ClientDisconnect:  # it went while it sent the body: nobody is there to hear an answer
            return Response(status_code=GONE)
        except Exception as error:  # the edge: every type has its code, and one caller's error stops nobody else
            return await answer_error(request, error)

    return endpoint


async def _body(route: Route, raw: bytes) -> Any:
    return await asyncio.to_thread(parse_body, route, raw) if len(raw) > BODY_SMALL else parse_body(route, raw)


def _given(request: Request, body: Any) -> dict[str, Any]:
    """Path, query and body in one."""
    fields = msgspec.to_builtins(body) if isinstance(body, msgspec.Struct | dict) else {}
    return {**request.query_params, **fields, **request.path_params}


def _check_query(route: Route, request: Request) -> None:
    """What is not known is not passed over: `dryrun=true` must not send anything.

    Raises:
        BadRequest: a query parameter that the route does not have, or one twice.
    """
    for name in request.query_params:
        if name not in route.query:
            known = f"it has {', '.join(route.query)}" if route.query else "it has none"
            hint = "; ".join(said for said in (nearest(name[:80], route.query), known) if said)
            raise BadRequest(f"{request.method} {route.path} has no query parameter {name[:80]!r}", hint)
    check_query(request.query_params.multi_items())


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
    return await answer_error(
        request, NotFound(f"there is no {request.method} {request.url.path}", "docs/wire.md lists all")
    )
