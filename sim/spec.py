"""The words in which components are written: fields, ports, timers, chance, handlers; must not know how they are run.

A component class declares its whole state; its handlers are a small part of Python, so that the same text runs as it is
on SimPy and, translated, in the compiled kernel. docs/components.md is the guide.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeGuard, TypeVar, overload

from sim.kernel.chance import CONSTANT, EXPONENTIAL, LOG_LOGISTIC, LOG_NORMAL, TRIANGULAR, UNIFORM, WEIBULL
from sim.travel import packed
from twin.errors import BadRequest

if TYPE_CHECKING:
    from sim.kernel.handles import Handle

ITEMS_MAX = 100_000  # numbers in one queue: each replication holds them all
UNITS_MAX = 1_000_000_000  # of a resource: counted in whole numbers, of which sums must stay exact
DRAW_NUMBERS = 3  # parameters kept for each distribution; the kinds need 1 to 3 of them
STATES_MAX = 62  # values of one State: a gate is one bit each
STATE_WORDS = ("name", "index", "values")  # what a State has of its own


class Misspelt(BadRequest):
    """A component, a layout or a question about it is not what it should be; the message names place and fix."""


def finite(value: object) -> TypeGuard[float]:
    """Whether it is a number, of Python or numpy, and finite."""
    return isinstance(value, Real) and math.isfinite(value)


# --- fields ----------------------------------------------------------------------------------------------------------


class Field:
    """A declared part of a component. `index` counts the fields of one sort of one type."""

    name: str = ""
    index: int = -1

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name


@dataclass(frozen=True, slots=True)
class Condition:
    """One or more values of a State: `health.up`."""

    state: State
    values: tuple[str, ...]


class NoState(Misspelt, AttributeError):
    """A State has no such value."""


class State(Field):
    """Exclusive states; the first is the one at the start. `health.up` in a class body is a condition."""

    def __init__(self, *values: str) -> None:
        if len(set(values)) != len(values) or not 1 <= len(values) <= STATES_MAX:
            raise Misspelt(f"State{values!r}", f"name 1 to {STATES_MAX} different states")
        for value in values:
            if not isinstance(value, str) or not value.isidentifier() or value in STATE_WORDS:
                raise Misspelt(f"State{values!r}: {value!r}", f"letters, digits and _; not {', '.join(STATE_WORDS)}")
        self.values = values

    def __getattr__(self, name: str) -> Condition:
        values = self.__dict__.get("values", ())
        if name.startswith("_") or not values:
            raise AttributeError(name)
        if name not in values:
            raise NoState(f"State{values!r} has no state {name!r}", f"one of {values}")
        return Condition(self, (name,))

    @overload
    def __get__(self, component: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, component: Component, owner: type | None = None) -> str: ...
    def __get__(self, component: Component | None, owner: type | None = None) -> Self | str:
        return self if component is None else component.handle.state(self)

    def __set__(self, component: Component, value: str) -> None:
        component.handle.enter(self, value)


class Number(Field):
    """A number of a component."""

    def __init__(self, value: float = 0.0) -> None:
        if not finite(value):
            raise Misspelt(f"{type(self).__name__}({value!r})", "give a finite number")
        self.value = float(value)

    @overload
    def __get__(self, component: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, component: Component, owner: type | None = None) -> float: ...
    def __get__(self, component: Component | None, owner: type | None = None) -> Self | float:
        return self if component is None else component.handle.number(self)

    def __set__(self, component: Component, value: float) -> None:
        component.handle.assign(self, value)


class Param(Number):
    """A constant that a scenario may change, from `low` to `high`: a share is `Param(0.02, low=0, high=1)`."""

    def __init__(self, value: float = 0.0, *, low: float = -math.inf, high: float = math.inf) -> None:
        super().__init__(value)
        self.low, self.high = float(low), float(high)
        if not self.low <= self.value <= self.high:
            raise Misspelt(f"Param({value!r}, low={low!r}, high={high!r})", "low <= value <= high must hold")


class Var(Number):
    """A number that the component itself changes."""


Law = tuple[int, float, float, float]
"""Kind and parameters of a distribution."""


class Distribution(Field):
    """A distribution of a component; it owns a random stream, named after the component and itself.

    Attributes:
        kind: as `sim.kernel.chance.inverse` takes it.
        keys: names of its parameters.
    """

    kind: ClassVar[int]
    keys: ClassVar[tuple[str, ...]]

    def __init__(self, *numbers: float) -> None:
        if not all(isinstance(x, Real) for x in numbers):
            raise Misspelt(f"{type(self).__name__}{numbers!r}", f"give numbers: {', '.join(self.keys)}")
        self.numbers = tuple(float(x) for x in numbers)
        if len(self.numbers) != len(self.keys) or self.problem(self.numbers):
            asked = f"{type(self).__name__}({', '.join(f'{x:g}' for x in self.numbers)})"
            hint = self.problem(self.numbers) if len(self.numbers) == len(self.keys) else f"give {', '.join(self.keys)}"
            raise Misspelt(asked, hint)

    @classmethod
    def problem(cls, numbers: tuple[float, ...]) -> str:
        """What is wrong with the parameters, "" for nothing: a drawn time is never negative, and finite."""
        named = dict(zip(cls.keys, numbers, strict=False))
        for key, number in named.items():
            if not math.isfinite(number):
                return f"{key} must be finite"
            if number < 0 or (number == 0 and key in POSITIVE):
                return f"{key} must be {'positive' if key in POSITIVE else '0 or more'}"
        rising = [named[key] for key in ("low", "mode", "high") if key in named]
        return "" if rising == sorted(rising) else f"{' <= '.join(k for k in cls.keys)} must hold"

    @property
    def law(self) -> Law:
        """As the functions of `sim.kernel.chance` take it."""
        a, b, c = (*self.numbers, *[0.0] * (DRAW_NUMBERS - len(self.numbers)))
        return self.kind, a, b, c

    if TYPE_CHECKING:

        def draw(self) -> float:
            """A draw."""


POSITIVE = frozenset({"mean", "scale", "shape", "median"})


class Exponential(Distribution):
    """Exponential with a mean: times between failures of no age."""

    kind, keys = EXPONENTIAL, ("mean",)


class Constant(Distribution):
    """Always the same."""

    kind, keys = CONSTANT, ("value",)


class Uniform(Distribution):
    """Anything from `low` to `high`, equally likely."""

    kind, keys = UNIFORM, ("low", "high")


class Weibull(Distribution):
    """Weibull with scale and shape: wear (shape > 1) or infant mortality (shape < 1)."""

    kind, keys = WEIBULL, ("scale", "shape")


class LogLogistic(Distribution):
    """Log-logistic with scale (its median) and shape: repairs, of which a few last very long."""

    kind, keys = LOG_LOGISTIC, ("scale", "shape")


class LogNormal(Distribution):
    """Log-normal with its median and the standard deviation of its logarithm: work of people."""

    kind, keys = LOG_NORMAL, ("median", "sigma")


class Triangular(Distribution):
    """Triangular from `low` over `mode` to `high`: what somebody estimates."""

    kind, keys = TRIANGULAR, ("low", "mode", "high")


class Timer(Field):
    """Fires once after a draw, or after the time it is started with.

    Args:
        chance: how long it takes.
        while_: it goes on only while this holds, and keeps what remains.
        speed: a number of the component: work is done at so much an unit of time; 0 stops it.
    """

    def __init__(
        self, chance: Distribution | None = None, *, while_: Condition | None = None, speed: Number | None = None
    ) -> None:
        word = type(self).__name__
        if not isinstance(chance, Distribution | None) or (chance is None and isinstance(self, Hazard)):
            raise Misspelt(f"{word}({chance!r})", "give a distribution, such as Constant(5.0)")
        if not isinstance(while_, Condition | None):
            raise Misspelt(f"{word}(while_={while_!r})", "name a value of a State, such as health.up")
        if not isinstance(speed, Number | None):
            raise Misspelt(f"{word}(speed={speed!r})", "name a Param or a Var")
        self.chance, self.gate, self.speed = chance, while_, speed

    if TYPE_CHECKING:
        running: bool

        def start(self, after: float = 0.0) -> None:
            """Start (again), with a draw or with `after`."""

        def stop(self) -> None:
            """Forget it."""


class Hazard(Timer):
    """A timer that starts by itself at the start of a run: the next failure."""


# --- what components share -------------------------------------------------------------------------------------------


class Buffer:
    """Parts, counted: `level`, `space`, `put(n)`, `take(n)`; as a queue of numbers `push(x)`, `pop()`, `first`."""


class Resource:
    """Units that are lent, first come, first served: `request()`, `release()`, `free`, `capacity`; the loan comes by
    `@on(port)`."""


class Level:
    """Something continuous: `level`, `space`, `flow` (this port's contribution), `put(x)`, `take(x)`."""


class Signal:
    """A number that one component sets and others see: `value`."""


SHARED = (Buffer, Resource, Level, Signal)


class Port(Field):
    """A tie to something shared. An optional one may stay free: ask `connected`."""

    def __init__(self, to: type, *, optional: bool = False) -> None:
        if to not in SHARED:
            raise Misspelt(f"Port({to!r})", f"to one of {', '.join(t.__name__ for t in SHARED)}")
        self.to, self.optional = to, optional

    if TYPE_CHECKING:
        # What can be asked of it depends on what it leads to; the loader checks it.
        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...


class Items(Port):
    """A queue of numbers of the component's own, `push(x)`, `pop()`, `first`, `level`, `space`.

    Args:
        size: most of them.
    """

    def __init__(self, size: int) -> None:
        if not isinstance(size, int) or not 1 <= size <= ITEMS_MAX:
            raise Misspelt(f"Items({size!r})", f"a whole number from 1 to {ITEMS_MAX}")
        super().__init__(Buffer)
        self.size = size


class Transfer(Field):
    """Something flows from one level to another: `rate` is what is wanted, `flow` what the source can give."""

    def __init__(self, src: Port, dst: Port) -> None:
        if not (isinstance(src, Port) and isinstance(dst, Port)) or src.to is not Level or dst.to is not Level:
            raise Misspelt("a Transfer between other things than levels", "give two Port(Level)")
        self.src, self.dst = src, dst

    if TYPE_CHECKING:
        rate: float
        flow: float


# --- handlers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trigger:
    """What makes a handler run.

    Attributes:
        kind: `start`, `rule`, `timer`, `grant`, `crossing`, `command` or `process`.
        field: the timer, the resource's port, or the level's port.
        guard: of a rule.
        threshold, direction: of a crossing; +1 up, -1 down.
        anew: of a process: it may begin again where a run goes on from a state.
    """

    kind: str
    field: Field | None = None
    guard: Callable[[Any], bool] | None = None
    threshold: Field | None = None
    direction: int = 0
    anew: bool = False


Function = TypeVar("Function", bound=Callable[..., Any])


def _marked(trigger: Trigger) -> Callable[[Function], Function]:
    def mark(function: Function) -> Function:
        if hasattr(function, "__trigger__"):
            raise Misspelt(f"{function.__qualname__} has two marks", "one handler for each; let them call one function")
        function.__trigger__ = trigger  # type: ignore[attr-defined]
        return function

    return mark


def on(field: Timer | Port) -> Callable[[Function], Function]:
    """When the timer fires, or when a unit of the resource is lent."""
    if not isinstance(field, Timer | Port):
        raise Misspelt(f"@on({field!r})", "a Timer or a Port(Resource); of a State or a number, use @when")
    return _marked(Trigger("timer" if isinstance(field, Timer) else "grant", field))


def when(guard: Callable[[Any], bool]) -> Callable[[Function], Function]:
    """As soon as the guard holds: looked at after every change of this component and of what it watches."""
    if not callable(guard):
        raise Misspelt(f"@when({guard!r})", "give a lambda: @when(lambda m: m.work == …)")
    return _marked(Trigger("rule", guard=guard))


def crosses(port: Port, threshold: Number, direction: str) -> Callable[[Function], Function]:
    """When the level passes the threshold, "up" or "down"."""
    if direction not in ("up", "down"):
        raise Misspelt(f"crosses(…, {direction!r})", '"up" or "down"')
    if not isinstance(port, Port) or not isinstance(threshold, Number):
        raise Misspelt(f"crosses({port!r}, {threshold!r}, …)", "give a Port(Level) and a Param or a Var")
    return _marked(Trigger("crossing", port, threshold=threshold, direction=1 if direction == "up" else -1))


def at_start(function: Function) -> Function:
    """At the start of a run that does not go on from a state."""
    return _marked(Trigger("start"))(function)


def command(function: Function) -> Function:
    """When a scenario asks for it."""
    return _marked(Trigger("command"))(function)


def process(function: Function) -> Function:
    """A SimPy generator, `def life(self, env)`: anything at all, on the SimPy backend only.

    Where it stands cannot be saved: a run of it cannot be forked, nor begin from a state.
    """
    return _marked(Trigger("process"))(function)


def process_anew(function: Function) -> Function:
    """A process that remembers all in the component's fields: where a run goes on with other chance, it begins again."""
    return _marked(Trigger("process", anew=True))(function)


class Component:
    """Inherit from it, declare fields, write handlers."""

    if TYPE_CHECKING:
        handle: Handle

    @property
    def now(self) -> float:
        """Time since the start of the layout's clock."""
        return self.handle.now


class Opaque(Component, ABC):
    """A component with state outside its fields: it runs on SimPy only, which asks it to save and to go on with that.

    `sim.opaque` has those there are; a user's own model becomes a row there, not another class beside this one.

    Attributes:
        begins_with: timers that it starts whenever it begins, from a measured state too.
    """

    begins_with: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    @abstractmethod
    def title(cls) -> str:
        """What it is, for messages."""

    @classmethod
    @abstractmethod
    def fingerprint(cls) -> str:
        """Hash of all outside that makes its futures: files, weights, numbers."""

    @classmethod
    @abstractmethod
    def check(cls, name: str) -> None:
        """Refuse what cannot work, when the component is added as `name`."""

    @classmethod
    @abstractmethod
    def watched(cls) -> frozenset[str]:
        """The ports at whose changes its rules look."""

    @abstractmethod
    def open(self, unit_s: float, replication: int) -> None:
        """Make what is outside, in its first state; told before the run begins."""

    @abstractmethod
    def restore(self, saved: object | None) -> None:
        """Go on from what `save` gave; None: begin at this moment, in a run that goes on from a measured state."""

    @abstractmethod
    def save(self) -> object:
        """All the state outside; plain values, that go to other processes."""

    @abstractmethod
    def close(self) -> None:
        """Free what is outside."""


# --- types -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Handler:
    """One handler of a type; `number` counts them from 1, 0 being "look at the rules"."""

    number: int
    name: str
    trigger: Trigger
    function: Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class ComponentType:
    """A component class, taken apart by `sim.component_type`. Two classes of one name from one file are the same type."""

    cls: type[Component]
    fields: Mapping[str, Field]
    states: tuple[State, ...]
    numbers: tuple[Number, ...]
    chances: tuple[Distribution, ...]
    timers: tuple[Timer, ...]
    ports: tuple[Port, ...]
    transfers: tuple[Transfer, ...]
    handlers: tuple[Handler, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return packed(self)

    @property
    def name(self) -> str:
        return self.cls.__name__

    def of(self, kind: str) -> tuple[Handler, ...]:
        """Handlers with that trigger."""
        return tuple(h for h in self.handlers if h.trigger.kind == kind)

    @property
    def crossings(self) -> tuple[Handler, ...]:
        return self.of("crossing")

    @property
    def rules(self) -> tuple[Handler, ...]:
        return self.of("rule")

    @property
    def float_count(self) -> int:
        return len(self.numbers) + DRAW_NUMBERS * len(self.chances)

    def draw_at(self, chance: Distribution) -> int:
        """Where the parameters of a distribution begin among the component's floats."""
        return len(self.numbers) + DRAW_NUMBERS * chance.index

    def at(self, field: Field) -> int:
        """Index of a field here; one that was declared anew counts for the one it replaces."""
        return self.fields[field.name].index

    def timed(self, field: Field) -> Handler | None:
        """What a timer or a loan runs."""
        for handler in (*self.of("timer"), *self.of("grant")):
            if handler.trigger.field is not None and handler.trigger.field.name == field.name:
                return handler
        return None
