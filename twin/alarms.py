"""The life of one alarm: OPC UA Part 9 states, as one table of steps; pure, reads no clock.

Sources: OPC UA Part 9 v1.05, 5.7 (acknowledge, confirm), 5.8 (alarms, shelving 5.8.17, LatchedState); ISA-18.2, 5.
Shelved, suppressed and out of service keep an alarm from being told, not from being followed: its condition, and whether
somebody acknowledged it, go on underneath, so that nothing is made up when it comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from twin.alarm import Terms
from twin.errors import BadRequest, Conflict


class Step(StrEnum):
    """What may happen to an alarm."""

    ACTIVE = "active"
    CLEARED = "cleared"
    UNSURE = "unsure"  # its input is not good any more: it stays as it is, and nobody knows
    SURE = "sure"
    ACKNOWLEDGED = "acknowledged"
    CONFIRMED = "confirmed"
    COMMENTED = "commented"
    RESET = "reset"  # a latched one is let go
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    SUPPRESSED = "suppressed"  # by a person
    UNSUPPRESSED = "unsuppressed"
    DESIGNED_OUT = "designed_out"  # suppressed by design: the row's suppress_when holds
    DESIGNED_IN = "designed_in"
    REMOVED = "removed"  # out of service
    RETURNED = "returned"
    GONE = "gone"  # the plant has no such alarm any more


class Shelf(StrEnum):
    """OPC UA Part 9, ShelvedStateMachine."""

    UNSHELVED = "unshelved"
    ONE_SHOT = "one_shot"  # until it next clears
    TIMED = "timed"


@dataclass(frozen=True, slots=True)
class State:
    """How an alarm stands. Times in ns since 1970 UTC.

    Attributes:
        active: its condition holds, delays and dead band considered.
        acked, confirmed: nothing is owed.
        latched: it came, asks to be reset, and nobody did.
        unsure: nobody can tell whether the condition still holds.
        until: when the shelf ends by itself, one-shot too.
        suppressed: by a person. designed: by design.
        occurrence: how often it came.
        value: of its point when it came; None for texts and where there is none.
        first_out: it came first in its group, and the group has not been quiet since.
    """

    active: bool = False
    acked: bool = True
    confirmed: bool = True
    latched: bool = False
    unsure: bool = False
    shelf: Shelf = Shelf.UNSHELVED
    until: int | None = None
    suppressed: bool = False
    designed: bool = False
    out_of_service: bool = False
    occurrence: int = 0
    active_at: int | None = None
    cleared_at: int | None = None
    acked_at: int | None = None
    acked_by: str = ""
    value: float | None = None
    comment: str = ""
    first_out: bool = False

    @property
    def told(self) -> bool:
        """Whether people are told of it: nothing keeps it from them (OPC UA: not SuppressedOrShelved)."""
        return self.shelf is Shelf.UNSHELVED and not (self.suppressed or self.designed or self.out_of_service)

    @property
    def owed(self) -> bool:
        """Whether somebody has to do something about it."""
        return self.active or self.latched or not (self.acked and self.confirmed)

    @property
    def retained(self) -> bool:
        """Whether it belongs in a list of what is not as usual (OPC UA: Retain)."""
        return self.owed or not self.told


NORMAL = State()


@dataclass(frozen=True, slots=True)
class Said:
    """A step as somebody, or the plant, takes it.

    Attributes:
        by: the person; "" for the plant and for time.
        until: SHELVED: when the shelf ends. one_shot: SHELVED: it ends when the alarm clears.
        occurrence: ACKNOWLEDGED, CONFIRMED: which coming is meant; None for the newest.
    """

    step: Step
    time: int
    by: str = ""
    reason: str = ""
    until: int | None = None
    one_shot: bool = False
    value: float | None = None
    occurrence: int | None = None


def step(state: State, terms: Terms, said: Said) -> State:
    """The state after a step.

    Raises:
        Conflict: it cannot be taken now. BadRequest: the shelf's time is none.
    """
    why = WHY_NOT[said.step](state, terms, said)
    if why:
        raise Conflict(why, "look at the alarm again")
    _check_shelf(terms, said)
    return EFFECT[said.step](state, terms, said)


def may(state: State, terms: Terms, said: Said) -> bool:
    return not WHY_NOT[said.step](state, terms, said)


def _check_shelf(terms: Terms, said: Said) -> None:
    if said.step is not Step.SHELVED:
        return
    if said.until is None or said.until <= said.time:
        raise BadRequest("a shelf for no time", "say for how long")
    if said.until - said.time > terms.shelve_max_s * 1e9:
        raise BadRequest("a shelf for too long", f"this alarm may be shelved for {terms.shelve_max_s:g} s at most")


def overdue(state: State, now: int) -> bool:
    """Whether its shelf has ended."""
    return state.until is not None and state.until <= now


# --- what may be done when: "" where it may -----------------------------------------------------------------------------

Guard = Callable[[State, Terms, Said], str]
Effect = Callable[[State, Terms, Said], State]


def _unless(wrong: Callable[[State], bool], why: str) -> Guard:
    return lambda state, terms, said: why if wrong(state) else ""


def _always(state: State, terms: Terms, said: Said) -> str:
    return ""


def _why_not_acknowledge(state: State, terms: Terms, said: Said) -> str:
    if said.occurrence is not None and said.occurrence != state.occurrence:
        return f"it came again since: {state.occurrence} times, not {said.occurrence}"
    return "it is acknowledged already" if state.acked else ""


def _why_not_confirm(state: State, terms: Terms, said: Said) -> str:
    if said.occurrence is not None and said.occurrence != state.occurrence:
        return f"it came again since: {state.occurrence} times, not {said.occurrence}"
    if not state.acked:
        return "it is not acknowledged yet"
    return "nothing is to be confirmed" if state.confirmed else ""


def _why_not_reset(state: State, terms: Terms, said: Said) -> str:
    if not state.latched:
        return "it is not latched"
    if state.active:
        return "its condition still holds"
    return "" if state.acked and state.confirmed else "it is not acknowledged, or not confirmed, yet"


WHY_NOT: Mapping[Step, Guard] = {
    Step.ACTIVE: _unless(lambda s: s.active, "it is active already"),
    Step.CLEARED: _unless(lambda s: not s.active, "it is not active"),
    Step.UNSURE: _unless(lambda s: s.unsure or not s.active, "there is nothing to be unsure of"),
    Step.SURE: _unless(lambda s: not s.unsure, "it is sure"),
    Step.ACKNOWLEDGED: _why_not_acknowledge,
    Step.CONFIRMED: _why_not_confirm,
    Step.COMMENTED: _always,
    Step.RESET: _why_not_reset,
    Step.SHELVED: _unless(lambda s: s.out_of_service, "it is out of service"),
    Step.UNSHELVED: _unless(lambda s: s.shelf is Shelf.UNSHELVED, "it is not shelved"),
    Step.SUPPRESSED: _unless(lambda s: s.suppressed, "it is suppressed already"),
    Step.UNSUPPRESSED: _unless(lambda s: not s.suppressed, "nobody suppressed it"),
    Step.DESIGNED_OUT: _unless(lambda s: s.designed, "it is suppressed by design already"),
    Step.DESIGNED_IN: _unless(lambda s: not s.designed, "it is not suppressed by design"),
    Step.REMOVED: _unless(lambda s: s.out_of_service, "it is out of service already"),
    Step.RETURNED: _unless(lambda s: not s.out_of_service, "it is in service"),
    Step.GONE: _always,
}


# --- and what comes of it -----------------------------------------------------------------------------------------------


def _active(state: State, terms: Terms, said: Said) -> State:
    """A new occurrence; what was owed for an older one is owed for this one instead."""
    return replace(
        state, active=True, unsure=False, acked=not terms.ack, confirmed=True, latched=terms.latch,
        occurrence=state.occurrence + 1, active_at=said.time, cleared_at=None, acked_at=None, acked_by="",
        value=said.value,
    )  # fmt: skip


def _cleared(state: State, terms: Terms, said: Said) -> State:
    return replace(state, active=False, unsure=False, cleared_at=said.time)


def _acknowledged(state: State, terms: Terms, said: Said) -> State:
    return replace(
        state, acked=True, confirmed=not terms.confirm, acked_at=said.time, acked_by=said.by,
        comment=said.reason or state.comment,
    )  # fmt: skip


def _confirmed(state: State, terms: Terms, said: Said) -> State:
    return replace(state, confirmed=True, comment=said.reason or state.comment)


def _shelved(state: State, terms: Terms, said: Said) -> State:
    """A second time replaces the first: whoever shelves anew says for how long."""
    return replace(state, shelf=Shelf.ONE_SHOT if said.one_shot else Shelf.TIMED, until=said.until)


def _unshelved(state: State, terms: Terms, said: Said) -> State:
    return replace(state, shelf=Shelf.UNSHELVED, until=None)


def _removed(state: State, terms: Terms, said: Said) -> State:
    """Out of service ends a shelf: one reason at a time keeps it silent, and this one has no end of its own."""
    return replace(_unshelved(state, terms, said), out_of_service=True)


def _with(**changes: bool) -> Effect:
    return lambda state, terms, said: replace(state, **changes)  # type: ignore[arg-type]


EFFECT: Mapping[Step, Effect] = {
    Step.ACTIVE: _active,
    Step.CLEARED: _cleared,
    Step.UNSURE: _with(unsure=True),
    Step.SURE: _with(unsure=False),
    Step.ACKNOWLEDGED: _acknowledged,
    Step.CONFIRMED: _confirmed,
    Step.COMMENTED: lambda state, terms, said: replace(state, comment=said.reason),
    Step.RESET: _with(latched=False),
    Step.SHELVED: _shelved,
    Step.UNSHELVED: _unshelved,
    Step.SUPPRESSED: _with(suppressed=True),
    Step.UNSUPPRESSED: _with(suppressed=False),
    Step.DESIGNED_OUT: _with(designed=True),
    Step.DESIGNED_IN: _with(designed=False),
    Step.REMOVED: _removed,
    Step.RETURNED: _with(out_of_service=False),
    Step.GONE: lambda state, terms, said: NORMAL,
}
