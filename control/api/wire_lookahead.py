"""The look-ahead as it travels; must not know how it is made. Times are ms since 1970, spans seconds.

`…_s` beside a `clock_s` are on the plant's own clock.
"""

from __future__ import annotations

import msgspec

from control.api.wire_prediction import CalibrationBin


class ExpectedLimit(msgspec.Struct, frozen=True):
    """P(limit passed within the horizon) with its 95 % interval, and when, given that it is: 5, 50 and 95 %.

    `by`: the probability by each sample time.
    """

    limit: str
    probability: float
    low: float
    high: float
    early_s: float | None
    at_s: float | None
    late_s: float | None
    by: list[float]


class ForecastRecord(msgspec.Struct, frozen=True):
    """The plant ahead with nobody commanding anything.

    `started`: what the outputs read at `made_at`; `fans`: point -> rows of the 5, 25, 50, 75, 95 % quantiles at `times_s`.
    """

    id: str
    made_at: float
    clock_s: float
    horizon_s: float
    replications: int
    seed: int
    took_s: float
    backend: str
    state_hash: str
    model_hash: str
    limits: list[ExpectedLimit]
    started: dict[str, float | None]
    units: dict[str, str]
    times_s: list[float]
    fans: dict[str, list[list[float]]]


class SaidOfLimit(msgspec.Struct, frozen=True):
    """What the forecast of `made_at` (plant time `clock_s`) said of a limit."""

    probability: float
    low: float
    high: float
    early_s: float | None
    at_s: float | None
    late_s: float | None
    made_at: float
    clock_s: float


class PassedAgain(msgspec.Struct, frozen=True):
    """How often a limit was passed after it came, while it was quiet: foreseen or not by the newest forecast made since it

    was kept again; `unsaid`: there was none in between.
    """

    foreseen: int
    unforeseen: int
    unsaid: int


class PredictedAlarm(msgspec.Struct, frozen=True):
    """No alarm: a limit that is likely to be passed. `status` is predicted, came, cleared, lapsed or missed.

    `first` is what was said when it was raised, `last` what was said last, `said` that in words. Of one that came:
    `lead_s` how long before, `error_s` how much later than first said, `inside` whether in the 90 % interval first said;
    not `timed`: nobody could look when it came, and these are null.
    """

    id: str
    limit: str
    status: str
    first: SaidOfLimit
    last: SaidOfLimit
    ended_at: float | None
    ended_clock_s: float | None
    detail: str
    lead_s: float | None
    error_s: float | None
    inside: bool | None
    said: str
    again: PassedAgain
    timed: bool


class QuietLimit(msgspec.Struct, frozen=True):
    """A limit that was passed at `came_s` and is not predicted again yet, however likely: at `armed_s`, if it is kept until

    then; null while it is passed. `status` is came, or missed where nobody foresaw it.
    """

    limit: str
    status: str
    came_s: float | None
    armed_s: float | None
    again: PassedAgain


class ShelfRecord(msgspec.Struct, frozen=True):
    """Nobody is told of predicted alarms of this limit until then."""

    limit: str
    until: float
    by: str
    reason: str


class ShelfRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/lookahead/shelve: for at most a day."""

    limit: str
    for_s: float = 3600.0
    reason: str = ""


class LimitNamed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/lookahead/unshelve."""

    limit: str


class TurnsTaken(msgspec.Struct, frozen=True):
    """Turns since the start: made; and not made, because people had the workers (`yielded`), the turn before was not

    ready (`late`), the plant's state was not known (`refused`), or of a fault (`failed`).
    """

    made: int
    yielded: int
    late: int
    refused: int
    failed: int


class LookaheadState(msgspec.Struct, frozen=True):
    """GET /api/v1/lookahead. `state` is off, waiting (no forecast yet), current or stale; `why` there is no newer one.

    `since`: of the newest forecast, or of the start. `alarms` stand, the soonest first; `passed`: limits that are passed
    already. `quiet`: those that were passed and have not been kept for `off_delay_s` since. `why` also says what is no longer
    as the newest forecast took it to be.
    """

    state: str
    why: str
    since: float
    every_s: float
    horizon_s: float
    p_min: float
    p_clear: float
    off_delay_s: float
    limits: list[str]
    turns: TurnsTaken
    forecast: ForecastRecord | None
    alarms: list[PredictedAlarm]
    passed: list[str]
    quiet: list[QuietLimit]
    shelves: list[ShelfRecord]


class LeadSkill(msgspec.Struct, frozen=True):
    """Over one quarter of the horizon, up to `lead` of it: means. `persistence`: of "it stays as it was", of a counter of

    "it goes on as before"; `skill` is 1 - crps / persistence.
    """

    lead: float
    readings: int
    coverage_50: float | None
    coverage_90: float | None
    crps: float | None
    persistence: float | None
    skill: float | None


class PointSkill(msgspec.Struct, frozen=True):
    """One output; `pit`: share of readings in each tenth of their forecast, 0.1 each when forecasts are honest."""

    point: str
    unit: str
    whole: LeadSkill
    leads: list[LeadSkill]
    pit: list[float]


class LimitSkill(msgspec.Struct, frozen=True):
    """Probabilities of limits. `base` is the Brier score of always saying of each how often it was passed; `skill`

    1 - brier / base.
    """

    count: int
    passed: int
    brier: float | None
    base: float | None
    skill: float | None
    reliability: float | None
    resolution: float | None
    uncertainty: float | None
    bins: list[CalibrationBin]


class AlarmSkill(msgspec.Struct, frozen=True):
    """Predicted alarms that ended. `lead_s`: median of how long before they came; `error_s`: of how far the time was off;

    `inside`: of those that came, within the 90 % interval first said; `again`: further passings while they were quiet.
    """

    came: int
    cleared: int
    lapsed: int
    missed: int
    lead_s: float | None
    error_s: float | None
    inside: int
    again: PassedAgain


class LookaheadSummary(msgspec.Struct, frozen=True):
    """How far the look-ahead can be trusted, over its newest scores; `waiting` forecasts wait for their future."""

    waiting: int
    scored: int
    censored: int
    unscored: int
    points: list[PointSkill]
    limits: LimitSkill
    alarms: AlarmSkill


class ForecastScore(msgspec.Struct, frozen=True):
    """How one forecast fared, up to `until_s`: `outcome` is scored, censored or unscored; `detail` says why."""

    forecast: str
    made_at: float
    outcome: str
    detail: str
    scored_at: float
    until_s: float


class LookaheadScores(msgspec.Struct, frozen=True):
    """GET /api/v1/lookahead/scores: the track record, and scores, newest first."""

    summary: LookaheadSummary
    scores: list[ForecastScore]
