"""One instance of an FMU as a stepper: FMI 2 and 3 behind the same few calls; must not know files or layouts."""

from __future__ import annotations

import itertools
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ctypes import byref
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgpack

from sim.opaque.stepper import StepFailed, Wanted
from twin.errors import Refused

MESSAGES_MAX = 8  # the last ones of an FMU, kept for the fault's text
_NUMBERS = itertools.count(1)  # FMUs want names of their own for their instances
_MESSAGES: deque[tuple[str, str]] = deque(maxlen=MESSAGES_MAX)
FATAL = 4
TRUE_FROM = 0.5  # a number that stands for true
STATUS = ("ok", "warning", "discard", "error", "fatal", "pending")
FMI2 = {"Real": "Real", "Integer": "Integer", "Enumeration": "Integer", "Boolean": "Boolean"}


@dataclass(frozen=True, slots=True)
class Slot:
    """A variable of an FMU: its type, its reference, and whether it can be read while it runs or set where it begins."""

    type: str
    reference: int
    reads: bool
    begins: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Variables of one type, that travel in one call; `places` tells where they stand among all."""

    type: str
    references: tuple[int, ...]
    places: tuple[int, ...]


@dataclass(slots=True)
class Life:
    """How an instance must end: one that steps is terminated first, one that failed fatally must not be called again."""

    stepping: bool = False
    lost: bool = False


class FmuInstance:
    """An instance.

    Args:
        folder: of the unpacked FMU; it is kept for as long as this instance.
        description: FMPy's.
    """

    def __init__(
        self, title: str, folder: tempfile.TemporaryDirectory[str], description: Any, slots: Mapping[str, Slot], wanted: Wanted,
        parameters: Mapping[str, float],
    ) -> None:  # fmt: skip
        self._title, self._ability = title, description.coSimulation
        self._new = description.fmiMajorVersion == 3
        self._folder, self._slave = folder, _slave(self._new, folder.name, description)
        self._life = Life()
        self._close = weakref.finalize(self, _free, self._slave, self._life)
        self._reads, self._writes, self._begins = (
            _groups([slots[n] for n in names], self._new) for names in (wanted.reads, wanted.writes, wanted.begins)
        )
        self._parameters = _groups([slots[n] for n in parameters], self._new), tuple(parameters.values())
        self._at_s = 0.0
        self._initialising = self._used = False

    def begin(self, at_s: float, starts: Sequence[float]) -> None:
        if self._used:
            self._life.stepping = False
            self._call(self._slave.reset)
        self._used = True
        self._set(*self._parameters)
        if starts:
            self._set(self._begins, starts)
        if self._new:
            self._call(self._slave.enterInitializationMode, startTime=at_s)
        else:
            self._call(self._slave.setupExperiment, startTime=at_s)
            self._call(self._slave.enterInitializationMode)
        self._at_s, self._initialising = at_s, True

    def hold(self, inputs: Sequence[float]) -> None:
        self._set(self._reads, inputs)
        self._initialised()

    def advance(self, to_s: float) -> None:
        self._initialised()
        if to_s > self._at_s:
            ended = self._call(self._slave.doStep, self._at_s, to_s - self._at_s)
            if self._new and (ended[1] or ended[2]):
                why = "asks to end the simulation" if ended[1] else f"came only to {ended[3]:g} s"
                raise StepFailed(f"it {why}", "shorten the horizon, or mend the model")
            self._at_s = to_s

    def outputs(self) -> Sequence[float]:
        self._initialised()
        outputs = [0.0] * sum(len(g.places) for g in self._writes)
        for group in self._writes:
            values = self._call(getattr(self._slave, f"get{group.type}"), group.references)
            for place, value in zip(group.places, values, strict=True):
                outputs[place] = float(value)
        return outputs

    def save(self) -> bytes:
        if not (self._ability.canGetAndSetFMUstate and self._ability.canSerializeFMUstate):
            lacks = "canSerializeFMUstate" if self._ability.canGetAndSetFMUstate else "canGetAndSetFMUstate"
            hint = f"export it with {lacks}, or use Fmu(…, replay=True), which repeats its inputs"
            raise Refused(f"{self._title} cannot save its state: a run with it cannot be forked", hint)
        state = self._call(self._slave.getFMUState)
        try:
            saved: bytes = msgpack.packb([self._at_s, self._call(self._slave.serializeFMUState, state)])
        finally:
            self._call(self._slave.freeFMUState, state)
        return saved

    def restore(self, saved: bytes) -> None:
        at_s, serialized = msgpack.unpackb(saved)
        self.begin(at_s, ())  # a state can be set in an instance that has begun
        self._initialised()
        state = self._call(self._slave.deserializeFMUState, serialized)
        try:
            self._call(self._slave.setFMUState, state)
        finally:
            self._call(self._slave.freeFMUState, state)

    def close(self) -> None:
        self._close()

    @property
    def alive(self) -> bool:
        """Whether it was not freed yet."""
        return self._close.alive

    def _initialised(self) -> None:
        if self._initialising:
            self._initialising = False
            self._call(self._slave.exitInitializationMode)
            self._life.stepping = True

    def _set(self, groups: Sequence[Group], numbers: Sequence[float]) -> None:
        for group in groups:
            cast = _CASTS.get(group.type, round)
            values = [cast(numbers[p]) for p in group.places]
            self._call(getattr(self._slave, f"set{group.type}"), group.references, values)

    def _call(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """What FMPy raises when the FMU fails, with what the FMU said."""
        from fmpy.fmi1 import FMICallException

        try:
            return function(*given, **named)
        except FMICallException as failed:
            self._life.stepping = False
            self._life.lost = failed.status == FATAL
            said = "; ".join(m for name, m in _MESSAGES if name == self._slave.instanceName)
            raise StepFailed(f"{failed.function}: {STATUS[failed.status]}{': ' if said else ''}{said}", "") from failed


_CASTS: Mapping[str, Callable[[float], Any]] = {
    "Real": float, "Float64": float, "Float32": float, "Boolean": lambda x: x >= TRUE_FROM,
}  # fmt: skip


def _groups(slots: Sequence[Slot], new: bool) -> tuple[Group, ...]:
    """By type, as FMPy's calls are named."""
    found: dict[str, list[tuple[int, int]]] = {}
    for place, slot in enumerate(slots):
        kind = {"Enumeration": "Int64"}.get(slot.type, slot.type) if new else FMI2[slot.type]
        found.setdefault(kind, []).append((slot.reference, place))
    return tuple(Group(k, tuple(r for r, _ in rows), tuple(p for _, p in rows)) for k, rows in found.items())


