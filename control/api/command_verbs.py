"""What can be asked of commands, as one table: HTTP routes and the WebSocket's calls are both made from it.

Handlers take a typed body, ask the part that decides, and answer the record; they decide nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from control.api import wire
from control.api.asked import request_of
from control.api.part import Parts
from control.api.prediction_routes import record_of
from control.api.problem import error_body
from control.api.route import API, Call, Reply, Route
from control.api.wire_command import (
    CommandCheck,
    CommandName,
    CommandOutcome,
    CommandPage,
    CommandRecord,
    CommandRequest,
    CommandsWanted,
    Nothing,
    Outcome,
    Seen,
    StopAnswer,
    StopInfo,
    StopName,
    StopProblem,
    StopRequest,
)
from control.command import Command, Priority, Status, Terms
from control.command_record import as_body, sight
from control.command_store import Wanted
from control.identity import Caller
from control.permissions import permit_approval
from control.prediction import unpredicted
from control.request import Request
from twin.controls import Stop
from twin.errors import BadRequest, NotFound, TwinloopError
from twin.lists import listed
from twin.nearest import nearest
from twin.policy import Preflight
from twin.role import Act

PAGE_MAX = 1_000
STOP_DEADLINE_S = 60.0  # a link heals within it; an emergency command that comes later would surprise somebody
Body = Any
Answer = Any


@dataclass(frozen=True, slots=True)
class Verb:
    """A row: `takes` is the WebSocket's body; over HTTP it is put together of path, query and `body`.

    `urgent`: it is taken however much else of the client is under way.
    """

    name: str
    handler: Callable[[Parts, Caller, Body], Awaitable[Answer]]
    takes: Any
    gives: Any
    summary: str
    act: Act
    method: str
    path: str
    body: Any = None
    query: tuple[str, ...] = ()
    status: int = 200
    urgent: bool = False


async def submit(parts: Parts, caller: Caller, asked: CommandRequest) -> Answer:
    request = request_of(asked, parts.plant, parts.clock())
    return _record(parts, await parts.commands.submit(request, caller.name))


async def check(parts: Parts, caller: Caller, asked: CommandRequest, predict: bool = False) -> CommandCheck:
    """With a prediction where the plant asks for one, or `predict` does: that takes about a second."""
    request = request_of(asked, parts.plant, parts.clock())
    command, judgement = await parts.commands.check(request, caller.name)
    policy = parts.plant.controls.policy(parts.plant.point(command.point))
    predicted = policy.preflight is not Preflight.OFF and command.priority is not Priority.EMERGENCY
    prediction = None
    if (predicted or predict) and judgement.allowed:
        try:
            _, judgement, made = await parts.commands.check_predicted(request, caller.name)
            prediction = record_of((made, None))
        except TwinloopError as error:
            if not predicted:
                raise
            judgement = replace(unpredicted(error, policy), seen=judgement.seen)
    needs = ["a prediction", *_needs(command.terms)] if predicted else _needs(command.terms)
    begins = Status.DRAFT if predicted else _begins(command.terms)
    status = begins if judgement.allowed else Status.REFUSED
    seen = [msgspec.convert(sight(s), Seen) for s in judgement.seen]
    return CommandCheck(judgement.allowed, status.value, judgement.detail, seen, needs, prediction)


def _needs(terms: Terms) -> list[str]:
    return [
        *(["selection, then operate"] if terms.select else []),
        *([f"approval by {terms.approvals} of role {terms.approver}"] if terms.approvals else []),
        *(["its time or condition"] if terms.scheduled else []),
    ]


def _begins(terms: Terms) -> Status:
    if terms.select:
        return Status.SELECTED
    if terms.approvals:
        return Status.AWAITING_APPROVAL
    return Status.SCHEDULED if terms.scheduled else Status.QUEUED


async def operate(parts: Parts, caller: Caller, asked: CommandName) -> Answer:
    return _record(parts, await parts.commands.operate(asked.id, caller.name))


async def approve(parts: Parts, caller: Caller, asked: CommandName) -> Answer:
    permit_approval(caller, await parts.commands.get(asked.id))
    return _record(parts, await parts.commands.approve(asked.id, caller.name, asked.reason))


async def reject(parts: Parts, caller: Caller, asked: CommandName) -> Answer:
    permit_approval(caller, await parts.commands.get(asked.id))
    return _record(parts, await parts.commands.reject(asked.id, caller.name, asked.reason))


async def cancel(parts: Parts, caller: Caller, asked: CommandName) -> Answer:
    return _record(parts, await parts.commands.cancel(asked.id, caller.name, asked.reason))


async def settle(parts: Parts, caller: Caller, asked: CommandOutcome) -> Answer:
    if not asked.reason.strip():
        raise BadRequest("no reason", "say what you have seen of the plant")
    return _record(parts, await parts.commands.settle(asked.id, caller.name, Status(asked.status), asked.reason))


async def command(parts: Parts, _: Caller, asked: CommandName) -> Answer:
    """With what was predicted of it, and how that fared."""
    record = _record(parts, await parts.commands.get(asked.id))
    kept = await parts.preflight.of(asked.id)
    return record if kept is None else {**record, "prediction": record_of(kept, whole=False)}


async def commands(parts: Parts, _: Caller, asked: CommandsWanted) -> Answer:
    found, following = await parts.commands.page(_wanted(asked))
    return {"commands": [_record(parts, c) for c in found], "next": following}


async def stop(parts: Parts, caller: Caller, asked: StopName) -> StopAnswer:
    """Every point at once; one that cannot be commanded keeps no other from it.

    Raises:
        TwinloopError: nothing at all could be commanded; the first reason.
    """
    found = _stop(parts, asked.id)
    press = asked.key or parts.new_id()
    reason = asked.reason or f"emergency stop {found.id}"
    answers = await asyncio.gather(
        *(
            parts.commands.submit(
                Request(_stop_key(found, press, point), point, value, Priority.EMERGENCY, STOP_DEADLINE_S, reason),
                caller.name,
            )
            for point, value in found.sets
        ),
        return_exceptions=True,
    )
    taken: list[CommandRecord] = []
    problems: list[StopProblem] = []
    for (point, _), answer in zip(found.sets, answers, strict=True):
        if isinstance(answer, Command):
            taken.append(msgspec.convert(_record(parts, answer), CommandRecord))
        elif isinstance(answer, TwinloopError):
            problems.append(StopProblem(point, error_body(answer)))
        else:
            raise answer
    if not taken:
        raise next(a for a in answers if isinstance(a, TwinloopError))
    return StopAnswer(found.id, found.name, taken, problems)


def _stop_key(stop: Stop, press: str, point: str) -> str:
    """As long as any other: a stop never fails for its key."""
    return f"stop {hashlib.sha256(json.dumps((stop.id, press, point)).encode()).hexdigest()}"


async def stops(parts: Parts, _: Caller, __: Nothing) -> list[StopInfo]:
    return [StopInfo(s.id, s.name, dict(s.sets)) for s in parts.plant.controls.stops]


def _stop(parts: Parts, identity: str) -> Stop:
    known = {s.id: s for s in parts.plant.controls.stops}
    if identity not in known:
        raise NotFound(
            f"the plant has no stop {identity[:80]!r}", nearest(identity, known) or "plant.toml declares them"
        )
    return known[identity]


def _record(parts: Parts, command: Command) -> dict[str, Any]:
    return {**as_body(command), "waits_for": parts.commands.waits_for(command.id)}


def _wanted(asked: CommandsWanted) -> Wanted:
    if not 1 <= asked.limit <= PAGE_MAX:
        raise BadRequest(f"limit={asked.limit}", f"give a number in 1 … {PAGE_MAX}")
    if asked.cursor and not (asked.cursor.isascii() and asked.cursor.isdigit() and len(asked.cursor) < 19):
        raise BadRequest(f"cursor={asked.cursor[:40]!r}", "give `next` of the page before")
    words = [word.upper() for word in listed(asked.status)]
    unknown = [w for w in words if w not in set(Status)]
    if unknown:
        raise BadRequest(f"status={unknown[0][:40]!r}", f"one of {', '.join(Status)}")
    before = int(asked.cursor) if asked.cursor else None
    return Wanted(asked.limit, before, tuple(Status(w) for w in words), asked.point, asked.author, asked.open)


_COMMANDS = f"{API}/commands"
COMMAND_VERBS: tuple[Verb, ...] = (
    Verb(
        "submit", submit, CommandRequest, CommandRecord, "Submit a command, or with dry_run say what it meets",
        Act.COMMAND, "POST", _COMMANDS, CommandRequest, ("dry_run", "predict"), 202,
    ),
    Verb("check", check, CommandRequest, CommandCheck, "What a command would meet", Act.COMMAND, "", ""),
    Verb(
        "commands", commands, CommandsWanted, CommandPage, "Commands, newest first", Act.SEE, "GET", _COMMANDS,
        query=("limit", "cursor", "status", "point", "author", "open"),
    ),
    Verb(
        "command", command, CommandName, CommandRecord, "One command and its transitions", Act.SEE, "GET",
        f"{_COMMANDS}/{{id}}",
    ),
    *(
        Verb(
            handler.__name__, handler, CommandName, CommandRecord, summary, Act.COMMAND, "POST",
            f"{_COMMANDS}/{{id}}/{handler.__name__}", wire.Reason,
        )
        for handler, summary in (
            (operate, "Send what was selected on its way"),
            (approve, "Approve what somebody else wants"),
            (reject, "Refuse what somebody else wants"),
            (cancel, "Cancel a command that was not sent"),
        )
    ),
    Verb(
        "settle", settle, CommandOutcome, CommandRecord, "Say how an UNKNOWN command ended", Act.COMMAND,
        "POST", f"{_COMMANDS}/{{id}}/settle", Outcome,
    ),
    Verb("stops", stops, Nothing, list[StopInfo], "Emergency stops of the plant", Act.SEE, "GET", f"{API}/stop"),
    Verb(
        "stop", stop, StopName, StopAnswer, "Stop at once: every point of it as an emergency command",
        Act.COMMAND, "POST", f"{API}/stop/{{id}}", StopRequest, status=202, urgent=True,
    ),
)  # fmt: skip


def typed(verb: Verb, given: Mapping[str, Any], *, strict: bool = True) -> Body:
    """The verb's body from what a caller sent; not strict where numbers come as text.

    Raises:
        BadRequest: it is not of that type; the message names the field.
    """
    try:
        return msgspec.convert(given, verb.takes, strict=strict)
    except msgspec.ValidationError as error:
        raise BadRequest(f"this is no {verb.takes.__name__}: {error}", "docs/wire.md says what is") from None


def route(verb: Verb) -> Route:
    async def handler(parts: Parts, call: Call) -> Answer:
        if verb.name == "submit":
            predict = call.flag("predict")
            if call.flag("dry_run"):
                return Reply(await check(parts, call.caller, call.body, predict), 200)
            return await submit(parts, call.caller, call.body)
        given = {} if call.body is None else msgspec.to_builtins(call.body)
        asked = {k: v for k, v in call.query.items() if k in verb.query}
        return await verb.handler(parts, call.caller, typed(verb, {**given, **asked, **call.path}, strict=not asked))

    handler.__name__ = verb.name
    return Route(
        verb.method, verb.path, handler, verb.summary, verb.gives, verb.body, verb.query, verb.status, act=verb.act
    )
