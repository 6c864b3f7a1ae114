"""A port of plain HTTP that sends browsers on to HTTPS (RFC 9110, 15.4.9); must not know what the server answers there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

USUAL = 443


@dataclass(frozen=True, slots=True)
class Redirect:
    """`hosts` are the Host headers that the port of TLS answers to, `port` is that port."""

    hosts: Collection[str]
    port: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(Request(scope))(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _answer(self, request: Request) -> Response:
        """Only what asks for a page: what a program sends in the open must fail, or nobody would notice that it does."""
        to = self._host(request.headers.get("host", ""))
        if not to:
            answer: Response = PlainTextResponse("unknown host\n", 403)
        elif request.method not in ("GET", "HEAD"):
            answer = PlainTextResponse(f"this goes over https://{to} only\n", 403)
        else:
            path, query = request.scope["raw_path"].decode("latin-1"), request.url.query
            answer = RedirectResponse(f"https://{to}{path}{f'?{query}' if query else ''}", 308)
        answer.headers["connection"] = "close"
        return answer

    def _host(self, said: str) -> str:
        """The server's own name, as it was called: never another's."""
        name = said if said.endswith("]") or ":" not in said else said.rpartition(":")[0]
        wanted = (name, f"{name}:{self.port}") if self.port == USUAL else (f"{name}:{self.port}",)
        return next((host for host in wanted if host in self.hosts), "")
