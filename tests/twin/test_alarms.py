"""The life of an alarm: every sequence of steps as a second, plain model of OPC UA Part 9 and ISA-18.2 has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.alarm import Terms
from twin.alarms import NORMAL, Said, Shelf, State, Step, may, overdue, step
from twin.errors import BadRequest, Conflict

S = 1_000_000_000
PEOPLE = [
    Step.ACKNOWLEDGED, Step.CONFIRMED, Step.COMMENTED, Step.RESET, Step.SHELVED, Step.UNSHELVED, Step.SUPPRESSED,
    Step.UNSUPPRESSED, Step.REMOVED, Step.RETURNED,
]  # fmt: skip
PLANT = [Step.ACTIVE, Step.CLEARED, Step.UNSURE, Step.SURE, Step.DESIGNED_OUT, Step.DESIGNED_IN]


@dataclass
class Plain:
    """As the standards' texts read, in words and one variable each; raises KeyError where a step cannot be taken."""

    terms: Terms
    active: bool = False
    unsure: bool = False
    owes_ack: bool = False
    owes_confirm: bool = False
    latched: bool = False
    shelf: str = "none"
    until: int | None = None
    why_silent: set[str] = field(default_factory=set)
    came: int = 0

    def take(self, what: Step, now: int, until: int, one_shot: bool) -> None:
        getattr(self, what.name.lower())(now, until, one_shot)

    def _need(self, holds: bool) -> None:
        if not holds:
            raise KeyError

    def active_(self) -> None:
        self._need(not self.active)
        self.active, self.unsure = True, False
        self.came += 1
        self.owes_ack, self.owes_confirm, self.latched = self.terms.ack, False, self.terms.latch

    def cleared(self, *_: Any) -> None:
        self._need(self.active)
        self.active = self.unsure = False

    def unsure_(self) -> None:
        self._need(self.active and not self.unsure)
        self.unsure = True

    def sure(self, *_: Any) -> None:
        self._need(self.unsure)
        self.unsure = False

    def acknowledged(self, *_: Any) -> None:
        self._need(self.owes_ack)
        self.owes_ack, self.owes_confirm = False, self.terms.confirm

    def confirmed(self, *_: Any) -> None:
        self._need(self.owes_confirm and not self.owes_ack)
        self.owes_confirm = False

    def commented(self, *_: Any) -> None:
        return

    def reset(self, *_: Any) -> None:
        self._need(self.latched and not self.active and not self.owes_ack and not self.owes_confirm)
        self.latched = False

    def shelved(self, now: int, until: int, one_shot: bool) -> None:
        self._need("service" not in self.why_silent)
        self.shelf, self.until = ("one shot" if one_shot else "timed"), until

    def unshelved(self, *_: Any) -> None:
        self._need(self.shelf != "none")
        self.shelf, self.until = "none", None

    def _silence(self, why: str, on: bool) -> None:
        self._need((why in self.why_silent) != on)
        (self.why_silent.add if on else self.why_silent.remove)(why)

    def removed(self, *_: Any) -> None:
        self._silence("service", on=True)
        self.shelf, self.until = "none", None


def plainly(model: Plain, what: Step, now: int, until: int, one_shot: bool) -> None:
    rows: dict[Step, Callable[[], None]] = {
        Step.ACTIVE: model.active_,
        Step.UNSURE: model.unsure_,
        Step.SUPPRESSED: lambda: model._silence("person", on=True),
        Step.UNSUPPRESSED: lambda: model._silence("person", on=False),
        Step.DESIGNED_OUT: lambda: model._silence("design", on=True),
        Step.DESIGNED_IN: lambda: model._silence("design", on=False),
        Step.RETURNED: lambda: model._silence("service", on=False),
    }
    if what in rows:
        rows[what]()
    else:
        model.take(what, now, until, one_shot)


def same(state: State, model: Plain) -> bool:
    silent = {"person": state.suppressed, "design": state.designed, "service": state.out_of_service}
    shelf = {"none": Shelf.UNSHELVED, "one shot": Shelf.ONE_SHOT, "timed": Shelf.TIMED}[model.shelf]
    return (
        (state.active, state.unsure, state.acked, state.latched, state.shelf, state.until, state.occurrence)
        == (model.active, model.unsure, not model.owes_ack, model.latched, shelf, model.until, model.came)
        and state.confirmed == (not model.owes_confirm)
        and {why for why, on in silent.items() if on} == model.why_silent
        and state.told == (not model.why_silent and model.shelf == "none")
    )


