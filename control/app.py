"""The composition root: reads as the drawing of the server. The real clock, chance and identities are made here only."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import json
import logging
import os
import random
import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvicorn

from control import asking, certs, metrics, plant_record
from control.access import Access
from control.accounts import Accounts
from control.alarm_rules import AlarmRules
from control.alarms import Alarms
from control.api.guard import Site
from control.api.http import application
from control.api.intake import Intake
from control.api.outlet import Outlet
from control.api.part import Parts, PlantShown
from control.api.redirect import Redirect
from control.api.wire import FRAME_MAX, PONG_S
from control.api.wire_whatif import WhatIfRequest
from control.api.ws import Console
from control.authors import ALARM_RULE, CHAIN
from control.books import Books, open_books
from control.branches import Branches
from control.chain_rules import ChainRules
from control.client import SERVER_FILE
from control.command import Priority
from control.erasing import Erasing
from control.evidence import Evidence
from control.graph import LiveGraph
from control.graph_layouts import GraphLayouts
from control.graph_runs import Imports
from control.groups import Groups
from control.identity import Identity
from control.inference import Inference
from control.leases import Leases
from control.live import LiveTwin
from control.lookout import Lookout
from control.lookout import State as Foresight
from control.loop_watch import LoopWatch
from control.model_audit import Promotions
from control.northbound import Northbound, Sources
from control.oidc_door import OidcDoor
from control.operations import Operations
from control.places import PKI, VIEWS_FILE, only_one
from control.plants import read_plant
from control.preflight import Preflight
from control.questions import Questions
from control.reach import as_body
from control.remembered import Told
from control.request import Request
from control.retraining import Retrainings
from control.runtime import CommandRuntime
from control.settings import Settings, read_settings
from control.sign_in import SignIn
from control.tls import Pair, keep_up, server_context
from control.view_store import ViewStore
from control.whatif import WhatIfs
from protocols.catalog import PROTOCOLS
from protocols.link import Clock, Link
from sim.question import Question
from sim.runner import Runner
from twin.alarm import Rule
from twin.errors import BadRequest, Unavailable
from twin.plant import Plant

SWEEP_EVERY_S = 1.0
RULE_SEED, RULE_REPLICATIONS = 1, 200  # of a what-if that a rule of alarms runs
CHAIN_DEADLINE_S = 60.0  # what an event on the chain commands is not wanted much later
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
    tls: Pair | None = None
    names: tuple[str, ...] = ()
    plain: bool = False
    redirect: int | None = None


def _check_reach(config: Config) -> None:
    """
    Raises:
        BadRequest: other machines would reach it in the open, where anybody on the way reads sessions and passwords;
            or there is nothing to send them on to.
    """
    if config.redirect is not None and config.tls is None:
        raise BadRequest(
            "a port that sends on to HTTPS, and there is no TLS", "give --tls, or leave out --redirect-http"
        )
    if config.tls is None and not config.plain and not _loopback(config.host):
        raise BadRequest(
            f"{config.host} can be reached from other machines, and there is no TLS",
            "give --tls, or --tls-cert and --tls-key; or --plain-http behind a proxy that does it",
        )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _site(config: Config, port: int, settings: Settings) -> Site:
    """Names that the server answers to: where it listens, what its certificate says, what else it was given."""
    own = {config.host, "127.0.0.1", "localhost"}
    if not _loopback(config.host):
        own.add(socket.gethostname())
    if config.tls is not None:
        own |= config.tls.names()
    usual = 443 if config.tls is not None else 80
    bracketed = {f"[{n}]" if ":" in n and not n.startswith("[") else n for n in own}
    hosts = {f"{n}:{port}" for n in {*bracketed, *config.names}} | {*config.names}
    if port == usual:
        hosts |= bracketed
    return Site(frozenset(hosts), config.tls is not None, settings.metrics, settings.caller, settings.peer)


Ready = Callable[[str, str, Mapping[str, str]], None]
"""(url, login link, endpoints of what is served by id)."""


async def serve(config: Config, ready: Ready, stop: asyncio.Event) -> None:
    """Run the server until `stop` is set. `ready` is called once it listens."""
    os.umask(0o077)  # whatever is made below the data folder is its owner's
    _check_reach(config)
    plant = read_plant(config.plant, config.endpoints, config.serve)
    clock: Clock = time.time_ns
    with contextlib.ExitStack() as closing:
        listener = closing.enter_context(_listen(config.host, config.port))
        closing.enter_context(only_one(config.data))  # second: a port in use leaves no folder behind
        books = open_books(config.data, plant, clock, closing)
        settings = read_settings(config.data)
        server = _server(config, books, settings, clock, closing)
        host, port = listener.getsockname()[:2]
        secured = None if config.tls is None else server_context(config.tls)
        site = _site(config, port, settings)
        console = Console(server.parts, site)
        webs = [(_web(server, site, secured, console), listener)]
        if config.redirect is not None:
            webs.append((_redirecting(site, port), closing.enter_context(_listen(config.host, config.redirect))))
        served = await server.northbound.start()
        epoch = server.parts.live.feed.epoch
        await asyncio.to_thread(plant_record.record, books.evidence, config.plant, books.plant)
        books.evidence.record("server.start", {"version": VERSION, "plant": books.plant.id, "epoch": epoch})
        async with asyncio.TaskGroup() as tasks:
            parts = (console.run(), *_running(server, config.data / PKI, clock))
            running = [tasks.create_task(part) for part in parts]
            if config.tls is not None and secured is not None:
                running.append(tasks.create_task(keep_up(config.tls, secured)))
            serving = [tasks.create_task(web.serve(sockets=[taken])) for web, taken in webs]
            url = f"{'http' if secured is None else 'https'}://{_reachable(host)}:{port}"
            _write_server_file(config.data, url, config.tls)
            closing.enter_context(lasting())
            ready(url, f"{url}/login?token={server.parts.identity.login_link()}", served)
            await stop.wait()
            for web, _ in webs:
                web.should_exit = True
            await asyncio.to_thread(server.parts.questions.close)  # before clients' time is over: they last up to 20 s
            await asyncio.gather(*serving)
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
    chain_rules: ChainRules
    watch: LoopWatch


def _server(config: Config, books: Books, settings: Settings, clock: Clock, closing: contextlib.ExitStack) -> _Server:
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
    alarms = Alarms(live, books.alarms, evidence, clock, lambda: _ahead(lookout))
    questions = Questions(live, books.store, commands, branches, alarms, evidence.index)
    closing.callback(questions.close)
    graph = LiveGraph(live, books.graph, evidence, clock, books.set_aside)
    closing.callback(graph.close)
    accounts = Accounts(config.data, clock)
    identity = Identity(
        config.data, clock, lambda: secrets.token_urlsafe(32), accounts.standing, settings.life_s, settings.idle_s
    )
    sign_in = SignIn(accounts, identity, evidence, clock)
    inference = Inference(live, config.data, questions.ask, clock)
    sources = Sources(live, books.store, commands, accounts, evidence, clock, _identity)
    lookout = Lookout(live, runner, books.lookaheads, evidence, clock, _identity, busy)
    watch = LoopWatch()
    views = ViewStore(config.data / VIEWS_FILE)
    closing.callback(views.close)
    access = Access(accounts, identity, sign_in, evidence, views)
    retrainings = Retrainings(inference, config.data, clock)
    remember = (commands, lookout, alarms, retrainings, Told(live.feed))
    parts = Parts(
        graph=graph, imports=Imports(live, graph, clock, _identity), questions=questions, branches=branches, live=live,
        store=books.store, evidence=evidence, commands=commands,
        erasing=Erasing(config.data, evidence, books.backups, remember, views, access.sign_out),
        leases=Leases(commands, books.commands, clock, _identity), groups=Groups(commands, books.commands, _identity),
        preflight=preflight, lookout=lookout, alarms=alarms,
        alarm_rules=_alarm_rules(live.plant, alarms, books, commands, whatifs, clock),
        whatifs=whatifs, inference=inference, retrainings=retrainings,
        identity=identity, sign_in=sign_in, access=access,
        oidc=_oidc(settings, identity, sign_in, evidence, clock), backups=books.backups,
        operations=Operations(config.data, live, commands, alarms, evidence, identity, watch, clock()),
        views=views,
        clock=clock, new_id=_identity, version=VERSION, shown=PlantShown(VERSION, GraphLayouts(config.data)),
    )  # fmt: skip
    return _Server(
        parts,
        links,
        Northbound(live.plant.servings, sources, pki),
        Promotions(config.data, evidence),
        _chain_rules(config, live.plant, evidence, commands),
        watch,
    )


def _oidc(settings: Settings, identity: Identity, sign_in: SignIn, evidence: Evidence, clock: Clock) -> OidcDoor | None:
    if settings.oidc is None:
        return None
    return OidcDoor(settings.oidc, identity, evidence, sign_in.refusals, clock, lambda: secrets.token_urlsafe(32))


def _chain_rules(config: Config, plant: Plant, evidence: Evidence, commands: CommandRuntime) -> ChainRules:
    """Events on the chain command as any author does: past interlocks and policies nothing goes."""

    def submit(key: str, point: str, value: float, reason: str) -> Awaitable[object]:
        return commands.submit(Request(key, point, value, Priority.SAFETY, CHAIN_DEADLINE_S, reason), CHAIN)

    return ChainRules(plant.id, plant.chain.rules, evidence.anchorer, config.data, submit)


def _alarm_rules(
    plant: Plant, alarms: Alarms, books: Books, commands: CommandRuntime, whatifs: WhatIfs, clock: Clock
) -> AlarmRules:
    """Rules command as any author does: past interlocks and policies nothing goes."""

    def submit(key: str, point: str, value: float, reason: str, deadline_s: float) -> Awaitable[object]:
        return commands.submit(Request(key, point, value, Priority.SAFETY, deadline_s, reason), ALARM_RULE)

    async def start(rule: Rule, key: str) -> object:
        asked = asking.comparison(rule.scenario, rule.horizon_s, RULE_SEED, Question(replications=RULE_REPLICATIONS))
        request = WhatIfRequest(list(rule.scenario), rule.horizon_s, replications=RULE_REPLICATIONS, seed=RULE_SEED)
        return (await whatifs.start(request, asked)).id

    return AlarmRules(alarms, books.alarms, plant.id, submit, start, clock)


def _ahead(lookout: Lookout) -> Mapping[str, bool | None]:
    """By limit whether it is predicted to be passed; nobody can tell while there is no forecast of now."""
    current = lookout.state is Foresight.CURRENT
    standing = {alarm.limit for alarm in lookout.standing}
    return {limit: (limit in standing) if current else None for limit in lookout.limits}


def _live(books: Books, clock: Clock) -> LiveTwin:
    """The twin as history left it, its audited points and what was anchored told on."""
    evidence = books.evidence
    # Milliseconds: browsers hold whole numbers up to 2^53 only.
    live = LiveTwin(books.plant, clock() // 1_000_000, books.history, clock)
    if (last := books.newest(clock)) is not None:
        live.restore(last, books.heard_until(clock))
    live.begin()
    live.on_audited = lambda ids: evidence.record_points(live.plant, live.table.columns, ids)

    def announce() -> None:
        live.feed.announce("audit", clock(), as_body(evidence.reach()))

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
        parts.alarms.run(),
        parts.alarm_rules.run(),
        parts.imports.run(),
        server.northbound.run(),
        server.promotions.run(),
        parts.access.run(),
        parts.inference.run(),
        parts.retrainings.run(),
        server.watch.run(),
        certs.watch(pki, clock),
        server.chain_rules.run(),
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


def _web(server: _Server, site: Site, secured: ssl.SSLContext | None, console: Console) -> _Web:
    """The web server."""
    parts = server.parts
    figures = server.northbound.figures
    registry = metrics.registry(
        parts.live, parts.evidence, server.watch, parts.lookout, figures, parts.inference, parts.alarms, console
    )
    config = uvicorn.Config(
        application(parts, registry, site, console), log_config=None, access_log=False, lifespan="off", http=Intake,
        ssl_context_factory=None if secured is None else lambda *_: secured, proxy_headers=False,
        ws=Outlet, ws_per_message_deflate=False, ws_max_size=FRAME_MAX, ws_ping_timeout=PONG_S,
        server_header=False, timeout_graceful_shutdown=SHUTDOWN_S,
    )  # fmt: skip
    return _Web(config)


def _redirecting(site: Site, port: int) -> _Web:
    """Sends browsers that came in the open on to `port`."""
    config = uvicorn.Config(
        Redirect(site.hosts, port), log_config=None, access_log=False, lifespan="off", http=Intake, ws="none",
        proxy_headers=False, server_header=False, timeout_graceful_shutdown=SHUTDOWN_S,
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


def _reachable(host: str) -> str:
    """From this machine, where it listens everywhere."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1" if host == "0.0.0.0" else "[::1]"
    return f"[{host}]" if ":" in host else host


def _write_server_file(data: Path, url: str, tls: Pair | None) -> None:
    """How the command line finds this server, and by which file it knows it."""
    path = data / SERVER_FILE
    draft = path.with_suffix(".new")
    more = {} if tls is None else {"certificate": str(tls.certificate.resolve())}
    draft.write_text(json.dumps({"url": url, "pid": os.getpid(), **more}))
    draft.replace(path)
