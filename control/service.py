"""The models in service for one row [[learned]]: who answers for which twin, sample by sample; in a thread of its own.

Must not know the event loop, or where answers go. The champion answers for all twins but those that a canary took over;
shadows, and the champion before this one, compute beside it and are held against what comes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from control.service_score import Score, Standing
from ml import serving, stages
from ml.model_file import ModelFile
from ml.registry import RECORD, Registry
from ml.serving import Kind, Served
from ml.stages import SERVING, Life, Stage
from twin import quality
from twin.errors import BadRequest, TwinloopError, WrongUnit
from twin.learned import Answer, Learned, Part

HASH_SHOWN = 12
STEP_APART = 0.01  # of a step: a model of rows every 10 s is no model of rows every 11 s
KINDS: Mapping[Part, Kind] = {Part.LOW: Kind.LOW, Part.HIGH: Kind.HIGH, Part.FLAG: Kind.FLAG}
Array = NDArray[np.float64]
Past = Callable[[int, int], tuple[NDArray[np.int64], Array]]
"""(so many samples, before this moment in ns) -> their times, shape (T,), and values, shape (T, D, C)."""
log = logging.getLogger("twinloop.models")


# What a model file that is not ours may do when it is asked: none of it may stop a server.
FAULTS = (TwinloopError, ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


class State(StrEnum):
    NO_MODEL = "no model"
    REFUSED = "refused"  # the champion does not fit the row
    FILLING = "filling"  # its memory
    DAMAGED = "damaged"  # the registry's record: models answer as before, promotions take no effect
    SERVING = "serving"
    LATE = "late"  # a sample takes far longer than there is time for
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Said:
    """After one sample.

    Attributes:
        values: of D twins and A answers, shape (D, A); NaN where nothing is said, and for texts.
        codes: their quality, shape (D, A).
        texts: of the text answers, by place in the flattened (D, A), where they changed.
        state, why: of the row. model: the champion, "" for none. standing: how its forecasts fared, if it makes any.
    """

    values: Array
    codes: NDArray[np.uint32]
    texts: Mapping[int, str]
    state: State
    why: str
    model: str
    standing: Standing


@dataclass(slots=True)
class _Rival:
    """A model at work."""

    life: Life
    file: ModelFile
    served: Served
    columns: NDArray[np.intp]  # of the row, that it takes
    outputs: NDArray[np.intp]  # its output for each answer, -1 for texts
    seen: int = 0  # samples

    @property
    def full(self) -> bool:
        return self.seen >= self.served.reach


@dataclass(slots=True)
class Service:
    row: Learned
    registry: Registry
    past: Past
    champion: str = ""
    _rivals: dict[str, _Rival] = field(default_factory=dict)
    _refused: dict[str, str] = field(default_factory=dict)
    _owner: NDArray[np.object_] = field(init=False)
    _texts: dict[int, str] = field(default_factory=dict)
    _score: Score = field(init=False)
    _record: tuple[int, int] = (-1, -1)  # size and time of the one that was read
    _damage: str = ""

    def __post_init__(self) -> None:
        self._owner = np.full(len(self.row.twins), "", object)
        self._score = Score(self.row, self.registry)

    def sample(self, time_ns: int, values: Array) -> Said:
        """One sample of every twin, (D, C) in the row's columns, NaN where nothing good was measured."""
        try:
            self._look(time_ns)
            self._damage = ""
        except TwinloopError as error:
            if str(error) != self._damage:
                log.error("[[learned]] %s: %s", self.row.id, error)
            self._damage = str(error)
        time_s = np.full(len(values), time_ns / 1e9)
        told = {}
        for model, rival in self._rivals.items():
            told[model] = rival.served.step(time_s, values[:, rival.columns])
            rival.seen += 1
        full = {m: told[m].values[:, r.outputs] for m, r in self._rivals.items() if r.full}
        if self._score.after(values, full, time_ns):
            self._record = (-1, -1)  # one was rolled back
        return self._said(told, values)

    # --- who answers -------------------------------------------------------------------------------------------------

    def _look(self, time_ns: int) -> None:
        """Whether the registry says something new."""
        path = self.registry.folder / RECORD
        stat = path.stat() if path.is_file() else None
        now = (stat.st_size, stat.st_mtime_ns) if stat else (0, 0)
        if now == self._record:
            return
        lives = [x for x in self.registry.lives().values() if (x.task, x.scope) == (self.row.task, self.row.id)]
        best = stages.champion(lives, self.row.task, self.row.id)
        wanted = {x.model: x for x in lives if x.stage in SERVING}
        if best is not None and best.successor_of and not self._score.is_settled(best.model, best.successor_of):
            wanted |= {x.model: x for x in lives if x.model == best.successor_of and x.stage is Stage.RETIRED}
        self._rivals = {m: replace(r, life=wanted[m]) for m, r in self._rivals.items() if m in wanted}
        self._refused = {}
        for model, life in wanted.items():
            if model not in self._rivals:
                self._take(life, time_ns)
        self.champion = best.model if best else ""
        serving_ = [r.life for r in self._rivals.values()]
        owners = [stages.serving(serving_, self.row.task, self.row.id, t) for t in self.row.twins]
        self._owner = np.array(owners, object)
        reference = self._rivals.get(self.champion)
        self._score.now(reference.file if reference else None, serving_)
        self._record = now

    def _take(self, life: Life, time_ns: int) -> None:
        """A model that was not here; its memory is filled from history."""
        try:
            file = self.registry.read(life.model)
            rival = _fitted(self.row, life, file)
        except FAULTS as error:
            self._refused[life.model] = str(error) if isinstance(error, TwinloopError) else f"no such model: {error!r}"
            log.warning("[[learned]] %s cannot serve %s: %s", self.row.id, life.model[:HASH_SHOWN], error)
            return
        times, values = self.past(rival.served.reach, time_ns)
        for t, each in zip(times, values, strict=True):
            rival.served.step(np.full(len(each), t / 1e9), each[:, rival.columns])
        rival.seen = len(times)
        self._rivals[life.model] = rival

    # --- what is said ------------------------------------------------------------------------------------------------

    def _said(self, told: Mapping[str, serving.Told], given: Array) -> Said:
        twins, answers = len(self.row.twins), self.row.answers
        values = np.full((twins, len(answers)), np.nan)
        codes = np.full((twins, len(answers)), quality.BAD_WAITING_FOR_INITIAL_DATA, np.uint32)
        texts: dict[int, str] = {}
        for model in dict.fromkeys(self._owner.tolist()):
            if model not in told:
                silent = np.flatnonzero(self._owner == model)
                texts |= {
                    int(r) * len(answers) + k: "" for r in silent for k, a in enumerate(answers) if a.type == "string"
                }
                continue
            rows, rival = np.flatnonzero(self._owner == model), self._rivals[model]
            numbers = np.flatnonzero(rival.outputs >= 0)
            some = np.ix_(rows, numbers)
            values[some] = told[model].values[np.ix_(rows, rival.outputs[numbers])]
            sure = told[model].sure[np.ix_(rows, rival.outputs[numbers])]
            measured = np.asarray(np.isfinite(given[np.ix_(rows, rival.columns)]))  # (n, C)
            values[some] = np.where(np.any(measured, axis=1)[:, None], values[some], np.nan)
            codes[some] = _codes(values[some], sure, np.asarray(np.all(measured, axis=1)), rival.full)
            texts |= self._words(told[model], rows, rival, answers)
        changed = {place: text for place, text in texts.items() if self._texts.get(place) != text}
        self._texts |= changed
        for place in texts:
            codes.flat[place] = quality.GOOD
        state, why = self._state()
        return Said(values, codes, changed, state, why, self.champion, self._score.standing)

    def _words(
        self, told: serving.Told, rows: NDArray[np.intp], rival: _Rival, answers: Sequence[Answer]
    ) -> dict[int, str]:
        """The text answers of these twins by place."""
        found: dict[int, str] = {}
        for k, answer in enumerate(answers):
            if answer.part is Part.MODEL:
                found |= {int(r) * len(answers) + k: rival.life.model[:HASH_SHOWN] for r in rows}
            elif answer.part is Part.WHY:
                flag = next(o for o, out in enumerate(rival.served.outputs) if out.kind is Kind.FLAG)
                raised = told.values[rows, flag] == 1.0
                found |= {
                    int(r) * len(answers) + k: rival.served.why(told.why[r]) if up else ""
                    for r, up in zip(rows, raised, strict=True)
                }
        return found

    def _state(self) -> tuple[State, str]:
        if self._damage:
            return State.DAMAGED, self._damage
        if not self.champion:
            return State.NO_MODEL, f"train one: twinloop train {self.row.task} --scope {self.row.id}"
        if self.champion in self._refused:
            return State.REFUSED, self._refused[self.champion]
        rival = self._rivals[self.champion]
        if not rival.full:
            return State.FILLING, f"{rival.seen} of {rival.served.reach} samples"
        return State.SERVING, ""


