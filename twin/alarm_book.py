"""All alarms of a plant together: what readings, people and time do to them, and which came first; pure, reads no clock.

Whoever holds it carries out what its methods return. Must not know disks, screens or how a rule acts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twin import alarm_kernel as kernel
from twin.alarm import AlarmPlan, Definition, Priority
from twin.alarm_conditions import Conditions, Look
from twin.alarms import NORMAL, Said, Shelf, State, Step, may, overdue, step
from twin.columns import Columns
from twin.errors import NotFound
from twin.expression import Expression
from twin.nearest import nearest

NS = 1_000_000_000
STEP_OF: Mapping[int, Step] = {
    kernel.ACTIVATED: Step.ACTIVE, kernel.CLEARED: Step.CLEARED, kernel.UNSURE: Step.UNSURE, kernel.SURE: Step.SURE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """A step that was taken.

    Attributes:
        rings: an operator is told of it anew: it came, or came back from where it was kept silent. Figures count these.
    """

    definition: Definition
    said: Said
    state: State
    rings: bool = False


class AlarmBook:
    """One state an alarm, in the order of the definitions."""

    def __init__(
        self, plan: AlarmPlan, points: Mapping[str, int], size: int, begun: int, states: Mapping[str, State]
    ) -> None:
        """
        Args:
            points: ids by name. size: of the point table. states: by id, as they were kept.
        """
        self.plan = plan
        self.conditions = Conditions(plan.definitions, points, size, begun)
        self._states = [states.get(d.id, NORMAL) for d in plan.definitions]
        self.retained = {row: s for row, s in enumerate(self._states) if s.retained}
        self.conditions.restore(row for row, s in self.retained.items() if s.active)
        self._point = np.array([points.get(d.point, 0) for d in plan.definitions], np.int64)
        self._owed = Counter(
            d.group for row, d in enumerate(plan.definitions) if d.group and _stands(self._states[row])
        )
        self._watch = _watchers(plan.definitions)
        self._watched = np.zeros(size, np.bool_)
        self._watched[list(self._watch)] = True
        self._ahead: dict[str, list[int]] = defaultdict(list)
        for row, d in enumerate(plan.definitions):
            if d.condition.ahead:
                self._ahead[d.condition.ahead].append(row)
        self._shelved = {row for row, s in self.retained.items() if s.until is not None}
        self._doubted: set[int] = set()  # suppressed by design, and whether the design still says so cannot be told
        self._ending: dict[
            int, tuple[int, str]
        ] = {}  # suppressed by design no more, once the on-delay is over: when, why

    # --- what callers ask --------------------------------------------------------------------------------------------

    def row(self, identity: str) -> int:
        """
        Raises:
            NotFound: no alarm has that id; the message offers the nearest ones.
        """
        found = self.plan.row_of.get(identity)
        if found is None:
            raise NotFound(f"no alarm is called {identity!r}", nearest(identity, self.plan.row_of))
        return found

    def state(self, row: int) -> State:
        return self._states[row]

    def rename(self, person: str, name: str) -> None:
        """Whoever acknowledged as `person` is called `name` from now on; no step."""
        for row, state in enumerate(self._states):  # also of those that are normal again: they say who was last
            if state.acked_by != person:
                continue
            self._states[row] = replace(state, acked_by=name)
            if row in self.retained:
                self.retained[row] = self._states[row]

    def next_time(self) -> int | None:
        """When something happens by time alone."""
        shelves = [t for row in self._shelved if (t := self._states[row].until) is not None]
        ending = [due for due, _ in self._ending.values()]
        times = [t for t in (self.conditions.next_time(), *shelves, *ending) if t is not None]
        return min(times, default=None)

    # --- what happens ------------------------------------------------------------------------------------------------

    def begin(self, columns: Columns, now: int) -> list[Change]:
        """After a start: nobody can tell yet whether what was active still is; then everything is looked at."""
        unsure = [
            self._put(row, Said(Step.UNSURE, now, reason="the server was started"))
            for row, s in list(self.retained.items())
            if s.active and not s.unsure
        ]
        for rows in self._watch.values():
            self._hear(rows, columns, now, unsure)
        return [*unsure, *self._looked(self.conditions.all(columns, now), columns, now), *self._let_go(now)]

    def changed(self, ids: NDArray[np.int32], columns: Columns, now: int) -> list[Change]:
        """Points have changed, in value or quality. What suppresses by design is judged first."""
        found: list[Change] = []
        if self._watch:
            within = ids[ids < len(self._watched)]
            for point in within[self._watched[within]].tolist():
                self._hear(self._watch[point], columns, now, found)
        return [*found, *self._looked(self.conditions.changed(ids, columns, now), columns, now), *self._let_go(now)]

    def predicted(self, truths: Mapping[str, bool | None], columns: Columns, now: int) -> list[Change]:
        """By limit of the look-ahead whether it is predicted to be passed; None, or left out: nobody can tell."""
        rows = [
            row for limit, mine in self._ahead.items() for row in mine if self.conditions.give(row, truths.get(limit))
        ]
        if not rows:
            return []
        looked = self._looked(self.conditions.look(np.array(rows, np.int32), columns, now), columns, now)
        return [*looked, *self._let_go(now)]

    def tick(self, columns: Columns, now: int) -> list[Change]:
        """What time alone brings: delays that end, points that grow old, shelves that end."""
        ended = [
            self._put(row, Said(Step.UNSHELVED, now, reason="its time was over"))
            for row in sorted(self._shelved)
            if overdue(self._states[row], now)
        ]
        return [*ended, *self._looked(self.conditions.due(columns, now), columns, now), *self._let_go(now)]

    def say(self, row: int, said: Said) -> list[Change]:
        """A person takes a step.

        Raises:
            Conflict: it cannot be taken now. BadRequest: a shelf for no time, or for too long.
        """
        return [self._put(row, said)]

    # --- within ------------------------------------------------------------------------------------------------------

    def _hear(
        self, watchers: Iterable[tuple[int, Expression, bool]], columns: Columns, now: int, found: list[Change]
    ) -> None:
        """Judge expressions anew."""
        rows: list[int] = []
        for row, expression, suppresses in watchers:
            truth = expression.holds(columns, now).truth
            if not suppresses:
                if self.conditions.give(row, truth):
                    rows.append(row)
                continue
            designed = self._states[row].designed
            if truth is None:
                if designed and row not in self._ending:
                    self._doubted.add(row)
                continue
            self._doubted.discard(row)
            if truth:
                self._ending.pop(row, None)
                if not designed:
                    found.append(self._put(row, Said(Step.DESIGNED_OUT, now, reason=expression.text)))
            elif designed and row not in self._ending:
                found += self._end(row, expression.text, now)
        if rows:
            found += self._looked(self.conditions.look(np.array(rows, np.int32), columns, now), columns, now)

    def _end(self, row: int, reason: str, now: int) -> list[Change]:
        """What suppressed it by design does no more. Its on-delay begins anew: a pump that starts has no flow yet."""
        delay = int(self.plan.definitions[row].on_delay_s * NS)
        if delay and (self.conditions.is_beyond(row) or self._states[row].active):
            self._ending[row] = now + delay, reason
            return []
        return [self._put(row, Said(Step.DESIGNED_IN, now, reason=reason))]

    def _ended(self, now: int) -> list[Change]:
        """Suppressions whose on-delay is over while the condition holds, or of which the alarm is over."""
        over: list[int] = []
        for row, (due, _) in self._ending.items():
            beyond, blind = self.conditions.is_beyond(row), self.conditions.is_blind(row)
            if (beyond and not blind and due <= now) or not (beyond or self._states[row].active):
                over.append(row)
        return [self._put(row, Said(Step.DESIGNED_IN, now, reason=self._ending.pop(row)[1])) for row in sorted(over)]

    def _let_go(self, now: int) -> list[Change]:
        """What cannot be told keeps nothing silent that can: when a link takes both, what was silent stays so."""
        found: list[Change] = []
        for row in [row for row in sorted(self._doubted) if not self.conditions.is_blind(row)]:
            self._doubted.discard(row)
            found += self._end(row, self._unsaid(row), now)
        return found + self._ended(now)

    def _unsaid(self, row: int) -> str:
        expression = self.plan.definitions[row].suppress_when
        return f"whether {expression.text} cannot be told" if expression else ""

    def _looked(self, look: Look, columns: Columns, now: int) -> list[Change]:
        if not len(look):
            return []
        # Of what came in one delivery the source says what came first.
        order = np.argsort(columns.source_time[self._point[look.rows]], kind="stable")
        found: list[Change] = []
        for row, what in zip(look.rows[order].tolist(), look.what[order].tolist(), strict=True):
            value = columns.value.item(self._point[row])
            said = Said(STEP_OF[what], now, value=value if value == value else None)
            if not may(self._states[row], self.plan.definitions[row].terms, said):
                continue  # unsure of what was unsure before a restart
            found.append(self._put(row, said))
            if said.step is Step.CLEARED and self._states[row].shelf is Shelf.ONE_SHOT:
                found.append(self._put(row, Said(Step.UNSHELVED, now, reason="it cleared: one shot")))
        return found

    def _put(self, row: int, said: Said) -> Change:
        definition, before = self.plan.definitions[row], self._states[row]
        state = step(before, definition.terms, said)
        group = definition.group
        if group:
            others = self._owed[group] - _stands(before)
            if said.step is Step.ACTIVE:
                state = replace(state, first_out=state.told and not others)
            self._owed[group] = others + _stands(state)
        self._states[row] = state
        if state.retained:
            self.retained[row] = state
        else:
            self.retained.pop(row, None)
        (self._shelved.add if state.until is not None else self._shelved.discard)(row)
        return Change(definition, said, state, _rings(definition, before, state, said.step))


def _stands(state: State) -> bool:
    """Whether it is in front of people: what is kept silent is not the first of its group."""
    return state.told and state.owed


def _rings(definition: Definition, before: State, state: State, taken: Step) -> bool:
    if definition.priority is Priority.JOURNAL or not state.told:
        return False
    return taken is Step.ACTIVE or (not before.told and state.active and not state.acked)


def _watchers(definitions: Sequence[Definition]) -> Mapping[int, list[tuple[int, Expression, bool]]]:
    """By point: rows whose expressions use it, those that suppress first, and whether each does."""
    found: dict[int, list[tuple[int, Expression, bool]]] = {}
    for suppresses in (True, False):
        for row, d in enumerate(definitions):
            expression = d.suppress_when if suppresses else d.condition.expression
            for point in set(expression.points) if expression else ():
                assert expression is not None
                found.setdefault(point, []).append((row, expression, suppresses))
    return found
