"""All that the functions of a component class reach outside it: numbers, functions, classes; must not know layouts.

A class's own text does not say what a number of its module is, nor what a function does that it calls.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from sim.kernel.syntax import class_text
from sim.spec import Component, ComponentType, Field

REACHED_MAX = 10_000  # things of one class; what is beyond is not looked at
PLAIN = (int, float, complex, str, bytes, type(None))
SHIPPED = "sim.components."  # their numbers are constants
ELSEWHERE = tuple(
    {str(Path(p).resolve()) for p in (sys.prefix, sys.base_prefix)}
)  # Python's own, and what is installed


@dataclass(slots=True)
class _Walk:
    """One walk from a class on.

    Attributes:
        texts: what was reached, in words.
        numbers: plain values by their owner (a module's or a class's `module:name`) and name.
    """

    texts: list[str] = field(default_factory=list)
    numbers: dict[tuple[str, str], Any] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)

    def cls(self, cls: type) -> None:
        for name, value in vars(cls).items():
            if isinstance(value, PLAIN) and not name.startswith("__"):
                self.plain(f"{cls.__module__}:{cls.__qualname__}", name, value)
            for function in _functions(value):
                self.function(function)

    def function(self, function: FunctionType) -> None:
        if self._known(function):
            return
        names = _names(function.__code__)
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        for name in sorted(names | set(cells)):
            if name in cells:
                try:
                    self.value("", name, cells[name].cell_contents, names)
                except ValueError:  # it has no value yet
                    continue
            elif name in function.__globals__:
                self.value(function.__module__, name, function.__globals__[name], names)

    def value(self, owner: str, name: str, value: Any, names: frozenset[str]) -> None:
        """Something that is called `name` there; `names` are the attributes that may be asked of it."""
        if isinstance(value, PLAIN):
            self.plain(owner, name, value)
        elif isinstance(value, list | tuple | set | frozenset | dict):
            self.texts.append(f"{owner}.{name}={_shown(value)}")
        elif isinstance(value, np.ndarray):
            digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
            self.texts.append(f"{owner}.{name}={value.dtype}{value.shape}{digest}")
        elif isinstance(value, FunctionType | type):
            self.own(value)
        elif isinstance(value, ModuleType):
            if _is_users(getattr(value, "__file__", None)) and not self._known(value):
                for each in sorted(names & vars(value).keys()):
                    self.value(value.__name__, each, vars(value)[each], names)
        else:
            self.texts.append(f"{owner}.{name} is {type(value).__module__}.{type(value).__qualname__}")

    def plain(self, owner: str, name: str, value: Any) -> None:
        self.texts.append(f"{owner}.{name}={value!r}")
        if owner:
            self.numbers[owner, name] = value

    def own(self, value: FunctionType | type) -> None:
        """A function or a class of the user's: its text, and what it reaches."""
        self.texts.append(f"{value.__module__}.{value.__qualname__}")
        file = getattr(sys.modules.get(value.__module__), "__file__", None)
        if not _is_users(file) or (isinstance(value, type) and issubclass(value, Component | Field)):
            return
        if isinstance(value, FunctionType):
            self.texts.append(_text(value))
            self.function(value)
        elif not self._known(value):
            self.texts.append(class_text(value))
            self.cls(value)

    def _known(self, thing: object) -> bool:
        if id(thing) in self._seen or len(self._seen) >= REACHED_MAX:
            return True
        self._seen.add(id(thing))
        return False


def reached(kind: ComponentType) -> str:
    """What a type's functions reach outside the class: values and texts."""
    return "\n".join(_walk(kind).texts)


def numbers(kind: ComponentType) -> Mapping[tuple[str, str], Any]:
    """Plain values that a type's functions reach, by (module, or module:class, and name)."""
    return {} if kind.cls.__module__.startswith(SHIPPED) else _walk(kind).numbers


def put_back(values: Mapping[tuple[str, str], Any]) -> None:
    """Let modules and classes of this process have these values: they may have been changed where a type came from."""
    for (owner, name), value in values.items():
        module, _, qualname = owner.partition(":")
        thing: Any = sys.modules.get(module)
        for part in filter(None, qualname.split(".")):
            thing = getattr(thing, part, None)
        if thing is not None and vars(thing).get(name, thing) != value:
            setattr(thing, name, value)


def _walk(kind: ComponentType) -> _Walk:
    walk = _Walk()
    for base in kind.cls.__mro__:
        if issubclass(base, Component) and base is not Component:
            walk.cls(base)
    return walk


def _functions(member: Any) -> Iterator[FunctionType]:
    """Of a member of a class: itself, its guard, what a property or a class method wraps."""
    guard = getattr(getattr(member, "__trigger__", None), "guard", None)
    inner = [getattr(member, word, None) for word in ("__func__", "fget", "fset", "func")]
    for each in (member, guard, *inner):
        if isinstance(each, FunctionType):
            yield each


def _shown(value: Any, depth: int = 8) -> str:
    """A value in words that are the same in every process; what is no plain value by its type."""
    if isinstance(value, PLAIN):
        return repr(value)
    if depth and isinstance(value, list | tuple):
        return f"[{', '.join(_shown(x, depth - 1) for x in value)}]"
    if depth and isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(_shown(x, depth - 1) for x in value))}}}"
    if depth and isinstance(value, dict):
        return f"{{{', '.join(f'{_shown(k, depth - 1)}: {_shown(v, depth - 1)}' for k, v in value.items())}}}"
    return f"{type(value).__module__}.{type(value).__qualname__}"


@lru_cache(maxsize=4096)
def _names(code: CodeType) -> frozenset[str]:
    inner = (c for c in code.co_consts if isinstance(c, CodeType))
    return frozenset(code.co_names).union(*map(_names, inner))


@lru_cache(maxsize=4096)
def _text(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = function.__code__
        return f"{code.co_code.hex()}{code.co_consts!r}"


@lru_cache(maxsize=4096)
def _is_users(file: str | None) -> bool:
    """Whether a module is neither Python's nor installed."""
    return file is not None and not str(Path(file).resolve()).startswith(ELSEWHERE)
