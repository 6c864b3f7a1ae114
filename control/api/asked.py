"""What a caller sent of a command, as the request it means: values by name, units checked, moments read; pure."""

from __future__ import annotations

import math

from control.api.wire_command import CommandRequest
from control.command import Priority
from control.command_value import number_of
from control.request import Request
from twin.errors import BadRequest, WrongUnit
from twin.plant import Plant
from twin.points import Point
from twin.units import UNIT_OF_DTDL, UNITS, Unit, conversion
from twin.when import parse_when_ns

MOMENT_LENGTH_MAX = 80  # characters; ISO 8601 with ns and a zone has 35
MOMENT_MAX_MS = 2**63 / 1e6  # what 64 bits of ns hold


def request_of(asked: CommandRequest, plant: Plant, now: int) -> Request:
    """
    Raises:
        NotFound: no such point. BadRequest: a value or moment that means nothing. WrongUnit: not the point's.
    """
    point = plant.point(asked.point)
    if asked.at_plant_s is not None and not math.isfinite(asked.at_plant_s):
        raise BadRequest(f"at_plant_s: {asked.at_plant_s:g}", "give seconds of the plant's clock")
    if asked.at_plant_s is not None and plant.clock is None:
        raise BadRequest(
            "at_plant_s, and this plant has no clock of its own", "give `at`, or name a clock in plant.toml"
        )
    if asked.unit is not None:
        check_unit(point, asked.unit, asked.value)
    return Request(
        key=asked.key,
        point=asked.point,
        value=number_of(point, asked.value),
        priority=Priority[asked.priority.upper()],
        deadline_s=asked.deadline_s,
        reason=asked.reason,
        latest=moment(asked.latest, now, "latest"),
        select=asked.select,
        revision=asked.revision,
        at=moment(asked.at, now, "at"),
        at_plant_s=asked.at_plant_s,
        when=asked.when,
        wait_s=asked.wait_s,
    )


def check_unit(point: Point, said: str, value: float | str) -> None:
    """The value is taken in the point's unit only: what a person reads back in the record is what was asked for.

    Raises:
        WrongUnit: it is in another one; the hint has the value converted where that can be.
    """
    given, wanted = _unit(said), _unit(point.unit)
    if said == point.unit or (given is not None and given is wanted):
        return
    shown = point.unit or "no unit"
    hint = f"give it in {shown}" if point.unit else "give it without a unit"
    if given is not None and wanted is not None and given.dimension == wanted.dimension and not isinstance(value, str):
        scale, offset = conversion(given, wanted)
        hint = f"{f'{value:g} {said}'.strip()} is {value * scale + offset:g} {shown}: {hint}"
    raise WrongUnit(f"{point.name} is in {shown}, not in {said[:80] or 'no unit'}", hint)


def _unit(said: str) -> Unit | None:
    """By symbol, or by its name in DTDL."""
    return UNITS.get(said) or UNIT_OF_DTDL.get(said)


def moment(said: float | str | None, now: int, place: str) -> int | None:
    """ns since 1970 UTC of ms since then, or of ISO 8601. Nothing relative: a request that is repeated means the same.

    Raises:
        BadRequest: it is no such moment.
    """
    if said is None:
        return None
    if not isinstance(said, str):
        if not abs(said) < MOMENT_MAX_MS:
            raise BadRequest(f"{place}: {said:g} is too far away", "give ms since 1970")
        return int(said * 1e6)
    if said.strip().startswith(("now", "-", "+")):
        raise BadRequest(f"{place}: {said[:80]!r} is relative", "write it as 2026-11-21T06:00:00Z, or ms since 1970")
    try:
        return parse_when_ns(said[:MOMENT_LENGTH_MAX], now, place)
    except BadRequest as error:
        raise BadRequest(error.message, "write it as 2026-11-21T06:00:00Z, or ms since 1970") from None