@settings(max_examples=300, deadline=None)
@given(
    st.builds(Terms, st.booleans(), st.booleans(), st.booleans(), st.just(3600.0)),
    st.lists(st.tuples(st.sampled_from([*PLANT, *PLANT, *PEOPLE]), st.integers(1, 3600), st.booleans()), max_size=60),
)
def test_any_sequence_of_steps_ends_as_the_standards_say(terms: Terms, taken: list[tuple[Step, int, bool]]) -> None:
    state, model, now = NORMAL, Plain(terms), 0
    for what, for_s, one_shot in taken:
        now += S
        until = now + for_s * S
        said = Said(what, now, "anna", "why", until if what is Step.SHELVED else None, one_shot)
        try:
            plainly(model, what, now, until, one_shot)
        except KeyError:
            assert not may(state, terms, said)
            with pytest.raises(Conflict):
                step(state, terms, said)
            continue
        assert may(state, terms, said)
        state = step(state, terms, said)
        assert same(state, model), (what, state, model)


PLAIN = Terms()


def after(*steps: Step, terms: Terms = PLAIN) -> State:
    state = NORMAL
    for n, what in enumerate(steps):
        state = step(state, terms, Said(what, n * S, "anna", "why", 10**12 if what is Step.SHELVED else None))
    return state


def test_an_alarm_that_is_over_stays_until_somebody_acknowledges_it() -> None:
    over = after(Step.ACTIVE, Step.CLEARED)
    assert over.retained and not over.active and not over.acked
    assert not after(Step.ACTIVE, Step.CLEARED, Step.ACKNOWLEDGED).retained


def test_a_new_occurrence_asks_for_a_new_acknowledgement() -> None:
    again = after(Step.ACTIVE, Step.ACKNOWLEDGED, Step.CLEARED, Step.ACTIVE)
    assert again.occurrence == 2 and not again.acked and again.acked_by == ""


def test_an_acknowledgement_of_an_older_occurrence_is_refused() -> None:
    again = after(Step.ACTIVE, Step.CLEARED, Step.ACTIVE)
    with pytest.raises(Conflict, match="came again"):
        step(again, Terms(), Said(Step.ACKNOWLEDGED, 9, "anna", occurrence=1))
    assert step(again, Terms(), Said(Step.ACKNOWLEDGED, 9, "anna", occurrence=2)).acked_by == "anna"


def test_a_latched_alarm_stays_until_it_is_reset_and_is_not_reset_while_anything_is_owed() -> None:
    terms = Terms(latch=True, confirm=True)
    state = after(Step.ACTIVE, Step.CLEARED, terms=terms)
    for what in (Step.ACKNOWLEDGED, Step.CONFIRMED):
        with pytest.raises(Conflict):
            step(state, terms, Said(Step.RESET, 9))
        state = step(state, terms, Said(what, 9, "anna"))
    assert state.retained and not step(state, terms, Said(Step.RESET, 9)).retained


def test_a_shelved_alarm_is_followed_underneath_and_comes_back_as_it_is() -> None:
    state = after(Step.SHELVED, Step.ACTIVE)
    assert not state.told and state.active and not state.acked
    back = step(state, Terms(), Said(Step.UNSHELVED, 9))
    assert back.told and not back.acked


@pytest.mark.parametrize(("until", "why"), [(None, "no time"), (5, "no time"), (3601 * S + 5, "too long")])
def test_a_shelf_has_an_end_and_a_longest_time(until: int | None, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        step(NORMAL, Terms(shelve_max_s=3600), Said(Step.SHELVED, 5, "anna", "why", until))


def test_a_shelf_ends_at_its_moment_and_not_before() -> None:
    state = step(NORMAL, Terms(), Said(Step.SHELVED, 0, "anna", "why", 10 * S))
    assert not overdue(state, 10 * S - 1) and overdue(state, 10 * S) and not overdue(NORMAL, 10 * S)


def test_out_of_service_ends_a_shelf_and_nobody_shelves_what_is_out_of_service() -> None:
    state = after(Step.SHELVED, Step.REMOVED)
    assert state.shelf is Shelf.UNSHELVED and state.until is None
    with pytest.raises(Conflict, match="out of service"):
        step(state, Terms(), Said(Step.SHELVED, 9, until=10 * S))
