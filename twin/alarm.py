"""What an alarm is: its condition, its priority and what people owe it, settled when the plant is read; knows no state.

Words are those of OPC UA Part 9 and of ISA-18.2 / IEC 62682.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import cached_property

from twin.expression import Expression


class Priority(StrEnum):
    """How soon somebody must act. `journal` is recorded and shown to nobody unasked (ISA-18.2: no operator response)."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    JOURNAL = "journal"


PRIORITIES = tuple(Priority)
RANK: Mapping[Priority, int] = {p: len(PRIORITIES) - n for n, p in enumerate(PRIORITIES)}
"""Higher is worse."""
SHARES: Mapping[Priority, float] = {Priority.HIGH: 0.05, Priority.MEDIUM: 0.15, Priority.LOW: 0.80}
"""EEMUA 191 and ISA-18.2: of the alarms that are configured, and of those that come."""


class Kind(IntEnum):
    """How a condition is told from columns."""

    LIMIT = 0  # the value is beyond a limit
    RATE = 1  # it changes faster
    DEVIATION = 2  # it is farther from another point, or from a set value
    STATE = 3  # it is one of some values
    STALE = 4  # nobody has said it for so long
    QUALITY = 5  # its quality is bad
    GIVEN = 6  # told from outside the columns: texts, expressions, forecasts


@dataclass(frozen=True, slots=True)
class Condition:
    """When the alarm is active.

    Attributes:
        word: as plant.toml calls it: `hihi`, `rise`, `is`, `stale` …
        sign: 1 above or rising, -1 below or falling, 0 both.
        limit: in the point's unit (per second for RATE; seconds for STALE; lowest severity for QUALITY).
        deadband: how far back behind the limit it must come to be over.
        window_s: between two looks at a rate.
        other: name of the point it deviates from, "" for the value `reference`.
        codes: values for STATE.
        negated: STATE: it is none of them.
        texts: values of a text point, GIVEN.
        expression: GIVEN: it holds.
        ahead: GIVEN: the limit of the look-ahead that is predicted to be passed.
    """

    kind: Kind
    word: str
    sign: int = 0
    limit: float = 0.0
    deadband: float = 0.0
    window_s: float = 0.0
    other: str = ""
    reference: float = 0.0
    codes: tuple[float, ...] = ()
    negated: bool = False
    texts: tuple[str, ...] = ()
    expression: Expression | None = field(default=None, compare=False)
    ahead: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What people owe an alarm.

    Attributes:
        ack: it asks to be acknowledged.
        confirm: after that somebody confirms that what was to be done is done (OPC UA Part 9, 5.7.3).
        latch: it stays until it is reset, though its condition is over (OPC UA Part 9, LatchedState).
        shelve_max_s: longest time on a shelf, one-shot too (OPC UA: MaxTimeShelved).
    """

    ack: bool = True
    confirm: bool = False
    latch: bool = False
    shelve_max_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Definition:
    """One alarm of one point.

    Attributes:
        id: `point:row`, such as `tank_1.level:high`; never changes as long as the row keeps its id.
        row: id of the row of plant.toml that gives it.
        group: of which the first to come is marked; "" for none.
        suppress_when: while it holds the alarm is suppressed by design; None for never.
        cause, consequence, response: why it mostly comes, what happens if nobody acts, and what to do (ISA-18.2:
            rationalisation).
    """

    id: str
    row: str
    point: str
    twin: str
    priority: Priority
    condition: Condition
    terms: Terms = Terms()
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    group: str = ""
    message: str = ""
    consequence: str = ""
    response: str = ""
    suppress_when: Expression | None = field(default=None, compare=False)
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table [alarms].

    Attributes:
        operators: people who share the alarms: thresholds of floods and figures are per operator.
        shelve_operator_s: longest shelf that an operator may choose; longer ones take a supervisor.
        keep_days: how long transitions stay in alarms.sqlite; the ledger keeps all.
    """

    operators: int = 1
    shelve_operator_s: float = 8 * 3600.0
    keep_days: float = 400.0


class Doing(StrEnum):
    """What a rule does."""

    WEBHOOK = "webhook"
    SET = "set"
    SCENARIO = "scenario"


OF_THE_PLANT = frozenset({"active", "cleared", "unsure", "sure"})
"""Steps that nobody takes."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A row [[alarm_rule]]: what is done when an alarm makes a step.

    Attributes:
        alarms: ids of those it is about; empty for all of `priorities`.
        on: steps, such as `active`.
        url: of a webhook. sets: points and values of commands. scenario, horizon_s: of a what-if.
        attempts: how often it is tried before it is a dead letter.
        backoff_s, backoff_max_s: before the second attempt; doubled each time, up to the second.
        at_most, per_s: no more than so many in that time; what is over is a dead letter at once.
        timeout_s: of one attempt; of a command, its deadline.
        silent: it acts also on what the plant does to alarms that are shelved, suppressed or out of service.
    """

    id: str
    doing: Doing
    alarms: frozenset[str] = frozenset()
    priorities: frozenset[Priority] = frozenset()
    on: frozenset[str] = frozenset({"active"})
    url: str = ""
    sets: tuple[tuple[str, float], ...] = ()
    scenario: tuple[str, ...] = ()
    horizon_s: float = 3600.0
    attempts: int = 10
    backoff_s: float = 1.0
    backoff_max_s: float = 300.0
    at_most: int = 60
    per_s: float = 3600.0
    timeout_s: float = 10.0
    silent: bool = False

    def concerns(self, definition: Definition, step: str, told: bool) -> bool:
        """Whether it acts on that step of that alarm; `told`: nothing keeps the alarm from people."""
        if not (told or self.silent) and step in OF_THE_PLANT:
            return False
        if step not in self.on or (self.priorities and definition.priority not in self.priorities):
            return False
        return not self.alarms or definition.id in self.alarms


@dataclass(frozen=True)
class AlarmPlan:
    """All that a plant says of alarms."""

    definitions: tuple[Definition, ...] = ()
    rules: tuple[Rule, ...] = ()
    settings: Settings = Settings()

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """Place in `definitions` by id."""
        return {d.id: n for n, d in enumerate(self.definitions)}


NO_ALARMS = AlarmPlan()
