"""What both ends of a federated training share: values to messages and back, tokens, addresses; no sockets.

Must not decide anything about rounds (ml/federated_rounds.py).
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import stat
import tempfile
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import numpy as np
from numpy.typing import NDArray

from control.api.wire import Problem
from control.api.wire_federation import (
    CoordinatorMessage,
    FederationPeer,
    FederationPlan,
    FederationRound,
    SiteMessage,
    Tensor,
)
from control.errors import codes, words
from ml import model_file
from ml.federated import Plan, Step
from ml.federated_rounds import Ask
from ml.forecast import ForecastOptions
from ml.model_file import ModelFile
from twin.errors import BadRequest, NotFound, Refused

MESSAGE_MAX = 128 << 20  # bytes: ml.federated.NUMBERS_MAX weights of four candidates
TOKEN_VARIABLE = "TWINLOOP_FEDERATION_TOKEN"
TOKEN_MIN = 16  # letters
TYPES = ("<f8", "<f4")
Read = TypeVar("Read")
_encoder = msgspec.msgpack.Encoder()
_of_site: msgspec.msgpack.Decoder[SiteMessage] = msgspec.msgpack.Decoder(SiteMessage)
_of_coordinator: msgspec.msgpack.Decoder[CoordinatorMessage] = msgspec.msgpack.Decoder(CoordinatorMessage)


def to_bytes(message: Any) -> bytes:
    return _encoder.encode(message)


def from_site(data: bytes | str) -> SiteMessage:
    """
    Raises:
        BadRequest: it is no message of a site.
    """
    return _read(_of_site, data)


def from_coordinator(data: bytes | str) -> CoordinatorMessage:
    """
    Raises:
        BadRequest: it is no message of a coordinator.
    """
    return _read(_of_coordinator, data)


def _read(decoder: msgspec.msgpack.Decoder[Read], data: bytes | str) -> Read:
    try:
        return decoder.decode(data if isinstance(data, bytes) else data.encode())
    except msgspec.MsgspecError as error:
        raise BadRequest(f"no message of a federation: {error}", "both ends run the same Twinloop") from None


def problem(error: BaseException) -> Problem:
    message, hint = words(error)
    return Problem(codes(error).code, message, hint)


# --- values --------------------------------------------------------------------------------------------------------------


def plan_message(plan: Plan, run: str) -> FederationPlan:
    told = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)}
    told |= {"columns": list(plan.columns), "units": list(plan.units), "options": dataclasses.asdict(plan.options)}
    return FederationPlan(run=run, hash=plan.hash, **told)


def plan_of(message: FederationPlan) -> Plan:
    """
    Raises:
        BadRequest: it is none, or another version of Twinloop reads it otherwise.
    """
    told = {f.name: getattr(message, f.name) for f in dataclasses.fields(Plan)}
    try:
        options = ForecastOptions(**{**message.options, "shares": tuple(message.options["shares"])})
    except (KeyError, TypeError) as error:
        raise BadRequest(f"the plan is of another Twinloop: {error}", "the same version at all sites") from None
    plan = Plan(**{**told, "columns": tuple(message.columns), "units": tuple(message.units), "options": options})
    if plan.hash != message.hash:
        raise BadRequest("the plan is of another Twinloop", "the same version at all sites")
    return plan


def round_message(ask: Ask) -> FederationRound:
    sites = [FederationPeer(p.site, p.key, p.proof) for p in ask.peers]
    tensors = {name: tensor(t) for name, t in ask.step.tensors.items()}
    return FederationRound(ask.round, ask.step.kind, ask.step.n, ask.step.clip, tensors, sites)


def step_of(message: FederationRound) -> Step:
    return Step(message.kind, message.n, {name: array(t) for name, t in message.tensors.items()}, message.clip)


def tensor(values: NDArray[Any]) -> Tensor:
    kind = "<f4" if values.dtype == np.float32 else "<f8"
    return Tensor(kind, list(values.shape), np.ascontiguousarray(values, kind).tobytes())


def array(told: Tensor) -> NDArray[Any]:
    """
    Raises:
        BadRequest: another type, or bytes that do not fit the shape.
    """
    if told.type not in TYPES or len(told.data) != np.dtype(told.type).itemsize * int(
        np.prod(told.shape, dtype=object)
    ):
        raise BadRequest(
            f"{len(told.data)} bytes as {told.type} of shape {told.shape}", "both ends run the same Twinloop"
        )
    return np.frombuffer(told.data, told.type).reshape(told.shape)


def model_bytes(model: ModelFile) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model_file.write(path, model)
        return path.read_bytes()


def model_of(data: bytes) -> ModelFile:
    """
    Raises:
        BadRequest: it is no model, or was changed on the way.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(data)
        return model_file.read(path)


# --- who and where -------------------------------------------------------------------------------------------------------


def secret_of(path: Path | None, variable: str = "") -> str:
    """A secret from a file that only its owner reads, else from a variable of the environment; "" without either.

    Raises:
        NotFound, Refused: the file. BadRequest: it is short.
    """
    if path is None:
        found = os.environ.get(variable, "") if variable else ""
    else:
        if not path.is_file():
            raise NotFound(f"no file {path}", "it holds the secret, in one line")
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Refused(f"{path} can be read by others than its owner", f"run: chmod 600 '{path}'")
        found = path.read_text().strip()
    if (found or path is not None) and len(found) < TOKEN_MIN:
        raise BadRequest(f"a secret of {len(found)} letters", f"{TOKEN_MIN} or more")
    return found


def loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def checked_url(url: str) -> str:
    """
    Raises:
        BadRequest: it is no address. Refused: it is plain beyond this machine.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise BadRequest(f"{url!r} is no address of a coordinator", "write it as `twinloop federate serve` prints it")
    if parts.scheme == "ws" and not loopback(parts.hostname):
        raise Refused(f"{url} is not encrypted", "beyond this machine only wss://; see docs/federated.md")
    return url
