"""Which rules owe something because of a step of an alarm, and whether they have done too much already.

Kept with the step in one commit: no rule acts on what did not happen, none forgets what did. Must not know how it is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from control.alarm_record import condition_words
from control.alarm_store import AlarmStore, Delivery, Taken
from twin.alarm import Rule
from twin.alarm_book import Change

NS = 1e9
WAITING, DONE, DEAD, LIMITED = "waiting", "done", "dead", "limited"


class Triggers:
    """The rules of a plant, and when each acted last."""

    def __init__(self, rules: Sequence[Rule], store: AlarmStore, now: int) -> None:
        self.rules = {rule.id: rule for rule in rules}
        self._acted = {
            rule.id: deque(store.acted_since(rule.id, now - int(rule.per_s * NS)), maxlen=rule.at_most)
            for rule in rules
        }  # fmt: skip
        store.orphans([*self.rules], "the plant has no such rule any more")

    def hear(self, taken: Taken, change: Change) -> Iterator[Delivery]:
        """What rules owe for this step; one over its limit is recorded, and owes nothing."""
        for rule in self.rules.values():
            if not rule.concerns(change.definition, taken.step, change.state.told):
                continue
            state, detail = WAITING, ""
            if self._too_many(rule, taken.time):
                state, detail = LIMITED, f"more than {rule.at_most} in {rule.per_s:g} s"
            else:
                self._acted[rule.id].append(taken.time)
            text = msgspec.json.encode(_said(taken, change), order="sorted").decode()
            yield Delivery(f"{rule.id}:{taken.n}", rule.id, taken.n, taken.time, state, 0, taken.time, detail, text)

    def _too_many(self, rule: Rule, now: int) -> bool:
        acted = self._acted[rule.id]
        while acted and acted[0] <= now - rule.per_s * NS:
            acted.popleft()
        return len(acted) >= rule.at_most


def _said(taken: Taken, change: Change) -> dict[str, object]:
    """What a webhook is told; times in ms since 1970."""
    definition = change.definition
    return {
        "n": taken.n, "time": taken.time / 1e6, "alarm": taken.alarm, "point": taken.point, "twin": taken.twin,
        "priority": taken.priority, "step": taken.step, "value": taken.value, "occurrence": taken.occurrence,
        "by": taken.by, "reason": taken.reason, "condition": condition_words(definition.condition),
        "message": definition.message, "consequence": definition.consequence, "response": definition.response,
        "told": change.state.told, "unsure": change.state.unsure, "first_out": change.state.first_out,
    }  # fmt: skip
