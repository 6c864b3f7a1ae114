"""Interlocks bound to the point they guard, and their judgement of a command; pure, must not know the plant file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twin.columns import Columns
from twin.expression import Expression
from twin.interlock import ALLOWED, Interlock, Judgement, Ruling, Sight


@dataclass(frozen=True, slots=True)
class Guard:
    """An interlock with its expressions looked up for one commanded point. `when` None: always."""

    interlock: Interlock
    require: Expression
    when: Expression | None


def judged(guards: Sequence[Guard], value: float, columns: Columns, now: int, emergency: bool) -> Judgement:
    """What all of them say together; every refusal is said."""
    if not guards:
        return ALLOWED
    refusals: list[str] = []
    seen: dict[str, Sight] = {}
    for guard in guards:
        row = guard.interlock
        if emergency and not row.emergency:
            continue
        if guard.when is not None:
            applies = guard.when.holds(columns, now, value, row.max_age_s)
            seen.update((s.point, s) for s in applies.seen)
            if applies.truth is None:
                refusals.append(_refusal(row, f"whether it applies, {applies.detail}"))
            if not applies.truth:
                continue
        answer = guard.require.holds(columns, now, value, row.max_age_s)
        seen.update((s.point, s) for s in answer.seen)
        if not answer.truth:
            refusals.append(_refusal(row, answer.detail))
    said = "; ".join(refusals)
    return Judgement(not refusals, said, tuple(seen.values()), (Ruling("interlocks", not refusals, said),))


def _refusal(row: Interlock, why: str) -> str:
    return f"interlock {row.id}: {why}" + (f" ({row.message})" if row.message else "")
