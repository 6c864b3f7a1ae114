"""A user's Python generator as a part of a layout: it is sent time and inputs, and yields outputs.

def kiln(starts):
    heat = starts["heat"]
    while True:
        seconds, inputs = yield {"heat": heat}   # what it gives now; it is sent the seconds that pass, and the inputs
        heat += (inputs["fuel"] - 0.01 * heat) * seconds

It is forked by repeating what it was sent, so it must do the same twice: no clock, no file, no chance of its own.
"""

from __future__ import annotations

import hashlib
import inspect
from collections import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sim.opaque.replay import Replayed
from sim.opaque.stepper import StepFailed, Stepper, Variables, Wanted
from sim.spec import Misspelt

Inputs = Mapping[str, float]
Life = abc.Generator[Mapping[str, float], tuple[float, Inputs], None]


@dataclass(frozen=True, slots=True)
class Generator:
    """A generator function of a module.

    Attributes:
        life: called with the first values by name; its generator yields outputs by name and is sent (seconds, inputs).
        reads, writes, begins: the names it knows.
    """

    life: Callable[[Mapping[str, float]], Life]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    begins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not inspect.isgeneratorfunction(self.life):
            raise Misspelt(f"Generator({self.life!r})", "give a function that yields: a generator function")

    @property
    def title(self) -> str:
        return f"the generator {self.life.__name__}"

    @property
    def exact(self) -> bool:
        return True

    @property
    def direct(self) -> bool:
        return False

    def hash(self) -> str:
        try:
            text = inspect.getsource(self.life)
        except (OSError, TypeError):
            text = self.life.__code__.co_code.hex()
        return hashlib.sha256(f"{self.life.__module__}:{text}".encode()).hexdigest()

    def variables(self) -> Variables:
        return Variables(frozenset(self.reads), frozenset(self.writes), frozenset(self.begins))

    def open(self, wanted: Wanted, replication: int) -> Stepper:
        return Replayed(self.title, Alive(self.life, wanted))


class Alive:
    """One generator that runs."""

    def __init__(self, life: Callable[[Mapping[str, float]], Life], wanted: Wanted) -> None:
        self._make, self._wanted = life, wanted
        self._life: Life | None = None
        self._outputs: Mapping[str, float] = {}
        self._inputs: Inputs = {}
        self._at_s = 0.0

    def begin(self, at_s: float, starts: Sequence[float]) -> None:
        self.close()
        self._life, self._at_s = self._make(dict(zip(self._wanted.begins, starts, strict=True))), at_s
        self._outputs = next(self._life)

    def hold(self, inputs: Sequence[float]) -> None:
        self._inputs = dict(zip(self._wanted.reads, inputs, strict=True))

    def advance(self, to_s: float) -> None:
        assert self._life is not None
        if to_s > self._at_s:
            try:
                self._outputs = self._life.send((to_s - self._at_s, self._inputs))
            except StopIteration as ended:
                raise StepFailed("it returned", "let it go on for ever, and yield") from ended
            self._at_s = to_s

    def outputs(self) -> Sequence[float]:
        missing = [name for name in self._wanted.writes if name not in self._outputs]
        if missing:
            raise StepFailed(f"it yielded no {missing[0]!r}", f"yield {{{missing[0]!r}: …}}")
        return [float(self._outputs[name]) for name in self._wanted.writes]

    def close(self) -> None:
        if self._life is not None:
            self._life.close()
            self._life = None
