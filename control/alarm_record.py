"""An alarm and how it stands, as API, events and rules show it; must not know who asks. Times are ms since 1970."""

from __future__ import annotations

from typing import Any

from twin.alarm import Condition, Definition, Kind
from twin.alarms import Shelf, State


def word(state: State) -> str:
    """One word for it: ISA-18.2's states, and Part 9's latch."""
    if state.out_of_service:
        return "out_of_service"
    if state.suppressed:
        return "suppressed"
    if state.designed:
        return "designed_out"
    if state.shelf is not Shelf.UNSHELVED:
        return "shelved"
    if state.active:
        return "acknowledged" if state.acked else "unacknowledged"
    if not state.acked:
        return "returned"
    if state.latched:
        return "latched"
    return "normal" if state.confirmed else "unconfirmed"


def as_record(definition: Definition, state: State, unit: str) -> dict[str, Any]:
    """wire_alarm.AlarmRecord. `unit`: of the point."""
    return {
        "id": definition.id, "row": definition.row, "point": definition.point, "twin": definition.twin,
        "priority": definition.priority.value, "condition": condition_words(definition.condition),
        "message": definition.message, "group": definition.group, "unit": unit,
        "state": word(state), "active": state.active, "acked": state.acked, "confirmed": state.confirmed,
        "latched": state.latched, "unsure": state.unsure, "shelf": state.shelf.value, "until": _ms(state.until),
        "suppressed": state.suppressed, "designed": state.designed, "out_of_service": state.out_of_service,
        "told": state.told, "first_out": state.first_out, "occurrence": state.occurrence,
        "active_at": _ms(state.active_at), "cleared_at": _ms(state.cleared_at), "acked_at": _ms(state.acked_at),
        "acked_by": state.acked_by, "value": state.value, "comment": state.comment,
    }  # fmt: skip


def condition_words(condition: Condition) -> str:
    """`hi 9`, `deviation 5 from pump.setpoint`, `is not 4`, `stale 30 s`."""
    match condition.kind:
        case Kind.LIMIT | Kind.RATE:
            return f"{condition.word} {condition.limit:g}"
        case Kind.DEVIATION:
            return f"deviation {condition.limit:g} from {condition.other or f'{condition.reference:g}'}"
        case Kind.STATE:
            return f"{condition.word.replace('_', ' ')} {', '.join(f'{c:g}' for c in condition.codes)}"
        case Kind.STALE:
            return f"stale {condition.limit:g} s"
        case Kind.QUALITY:
            return "quality bad" if condition.limit >= 2 else "quality not good"
        case Kind.GIVEN:
            if condition.ahead:
                return f"predicted {condition.ahead}"
            if condition.expression is not None:
                return condition.expression.text
            return f"{condition.word.replace('_', ' ')} {', '.join(condition.texts)}"


def _ms(time: int | None) -> float | None:
    return None if time is None else time / 1e6
