"""Alarms as they travel; must not know how they come. Times are ms since 1970, spans seconds."""

from __future__ import annotations

from typing import Any

import msgspec


class AlarmRecord(msgspec.Struct, frozen=True):
    """An alarm and how it stands.

    `state` is one word for it: normal, unacknowledged, acknowledged (both active), returned (over, not acknowledged),
    unconfirmed, latched, shelved, suppressed (by a person), designed_out (by design), out_of_service. `unsure`: it was
    active when its input went bad; nobody can tell. `blind`: nobody can tell now whether its condition holds. `told`:
    nothing keeps it from people. `first_out`: the first of its `group`. `until`: when its shelf ends.
    """

    id: str
    row: str
    point: str
    twin: str
    priority: str
    condition: str
    message: str
    group: str
    unit: str
    state: str
    active: bool
    acked: bool
    confirmed: bool
    latched: bool
    unsure: bool
    shelf: str
    until: float | None
    suppressed: bool
    designed: bool
    out_of_service: bool
    told: bool
    first_out: bool
    occurrence: int
    active_at: float | None
    cleared_at: float | None
    acked_at: float | None
    acked_by: str
    value: float | None
    comment: str
    blind: bool = False


class AlarmStep(msgspec.Struct, frozen=True):
    """A step that an alarm took. `rings`: people were told of it anew. `alarm` "": a flood of all began, or ended."""

    n: int
    time: float
    alarm: str
    point: str
    twin: str
    priority: str
    step: str
    rings: bool
    by: str
    reason: str
    value: float | None
    until: float | None
    occurrence: int


class AlarmChange(msgspec.Struct, frozen=True):
    """One of `changes` in the body of an event `alarm`: a step, and the alarm after it."""

    n: int
    step: str
    time: float
    by: str
    reason: str
    rings: bool
    alarm: AlarmRecord


class AlarmRollup(msgspec.Struct, frozen=True):
    """A twin with all its parts: how many alarms are active by priority and told, owed an acknowledgement, kept silent

    and why, and `blind`. `worst` is normal, unacked_cleared, acked_active or unacked_active; `priority` the highest, "".
    """

    twin: str
    high: int
    medium: int
    low: int
    journal: int
    unacked: int
    shelved: int
    suppressed: int
    out_of_service: int
    blind: int
    worst: str
    priority: str


class AlarmList(msgspec.Struct, frozen=True):
    """GET /api/v1/alarms: the worst first. `total`: how many fit; `flood`: one is on; `rate_10min` rang in ten minutes.

    `waiting`: steps that are not on disk yet. `n`: the newest step that is in it; events of later ones go on from there.
    `shelve_operator_s`: the longest that an operator may shelve.
    """

    alarms: list[AlarmRecord]
    total: int
    flood: bool
    rate_10min: int
    waiting: int
    n: int
    shelve_operator_s: float


class AlarmDetail(msgspec.Struct, frozen=True):
    """GET /api/v1/alarms/{id}: with its newest steps and what the plant file says of it."""

    alarm: AlarmRecord
    deadband: float
    on_delay_s: float
    off_delay_s: float
    shelve_max_s: float
    ack: bool
    confirm: bool
    latch: bool
    cause: str
    consequence: str
    response: str
    suppress_when: str
    steps: list[AlarmStep]


class AlarmVerb(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/alarms/{verb}: alarms by id, and why. `occurrence`, of a single one: only if it has not come again;

    `occurrences` says the same of several, by id. Instead of ids: `twin`, all of it and its parts, of `priority` where
    given, that the verb fits.
    """

    alarms: list[str] = []
    reason: str = ""
    occurrence: int | None = None
    occurrences: dict[str, int] = {}
    twin: str = ""
    priority: str = ""


class AlarmShelfRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/alarms/shelve: as AlarmVerb. `one_shot`: it ends when the alarm clears, or after `for_s`."""

    alarms: list[str] = []
    for_s: float = 3600.0
    one_shot: bool = False
    reason: str = ""
    twin: str = ""
    priority: str = ""


class AlarmOutcome(msgspec.Struct, frozen=True):
    """What became of a verb on one alarm; `problem` "" where it was done, else the error's code, and `message`."""

    alarm: AlarmRecord
    problem: str
    message: str


class AlarmVerbAnswer(msgspec.Struct, frozen=True):
    """Each alarm that was meant; what was done is durable."""

    done: int
    outcomes: list[AlarmOutcome]


class AlarmFlood(msgspec.Struct, frozen=True):
    """More than ten alarms an operator in ten minutes, until fewer than five; `end` null: it goes on."""

    start: float
    end: float | None
    count: int


class AlarmActor(msgspec.Struct, frozen=True):
    """An alarm, how often it did it, and its part of all that rang."""

    alarm: str
    count: int
    share: float


class AlarmStanding(msgspec.Struct, frozen=True):
    """An alarm that has been active for more than a day."""

    alarm: str
    since: float


class AlarmPriorityShare(msgspec.Struct, frozen=True):
    """Of a priority: how many, their part, and EEMUA 191's part; configured ones, and those that rang."""

    priority: str
    configured: int
    configured_share: float
    rang: int
    rang_share: float
    wanted_share: float


class AlarmStatistics(msgspec.Struct, frozen=True):
    """GET /api/v1/alarms/statistics: figures of EEMUA 191 and ISA-18.2 over [start, end), per operator.

    `watched_s`: how long a server watched within it; rates are of that time, of ten minutes at least. `level`: predictive,
    robust, stable, reactive or overloaded. `per_window`: how many rang in each ten minutes, null where nobody watched.
    """

    start: float
    end: float
    operators: int
    watched_s: float
    count: int
    priorities: list[AlarmPriorityShare]
    mean_10min: float
    per_hour: float
    per_day: float
    most_10min: float
    over_10min: float
    in_flood: float
    floods: list[AlarmFlood]
    level: str
    to_ack_s: float | None
    top: list[AlarmActor]
    top_share: float
    chattering: list[AlarmActor]
    fleeting: list[AlarmActor]
    standing: list[AlarmStanding]
    per_window: list[int | None]


class AlarmDelivery(msgspec.Struct, frozen=True):
    """What a rule owes, or did. `state`: waiting, done, dead (given up), limited (too many). `detail`: why, or what."""

    id: str
    rule: str
    n: int
    time: float
    state: str
    attempts: int
    next_at: float
    detail: str
    body: dict[str, Any]


class AlarmRuleInfo(msgspec.Struct, frozen=True):
    """A row [[alarm_rule]] and how it fares."""

    id: str
    doing: str
    on: list[str]
    waiting: int
    done: int
    dead: int
    limited: int


class AlarmRulesInfo(msgspec.Struct, frozen=True):
    """GET /api/v1/alarms/rules: rules, and their newest deliveries of the state asked for."""

    rules: list[AlarmRuleInfo]
    deliveries: list[AlarmDelivery]


class AlarmRetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/alarms/rules/retry: a dead letter, or one over the limit."""

    id: str
