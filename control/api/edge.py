"""What routes and pages share at the edge of HTTP: who shows what, and how an error is answered; must not know either."""

from __future__ import annotations

import logging
import math

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from control.api.guard import Site
from control.api.problem import error_body
from control.api.session_routes import cookie_name
from control.errors import INTERNAL, codes
from twin.errors import TooLarge, TwinloopError

log = logging.getLogger("twinloop.http")


def credentials(connection: HTTPConnection, site: Site) -> tuple[str | None, str | None]:
    """(session cookie, bearer token)."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return connection.cookies.get(cookie_name(site.secure)), token.strip() if scheme.lower() == "bearer" else None


def peer_of(request: Request) -> str:
    """The client's address, "" where it is not known."""
    return request.client.host if request.client else ""


async def answer_error(request: Request, error: Exception) -> Response:
    found = codes(error)
    if found is INTERNAL:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    headers = {}
    if isinstance(error, TwinloopError) and error.retry_after_s > 0:
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, TooLarge):
        headers["connection"] = "close"  # what is still on its way is not read
    return Response(msgspec.json.encode(error_body(error)), found.http, headers, "application/json")
