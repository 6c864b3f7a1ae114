"""What the server answers besides its API: documents, doors for browsers, health, metrics and the console's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from control.api import asyncapi, openapi
from control.api.edge import answer_error, credentials, peer_of
from control.api.given import check_query
from control.api.guard import Site
from control.api.part import Parts
from control.api.session_routes import OIDC_PATH, cookie, flow_cookie, flow_cookie_name
from control.errors import codes
from control.oidc_door import OidcDoor
from control.permissions import permit
from control.sessions import Origin
from twin.errors import NotFound, TwinloopError
from twin.role import Act

STATIC = Path(__file__).parent / "static"
NOT_BUILT = "The console is not built. Run `make setup`, or `python control/console/build.py`.\n"


class Pages:
    """Each method but `routes` and `console` answers one address."""

    def __init__(self, parts: Parts, registry: CollectorRegistry, site: Site) -> None:
        self._parts, self._registry, self._site = parts, registry, site
        self._api = msgspec.json.encode(openapi.document(parts.version))
        self._socket = msgspec.json.encode(asyncapi.document(parts.version))

    def routes(self) -> Sequence[BaseRoute]:
        return (
            Route("/openapi.json", self.openapi),
            Route("/asyncapi.json", self.asyncapi),
            Route("/login", self.login),
            Route(OIDC_PATH, self.oidc),
            Route(f"{OIDC_PATH}/done", self.oidc_done),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
        )

    def console(self) -> BaseRoute:
        """Whatever no other route answers: it comes last."""
        if (STATIC / "index.html").exists():
            return Mount("/", StaticFiles(directory=STATIC, html=True))
        return Route("/", self.not_built)

    async def openapi(self, _: Request) -> Response:
        return Response(self._api, media_type="application/json")

    async def asyncapi(self, _: Request) -> Response:
        return Response(self._socket, media_type="application/json")

    async def login(self, request: Request) -> Response:
        try:
            check_query(request.query_params.multi_items())
            _, session = self._parts.sign_in.by_link(
                request.query_params.get("token", ""), _origin(request, "login link")
            )
        except TwinloopError as error:
            return await answer_error(request, error)
        return RedirectResponse("/", 303, {"set-cookie": cookie(session, self._site.secure)})

    async def oidc(self, request: Request) -> Response:
        try:
            to, browser = await self._door().begin(peer_of(request))
        except TwinloopError as error:
            return _back(error)
        return RedirectResponse(to, 303, {"set-cookie": flow_cookie(browser, self._site.secure)})

    async def oidc_done(self, request: Request) -> Response:
        browser = request.cookies.get(flow_cookie_name(self._site.secure), "")
        try:
            check_query(request.query_params.multi_items())
            _, session = await self._door().end(dict(request.query_params), browser, _origin(request, ""))
        except TwinloopError as error:
            return _back(error)
        answer = RedirectResponse("/", 303, {"set-cookie": cookie(session, self._site.secure)})
        answer.headers.append("set-cookie", flow_cookie("", self._site.secure))
        return answer

    def _door(self) -> OidcDoor:
        """
        Raises:
            NotFound: there is none.
        """
        if self._parts.oidc is None:
            raise NotFound("there is no provider to sign in by", "docs/security.md says how to name one")
        return self._parts.oidc

    async def healthz(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, _: Request) -> Response:
        fault = self._parts.operations.fault()
        return PlainTextResponse(f"{fault or 'ready'}\n", 503 if fault else 200)

    async def metrics(self, request: Request) -> Response:
        try:
            self._check_metrics(request)
        except TwinloopError as error:
            return await answer_error(request, error)
        return Response(generate_latest(self._registry), media_type="text/plain; version=0.0.4")

    def _check_metrics(self, request: Request) -> None:
        """
        Raises:
            Denied, NotPermitted: the figures are not for everybody who can reach the port.
        """
        peer, site = peer_of(request), self._site
        near = peer in ("", "localhost") or (peer.count(".") == 3 and peer.startswith("127.")) or peer == "::1"
        if site.metrics == "everybody" or (site.metrics == "loopback" and near):
            return
        permit(self._parts.identity.caller(*credentials(request, site)), Act.SEE)

    async def not_built(self, _: Request) -> Response:
        return PlainTextResponse(NOT_BUILT, 503)


def _origin(request: Request, by: str) -> Origin:
    return Origin(by, peer_of(request), request.headers.get("user-agent", ""))


def _back(error: TwinloopError) -> Response:
    """To the page where one signs in, which says what is wrong."""
    return RedirectResponse(f"/?{urlencode({'problem': codes(error).code})}", 303)
