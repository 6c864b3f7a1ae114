"""The best of a what-if as the commands that it amounts to; pure: it submits nothing and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control.admission import REASON_MAX
from control.api.wire_command import CommandRequest
from control.api.wire_whatif import WhatIfPlan
from control.whatif import Run
from twin.errors import BadRequest, NotFound
from twin.plant import Plant

WAIT_S = 86_400.0  # past its moment: a plant's clock may stand still for a while


def plan_of(run: Run, plant: Plant, now_ms: float, clock_s: float | None) -> WhatIfPlan:
    """
    Args:
        clock_s: what the plant's own clock shows; None: it has none, or nobody can tell.

    Raises:
        NotFound: it is not done, or it failed. BadRequest: nobody said what is better.
    """
    if run.result is None:
        raise NotFound(f"what-if {run.id} is {run.state}", "only what is done has a plan")
    plan = run.result.get("plan")
    if plan is None:
        raise BadRequest(f"what-if {run.id} was asked without a goal", "ask with one, such as min energy_kwh")
    # A search has its comparison inside.
    made = run.result.get("result", run.result)
    drafts = enumerate(plan["drafts"], 1)
    commands = [_command(run.id, n, draft, plan["reason"], made, plant) for n, draft in drafts]
    return WhatIfPlan(
        run.id, plan["scenario"], plan["reason"], made["taken_at"] / 1e6,
        commands, list(plan["by_hand"]), list(plan["risks"]), any(_overdue(c, now_ms, clock_s) for c in commands),
    )  # fmt: skip


def _overdue(command: CommandRequest, now_ms: float, clock_s: float | None) -> bool:
    if command.at_plant_s is not None:
        return clock_s is not None and clock_s > command.at_plant_s
    return isinstance(command.at, float) and now_ms > command.at


def _command(
    identity: str, n: int, draft: Mapping[str, Any], reason: str, made: Mapping[str, Any], plant: Plant
) -> CommandRequest:
    at_s, point = draft["at_s"], plant.point(draft["point"])
    on_clock = at_s > 0 and bool(plant.clock)
    return CommandRequest(
        f"whatif-{identity}-{n}", point.name, draft["value"], reason=f"what-if {identity}: {reason}"[:REASON_MAX],
        select=plant.controls.policy(point).select, at=made["taken_at"] / 1e6 + 1e3 * at_s if at_s > 0 and not on_clock else None,
        at_plant_s=made["clock_s"] + at_s if on_clock else None, wait_s=WAIT_S + at_s,
    )  # fmt: skip
