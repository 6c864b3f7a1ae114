"""What the words and numbers of a layout model's table mean: values of points, distributions, limits; must not know rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sim.spec import Distribution, Misspelt
from twin.points import Point
from twin.schema import Enum

DISTRIBUTIONS: Mapping[str, type[Distribution]] = {
    kind.__name__.lower(): kind for kind in Distribution.__subclasses__()
}


def filled(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    if not name:
        return dict(row)
    fill: Callable[[Any], Any] = lambda value: value.replace("*", name) if isinstance(value, str) else value  # noqa: E731
    return {
        key: {k: fill(v) for k, v in value.items()} if isinstance(value, dict) else fill(value)
        for key, value in row.items()
    }


def meaning(point: Point, text: str) -> float | str | None:
    """What the twin holds when the point says this; None when it never does."""
    if isinstance(point.schema, Enum):
        index = point.schema.index_of(float(text) if is_number(text) else text)
        return None if index is None else float(point.schema.code(index))
    if point.type == "string":
        return text
    if point.type == "boolean":
        return {"true": 1.0, "false": 0.0}.get(text)
    return float(text) if is_number(text) else None


def value_words(point: Point) -> dict[float, str]:
    """What the values of an enum or a boolean are called, in scenarios; empty for others."""
    if isinstance(point.schema, Enum):
        return {float(point.schema.code(i)): v.name for i, v in enumerate(point.schema.values)}
    return {0.0: "off", 1.0: "on"} if point.type == "boolean" else {}


def values_hint(point: Point) -> str:
    if isinstance(point.schema, Enum):
        return f"one of {', '.join(v.name for v in point.schema.values)}"
    return "true or false" if point.type == "boolean" else "a number"


def is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return abs(float(value)) < float("inf")  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def some(known: Iterable[str]) -> str:
    shown = list(known)[:8]
    return f"one of {', '.join(shown)}" if shown else "it has none"


def probabilities(like: object) -> dict[str, float] | None:
    if not isinstance(like, dict) or not all(is_number(p) and float(p) >= 0 for p in like.values()):
        return None
    likely = {str(name): float(p) for name, p in like.items()}
    return likely if abs(sum(likely.values()) - 1.0) < 1e-6 else None


def distribution(like: object) -> Distribution | None:
    """`{ uniform = [0, 5] }` as a distribution; None when it is none."""
    if not isinstance(like, dict) or len(like) != 1:
        return None
    ((name, numbers),) = like.items()
    kind = DISTRIBUTIONS.get(str(name).replace("_", ""))
    numbers = numbers if isinstance(numbers, list) else [numbers]
    if kind is None or not all(is_number(x) for x in numbers):
        return None
    try:
        return kind(*map(float, numbers))
    except Misspelt:
        return None


def limited(
    table: Mapping[str, Any], key: str, place: str, low: float, high: float, mistakes: list[str],
    otherwise: float | None = None,
) -> float:  # fmt: skip
    value = table.get(key, otherwise)
    if is_number(value) and not isinstance(value, str) and low <= float(value) <= high:
        return float(value)
    mistakes.append(f"{place}.{key} is {value!r}; write a number from {low:g} to {high:g}")
    return low


def parameters_of(table: object, mistakes: list[str]) -> dict[str, float]:
    if isinstance(table, dict) and all(is_number(v) and not isinstance(v, str) for v in table.values()):
        return dict(table)
    mistakes.append(f"model.parameters is {table!r}; write numbers: [model.parameters] crew = 1")
    return {}
