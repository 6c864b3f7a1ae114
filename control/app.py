"""The composition root: reads as the drawing of the server. The real clock, chance and identities are made here only."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import random
import secrets
import socket
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvicorn

from control import certs, metrics
from control.accounts import Accounts
from control.api.http import application
from control.api.part import Parts, PlantShown
from control.books import Books, open_books
from control.branches import Branches
from control.client import SERVER_FILE
from control.graph import LiveGraph
from control.graph_runs import Imports
from control.groups import Groups
from control.identity import Identity
from control.leases import Leases
from control.live import LiveTwin
from control.lookout import Lookout
from control.model_audit import Promotions
from control.northbound import Northbound, Sources
from control.places import PKI, only_one
from control.plants import read_plant
from control.preflight import Preflight
from control.questions import Questions
from control.runtime import CommandRuntime
from control.sign_in import SignIn
from control.whatif import WhatIfs
from protocols.catalog import PROTOCOLS
from protocols.link import Clock, Link
from sim.runner import Runner
from twin.errors import Unavailable

SWEEP_EVERY_S = 1.0
SHUTDOWN_S = 5  # what clients get to finish their requests
log = logging.getLogger("twinloop")


@dataclass(frozen=True, slots=True)
class Config:
    """What the command line decides of a server."""

    plant: Path
    data: Path
    host: str
    port: int
    endpoints: Mapping[str, str]
    workers: int
    serve: Mapping[str, str] = field(default_factory=dict)


Ready = Callable[[str, str, Mapping[str, str]], None]
"""(url, login link, endpoints of what is served by id)."""


async def serve(config: Config, ready: Ready, stop: asyncio.Event) -> None:
    """Run the server until `stop` is set. `ready` is called once it listens."""
    os.umask(0o077)  # whatever is made below the data folder is its owner's
    plant = read_plant(config.plant, config.endpoints, config.serve)
    clock: Clock = time.time_ns
    with contextlib.ExitStack() as closing:
        listener = closing.enter_context(_listen(config.host, config.port))
        closing.enter_context(only_one(config.data))  # second: a port in use leaves no folder behind
        books = open_books(config.data, plant, clock, closing)
        server = _server(config, books, clock, closing)
        host, port = listener.getsockname()[:2]
        web = _web(server, frozenset(f"{name}:{port}" for name in {host, "127.0.0.1", "localhost"}))
        served = await server.northbound.start()
        epoch = server.parts.live.feed.epoch
        books.evidence.record("server.start", {"version": VERSION, "plant": books.plant.id, "epoch": epoch})
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part) for part in _running(server, config.data / PKI, clock)]
            serving = tasks.create_task(web.serve(sockets=[listener]))
            url = f"http://{host}:{port}"
            _write_server_file(config.data, url)
            closing.enter_context(lasting())
            ready(url, f"{url}/login?token={server.parts.identity.login_link()}", served)
            await stop.wait()
            web.should_exit = True
            await asyncio.to_thread(server.parts.questions.close)  # before clients' time is over: they last up to 20 s
            await serving
            for task in running:
                task.cancel()
        books.evidence.record("server.stop", {"epoch": epoch})
        (config.data / SERVER_FILE).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Server:
    """Everything made, nothing of it running yet."""

    parts: Parts
    links: Mapping[str, Link]
    northbound: Northbound
    promotions: Promotions
    watch: metrics.LoopWatch


def _server(config: Config, books: Books, clock: Clock, closing: contextlib.ExitStack) -> _Server:
    evidence, pki = books.evidence, config.data / PKI
    live = _live(books, clock)
    runner = Runner(config.workers)
    preflight = Preflight(live, runner, books.predictions, evidence, clock)
    links = _links(live, clock, pki)
    commands = CommandRuntime(live, links, books.commands, evidence, clock, _identity, preflight)
    live.on_link_change = commands.link_changed
    whatifs = WhatIfs(live, runner, clock, _identity)

    def busy() -> str:
        if preflight.busy:
            return "a command is being predicted"
        return "a what-if is running" if whatifs.busy else ""

    branches = Branches(live, whatifs, clock)
    questions = Questions(live, books.store, commands, branches)
    closing.callback(questions.close)
    graph = LiveGraph(live, books.graph, evidence, clock, books.set_aside)
    closing.callback(graph.close)
    accounts = Accounts(config.data, clock)
    identity = Identity(config.data, clock, lambda: secrets.token_urlsafe(32), accounts.standing)
    sources = Sources(live, books.store, commands, accounts, evidence, clock, _identity)
    parts = Parts(
        graph=graph, imports=Imports(live, graph, clock, _identity), questions=questions, branches=branches, live=live,
        store=books.store, evidence=evidence, commands=commands,
        leases=Leases(commands, books.commands, clock, _identity), groups=Groups(commands, books.commands, _identity),
        preflight=preflight, lookout=Lookout(live, runner, books.lookaheads, evidence, clock, _identity, busy),
        whatifs=whatifs, identity=identity, sign_in=SignIn(accounts, identity, evidence), backups=books.backups,
        clock=clock, new_id=_identity, version=VERSION, shown=PlantShown(VERSION),
    )  # fmt: skip
    return _Server(
        parts,
        links,
        Northbound(live.plant.servings, sources, pki),
        Promotions(config.data, evidence),
        metrics.LoopWatch(),
    )


def _live(books: Books, clock: Clock) -> LiveTwin:
    """The twin as history left it, its audited points and what was anchored told on."""
    evidence = books.evidence
    # Milliseconds: browsers hold whole numbers up to 2^53 only.
    live = LiveTwin(books.plant, clock() // 1_000_000, books.history, clock)
    if (last := books.newest(clock)) is not None:
        live.restore(last)
    live.begin()
    live.on_audited = lambda ids: evidence.record_points(live.plant, live.table.columns, ids)

    def announce() -> None:
        reach = evidence.reach()
        body = {"size": reach.recorded, "checkpointed": reach.checkpointed, "anchored": reach.anchored}
        live.feed.announce("audit", clock(), body)

    loop = asyncio.get_running_loop()
    evidence.on_anchor = lambda: loop.call_soon_threadsafe(announce)
    return live


def _links(live: LiveTwin, clock: Clock, pki: Path) -> dict[str, Link]:
    """One for each device."""
    plant, chance = live.plant, random.Random(secrets.randbits(64))
    return {
        device.id: PROTOCOLS[device.protocol].link(device, plant.points_of_device(device.id), live, clock, chance, pki)
        for device in plant.devices
    }


def _running(server: _Server, pki: Path, clock: Clock) -> Sequence[Coroutine[Any, Any, None]]:
    """What goes on as long as the server."""
    parts = server.parts
    return (
        parts.commands.run(),
        parts.preflight.run(parts.commands.get),
        parts.whatifs.run(),
        parts.lookout.run(),
        parts.imports.run(),
        server.northbound.run(),
        server.promotions.run(),
        server.watch.run(),
        certs.watch(pki, clock),
        _sweep(parts.live),
        *(link.run() for link in server.links.values()),
    )


VERSION = version("twinloop")


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """What there is now stays as long as the server: hundreds of thousands of objects, which the garbage collector would
    look through again and again, each time for a tenth of a second and more in which nothing else happens."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def _sweep(live: LiveTwin) -> None:
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        live.sweep()


class _Web(uvicorn.Server):
    """Signals are the composition root's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _web(server: _Server, names: frozenset[str]) -> _Web:
    """The web server, which answers to these names only."""
    parts = server.parts
    figures = server.northbound.figures
    registry = metrics.registry(parts.live, parts.evidence, server.watch, parts.lookout, figures)
    config = uvicorn.Config(
        application(parts, registry, names), log_config=None, access_log=False, lifespan="off",
        ws="websockets-sansio", ws_per_message_deflate=False, server_header=False, timeout_graceful_shutdown=SHUTDOWN_S,
    )  # fmt: skip
    return _Web(config)


def _identity() -> str:
    """Sortable by time, unguessable enough never to meet another: 12 hex digits of ms, 12 of chance."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


@contextlib.contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server((host, port), backlog=128)
    except OSError as error:
        raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror}", "choose another --port") from None
    with listener:
        yield listener


def _write_server_file(data: Path, url: str) -> None:
    """How the command line finds this server."""
    path = data / SERVER_FILE
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    draft.replace(path)
