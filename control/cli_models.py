"""`twinloop models …`: the registry of trained models; decides nothing."""

from __future__ import annotations

import getpass
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from control import show
from control.cli_learn import (
    Columns,
    Device,
    Every,
    From,
    Json,
    Label,
    Leave,
    RegistryOption,
    Time,
    To,
    Twins,
    TypeOption,
    following,
    material_of,
)
from control.places import MODELS, data_folder
from twin.errors import BadRequest

models_app = typer.Typer(no_args_is_help=True, help="Trained models: what there is, what serves, what became of each.")
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]
Model = Annotated[str, typer.Argument(help="First letters of a model's hash.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the record and the ledger.")]


@models_app.command("list")
def models_list(
    task: Annotated[str, typer.Option(help="Only of this task.")] = "",
    registry: RegistryOption = None,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Every model with its stage: trained, shadow, canary, live, retired, rolled back."""
    from control import models

    rows = models.listed(_registry(registry, data), task)
    if json_:
        show.as_json(rows)
        return
    head = ("id", "task", "scope", "kind", "seed", "stage", "since", "by", "why")
    cells = [
        (r["model"][:12], r["task"], r["scope"], r["kind"] or r["problem"], r["seed"], _stage(r), _moment(r["time_ns"]),
         r["by"], r["why"])
        for r in rows
    ]  # fmt: skip
    show.table(head, cells, "no models; see `twinloop train`")


@models_app.command("show")
def models_show(model: Model, registry: RegistryOption = None, data: Data = None, json_: Json = False) -> None:
    """One model: what it was trained on, its figures on held-out data, where it comes from, what became of it."""
    from control import models

    where = _registry(registry, data)
    found = models.shown(where, model)
    if json_:
        show.as_json(found)
        return
    show.out.print(f"model {found['model']}  [bold]{_stage(found)}[/bold]")
    show.out.print(
        f"  {found['kind']} for {found['task']}, scope {found['scope'] or 'any'}, seed {found['seed']}", markup=False
    )
    show.out.print(f"  columns: {', '.join(found['columns'])}", markup=False)
    show.out.print(
        f"  trained on data {found['data_hash'][:12]} by Twinloop {found['code']}, {found['numbers']} numbers"
    )
    if found["lineage"]:
        show.out.print(f"  comes from {', '.join(h[:12] for h in found['lineage'])}")
    show.table(("figure", "held out"), models.metrics(where.read(found["model"])), "no figures")
    rows = [
        (_moment(p["time_ns"]), _became(p, found["model"]), p["by"], p["why"], _verdict(p)) for p in found["record"]
    ]
    show.table(("time", "stage", "by", "why", "verdict"), rows, "no record")


@models_app.command("promote")
def models_promote(
    model: Model,
    files: Annotated[
        Path | None, typer.Argument(help="Held-out data for the contest: a file or folder; left out: history.")
    ] = None,
    time_: Time = "",
    device: Device = "",
    columns: Columns = "",
    leave: Leave = "",
    label: Label = "",
    share: Annotated[float, typer.Option(help="Of the twins that a canary serves.")] = 0.1,
    reason: Reason = "",
    registry: RegistryOption = None,
    data: Data = None,
    twins: Twins = "*",
    type_: TypeOption = "",
    every: Every = "",
    start: From = "",
    end: To = "",
    json_: Json = False,
) -> None:
    """One stage on: trained, shadow, canary, live; only if it beats the champion on data that neither was trained on.

    The first model of a task and scope goes live at once and needs no data.
    """
    from control import learning, models
    from ml.registry import plain

    where = _registry(registry, data)
    life = where.find(model)
    best = where.champion(life.task, life.scope)
    held = None
    if best is not None and best.model != life.model:
        if files is None and not learning.task(life.task).settled:
            raise BadRequest(f"a plant's history holds no truth about {life.task}", "name a file of runs to failure")
        own, step = _asked_of(where.read(life.model))
        with following("contest") as course:
            roles = (time_, device, columns or ("" if files else own), leave, label)
            history = (twins, type_, every or step, start, end)
            given = material_of(life.task, files, roles, data, history, course)
            held = learning.contest(where, life.model, given)
        unlike = [d.what for d in learning.drifted(where, best.model, given.data) if d.drifted]
        if unlike:
            names = ", ".join(dict.fromkeys(unlike))
            what = f"{names}: not as the champion learned it; other times, or another unit?"
            show.err.print(what, markup=False)
    made = where.promote(life.model, held, getpass.getuser(), reason, time.time_ns(), share)
    _told(where, plain(made), json_, models.carry(where))


def _asked_of(model: Any) -> tuple[str, str]:
    """The columns that a model looks at, and the step of its samples, as the options say them."""
    step_s = float(model.manifest.settings.get("step_s", 0.0))
    return ",".join(model.manifest.columns), f"{step_s:g}s" if step_s else "10s"


@models_app.command("rollback")
def models_rollback(
    model: Model, reason: Reason = "", registry: RegistryOption = None, data: Data = None, json_: Json = False
) -> None:
    """Take a model out of service; if it was live, the champion before it is live again."""
    from control import models
    from ml.registry import plain

    where = _registry(registry, data)
    made = where.roll_back(model, getpass.getuser(), reason, time.time_ns())
    _told(where, plain(made), json_, models.carry(where))


@models_app.command("drift")
def models_drift(
    model: Model,
    files: Annotated[
        Path | None, typer.Argument(help="What it meets now: a file or folder; left out: history.")
    ] = None,
    time_: Time = "",
    device: Device = "",
    columns: Columns = "",
    leave: Leave = "",
    registry: RegistryOption = None,
    data: Data = None,
    twins: Twins = "*",
    type_: TypeOption = "",
    every: Every = "",
    start: From = "",
    end: To = "",
    json_: Json = False,
) -> None:
    """Whether the inputs are still those that a model was trained on. Exit code 3 when one drifted."""
    from control import learning

    where = _registry(registry, data)
    life = where.find(model)
    own, step = _asked_of(where.read(life.model))
    with following("reading") as course:
        given = material_of(
            life.task,
            files,
            (time_, device, columns or own, leave, ""),
            data,
            (twins, type_, every or step, start, end),
            course,
        )
    found = learning.drifted(where, life.model, given.data)
    if json_:
        show.as_json([asdict(d) for d in found])
    else:
        rows = [
            (d.what, d.kind, f"{d.figure:.3g}", f"{d.threshold:.3g}", "DRIFTED" if d.drifted else "", d.why)
            for d in found
        ]
        show.table(("column", "test", "figure", "threshold", "verdict", "why"), rows, "no columns")
    raise typer.Exit(3 if any(d.drifted for d in found) else 0)


@models_app.command("export")
def models_export(
    model: Model,
    file: Annotated[Path, typer.Argument(help="New file: .safetensors copies the model, .onnx is for the edge.")],
    registry: RegistryOption = None,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Copy a model, or write its network as ONNX and, where that pays, as int8; both are checked to tell the same."""
    from control import learning, models

    where = _registry(registry, data)
    if file.suffix != ".onnx":
        found = models.copy(where, model, file)
        show.as_json(found) if json_ else show.out.print(f"{found['file']}, {found['bytes']} bytes", markup=False)
        return
    written = [asdict(e) for e in learning.edge(where, model, file)]
    if json_:
        show.as_json(written)
        return
    rows = [
        (e["file"] if e["kept"] else "(not kept)", e["kind"], e["bytes"], f"{e['difference']:.2g}", f"{e['tolerance']:g}",
         f"{e['ms']:.2f}", e["why"])
        for e in written
    ]  # fmt: skip
    show.table(("file", "kind", "bytes", "difference", "allowed", "ms", "why"), rows, "nothing was written")


def _registry(registry: Path | None, data: Path | None) -> Any:
    from ml.registry import Registry

    return Registry(registry if registry is not None else data_folder(data) / MODELS)


def _told(where: Any, promotion: Any, json_: bool, ledger: str) -> None:
    if json_:
        show.as_json(promotion)
        return
    for move in promotion["moves"]:
        show.out.print(f"{move['model'][:12]} is {_stage(move)}")
    if promotion["contest"]:
        show.out.print(promotion["contest"]["verdict"]["reason"], markup=False)
    if ledger:
        show.err.print(ledger)


def _stage(row: Any) -> str:
    return f"{row['stage']} {row['share']:.0%}" if row["share"] else str(row["stage"])


def _verdict(promotion: Any) -> str:
    return str(promotion["contest"]["verdict"]["reason"]) if promotion["contest"] else ""


def _became(promotion: Any, model: str) -> str:
    return next(_stage(m) for m in promotion["moves"] if m["model"] == model)


def _moment(time_ns: int) -> str:
    return show.moment(time_ns / 1e6)
