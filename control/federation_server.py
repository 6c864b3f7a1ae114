"""Who coordinates a federated training: WebSockets, time and files around ml/federated_rounds.py; decides nothing itself."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import http
import json
import logging
import os
import secrets
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.serialization import Encoding
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from control.api.wire import SUBPROTOCOL, Hello, Problem
from control.api.wire_federation import (
    FederationJoin,
    FederationModel,
    FederationNews,
    FederationOutcome,
    FederationPart,
)
from control.client import as_error
from control.federation import (
    MESSAGE_MAX,
    TOKEN_VARIABLE,
    from_site,
    loopback,
    model_bytes,
    plan_message,
    problem,
    round_message,
    secret_of,
    to_bytes,
)
from control.places import only_one
from ml import model_file
from ml.federated import Plan, Training
from ml.federated_rounds import ROUNDS_AHEAD, Ask, Do, End, Give, Keep, Limits, Peer, PutOut, Rounds, Say
from ml.model_file import CODE, ModelFile
from protocols.pki import Pki, load_pair, pem_of_key
from twin.errors import BadRequest, Conflict, Refused, TwinloopError, Unavailable

STATE_FILE, TOKEN_FILE, ADDRESS_FILE, MODEL_FILE = "state.safetensors", "token", "federation.json", "model.safetensors"
TICK_S = 0.2
JOIN_S = 60.0  # from hello to join: reading a plan takes milliseconds, a slow line some seconds
WAITING_MAX = 16  # messages that a site has not read; a round is one
CONNECTIONS_MAX = 400  # with those that have not joined yet
CLOSE_S = 5.0
SILENT_S = 60.0  # without a pong: a machine that is gone without a word
EVERYWHERE = ("0.0.0.0", "::", "")
_wire = logging.getLogger("twinloop.federation")
_wire.addFilter(lambda record: record.getMessage() != "opening handshake failed")  # whoever knocks: no fault of ours
Told = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Config:
    """`folder`: state, token and the model. `pki`: with our certificate; None: plain, on this machine only."""

    plan: Plan
    limits: Limits
    folder: Path
    host: str
    port: int
    pki: Path | None


@dataclass(slots=True)
class _Link:
    connection: ServerConnection
    waiting: asyncio.Queue[Any] = field(default_factory=lambda: asyncio.Queue(WAITING_MAX))


class Coordinator:
    """
    Args:
        told: progress, for people. stop: ends it; what is known is kept.
    """

    def __init__(self, config: Config, told: Told, stop: asyncio.Event) -> None:
        self._config, self._told, self._stop = config, told, stop
        self._token = _token(config.folder)
        self._links: dict[str, _Link] = {}
        self._ended = asyncio.Event()
        self._error: TwinloopError | None = None
        self._bug: Exception | None = None
        self._model: ModelFile | None = None
        self.rounds = self._begun()

    def _begun(self) -> Rounds:
        """From the first step, or from where an earlier process was.

        Raises:
            Conflict: that was another plan.
        """
        config, now = self._config, time.monotonic()
        path = config.folder / STATE_FILE
        if not path.is_file():
            return Rounds(Training(config.plan), config.limits, secrets.token_hex(16), 0, now)
        tensors, kept = _read_state(path)
        if kept["plan"] != config.plan.hash:
            raise Conflict(f"{path} is of another plan", "give it another --state, or remove the file to begin anew")
        training = Training(config.plan, tensors, kept["told"])
        self._told(training.share, f"goes on after round {kept['round']}; it was {', '.join(kept['told']['sites'])}")
        made = Rounds(training, config.limits, kept["run"], kept["round"] + ROUNDS_AHEAD, now)
        if training.done:
            self._perform(made.finished(now))
        return made

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self, ready: Callable[[str], None]) -> dict[str, Any]:
        """Until every site has its model; what became of it.

        Raises:
            Unavailable: too few sites. BadRequest, Refused: the sites' sums are of no use. Refused: plain beyond this machine.
        """
        async with self._listening() as server:
            port = next(iter(server.sockets)).getsockname()[1]
            host = socket.gethostname() if self._config.host in EVERYWHERE else self._config.host
            host = f"[{host}]" if ":" in host else host
            url = f"{'ws' if self._config.pki is None else 'wss'}://{host}:{port}"
            _write_address(self._config.folder / ADDRESS_FILE, url)
            ready(url)
            ticking = asyncio.create_task(self._tick())
            stopped = asyncio.create_task(self._stop.wait())
            ended = asyncio.create_task(self._ended.wait())
            try:
                await asyncio.wait((stopped, ended, ticking), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (ticking, stopped, ended):
                    task.cancel()
                await self._close()
        if ticking.done() and not ticking.cancelled():
            ticking.result()  # a bug: it goes on for ever
        if self._bug is not None:
            raise self._bug
        if self._error is not None:
            raise self._error
        return self._result()

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[Server]:
        config = self._config
        if config.pki is None and not loopback(config.host):
            raise Refused(f"{config.host} without encryption", "give --pki with a certificate of this machine")
        context = None if config.pki is None else server_context(Pki(config.pki))
        try:
            server = await serve(
                self._serve, config.host, config.port, ssl=context, subprotocols=[Subprotocol(SUBPROTOCOL)],
                process_request=self._let_in, max_size=MESSAGE_MAX, compression=None, close_timeout=CLOSE_S,
                ping_timeout=SILENT_S, server_header=None, logger=_wire,
            )  # fmt: skip
        except OSError as error:
            raise Unavailable(
                f"cannot listen on {config.host}:{config.port}: {error.strerror}", "another --port"
            ) from None
        async with server:
            yield server

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._perform(self.rounds.tick(time.monotonic()))

    async def _close(self) -> None:
        """Tell everybody; a site waits for us to come back when people stopped us."""
        error = self._error
        if error is None and not self._ended.is_set():
            error = Unavailable("the coordinator was stopped", "the sites wait for it to go on")
        for site in list(self._links):
            if error is not None:
                self._send(site, problem(error))
            self._send(site, None)
        closing = [asyncio.create_task(link.connection.wait_closed()) for link in self._links.values()]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_S)

    def _result(self) -> dict[str, Any]:
        if self._model is None:
            return {"done": False, "sites": list(self.rounds.sites)}
        path = self._config.folder / MODEL_FILE
        outcomes = {site: msgspec.structs.asdict(said) for site, said in sorted(self.rounds.outcomes.items())}
        (self._config.folder / STATE_FILE).unlink(missing_ok=True)
        return {"done": True, "model": self._model.hash, "file": str(path), "kind": self._model.manifest.kind,
                "metrics": dict(self._model.manifest.metrics), "sites": outcomes}  # fmt: skip

    # --- sites -------------------------------------------------------------------------------------------------------

    async def _let_in(self, connection: ServerConnection, request: Request) -> Response | None:
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not hmac.compare_digest(shown.encode(), self._token.encode()):
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "the token of this federation is needed\n")
        if len(self._links) >= CONNECTIONS_MAX:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many connections\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        """One site, from its connection to its end."""
        site = ""
        try:
            await connection.send(to_bytes(Hello(SUBPROTOCOL, CODE)))
            await connection.send(to_bytes(plan_message(self._config.plan, self.rounds.run)))
            async with asyncio.timeout(JOIN_S):
                said = from_site(await connection.recv())
            if isinstance(said, Problem):
                raise _said("a site", said)
            if not isinstance(said, FederationJoin):
                raise BadRequest(f"{type(said).__name__} before a site has joined")
            peer = Peer(said.site, said.key, said.proof, tuple(said.units), said.windows, said.step_s)
            doing = self.rounds.joined(peer, said.code, said.plan, time.monotonic())
            site, link = said.site, _Link(connection)
            self._links[site] = link
            writing = asyncio.create_task(_written(link))
            try:
                self._perform(doing)
                await self._heard(site, link)
            finally:
                writing.cancel()
        except TwinloopError as error:
            self._told(self.rounds.training.share, f"{site or 'a site'} is put out: {error}")
            with contextlib.suppress(ConnectionClosed):
                await connection.send(to_bytes(problem(error)))
        except (ConnectionClosed, TimeoutError):
            pass
        finally:
            if isinstance(bug := sys.exception(), Exception):  # websockets would log it, and all would wait for ever
                self._bug = bug
                self._ended.set()
            if site and self._links.pop(site, None) is not None and not self._stop.is_set():
                self._perform(self.rounds.left(site, time.monotonic()))

    async def _heard(self, site: str, link: _Link) -> None:
        async for data in link.connection:
            said = from_site(data)
            match said:
                case FederationPart():
                    self._perform(self.rounds.part(site, said.round, said.numbers, said.loss, time.monotonic()))
                case FederationOutcome():
                    self._told(self.rounds.training.share, f"{site}: {said.reason}")
                    self._perform(self.rounds.outcome(site, said))
                case Problem():
                    raise _said(site, said)
                case _:
                    raise BadRequest(f"{site} joins once more")

    def _perform(self, doing: Sequence[Do]) -> None:
        for one in () if self._ended.is_set() else doing:
            match one:
                case Ask():
                    message = to_bytes(round_message(one))
                    for peer in one.peers:
                        self._send(peer.site, message)
                case PutOut():
                    self._told(self.rounds.training.share, f"{one.site} is put out: {one.error}")
                    self._send(one.site, problem(one.error))
                    self._send(one.site, None)
                case Say():
                    self._told(self.rounds.training.share, one.words)
                    for site in self._links:
                        self._send(site, FederationNews(self.rounds.training.share, one.words))
                case Keep():
                    self._keep()
                case Give():
                    if self._model is None:
                        self._model = one.model
                        model_file.write(self._config.folder / MODEL_FILE, one.model)
                    for site in one.sites:
                        self._send(site, FederationModel(model_bytes(one.model)))
                case End():
                    self._error = one.error
                    self._ended.set()

    def _send(self, site: str, message: Any) -> None:
        """Queued; a site that reads nothing is cut off. None: close after what is queued."""
        link = self._links.get(site)
        if link is None:
            return
        try:
            link.waiting.put_nowait(message)
        except asyncio.QueueFull:
            self._told(self.rounds.training.share, f"{site} reads nothing: cut off")
            link.connection.transport.abort()

    def _keep(self) -> None:
        rounds = self.rounds
        kept = {"plan": self._config.plan.hash, "run": rounds.run, "round": rounds.round, "told": rounds.training.told}
        _write_state(self._config.folder / STATE_FILE, rounds.training.tensors(), kept)


async def _written(link: _Link) -> None:
    with contextlib.suppress(ConnectionClosed):
        while (message := await link.waiting.get()) is not None:
            await link.connection.send(message if isinstance(message, bytes) else to_bytes(message))
    await link.connection.close()


def _said(site: str, told: Problem) -> TwinloopError:
    """What a site finds wrong, in its words."""
    return as_error({"code": told.code, "message": f"{site} says: {told.message}", "hint": told.hint})


def coordinate(config: Config, told: Told, stop: asyncio.Event) -> contextlib.AbstractContextManager[Coordinator]:
    """The coordinator of a folder, which is its alone.

    Raises:
        Unavailable: another process has the folder. Conflict: it holds the state of another plan.
    """

    @contextlib.contextmanager
    def made() -> Any:
        with only_one(config.folder):
            yield Coordinator(config, told, stop)

    found: contextlib.AbstractContextManager[Coordinator] = made()
    return found


def server_context(pki: Pki) -> ssl.SSLContext:
    """TLS with our certificate.

    Raises:
        NotFound, BadRequest, Refused: each names the file.
    """
    certificate, key = load_pair(pki.own_certificate_path, pki.own_key_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # its owner's alone; ssl reads files only
        file.write(certificate.public_bytes(Encoding.PEM) + pem_of_key(key))
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _token(folder: Path) -> str:
    """Of the environment, else the folder's own, made at first."""
    found = secret_of(None, TOKEN_VARIABLE)
    if found:
        return found
    path = folder / TOKEN_FILE
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    return secret_of(path)


def _write_address(path: Path, url: str) -> None:
    part = path.with_suffix(".new")
    part.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    part.replace(path)


def _write_state(path: Path, tensors: Mapping[str, NDArray[Any]], kept: Mapping[str, Any]) -> None:
    """All or nothing."""
    part = path.with_name(f".{path.name}.part")
    whole = {name: np.ascontiguousarray(t) for name, t in tensors.items()}
    save_file(whole, part, metadata={"twinloop": json.dumps(kept, sort_keys=True)})
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def _read_state(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    try:
        with safe_open(path, framework="numpy") as file:
            kept: dict[str, Any] = json.loads((file.metadata() or {})["twinloop"])
            return {name: file.get_tensor(name) for name in file.keys()}, kept  # noqa: SIM118 - no mapping
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadRequest(f"{path} is no state of a federation: {error}", "remove it to begin anew") from None
