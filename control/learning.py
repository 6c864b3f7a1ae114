"""What `twinloop train`, `evaluate` and `models` do: data by their roles, options by name, a task's own code; prints nothing.

A task is a row: its file in ml/, which is imported only when it is asked for (torch takes seconds).
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control.model_edge import Written, export
from ml import seen, tables
from ml.contest import UNITS_MIN, judge
from ml.drift import Drift, Inputs
from ml.model_file import ModelFile
from ml.records import DataSet
from ml.registry import Registry
from ml.stages import Contest
from ml.tables import Roles
from ml.training import Course
from ml.trial import Trial
from twin.errors import BadRequest, Conflict, NotFound, Unavailable, WrongUnit
from twin.lists import listed
from twin.nearest import nearest

TRUE, FALSE = ("yes", "true", "1", "on"), ("no", "false", "0", "off")


@dataclass(frozen=True, slots=True)
class Material:
    """What a task gets.

    Attributes:
        data: to train on. label: the column of it that tells the truth, never learnt from.
        test, truth: of a task with a test set of its own; the truth one number a test record.
        source: where they are from, for people.
    """

    data: DataSet
    label: str = ""
    test: DataSet | None = None
    truth: NDArray[np.float64] | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of model.

    Attributes:
        module: in ml/. options: its dataclass there.
        trained, evaluated: how its functions are called. losses: of a model, device by device or block by block.
        network: of a model as `ml.edge.Edge`; None where there is none.
        learnt: the rows that training used of what it was given.
        settled: whether a plant's history holds the truth that its losses are made of.
        takes: which parts of Material besides `data` it understands.
    """

    module: str
    options: str
    takes: tuple[str, ...]
    trained: Callable[[Any, Material, Any, int, Course], ModelFile]
    evaluated: Callable[[Any, Material, Any, Sequence[int], Course], Trial]
    losses: Callable[[Sequence[ModelFile], Material], Sequence[Mapping[str, float]]] | None = None
    network: Callable[[ModelFile], Any] | None = None
    learnt: Callable[[DataSet, Any], DataSet] = lambda data, options: data
    settled: bool = True

    def load(self) -> Any:
        """
        Raises:
            Unavailable: this Twinloop was built without it.
        """
        try:
            return import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name != self.module:
                raise
            raise Unavailable(f"{self.module} is not part of this Twinloop", "use a newer one") from None


def _train(module: Any, material: Material, options: Any, seed: int, course: Course) -> ModelFile:
    made: ModelFile = module.train(material.data, options, seed, course)
    return made


def _evaluate(module: Any, material: Material, options: Any, seeds: Sequence[int], course: Course) -> Trial:
    made: Trial = module.evaluate(material.data, options, seeds, course)
    return made


def _train_labelled(module: Any, material: Material, options: Any, seed: int, course: Course) -> ModelFile:
    return _train(module, material, _labelled(material, options), seed, course)


def _evaluate_labelled(module: Any, material: Material, options: Any, seeds: Sequence[int], course: Course) -> Trial:
    return _evaluate(module, material, _labelled(material, options), seeds, course)


def _labelled(material: Material, options: Any) -> Any:
    return replace(options, label=material.label) if material.label else options


def _evaluate_lives(module: Any, material: Material, options: Any, seeds: Sequence[int], course: Course) -> Trial:
    made: Trial = module.evaluate(material.data, options, seeds, course, material.test, material.truth)
    return made


def _evaluate_dynamics(module: Any, material: Material, options: Any, seeds: Sequence[int], course: Course) -> Trial:
    made: Trial = module.evaluate(material.data, options, seeds, course, material.test)
    return made


def _forecast_losses(models: Sequence[ModelFile], given: Material) -> Sequence[Mapping[str, float]]:
    from ml import rivals

    return rivals.forecasts(models, given.data)


def _life_losses(models: Sequence[ModelFile], given: Material) -> Sequence[Mapping[str, float]]:
    from ml import rivals

    return rivals.lives(models, given.data)


def _alarm_losses(models: Sequence[ModelFile], given: Material) -> Sequence[Mapping[str, float]]:
    from ml import rivals

    label = given.label or str(models[0].manifest.settings["label"])
    if not given.label and label not in given.data.columns:
        return rivals.planted(models, given.data)
    return rivals.alarms(models, given.data, label)


def _dynamics_losses(models: Sequence[ModelFile], given: Material) -> Sequence[Mapping[str, float]]:
    from ml import rivals

    return rivals.dynamics(models, given.data)


