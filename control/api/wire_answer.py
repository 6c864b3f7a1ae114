"""What a what-if answers, as wire types made from the simulation's own dataclasses: there is no second copy to keep.

Must not know how an answer is computed. What is not finite comes as null.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from sim.optimise import Optimum
from sim.provenance import Provenance
from sim.result import Goal, Plan, Result
from sim.selection import Option
from sim.sensitivity import Tornado

NULLABLE = ("half_width",)  # endless where a single pair allows no interval


@cache
def wire_of(kind: type) -> type[msgspec.Struct]:
    """The message of a dataclass, as `dataclasses.asdict` writes it."""
    return _message(f"Answer{kind.__name__}", get_type_hints(kind))


def _message(name: str, hints: Mapping[str, Any]) -> type[msgspec.Struct]:
    return msgspec.defstruct(name, [(key, _typed(key, hint)) for key, hint in hints.items()], frozen=True)


def _typed(key: str, hint: Any) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is tuple:
        return list[_typed("", inner[0])]  # type: ignore[misc]
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return dict[str, _typed("", inner[1])]  # type: ignore[misc]
    if origin in (Union, types.UnionType):
        return Union[tuple(_typed(key, each) for each in inner)]  # noqa: UP007
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return wire_of(hint)
    return float | None if hint is float and key in NULLABLE else hint


_MADE = get_type_hints(Provenance)
_PLAN: Mapping[str, Any] = {"plan": Plan | None}
_COMPARED = {**get_type_hints(Result), **_PLAN, "quantiles": tuple[float, ...], "digest": str}
Comparison = _message("AnswerComparison", _COMPARED)
Ranking = _message(
    "AnswerRanking",
    {
        **_MADE, "goal": Goal, "method": str, "best": str, "p_correct": float, "resolved": bool, "reason": str,
        "replications": int, "options": tuple[Option, ...], "plan": Plan,
    },
)  # fmt: skip
Sensitivity = _message("AnswerTornado", {**_MADE, **{k: t for k, t in get_type_hints(Tornado).items() if k != "made"}})
Search = _message("AnswerSearch", {**get_type_hints(Optimum), "result": Comparison, **_PLAN})
ANSWERS = (Comparison, Ranking, Sensitivity, Search)


def answer_types() -> list[type[msgspec.Struct]]:
    """All of them, parts before what they are part of."""
    found: dict[str, type[msgspec.Struct]] = {}

    def walk(hint: Any) -> None:
        for inner in get_args(hint):
            walk(inner)
        if isinstance(hint, type) and get_origin(hint) is None and issubclass(hint, msgspec.Struct):
            for field in msgspec.structs.fields(hint):
                walk(field.type)
            found.setdefault(hint.__name__, hint)

    for kind in ANSWERS:
        walk(kind)
    return list(found.values())