def _slave(new: bool, folder: str, description: Any) -> Any:
    """An instance, before anything was set."""
    from fmpy.fmi2 import FMU2Slave
    from fmpy.fmi3 import FMU3Slave

    name = f"{description.coSimulation.modelIdentifier}_{next(_NUMBERS)}"
    slave = (FMU3Slave if new else FMU2Slave)(
        guid=description.guid, unzipDirectory=folder, modelIdentifier=description.coSimulation.modelIdentifier,
        instanceName=name,
    )  # fmt: skip
    if new:
        slave.instantiate(logMessage=lambda _, status, category, message: _heard(name, message))
    else:
        slave.instantiate(callbacks=_fmi2_callbacks())
    return slave


def _heard(name: str, message: bytes) -> None:
    _MESSAGES.append((name, message.decode("utf-8", "replace").strip()))


@lru_cache(maxsize=1)  # FMPy's native logger knows one receiver in a process
def _fmi2_callbacks() -> Any:
    """Memory from FMPy, messages to us: FMPy would print them among the data."""
    from fmpy import calloc, fmi2, free, logging

    made = fmi2.fmi2CallbackFunctions()
    made.logger = fmi2.fmi2CallbackLoggerTYPE(lambda _, name, status, category, message: _heard(name.decode(), message))
    made.allocateMemory = fmi2.fmi2CallbackAllocateMemoryTYPE(calloc)
    made.freeMemory = fmi2.fmi2CallbackFreeMemoryTYPE(free)
    logging.addLoggerProxy(byref(made))
    return made


def _free(slave: Any, life: Life) -> None:
    from fmpy.fmi1 import FMICallException

    if life.stepping:
        with suppress(FMICallException):  # it goes in any case
            slave.terminate()
    if not life.lost:
        slave.freeInstance()