def _forecast_network(model: ModelFile) -> Any:
    from ml import edge

    return edge.of_forecast(model)


def _life_network(model: ModelFile) -> Any:
    from ml import edge

    return edge.of_lives(model)


def _first_shares(data: DataSet, options: Any) -> DataSet:
    """A forecast's last share is for the test."""
    ends = [options.rows or len(r) for r in data.records]
    share = options.shares[0] + options.shares[1]
    records = (r.between(0, round(share * min(end, len(r)))) for r, end in zip(data.records, ends, strict=True))
    return replace(data, records=tuple(records))


def _first_rows(data: DataSet, options: Any) -> DataSet:
    """An anomaly detector learns from the good rows at the start of each record."""
    return replace(data, records=tuple(r.between(0, options.good_rows or len(r)) for r in data.records))


TASKS: dict[str, Task] = {
    "forecast": Task(
        "ml.forecast", "ForecastOptions", (), _train, _evaluate, _forecast_losses, _forecast_network, _first_shares
    ),
    "anomaly": Task(
        "ml.anomaly",
        "AnomalyOptions",
        ("label",),
        _train_labelled,
        _evaluate_labelled,
        _alarm_losses,
        None,
        _first_rows,
    ),
    "rul": Task(
        "ml.rul", "RulOptions", ("test", "truth"), _train, _evaluate_lives, _life_losses, _life_network, settled=False
    ),
    "dynamics": Task("ml.dynamics", "DynamicsOptions", ("test",), _train, _evaluate_dynamics, _dynamics_losses),
}


def task(name: str) -> Task:
    """
    Raises:
        NotFound: there is none of that name.
    """
    if name not in TASKS:
        raise NotFound(f"no task {name!r}", nearest(name, TASKS) or f"one of {', '.join(TASKS)}")
    return TASKS[name]


# --- data ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Files:
    """Where data are in files, and which column is what."""

    data: Path
    roles: Roles = field(default_factory=Roles)
    label: str = ""
    test: Path | None = None
    truth: Path | None = None


def material(name: str, files: Files, told: Callable[[str], None] = lambda words: None) -> Material:
    """Data from files; `told` hears what was left out.

    Raises:
        BadRequest: the task has no use for a part of them. And what reading raises.
    """
    takes = task(name).takes
    for part, given in (("label", files.label), ("test", files.test), ("truth", files.truth)):
        if given and part not in takes:
            raise BadRequest(f"{name} has no use for --{part} {given}", "leave it out")
    if files.truth and not files.test:
        raise BadRequest(f"--truth {files.truth} without --test", "name the records that it is the truth of")
    data = tables.read(files.data, replace(files.roles, label=files.label), told)
    test = tables.read(files.test, replace(files.roles, columns=data.columns), told) if files.test else None
    truth = tables.read_column(files.truth) if files.truth else None
    return Material(data, files.label, test, truth, files.data.name)


# --- options -------------------------------------------------------------------------------------------------------------


