"""What a foreign model must offer to be a part of a layout: the row that names it, and the stepper that runs it.

Times are seconds of the layout's clock. Inputs hold from the moment they are given until others are. A model draws
nothing by chance: chance comes in as an input, from a component with a named stream, so that options can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twin.errors import Refused


class StepFailed(Refused):
    """The foreign model did not do what it was asked for; what it said."""


@dataclass(frozen=True, slots=True)
class Variables:
    """Names that a model knows: what it reads, what it writes, and what can be set where it begins."""

    reads: frozenset[str]
    writes: frozenset[str]
    begins: frozenset[str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The variables in use, in the order in which their numbers travel."""

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    begins: tuple[str, ...]


class Running(Protocol):
    """One running instance of a model, used by one replication."""

    def begin(self, at_s: float, starts: Sequence[float]) -> None:
        """The first state, at that time; `starts` as `Wanted.begins`."""

    def hold(self, inputs: Sequence[float]) -> None:
        """Inputs from now on; as `Wanted.reads`."""

    def advance(self, to_s: float) -> None:
        """Let time pass; to a moment not before the last one, and to that one too."""

    def outputs(self) -> Sequence[float]:
        """What it gives now; as `Wanted.writes`."""

    def close(self) -> None:
        """Free it; nothing else is asked of it afterwards."""


class Stepper(Running, Protocol):
    """An instance that can be forked, or says why not. `sim.opaque.replay.Replayed` makes one of any other."""

    def save(self) -> bytes:
        """All of the state, inputs and time included.

        Raises:
            Refused: this model cannot.
        """

    def restore(self, saved: bytes) -> None:
        """Exactly that state."""


class Model(Protocol):
    """A row: which model. A frozen value; it travels to worker processes."""

    @property
    def title(self) -> str:
        """What it is, for messages: `the FMU boiler.fmu`."""

    @property
    def exact(self) -> bool:
        """Whether it can be stepped to any moment: then an input that changes counts from that moment on."""

    @property
    def direct(self) -> bool:
        """Whether outputs follow inputs without time passing: then they are read again when inputs change."""

    def hash(self) -> str:
        """Of all that makes the model: the same hash, the same futures."""

    def variables(self) -> Variables:
        """Its names.

        Raises:
            TwinloopError: the model cannot be read.
        """

    def open(self, wanted: Wanted, replication: int) -> Stepper:
        """A new instance.

        Raises:
            TwinloopError: it cannot be opened here; the message says what is missing.
        """
