"""Long answers of a real server: they end with the session or token that asked for them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route as StarletteRoute

from control.alarm_store import Taken, Wanted
from control.api import alarm_routes, exporting, history_routes
from control.api.guard import Site
from control.api.http import endpoint_of
from control.api.part import Parts
from control.api.route import Call, Route
from control.identity import LINK, Identity
from control.rates import Buckets
from control.sessions import Origin
from control.settings import CALLER_RATE
from twin.role import Act, Role

CSV = Route("GET", "/alarms", alarm_routes.export, "", bytes)


class Endless:
    """Alarms with more steps than an export has rows."""

    async def history(self, wanted: Wanted) -> list[Taken]:
        newest = 10_000_000 if wanted.before is None else wanted.before - 1
        return [
            Taken(n, n, "t0.level:high", "t0.level", "t0", "high", "active", True, "", "", 11.0, None, n)
            for n in range(newest, newest - wanted.limit, -1)
        ]


ended: list[bool] = []


async def blocks(_: Parts, __: Call) -> StreamingResponse:
    """The Parquet export's way, with a generator on threads that never ends."""

    def made() -> Generator[bytes, None, None]:
        try:
            for _ in itertools.count():
                time.sleep(0.01)
                yield b"x" * 1_000
        finally:
            ended.append(True)

    return StreamingResponse(history_routes._rest(b"head", made()))


Gone = Callable[[], object]


def by_token(identity: Identity) -> tuple[str, Gone]:
    """A secret, and what takes it away."""
    made, secret = identity.tokens.give("historian", "", "", Role.VIEWER, frozenset({Act.SEE}), (), 1.0)
    return secret, lambda: identity.tokens.revoke(made.id)


def by_session(identity: Identity) -> tuple[str, Gone]:
    secret = identity.session_of(LINK, Origin("password"), 3600.0)
    return secret, lambda: identity.log_out(secret)


@contextlib.asynccontextmanager
async def serving(identity: Identity, *rows: Route) -> AsyncIterator[str]:
    """The routes on a port of this machine."""
    parts = cast(Parts, SimpleNamespace(identity=identity, alarms=Endless(), clock=time.time_ns))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        site = Site(frozenset())
        routes = [StarletteRoute(r.path, endpoint_of(parts, r, site, Buckets(CALLER_RATE))) for r in rows]
        web = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off"))
        web.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]
        running = asyncio.create_task(web.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            web.should_exit = True
            await running


@pytest.mark.parametrize("path", ["/alarms", "/blocks"])
@pytest.mark.parametrize("way", [by_token, by_session])
async def test_an_export_ends_with_the_session_or_token_that_asked_for_it(
    tmp_path: Path, path: str, way: Callable[[Identity], tuple[str, Gone]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarm_routes, "EXPORT_MAX", 100_000_000)
    identity = Identity(tmp_path, time.time_ns, lambda: secrets.token_urlsafe(32), lambda _: None)  # type: ignore[arg-type,return-value]
    secret, take_away = way(identity)
    ended.clear()
    async with (
        serving(identity, CSV, Route("GET", "/blocks", blocks, "", bytes)) as url,
        httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {secret}"}, trust_env=False) as http,
    ):
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            async with asyncio.timeout(30), http.stream("GET", path) as answer:
                assert answer.status_code == 200
                async for _ in answer.aiter_bytes():
                    if take_away is not None:
                        take_away()
                        take_away = None  # type: ignore[assignment]
        assert (await http.get(path)).status_code == 401
        assert ended == [True] * (path == "/blocks")
    for _ in range(exporting.EXPORTS_MAX):  # nothing of it holds a place
        exporting.begin()
    for _ in range(exporting.EXPORTS_MAX):
        exporting.end()


async def test_an_answer_that_is_whole_is_left_alone(tmp_path: Path) -> None:
    async def few(_: Parts, __: Call) -> StreamingResponse:
        return StreamingResponse(iter([b"a", b"b"]))

    identity = Identity(tmp_path, time.time_ns, lambda: secrets.token_urlsafe(32), lambda _: None)  # type: ignore[arg-type,return-value]
    secret, _ = by_session(identity)
    async with serving(identity, Route("GET", "/few", few, "", bytes)) as url, httpx.AsyncClient() as http:
        assert (await http.get(f"{url}/few", headers={"authorization": f"Bearer {secret}"})).content == b"ab"
