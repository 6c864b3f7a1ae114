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
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvicorn

from control import certs, metrics
from control.accounts import Accounts
from control.api.http import application
from control.api.part import Parts, PlantShown
from control.backup import Backups
from control.branches import Branches
from control.client import SERVER_FILE
from control.command_store import CommandStore
from control.evidence import Evidence
from control.graph import LiveGraph, recover
from control.graph_runs import Imports
from control.graph_store import GRAPH_FILE, GraphStore
from control.groups import Groups
from control.identity import Identity
from control.leases import Leases
from control.live import LiveTwin
from control.lookahead_store import LookaheadStore
from control.lookout import Lookout
from control.model_audit import Promotions
from control.northbound import Northbound, Sources
from control.places import COMMANDS_FILE, HISTORY_FILE, LEDGER, LOOKAHEAD_FILE, PKI, PREDICTIONS_FILE, only_one
from control.plants import read_plant
from control.prediction_store import PredictionStore
from control.preflight import Preflight
from control.questions import Questions
from control.runtime import CommandRuntime
from control.sign_in import SignIn
from control.whatif import WhatIfs
from protocols.catalog import PROTOCOLS
from protocols.link import Clock, Link
from sim.runner import Runner
from twin.edit import fitting
from twin.errors import Unavailable
from twin.history import History
from twin.store import Store
from twin.upkeep import Upkeep

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
    # Milliseconds: browsers hold whole numbers up to 2^53 only.
    epoch = clock() // 1_000_000
    with contextlib.ExitStack() as closing:
        listener = closing.enter_context(_listen(config.host, config.port))
        closing.enter_context(only_one(config.data))  # second: a port in use leaves no folder behind
        host, port = listener.getsockname()[:2]
        url = f"http://{host}:{port}"
        loop = asyncio.get_running_loop()

        def told_of_anchor() -> None:
            loop.call_soon_threadsafe(announce_anchor)

        store = Store(config.data / HISTORY_FILE)
        closing.callback(store.close)
        evidence = Evidence(config.data / LEDGER, plant.id, clock, told_of_anchor)
        closing.callback(evidence.close)
        evidence.catch_up(store)
        upkeep = Upkeep(plant.retention, clock, evidence.record_retention)
        graph_store = GraphStore(config.data / GRAPH_FILE)
        closing.callback(graph_store.close)
        plant, set_aside = fitting(plant, graph_store.additions())
        history = History(store, plant.points.column("name").to_pylist(), evidence.record_batch, upkeep)
        closing.callback(history.close)
        recover(graph_store, history, evidence)
        live = LiveTwin(plant, epoch, history, clock)
        current = plant.points.current
        last = store.latest(dict(zip(current.words("name"), current.ids.tolist(), strict=True)), clock())
        if last is not None:
            live.restore(last)
        live.begin()
        live.on_audited = lambda ids: evidence.record_points(live.plant, live.table.columns, ids)

        def announce_anchor() -> None:
            reach = evidence.reach()
            body = {"size": reach.recorded, "checkpointed": reach.checkpointed, "anchored": reach.anchored}
            live.feed.announce("audit", clock(), body)

        command_store = CommandStore(config.data / COMMANDS_FILE)
        closing.callback(command_store.close)
        backups = Backups(config.data, history, evidence)
        closing.callback(backups.close)
        prediction_store = PredictionStore(config.data / PREDICTIONS_FILE)
        closing.callback(prediction_store.close)
        runner = Runner(config.workers)
        preflight = Preflight(live, runner, prediction_store, evidence, clock)
        links: dict[str, Link] = {}
        commands = CommandRuntime(live, links, command_store, evidence, clock, _identity, preflight)
        chance = random.Random(secrets.randbits(64))
        live.on_link_change = commands.link_changed
        for device in plant.devices:
            points = plant.points_of_device(device.id)
            links[device.id] = PROTOCOLS[device.protocol].link(device, points, live, clock, chance, config.data / PKI)
        whatifs = WhatIfs(live, runner, clock, _identity)
        lookahead_store = LookaheadStore(config.data / LOOKAHEAD_FILE)
        closing.callback(lookahead_store.close)

        def busy() -> str:
            if preflight.busy:
                return "a command is being predicted"
            return "a what-if is running" if whatifs.busy else ""

        lookout = Lookout(live, runner, lookahead_store, evidence, clock, _identity, busy)
        branches = Branches(live, whatifs, clock)
        promotions = Promotions(config.data, evidence)
        questions = Questions(live, store, commands, branches)
        closing.callback(questions.close)
        graph = LiveGraph(live, graph_store, evidence, clock, set_aside)
        closing.callback(graph.close)
        imports = Imports(live, graph, clock, _identity)
        accounts = Accounts(config.data, clock)
        sources = Sources(live, store, commands, accounts, evidence, clock, _identity)
        northbound = Northbound(plant.servings, sources, config.data / PKI)
        identity = Identity(config.data, clock, lambda: secrets.token_urlsafe(32), accounts.standing)
        watch = metrics.LoopWatch()
        parts = Parts(
            graph=graph, imports=imports, questions=questions, branches=branches, live=live, store=store,
            evidence=evidence, commands=commands, leases=Leases(commands, command_store, clock, _identity),
            groups=Groups(commands, command_store, _identity), preflight=preflight, lookout=lookout, whatifs=whatifs,
            identity=identity, sign_in=SignIn(accounts, identity, evidence), backups=backups, clock=clock,
            new_id=_identity, version=VERSION, shown=PlantShown(VERSION),
        )  # fmt: skip
        names = frozenset(f"{name}:{port}" for name in {host, "127.0.0.1", "localhost"})
        web = _web(application(parts, metrics.registry(live, evidence, watch, lookout, northbound.figures), names))
        served = await northbound.start()
        evidence.record("server.start", {"version": VERSION, "plant": plant.id, "epoch": epoch})
        whole: tuple[Coroutine[Any, Any, None], ...] = (
            commands.run(),
            preflight.run(commands.get),
            whatifs.run(),
            lookout.run(),
            promotions.run(),
            imports.run(),
            northbound.run(),
            watch.run(),
            certs.watch(config.data / PKI, clock),
            _sweep(live),
            *(link.run() for link in links.values()),
        )
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part) for part in whole]
            serving = tasks.create_task(web.serve(sockets=[listener]))
            _write_server_file(config.data, url)
            closing.enter_context(lasting())
            ready(url, f"{url}/login?token={identity.login_link()}", served)
            await stop.wait()
            web.should_exit = True
            await asyncio.to_thread(questions.close)  # before clients' time is over: a statement may run for 20 s
            await serving
            for task in running:
                task.cancel()
        evidence.record("server.stop", {"epoch": epoch})
        (config.data / SERVER_FILE).unlink(missing_ok=True)


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


def _web(app: Any) -> _Web:
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ws="websockets-sansio", ws_per_message_deflate=False,
        server_header=False, timeout_graceful_shutdown=SHUTDOWN_S,
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
