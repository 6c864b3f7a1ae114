"""Which interventions of a scenario are commands to the plant, and to which value of which point; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sim.layout_model import Setting
from sim.scenario import Scenario, Verb

Command = tuple[str, float]
"""Point of the plant, and the value that it is told."""


def commands(
    scenario: Scenario, sets: Mapping[str, Setting], settings: Mapping[str, float]
) -> Sequence[Command | None]:
    """For each intervention the command that does it; None where no point of the plant does.

    A point is tied to one name of the layout: setting either is a command to the point. What is added is added to what
    the point was told last, at first to what it was at the start.

    Args:
        settings: the points' values at the start, as far as they are known.
    """
    told = dict(settings)
    found: list[Command | None] = []
    for step in scenario.interventions:
        point, factor = _tied(step.point, sets)
        value = step.value
        if point is None or step.verb is Verb.RUN or isinstance(value, str):
            found.append(None)
            continue
        before = told.get(point) if step.verb is Verb.ADD else 0.0
        wanted = settings.get(point) if value is None else None if before is None else before + value / factor
        found.append(None if wanted is None else (point, wanted))
        if wanted is None:
            told.pop(point, None)
        else:
            told[point] = wanted
    return found


def _tied(name: str, sets: Mapping[str, Setting]) -> tuple[str | None, float]:
    """The point of that name, or the one that sets what is called so in the layout, with its factor."""
    if name in sets:
        return name, 1.0
    for point, setting in sets.items():
        if setting.map is None and setting.target == name:
            return point, setting.factor
    return None, 1.0