def options(name: str, said: Sequence[str]) -> Any:
    """A task's options from words such as `horizon=96`.

    Raises:
        BadRequest: no such option, or its value is of another type.
    """
    kind = getattr(task(name).load(), task(name).options)
    hints = typing.get_type_hints(kind)
    fields = {f.name: hints[f.name] for f in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for word in said:
        option, equals, text = word.partition("=")
        if not equals or option not in fields:
            hint = nearest(option, fields) or f"there are: {', '.join(fields)}"
            raise BadRequest(f"--set {word}: {name} has no option {option!r}", hint if equals else "write name=value")
        values[option] = _value(word, text, fields[option])
    return kind(**values)


def explained(name: str) -> tuple[str, list[tuple[str, str, str]]]:
    """What the options of a task say of themselves, and (name, type, value when left out) of each."""
    kind = getattr(task(name).load(), task(name).options)
    hints = typing.get_type_hints(kind)
    rows = [(f.name, _type_name(hints[f.name]), _default(f)) for f in dataclasses.fields(kind)]
    return (kind.__doc__ or "").strip(), rows


def _value(word: str, text: str, kind: Any) -> Any:
    kinds = [k for k in typing.get_args(kind) if k is not type(None)] if _is_union(kind) else [kind]
    if _is_union(kind) and text in ("", "none"):
        return None
    inner = kinds[0]
    try:
        if typing.get_origin(inner) is tuple:
            each = typing.get_args(inner)[0]
            return tuple(_one(word, each) for word in listed(text))
        return _one(text, inner)
    except ValueError:
        raise BadRequest(f"--set {word}: not of type {_type_name(kind)}", "see --options") from None


def _one(text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in TRUE + FALSE:
            raise ValueError(text)
        return text.lower() in TRUE
    if typing.get_origin(kind) is typing.Literal:
        if text not in typing.get_args(kind):
            raise ValueError(text)
        return text
    return kind(text)


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind).replace("typing.", "")


def _default(f: dataclasses.Field[Any]) -> str:
    if f.default is not dataclasses.MISSING:
        return str(f.default)
    return str(f.default_factory()) if f.default_factory is not dataclasses.MISSING else "needed"


# --- work ----------------------------------------------------------------------------------------------------------------


def train(name: str, given: Material, wanted: Any, seed: int, course: Course, parent: str = "") -> ModelFile:
    """A trained model, with the distribution of its inputs and a sketch of the rows that it saw."""
    row = task(name)
    made = row.trained(row.load(), given, wanted, seed, course)
    manifest = replace(made.manifest, parent=parent) if parent else made.manifest
    return described(name, ModelFile(manifest, made.tensors), given.data, wanted)


def described(name: str, made: ModelFile, data: DataSet, wanted: Any) -> ModelFile:
    """The model with the distribution of its inputs and a sketch of the rows that it saw of these data."""
    learnt = task(name).learnt(data, wanted)
    inputs = Inputs.of(learnt.having(made.manifest.columns))
    return ModelFile(made.manifest, {**made.tensors, **inputs.tensors(), **seen.marked(made, learnt)})


def evaluate(name: str, given: Material, wanted: Any, seeds: Sequence[int], course: Course) -> Trial:
    """The task's own protocol."""
    row = task(name)
    found = row.evaluated(row.load(), given, wanted, seeds, course)
    return replace(found, data=f"{given.source}, {given.data.hash()[:12]}")


def contest(registry: Registry, model: str, given: Material) -> Contest | None:
    """The model against the champion of its task and scope, device by device, on data that neither was trained on.

    None where there is no champion yet.

    Raises:
        BadRequest: one of them was trained on these data, or there are too few devices or blocks.
    """
    life = registry.find(model)
    best = registry.champion(life.task, life.scope)
    if best is None or best.model == life.model:
        return None
    rivals = registry.read(best.model), registry.read(life.model)
    for rival, word in zip(rivals, ("champion", "challenger"), strict=True):
        same_units(rival, given.data)
        if (share := seen.shared(rival, given.data)) > seen.SHARED_MAX:
            raise BadRequest(f"the {word} was trained on about {share:.0%} of these rows", "hold out other data")
    row = task(life.task)
    if row.losses is None:
        raise BadRequest(f"{life.task} has no losses to compare", "promote by hand")
    first, second = row.losses(rivals, given)
    units = [u for u in first if u in second and np.isfinite(first[u]) and np.isfinite(second[u])]
    if len(units) < UNITS_MIN:
        raise BadRequest(f"{len(units)} devices or blocks to compare on", f"{UNITS_MIN} or more")
    verdict = judge(np.array([first[u] for u in units]), np.array([second[u] for u in units]))
    return Contest(verdict, best.model, given.data.hash())


def same_units(model: ModelFile, data: DataSet) -> None:
    """
    Raises:
        WrongUnit: a column is in another unit than in training. Files tell no units: there drift shows it.
    """
    known = dict(zip(model.manifest.columns, model.manifest.units, strict=False))
    for name, unit in zip(data.columns, data.units, strict=False):
        if unit and known.get(name) and known[name] != unit:
            raise WrongUnit(f"{name} is in {unit}, the model knows it in {known[name]}", "convert it, or train anew")


def edge(registry: Registry, model: str, file: Path) -> list[Written]:
    """A model's network as ONNX.

    Raises:
        BadRequest: the model has no network: it is closed-form, or its task has none for the edge. Conflict: a file exists.
    """
    found = registry.read(registry.find(model).model)
    row = task(found.manifest.task)
    network = row.network(found) if row.network else None
    if network is None:
        raise BadRequest(f"a {found.manifest.kind} has no network to export", "copy its .safetensors: a few sums")
    for path in (file, file.with_suffix(".int8.onnx")):
        if path.exists():
            raise Conflict(f"{path} exists", "name a new file; nothing is overwritten")
    return export(found, network, file)


def drifted(registry: Registry, model: str, data: DataSet) -> list[Drift]:
    """Of each input whether it is still what the model learned from."""
    found = registry.read(registry.find(model).model)
    same_units(found, data)
    return Inputs.from_tensors(found.manifest.columns, found.tensors).compare(data)
