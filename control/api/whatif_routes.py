"""Routes of what-ifs; the handlers parse, ask and answer, and decide nothing."""

from __future__ import annotations

from typing import Any

from control.api import wire_whatif as wire
from control.api.part import Parts
from control.api.plan import plan_of
from control.api.route import API, Call, Route
from control.asking import Asking, comparison, optimisation, ranking, sensitivity
from control.whatif import Run
from sim.optimise import Search, parse_decisions
from sim.question import Question, parse_precision
from sim.result import parse_goal
from sim.scenario import parse_limit
from sim.selection import Contest
from sim.whatif import question
from twin.role import Act


async def start_whatif(parts: Parts, call: Call) -> wire.WhatIfRun:
    asked: wire.WhatIfRequest = call.body
    until = parse_precision(asked.until, asked.replications_max) if asked.until else None
    told = question(asked.kpis, until, asked.goal, asked.limits, asked.replications, asked.confidence)
    return await _started(parts, asked, comparison(asked.scenarios, asked.horizon_s, asked.seed, told))


async def start_ranking(parts: Parts, call: Call) -> wire.WhatIfRun:
    asked: wire.RankRequest = call.body
    contest = Contest(parse_goal(asked.goal), asked.method, asked.delta, asked.budget, asked.confidence)
    return await _started(parts, asked, ranking(asked.scenarios, asked.horizon_s, asked.seed, contest))


async def start_tornado(parts: Parts, call: Call) -> wire.WhatIfRun:
    asked: wire.TornadoRequest = call.body
    told = Question(asked.replications, kpis=(asked.kpi,), confidence=asked.confidence)
    return await _started(parts, asked, sensitivity(asked.ranges, asked.horizon_s, asked.seed, told))


async def start_optimisation(parts: Parts, call: Call) -> wire.WhatIfRun:
    asked: wire.OptimiseRequest = call.body
    wanted = Search(
        parse_decisions(asked.ranges), parse_goal(asked.goal), tuple(map(parse_limit, asked.limits)), asked.risk,
        asked.trials, asked.replications,
    )  # fmt: skip
    return await _started(parts, asked, optimisation(asked.ranges, asked.horizon_s, asked.seed, wanted))


async def whatifs(parts: Parts, _: Call) -> list[wire.WhatIfRun]:
    return [_run(r, whole=False) for r in parts.whatifs.all()]


async def whatif(parts: Parts, call: Call) -> wire.WhatIfRun:
    return _run(parts.whatifs.get(call.path["id"]), whole=True)


async def whatif_plan(parts: Parts, call: Call) -> wire.WhatIfPlan:
    run, clock_s = parts.whatifs.get(call.path["id"]), parts.live.clock_s()
    return plan_of(run, parts.plant, parts.clock() / 1e6, clock_s)


async def cancel_whatif(parts: Parts, call: Call) -> wire.WhatIfRun:
    return _run(parts.whatifs.cancel(call.path["id"]), whole=False)


async def _started(parts: Parts, asked: Any, asking: Asking) -> wire.WhatIfRun:
    start = parts.branches.get(asked.branch).snapshot() if asked.branch else None
    return _run(await parts.whatifs.start(asked, asking, start), whole=True)


def _run(run: Run, whole: bool) -> wire.WhatIfRun:
    result = run.result if whole else None
    return wire.WhatIfRun(
        run.id, run.kind.value, run.about, run.state.value, run.progress, run.started_at / 1e6, run.asked, result,
        run.error, run.left_s,
    )  # fmt: skip


def _asked(path: str, handler: Any, summary: str, takes: Any) -> Route:
    return Route("POST", API + path, handler, summary, wire.WhatIfRun, takes, status=202, act=Act.SIMULATE)


WHATIF_ROUTES: tuple[Route, ...] = (
    _asked("/whatif", start_whatif, "Compare scenarios with the plant left as it is, from now", wire.WhatIfRequest),
    _asked("/whatif/rank", start_ranking, "Find the best of many scenarios", wire.RankRequest),
    _asked("/whatif/tornado", start_tornado, "Find the parameters that matter", wire.TornadoRequest),
    _asked("/whatif/optimise", start_optimisation, "Search the best values of settings", wire.OptimiseRequest),
    Route("GET", f"{API}/whatif", whatifs, "What-ifs, newest first, without results", list[wire.WhatIfRun]),
    Route("GET", f"{API}/whatif/{{id}}", whatif, "One what-if and its result", wire.WhatIfRun),
    Route("GET", f"{API}/whatif/{{id}}/plan", whatif_plan, "The best of a what-if as commands", wire.WhatIfPlan),
    Route("DELETE", f"{API}/whatif/{{id}}", cancel_whatif, "Cancel a what-if", wire.WhatIfRun, act=Act.SIMULATE),
)
