"""Messages about what-ifs, as wire.py; must not know how they are computed."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from control.api.wire_command import CommandRequest


class WhatIfRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="compare"):
    """POST /api/v1/whatif. Scenarios as people write them: `pump_335.status=off for 4h`; limits: `tank_1.level<3`.

    It starts from now, or from a branch. `kpis`: figures by name instead of the usual ones. `goal`, such as
    `min energy_kwh`: the result's `choice` is the best scenario; its outcome's `drafts` are commands to be approved.
    `until`, such as `tank_1.level.min±0.05`: replications are doubled until every half-width is that narrow, or there
    are `replications_max`; the result's `stopped` says which.
    """

    scenarios: list[str]
    horizon_s: float = 4 * 3600.0
    limits: list[str] = []
    replications: int = 64
    seed: int = 1
    branch: str = ""
    kpis: list[str] = []
    goal: str = ""
    until: str = ""
    replications_max: int = 1024
    confidence: float = 0.95


class RankRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="rank"):
    """POST /api/v1/whatif/rank: which of up to 199 scenarios, or the plant left as it is, serves the goal best.

    `kn` drops clear losers as it goes and is right with the confidence if the best is `delta` better than all others;
    `budget` is at most so many replications of one. `ocba` spends `budget` replications on all together where they tell
    most, and estimates how sure it is.
    """

    scenarios: list[str]
    goal: str
    horizon_s: float = 4 * 3600.0
    method: Literal["kn", "ocba"] = "kn"
    delta: float = 0.0
    budget: int = 4096
    confidence: float = 0.95
    seed: int = 1
    branch: str = ""


class TornadoRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="tornado"):
    """POST /api/v1/whatif/tornado: what each parameter alone does to a figure at its low and at its high end.

    `ranges` are texts such as `filler.mtbf.mean=20..40`: what is believed of a parameter, its 10 and 90 % quantiles.
    """

    ranges: list[str]
    kpi: str
    horizon_s: float = 4 * 3600.0
    replications: int = 64
    confidence: float = 0.95
    seed: int = 1
    branch: str = ""


class OptimiseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="optimise"):
    """POST /api/v1/whatif/optimise: which values, each within its range, serve the goal best from now on.

    `ranges` are texts: `crew.size=1..3` are whole numbers, `pump_335.speed=60.0..100` any between. A trial of
    `replications` in which a limit is passed more often than `risk` is not taken. The winner is then compared with the
    plant left as it is, on chance that the search never saw.
    """

    ranges: list[str]
    goal: str
    horizon_s: float = 4 * 3600.0
    limits: list[str] = []
    risk: float = 0.05
    trials: int = 60
    replications: int = 64
    seed: int = 1
    branch: str = ""


class WhatIfRun(msgspec.Struct, frozen=True):
    """State of one what-if: `running`, `done`, `failed` or `cancelled`; `result` when done, `error` when failed.

    `about` is what was asked, in one line. `left_s` is how long it still takes at its pace, null while nobody can tell;
    `rank` may end long before, and `until` may double what is planned.
    """

    id: str
    kind: Literal["compare", "rank", "tornado", "optimise"]
    about: str
    state: str
    progress: float
    started: float
    request: WhatIfRequest | RankRequest | TornadoRequest | OptimiseRequest
    result: dict[str, Any] | None
    error: str | None
    left_s: float | None = None


class WhatIfPlan(msgspec.Struct, frozen=True):
    """GET /api/v1/whatif/{id}/plan: the best of a what-if as commands, none of them submitted.

    Each goes to POST /api/v1/commands as it is, and meets there what every command meets. Its key is the what-if's, so
    that submitting it twice is one command. `scenario` is `baseline`, and there are none, when nothing is better than
    leaving the plant as it is; `by_hand` is what no point of the plant takes. `taken` is the moment of the state that
    the what-if started from: times are counted from there, on the plant's own clock if it has one. `risks` are limits
    that it makes more likely to be passed. `overdue`: the moment of a step is past, so that it is no longer what was
    simulated: ask again.
    """

    id: str
    scenario: str
    reason: str
    taken: float
    commands: list[CommandRequest]
    by_hand: list[str]
    risks: list[str]
    overdue: bool
