"""What people do with alarms, as rows of the table of verbs: over HTTP and over the WebSocket alike; decides nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from control.alarm_record import as_record
from control.alarms import Outcome
from control.api import wire_alarm as wire
from control.api.command_verbs import Verb
from control.api.part import Parts
from control.api.route import API
from control.errors import codes, words
from control.identity import Caller
from control.permissions import permit_shelf
from twin.alarms import Said, Step, may
from twin.errors import BadRequest
from twin.role import Act

ALARMS = f"{API}/alarms"
SPAN_MAX_NS = 366 * 86_400 * 1_000_000_000
DONE: dict[str, tuple[Step, Act, str]] = {
    "acknowledge": (Step.ACKNOWLEDGED, Act.ACKNOWLEDGE, "Acknowledge alarms"),
    "confirm": (Step.CONFIRMED, Act.ACKNOWLEDGE, "Confirm that what acknowledged alarms asked for is done"),
    "comment": (Step.COMMENTED, Act.ACKNOWLEDGE, "Say something of alarms"),
    "reset": (Step.RESET, Act.ACKNOWLEDGE, "Let latched alarms go"),
    "unshelve": (Step.UNSHELVED, Act.ACKNOWLEDGE, "Take alarms off their shelf"),
    "suppress": (Step.SUPPRESSED, Act.SUPPRESS, "Suppress alarms until somebody ends it"),
    "unsuppress": (Step.UNSUPPRESSED, Act.SUPPRESS, "End that"),
    "remove": (Step.REMOVED, Act.SERVICE, "Take alarms out of service"),
    "return": (Step.RETURNED, Act.SERVICE, "Put alarms back into service"),
}
"""Each but shelving, which says for how long."""
REASONED = frozenset({Step.SUPPRESSED, Step.REMOVED, Step.SHELVED, Step.COMMENTED})
"""What keeps an alarm silent, and a comment, is nothing without a reason."""
Asked = wire.AlarmVerb | wire.AlarmShelfRequest


def _done(taken: Step) -> Callable[[Parts, Caller, wire.AlarmVerb], Awaitable[wire.AlarmVerbAnswer]]:
    async def handler(parts: Parts, caller: Caller, asked: wire.AlarmVerb) -> wire.AlarmVerbAnswer:
        if asked.occurrence is not None and len(asked.alarms) != 1:
            raise BadRequest("occurrence of several alarms", "give occurrences, by alarm")
        if strange := sorted(asked.occurrences.keys() - set(asked.alarms)):
            raise BadRequest(f"an occurrence of {strange[0][:80]}", "it is none of the alarms that are named")
        said = parts.alarms.said(taken, caller.name, asked.reason, occurrence=asked.occurrence)
        seen = {parts.alarms.book.row(identity): n for identity, n in asked.occurrences.items()}
        return await _said(parts, asked, said, lambda row: replace(said, occurrence=seen[row]) if row in seen else said)

    return handler


async def shelve(parts: Parts, caller: Caller, asked: wire.AlarmShelfRequest) -> wire.AlarmVerbAnswer:
    if not 0 < asked.for_s <= SPAN_MAX_NS / 1e9:
        raise BadRequest(f"for_s {asked.for_s:g}", "give seconds above 0")
    permit_shelf(caller, asked.for_s, parts.alarms.plan.settings.shelve_operator_s)
    until = parts.clock() + int(asked.for_s * 1e9)
    said = parts.alarms.said(Step.SHELVED, caller.name, asked.reason, until=until, one_shot=asked.one_shot)
    return await _said(parts, asked, said, lambda _: said)


async def _said(parts: Parts, asked: Asked, said: Said, said_of: Callable[[int], Said]) -> wire.AlarmVerbAnswer:
    if said.step in REASONED and not asked.reason.strip():
        raise BadRequest(f"{said.step} without a reason", "say why: reason")
    rows = _meant(parts, asked, said)
    outcomes = await parts.alarms.say(rows, said_of)
    if len(rows) == 1 and asked.alarms and outcomes[0].problem is not None:
        raise outcomes[0].problem
    return wire.AlarmVerbAnswer(
        sum(o.problem is None for o in outcomes),
        [_outcome(parts, row, o) for row, o in zip(rows, outcomes, strict=True)],
    )


def _meant(parts: Parts, asked: Asked, said: Said) -> Sequence[int]:
    """By id, or by twin: there those that it fits and that are in front of somebody."""
    book, plan = parts.alarms.book, parts.alarms.plan
    if bool(asked.alarms) == bool(asked.twin):
        raise BadRequest("which alarms?", "give alarms, a list of ids, or twin")
    if asked.alarms:
        return [book.row(identity) for identity in dict.fromkeys(asked.alarms)]
    twins = subtree_of(parts, asked.twin)
    return [
        row for row, state in book.retained.items()
        if (d := plan.definitions[row]).twin in twins and asked.priority in ("", d.priority) and may(state, d.terms, said)
    ]  # fmt: skip


def subtree_of(parts: Parts, twin: str) -> frozenset[str]:
    """A twin and its parts.

    Raises:
        NotFound: there is none.
    """
    return parts.plant.graph.with_parts((twin,))


def record_of(parts: Parts, row: int) -> wire.AlarmRecord:
    book = parts.alarms.book
    definition = parts.alarms.plan.definitions[row]
    body = as_record(definition, book.state(row), parts.alarms.unit_of[definition.point])
    return wire.AlarmRecord(**body, blind=bool(book.conditions.blind[row]))


def _outcome(parts: Parts, row: int, outcome: Outcome) -> wire.AlarmOutcome:
    problem = outcome.problem
    message = "" if problem is None else words(problem)[0]
    return wire.AlarmOutcome(record_of(parts, row), "" if problem is None else codes(problem).code, message)


ALARM_VERBS: tuple[Verb, ...] = (
    Verb(
        "shelve_alarms", shelve, wire.AlarmShelfRequest, wire.AlarmVerbAnswer,
        "Shelve alarms for a time, or until they clear", Act.ACKNOWLEDGE, "POST", f"{ALARMS}/shelve",
        wire.AlarmShelfRequest,
    ),
    *(
        Verb(
            f"{word}_alarms", _done(taken), wire.AlarmVerb, wire.AlarmVerbAnswer, summary, act, "POST",
            f"{ALARMS}/{word}", wire.AlarmVerb,
        )
        for word, (taken, act, summary) in DONE.items()
    ),
)  # fmt: skip
