"""The one component that puts a foreign model into a layout; must not know which sort of model it is.

class Boiler(Stepped):
    model = Fmu("boiler.fmu")
    step = Constant(10.0)
    fuel, steam = Port(Signal), Port(Signal)
    ties = Ties(reads={"u": fuel}, writes={"y": steam})

plant.add(Boiler, "boiler", fuel=plant.signal("fuel", 2.0), steam=plant.signal("steam"))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from sim.component_type import component_type
from sim.kernel.faults import Fault
from sim.opaque.stepper import Model, StepFailed, Stepper, Wanted
from sim.spec import (
    Buffer,
    Constant,
    Field,
    Level,
    Misspelt,
    Number,
    Opaque,
    Port,
    Resource,
    Signal,
    Timer,
    at_start,
    on,
    when,
)
from twin.errors import Refused
from twin.nearest import nearest

# What each port tells and takes. A level's number moves without an event: it is looked at when a step is due.
TELLS: Mapping[type, str] = {Signal: "value", Buffer: "level", Resource: "free", Level: "level"}
TAKES: Mapping[type, str] = {Signal: "value", Level: "flow"}
# What code of others raises when the model is at fault, and not this process.
FOREIGN = (StepFailed, ArithmeticError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, OSError)
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Saved:
    """State of a foreign model.

    Attributes:
        model: its hash.
        held: the inputs that hold.
        state: what its stepper saved.
    """

    model: str
    held: tuple[float, ...]
    state: bytes


@dataclass(frozen=True, slots=True)
class Ties:
    """What of a model is tied to which field.

    Attributes:
        reads: variable -> port or number that gives it.
        writes: variable -> signal that shows it, level into which it flows, or number that keeps it.
        begins: variable -> port or number that gives its first value.
    """

    reads: Mapping[str, Field] = field(default_factory=dict)
    writes: Mapping[str, Field] = field(default_factory=dict)
    begins: Mapping[str, Field] = field(default_factory=dict)


class Stepped(Opaque):
    """A foreign model, stepped every `step` and, if it can be, whenever what it reads changes.

    Attributes:
        model: which.
        ties: of its variables to the fields of this class.
    """

    model: ClassVar[Model]
    ties: ClassVar[Ties] = Ties()

    step = Constant(1.0)
    tick = Timer(step)
    begins_with = frozenset({"tick"})

    _stepper: Stepper
    _held: tuple[float, ...] | None = None

    @at_start
    def begin(self) -> None:
        self._begin()

    @on(tick)
    def advance(self) -> None:
        self._go_on()
        self.tick.start()

    @when(lambda s: s.disturbed)
    def changed(self) -> None:
        self._go_on()

    @property
    def disturbed(self) -> bool:
        """Whether an input changed that holds from the moment it changes."""
        held = self._held
        return held is not None and any(getattr(owner, name) != held[i] for i, owner, name in self._steady)

    # --- what the backend asks -----------------------------------------------------------------------------------------

    @classmethod
    def title(cls) -> str:
        return cls.model.title

    @classmethod
    def fingerprint(cls) -> str:
        return cls.model.hash()

    @classmethod
    def watched(cls) -> frozenset[str]:
        return frozenset(f.name for f in cls.ties.reads.values() if isinstance(f, Port) and not _moves(f))

    @classmethod
    def check(cls, name: str) -> None:
        """Whether the model has these variables, and whether the fields can give and take them.

        Raises:
            Misspelt: naming component, variable and what there is.
        """
        if not hasattr(cls, "model"):
            raise Misspelt(f"{name}: {cls.__name__} names no model", 'write model = Fmu("….fmu"), or another row')
        known, ties = cls.model.variables(), cls.ties
        for table, fields, names in (
            ("reads", ties.reads, known.reads),
            ("writes", ties.writes, known.writes),
            ("begins", ties.begins, known.begins),
        ):
            for variable, tied in fields.items():
                place = f"{name}: {cls.__name__} {table} {variable!r}"
                if variable not in names:
                    hint = nearest(variable, names) or f"it has {', '.join(sorted(names)[:12]) or 'none'}"
                    raise Misspelt(f"{place}: {cls.model.title} has no such variable", hint)
                _check_field(cls, place, tied, TAKES if table == "writes" else TELLS)

    def open(self, unit_s: float, replication: int) -> None:
        model, ties = self.model, self.ties
        self._unit_s, self._hash, self._direct = unit_s, self.fingerprint(), model.direct
        self._reads = [self._place(tied, TELLS) for tied in ties.reads.values()]
        self._writes = [(variable, *self._place(tied, TAKES)) for variable, tied in ties.writes.items()]
        steady = [i for i, tied in enumerate(ties.reads.values()) if not _moves(tied)] if model.exact else []
        self._steady = [(i, *self._reads[i]) for i in steady]
        wanted = Wanted(tuple(ties.reads), tuple(ties.writes), tuple(ties.begins))
        self._stepper = self._told(lambda: model.open(wanted, replication))

    def save(self) -> Saved:
        if self._held is None:
            raise Refused(f"{self.handle.placed.name} has not begun", "run the plant first, if only to time 0")
        return Saved(self._hash, self._held, self._told(self._stepper.save))

    def restore(self, saved: object | None) -> None:
        if not isinstance(saved, Saved):
            self._begin()
            return
        if saved.model != self._hash:
            name = self.handle.placed.name
            raise Refused(f"the state of {name} is of another {self.model.title}", "fork it with the model it ran with")
        self._told(lambda: self._stepper.restore(saved.state))
        self._held = saved.held

    def close(self) -> None:
        self._stepper.close()

    # --- numbers -------------------------------------------------------------------------------------------------------

    @property
    def _now_s(self) -> float:
        return self.now * self._unit_s

    def _begin(self) -> None:
        begins = [self._place(tied, TELLS) for tied in self.ties.begins.values()]
        starts = [float(getattr(owner, name)) for owner, name in begins]
        self._told(lambda: self._stepper.begin(self._now_s, starts))
        self._held = None
        self._take_inputs()
        self._write(self._told(self._stepper.outputs))
        self.tick.start()  # also when it runs: steps begin with the model

    def _go_on(self) -> None:
        """Up to now with the inputs that held, then on with those of now."""
        self._told(lambda: self._stepper.advance(self._now_s))
        if self._direct:
            self._take_inputs()
        self._write(self._told(self._stepper.outputs))
        self._take_inputs()

    def _take_inputs(self) -> None:
        inputs = tuple([float(getattr(owner, name)) for owner, name in self._reads])
        if inputs != self._held:
            self._held = inputs
            self._told(lambda: self._stepper.hold(inputs))

    def _place(self, tied: Field, names: Mapping[type, str]) -> tuple[object, str]:
        """Where a field's number is got or set."""
        return (self, tied.name) if isinstance(tied, Number) else (getattr(self, tied.name), names[_to(tied)])

    def _write(self, outputs: Sequence[float]) -> None:
        """Show what came out; what did not change wakes nobody."""
        for (variable, owner, name), number in zip(self._writes, outputs, strict=True):
            if not math.isfinite(number):
                raise self._fault(f"gave {variable} = {number}", "look at its inputs and its step")
            if getattr(owner, name) != number:
                setattr(owner, name, number)

    def _told(self, ask: Callable[[], Answer]) -> Answer:
        """What the model answers; when it fails, a fault that names the component."""
        try:
            return ask()
        except FOREIGN as wrong:
            said = wrong.message if isinstance(wrong, StepFailed) else f"{type(wrong).__name__}: {wrong}"
            hint = wrong.hint if isinstance(wrong, StepFailed) else "the message is the model's own"
            raise self._fault(f"failed: {said}", hint) from wrong

    def _fault(self, said: str, hint: str) -> Fault:
        placed = self.handle.placed
        return Fault(f"{placed.name} ({placed.type.name}, {self.model.title}) {said}, at {self.now:g}", hint)


def _to(tied: Field) -> type:
    assert isinstance(tied, Port)
    return tied.to


def _moves(tied: Field) -> bool:
    return isinstance(tied, Port) and tied.to is Level


def _check_field(cls: type[Stepped], place: str, tied: object, allowed: Mapping[type, str]) -> None:
    own = component_type(cls).fields
    if not isinstance(tied, Number | Port) or type(own.get(tied.name)) is not type(tied):
        raise Misspelt(f"{place} is {tied!r}", "name a Port, Param or Var that this class declares")
    if isinstance(tied, Port) and (tied.to not in allowed or tied.optional):
        kinds = ", ".join(f"Port({kind.__name__})" for kind in allowed)
        raise Misspelt(f"{place} is a Port({tied.to.__name__})", f"one of {kinds}, not optional")
