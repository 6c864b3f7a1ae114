"""A plant's model of kind "layout", as values: which points tell what of a layout, set what, and what nobody measures.

Must not read tables nor run anything: sim.layout_rows makes it, sim.live starts from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from sim.kernel.interpreter import Act
from sim.kernel.names import Names
from sim.layout import Layout
from sim.spec import Distribution
from twin.errors import BadRequest

SOURCE_TIME = "source time"  # the age of a state is the time since its reading's own time
STATIONARY = "stationary"  # an age as one finds it when one comes at any time
ELSE = "*"  # in a map: every other value

Likelihood: TypeAlias = Distribution | Mapping[str, float] | str
"""A distribution of a number; probabilities of a state's values; or STATIONARY, of a timer's age."""


@dataclass(frozen=True, slots=True)
class Tie:
    """A point tells one thing of the layout.

    Attributes:
        target: `filler.work`, `table.level`, `filler.fail`.
        kind: `state`, `field` (a number, a level, a capacity or a signal), `queue` (how many are in it), `timer` (its age)
            or `figure` (shown only, not needed to start).
        factor: of a number: layout = point * factor.
        map: of a state: what the point says -> its value.
        sd: standard deviation of the measurement, in the layout's unit.
        age: of a state: the point that tells for how long it is so, or SOURCE_TIME; "" when nothing does.
        age_factor: layout's time = that point * age_factor.
        shown: of a figure that is a state: its number -> what the point shows; empty otherwise.
    """

    point: str
    target: str
    kind: str
    factor: float = 1.0
    map: Mapping[float | str, str] | None = None
    sd: float = 0.0
    age: str = ""
    age_factor: float = 1.0
    shown: tuple[float, ...] = ()

    def state(self, said: float | str) -> str | None:
        """The state that a reading means; None when the map does not say."""
        assert self.map is not None
        return self.map.get(said, self.map.get(ELSE))


@dataclass(frozen=True, slots=True)
class Setting:
    """A point that a scenario may set.

    Attributes:
        target: what it sets, with the value * factor; "" with a map.
        map: value of the point -> (target, value).
        words: what values of the map are called.
    """

    point: str
    target: str
    factor: float = 1.0
    map: Mapping[float, tuple[str, float | str]] | None = None
    words: Mapping[float, str] = field(default_factory=dict)

    def acts(self, names: Names, at: float, value: float) -> list[Act]:
        """The interventions of the layout; time in its unit.

        Raises:
            BadRequest: the map does not say what this value does.
        """
        if self.map is None:
            return [names.act(at, self.target, value * self.factor)]
        if value not in self.map:
            does = " or ".join(f"{self.point}={self.words.get(v, f'{v:g}')}" for v in self.map)
            said = self.words.get(value, f"{value:g}")
            raise BadRequest(f"{self.point}={said} does nothing in the model", f"write {does}")
        target, what = self.map[value]
        return [names.act(at, target, what)]


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """What nobody measures is drawn in each replication.

    Attributes:
        kind: `state`, `field`, `queue` (its numbers, in rising order) or `timer` (its age).
        last: of a queue: only so many at its end are drawn, those before them are 0; None: all are drawn.
    """

    target: str
    kind: str
    like: Likelihood
    last: int | None = None


@dataclass(frozen=True, slots=True)
class LayoutModel:
    """A plant's layout and how its points tell of it, free of mistakes. It travels to other processes as its sources.

    Attributes:
        file: the layout file; `parameters` are given to its function.
        hash: SHA-256 over the [model] table and the file.
        outputs: points that every what-if follows; each is one of `reads`.
        reads: by point, what can be followed: a figure and its factor; `ties` has all rows.
        shows: what the file says its instruments show, for simulated devices; None when it says nothing.
    """

    file: Path
    parameters: Mapping[str, float]
    layout: Layout
    hash: str
    clock: str
    stale_after_s: float
    outputs: tuple[str, ...]
    ties: tuple[Tie, ...]
    reads: Mapping[str, Tie]
    sets: Mapping[str, Setting]
    unmeasured: tuple[Unmeasured, ...]
    shows: Callable[[Any], Mapping[str, float]] | None

    def __reduce__(self) -> tuple[Any, ...]:
        # The layout's classes live in a module that only this process has loaded.
        rest = (self.hash, self.clock, self.stale_after_s, self.outputs, self.ties, dict(self.reads), dict(self.sets))
        return _again, (self.file, dict(self.parameters), *rest, self.unmeasured)


def _again(file: Path, parameters: Mapping[str, float], *rest: Any) -> LayoutModel:
    from sim.layout_file import SHOWS, load

    found = load(file.parent, file.name)
    values = (file, parameters, found.layout(parameters), *rest, getattr(found.module, SHOWS, None))
    return LayoutModel(*values)
