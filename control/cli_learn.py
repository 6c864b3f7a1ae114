"""`twinloop train …` and `twinloop evaluate …`: parse words, ask, print; must not decide anything."""

from __future__ import annotations

import contextlib
import getpass
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from control import show
from control.places import MODELS, data_folder
from twin.errors import BadRequest
from twin.lists import listed

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
TaskArgument = Annotated[str, typer.Argument(help="forecast, anomaly, rul or dynamics.")]
DataArgument = Annotated[
    Path | None, typer.Argument(help="A CSV or Parquet file, or a folder of them; left out: the history of a plant.")
]
PlantData = Annotated[
    Path | None, typer.Option("--data", help="Data folder of a server, running or stopped; found below var/ if needed.")
]
Time = Annotated[
    str, typer.Option("--time", help="Column of files: when; rows follow each other one a second if none.")
]
Device = Annotated[str, typer.Option("--device", help="Column of files: whose row it is; a file is a device if none.")]
Columns = Annotated[str, typer.Option("--columns", help="The values, as a,b,c; every other number if none.")]
Leave = Annotated[str, typer.Option("--leave", help="Columns that are neither, as a,b.")]
Label = Annotated[str, typer.Option("--label", help="Column that says what was anomalous; never learnt from.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="An option of the task as name=value; may be repeated.")]
Explain = Annotated[bool, typer.Option("--options", help="List the options of the task, and stop.")]
Twins = Annotated[str, typer.Option("--twins", help="History: only twins whose names fit, such as 'pump_*'.")]
TypeOption = Annotated[str, typer.Option("--type", help="History: only twins of this type, such as Pump.")]
Every = Annotated[str, typer.Option("--every", help="History: step of the grid of moments, such as 10s.")]
From = Annotated[str, typer.Option("--from", help="History: first moment, such as 2026-05-01 or -2d.")]
To = Annotated[str, typer.Option("--to", help="History: last moment.")]
Report = Annotated[Path | None, typer.Option("--report", help="Write a page with plots, report.html say.")]
RegistryOption = Annotated[
    Path | None, typer.Option("--registry", help="A folder of models without a server; else DATA/models of --data.")
]
CANCELLED = 130  # as the shell tells of Ctrl-C


def train(
    task: TaskArgument,
    files: DataArgument = None,
    time_: Time = "",
    device: Device = "",
    columns: Columns = "",
    leave: Leave = "",
    label: Label = "",
    set_: Set = None,
    explain: Explain = False,
    seed: Annotated[int, typer.Option(min=0, help="Of all chance in it.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="Write the model to this file only.")] = None,
    registry: RegistryOption = None,
    scope: Annotated[str, typer.Option(help="What the model competes for, a twin type say; one champion each.")] = "",
    parent: Annotated[str, typer.Option(help="Model of the registry that it comes from.")] = "",
    why: Annotated[str, typer.Option("--reason", help="Why; kept in the record.")] = "",
    data: PlantData = None,
    twins: Twins = "*",
    type_: TypeOption = "",
    every: Every = "10s",
    start: From = "",
    end: To = "",
    json_: Json = False,
) -> None:
    """Train a model on files or on a plant's history, in this process. Ctrl-C cancels and leaves nothing (exit 130).

    The model goes to --out, else to the registry of --registry or of the server's data folder.
    """
    from control import learning, models
    from ml import model_file

    if explain:
        return _explain(task, json_)
    _writable(out)
    where = registry_of(files, out, registry, data)
    wanted = learning.options(task, set_ or ())
    with following("training") as course:
        given = material_of(
            task, files, (time_, device, columns, leave, label), data, (twins, type_, every, start, end), course
        )
        before = where.find(parent).model if where is not None and parent else parent
        began = time.monotonic()
        made = learning.train(task, given, wanted, seed, course.part(0.0, 1.0), before)
    if where is None:
        assert out is not None
        model_file.write(out, made)
        place = str(out)
    else:
        where.add(made, scope, getpass.getuser(), why or f"trained on {given.source}", time.time_ns())
        place = str(where.path(made.hash))
        models.carry(where)
    told = {**models.as_plain(made), "file": place, "seconds": round(time.monotonic() - began, 2)}
    if json_:
        show.as_json(told)
        return
    show.out.print(
        f"{made.manifest.kind} for {task}, {len(made.manifest.columns)} columns, seed {seed}: {made.hash[:12]}"
    )
    show.table(("figure", "held out"), models.metrics(made), "no figures")
    show.out.print(f"{place}", markup=False)


def evaluate(
    task: TaskArgument,
    files: DataArgument = None,
    time_: Time = "",
    device: Device = "",
    columns: Columns = "",
    leave: Leave = "",
    label: Label = "",
    test: Annotated[Path | None, typer.Option("--test", help="A test set of its own, with the same columns.")] = None,
    truth: Annotated[Path | None, typer.Option("--truth", help="One number a test record: its remaining life.")] = None,
    set_: Set = None,
    explain: Explain = False,
    seeds: Annotated[str, typer.Option("--seeds", help="How many, or which: 5 or 1,2,3.")] = "5",
    report: Report = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the whole trial as JSON, raw results, too.")] = None,
    data: PlantData = None,
    twins: Twins = "*",
    type_: TypeOption = "",
    every: Every = "10s",
    start: From = "",
    end: To = "",
    json_: Json = False,
) -> None:
    """Train with several seeds and judge on data that training never saw, beside the plain model. Says its protocol."""
    from control import learning
    from control import report as pages

    if explain:
        return _explain(task, json_)
    _writable(out, report)
    numbers = _seeds(seeds)
    wanted = learning.options(task, set_ or ())
    with following("evaluating") as course:
        given = material_of(
            task,
            files,
            (time_, device, columns, leave, label),
            data,
            (twins, type_, every, start, end),
            course,
            test,
            truth,
        )
        found = learning.evaluate(task, given, wanted, numbers, course.part(0.0, 1.0))
    if report is not None:
        pages.write(report, found)
    if out is not None:
        out.write_text(json.dumps(pages.plain(found), default=str) + "\n")
    if json_:
        show.as_json(pages.plain(found))
        return
    show.out.print(f"{found.model} on {found.data}, {len(found.seeds)} seeds", markup=False)
    show.out.print(found.protocol, markup=False)
    head = ("figure", "mean", "sd", f"floor: {found.floor_model}" if found.floor_model else "floor")
    show.table(head, pages.figures_line(found), "no figures")
    if report is not None:
        show.err.print(f"wrote {report}", markup=False)


def _writable(*paths: Path | None) -> None:
    """Before the work, not after it.

    Raises:
        BadRequest: a file cannot come to be there.
    """
    for path in filter(None, paths):
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise BadRequest(f"nothing can be written to {path}", "a file in a folder that is there")


def _explain(task: str, json_: bool) -> None:
    from control import learning

    words, rows = learning.explained(task)
    if json_:
        show.as_json(
            {"about": words, "options": [dict(zip(("name", "type", "default"), r, strict=True)) for r in rows]}
        )
        return
    show.out.print(words, markup=False)
    show.table(("option", "type", "left out"), rows, "no options")


def registry_of(files: Path | None, out: Path | None, registry: Path | None, data: Path | None) -> Any:
    """Where a trained model goes; None for --out."""
    from ml.registry import Registry

    if out is not None:
        if registry is not None:
            raise BadRequest("--out and --registry", "one of them")
        return None
    if registry is not None:
        return Registry(registry)
    if files is not None and data is None:
        raise BadRequest("nowhere to put the model", "give --out FILE, --registry FOLDER, or --data of a server")
    return Registry(data_folder(data) / MODELS)


def material_of(
    task: str,
    files: Path | None,
    roles: tuple[str, str, str, str, str],
    data: Path | None,
    history: tuple[str, str, str, str, str],
    course: Any,
    test: Path | None = None,
    truth: Path | None = None,
) -> Any:
    from control import learning, plant_data
    from ml.tables import Roles
    from twin.when import parse_duration_s, parse_when_ns

    learning.task(task)
    time_, device, columns, leave, label = roles
    wanted = tuple(listed(columns))
    if files is not None:
        return learning.material(
            task,
            learning.Files(files, Roles(time_, device, wanted, tuple(listed(leave))), label, test, truth),
            _left_out,
        )
    if time_ or device or leave or test or truth:
        raise BadRequest("--time, --device, --leave, --test and --truth are of files", "name a file, or leave them out")
    twins, type_, every, start, end = history
    now = time.time_ns()
    asked = plant_data.Asked(
        twins, type_, wanted, parse_duration_s(every, "--every"),
        parse_when_ns(start, now, "--from") if start else 0, parse_when_ns(end, now, "--to") if end else 0,
    )  # fmt: skip
    folder = data_folder(data)
    return learning.Material(plant_data.read(folder, asked, course.at), label, source=f"history of {folder.name}")


def _left_out(words: str) -> None:
    show.err.print(words, markup=False)


def _seeds(text: str) -> list[int]:
    """`5` is 1 … 5; `7,8` are those."""
    try:
        numbers = [int(t) for t in text.split(",")]
    except ValueError:
        raise BadRequest(f"--seeds {text!r}", "how many, or which: 5 or 1,2,3") from None
    seeds = list(range(1, numbers[0] + 1)) if "," not in text else numbers
    if not 1 <= len(seeds) <= 100 or min(seeds) < 0:
        raise BadRequest(f"--seeds {text!r}", "1 … 100 of them, none below 0")
    return seeds


@contextlib.contextmanager
def following(word: str) -> Iterator[Any]:
    """Progress on stderr with the time left. The first Ctrl-C cancels at the next step, the second at once."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from ml.training import Cancelled, Course

    cancel = threading.Event()

    def stop(*_: object) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    before = signal.signal(signal.SIGINT, stop)
    try:
        with Progress(*columns, console=show.err, transient=True, disable=not show.err.is_terminal) as progress:
            bar = progress.add_task(word, total=1.0)
            yield Course(lambda share, words: progress.update(bar, completed=share, description=words or word), cancel)
    except Cancelled:
        show.err.print("cancelled; nothing was written")
        raise typer.Exit(CANCELLED) from None
    finally:
        signal.signal(signal.SIGINT, before)
