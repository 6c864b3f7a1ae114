"""`twinloop chain …`: devices, data sets and models in the registries on the chain; decides nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from control import show
from control.client import Client
from control.places import data_folder
from twin.errors import BadRequest

chain_app = typer.Typer(no_args_is_help=True, help="Devices, data sets and models in the registries on the chain.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]
Device = Annotated[str, typer.Argument(help="Id of the device; only its hash gets onto the chain.")]
Model = Annotated[str, typer.Argument(help="Hash of the model, all 64 letters; see `twinloop models list`.")]
Stage = Annotated[str, typer.Option(help="trained, shadow, canary or live.")]
Reason = Annotated[Path, typer.Option("--reason", help="File that says why; its SHA-256 gets onto the chain.")]


@chain_app.command("register-device")
def register_device(
    device: Device,
    key: Annotated[Path, typer.Option(help="File of its public key or certificate; its SHA-256 is registered.")],
    data: Data = None,
    json_: Json = False,
) -> None:
    """Register a device with its key, once."""
    _record(data, json_, step="register_device", device=device, hashes=[_hash(key)])


@chain_app.command("change-key")
def change_key(
    device: Device,
    key: Annotated[Path, typer.Option(help="File of its new public key or certificate.")],
    data: Data = None,
    json_: Json = False,
) -> None:
    """Give a registered device another key."""
    _record(data, json_, step="change_key", device=device, hashes=[_hash(key)])


@chain_app.command("revoke-device")
def revoke_device(device: Device, reason: Reason, data: Data = None, json_: Json = False) -> None:
    """Trust a device no more, for ever."""
    _record(data, json_, step="revoke_device", device=device, hashes=[_hash(reason)])


@chain_app.command("notarise")
def notarise(
    file: Annotated[Path, typer.Argument(help="The data set.")],
    provenance: Annotated[Path, typer.Option(help="File that says where it came from and how it was made.")],
    source: Annotated[list[Path] | None, typer.Option(help="A data set it was made from, notarised before.")] = None,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Record a data set's hash, that of its provenance, and what it was made from; the files stay here."""
    sources = [_hash(path) for path in source or ()]
    _record(data, json_, step="notarise", hashes=[_hash(file), _hash(provenance)], sources=sources)


@chain_app.command("certify-model")
def certify_model(
    model: Model,
    data_set: Annotated[Path, typer.Option(help="File that it was trained and tested on.")],
    evaluation: Annotated[Path, typer.Option(help="Report of its test.")],
    stage: Stage = "shadow",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Certify a model for a stage, once."""
    hashes = [model, _hash(data_set), _hash(evaluation)]
    _record(data, json_, step="certify_model", hashes=hashes, stage=stage)


@chain_app.command("stage-model")
def stage_model(model: Model, stage: Stage, data: Data = None, json_: Json = False) -> None:
    """Move a certified model to another stage."""
    _record(data, json_, step="stage_model", hashes=[model], stage=stage)


@chain_app.command("revoke-model")
def revoke_model(model: Model, reason: Reason, data: Data = None, json_: Json = False) -> None:
    """Take a model's certificate away, for ever."""
    _record(data, json_, step="revoke_model", hashes=[model, _hash(reason)])


@chain_app.command("show")
def chain_show(
    what: Annotated[str, typer.Argument(help="device, data_set or model.")],
    name: Annotated[str, typer.Argument(help="A device's id, a data set's file, or a hash.")],
    data: Data = None,
    json_: Json = False,
) -> None:
    """What the chain says of it. Exit code 4 when nothing was recorded."""
    path = Path(name)
    found = Client(data_folder(data)).get(f"/chain/{what}/{_hash(path) if path.is_file() else name}")
    if json_:
        show.as_json(found)
    else:
        show.table(("", ""), list(found.items()), "")


def _record(data: Path | None, json_: bool, **asked: Any) -> None:
    found = Client(data_folder(data)).post("/chain", asked)
    if json_:
        show.as_json(found)
    else:
        show.out.print(
            f"{found['step']} in block {found['block']}, transaction {found['tx_hash']}, ledger entry {found['entry']}"
        )


def _hash(path: Path) -> str:
    if not path.is_file():
        raise BadRequest(f"{path} is no file", "name one that can be read")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