def _codes(values: Array, sure: NDArray[np.bool_], whole: NDArray[np.bool_], full: bool) -> NDArray[np.uint32]:
    """A NaN is never good, nor what lies outside of what training saw, nor what was told without one of its inputs.

    Args:
        values, sure: shape (n, A). whole: whether all inputs were good in this very sample, shape (n,).
    """
    nothing = quality.BAD_NO_DATA if full else quality.BAD_WAITING_FOR_INITIAL_DATA
    doubtful = np.where(sure, quality.GOOD, quality.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED)
    doubtful = np.where(whole[:, None] | ~sure, doubtful, quality.UNCERTAIN_SUBNORMAL)
    return np.where(np.isfinite(values), doubtful, nothing).astype(np.uint32)


def _fitted(row: Learned, life: Life, file: ModelFile) -> _Rival:
    """
    Raises:
        BadRequest: it looks at other columns, other steps, or not as far ahead. WrongUnit: at other units.
    """
    known = dict(zip(row.columns, row.units, strict=True))
    for name, unit in zip(file.manifest.columns, file.manifest.units or [""] * len(file.manifest.columns), strict=True):
        if name not in known:
            raise BadRequest(
                f"the model looks at {name}, the row does not", f"add it to columns of {row.id}, or train anew"
            )
        if unit and known[name] and unit != known[name]:
            raise WrongUnit(f"{name} is in {known[name]}, the model knows it in {unit}", "convert it, or train anew")
    ahead = sorted(round(a / row.every_s) for a in row.ahead_s)
    served = serving.served(file, row.twins, ahead)
    if served.step_s and abs(served.step_s / row.every_s - 1) > STEP_APART:
        raise BadRequest(
            f"the model was trained on rows every {served.step_s:g} s, {row.id} samples every {row.every_s:g} s",
            "make both alike",
        )
    columns = np.array([row.columns.index(name) for name in served.columns], np.intp)
    return _Rival(life, file, served, columns, _places(row, served))


def _places(row: Learned, served: Served) -> NDArray[np.intp]:
    """Of each answer the output that holds it, -1 for texts.

    Raises:
        BadRequest: the model does not tell one.
    """
    known = {(o.kind, o.column, o.ahead): k for k, o in enumerate(served.outputs)}
    found = []
    for answer in row.answers:
        if answer.part in (Part.MODEL, Part.WHY):
            found.append(-1)
            continue
        kind = KINDS.get(answer.part, Kind.SCORE if row.task == "anomaly" else Kind.MEAN)
        place = known.get((kind, answer.of, round(answer.ahead_s / row.every_s)))
        if place is None:
            raise BadRequest(f"the model does not tell {answer.point(row.id)}", "train one on these columns")
        found.append(place)
    return np.array(found, np.intp)
