"""What can happen to commands in the model test, and how often; must not know what may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal

import msgspec

from control.command import UNSENT, Command, Priority, Status
from control.group import GroupRequest, MemberRequest
from control.lease import LeaseRequest
from control.orders import Orders
from control.request import Request
from protocols.link import WriteOutcome
from tests.control.command_model import PEOPLE, Model
from tests.control.command_yard import SECOND, YARD, hold
from twin.errors import TwinloopError

REVERTED = ("a.free", "a.plain", "a.chosen", "b.free", "b.slow", "b.both", "c.free", "c.slewing")


def run(seed: int) -> Model:
    """A whole run.

    Raises:
        Wrong: something was that may never be.
    """
    model = Model(seed)
    model.run(STEPS)
    return model


def _submit_new(model: Model) -> None:
    model.submit(*(model.new_request()[0] for _ in range(model.chance.choices((1, 3, 12), (8, 3, 1))[0])))


def _submit_again(model: Model) -> None:
    """The answer was lost, or the caller is impatient: the same key gives the same command, for ever."""
    if not model.requests:
        return
    key = model.chance.choice(list(model.requests))
    known = model.told.get(key)
    for found in model.submit(key):
        if known is not None:
            hold(isinstance(found, Command) and found.id == known[0], "another answer for the same key", key, found)


def _submit_other(model: Model) -> None:
    """The same key with another body."""
    if not model.told:
        return
    key = model.chance.choice(list(model.told))
    mine = model.requests[key]
    model.requests[key] = Request(mine.key, mine.point, mine.value + 0.0001, mine.priority, mine.deadline_s)
    try:
        for found in model.submit(key):
            hold(isinstance(found, TwinloopError) and found.code == "conflict", "a key was taken twice", key, found)
    finally:
        model.requests[key] = mine


def _operate(model: Model) -> None:
    command = model.some_open(Status.SELECTED)
    if command is not None:
        by = command.author if model.chance.random() < 0.8 else model.chance.choice(PEOPLE)
        answers = model.take((lambda now: model.desk.operate(command.id, by, now), None))
        hold(by == command.author or not any(isinstance(a, Command) for a in answers), "operated by another", command)


def _approve(model: Model) -> None:
    command = model.some_open(Status.AWAITING_APPROVAL)
    if command is not None:
        by = model.chance.choice(PEOPLE)
        model.take((lambda now: model.desk.approve(command.id, by, "", now), None))


def _reject(model: Model) -> None:
    command = model.some_open(Status.AWAITING_APPROVAL)
    if command is not None:
        model.take((lambda now: model.desk.reject(command.id, "uwe", "no", now), None))


def _cancel(model: Model) -> None:
    command = model.some_open(*Status)
    if command is not None:
        answers = model.take((lambda now: model.desk.cancel(command.id, command.author, "", now), None))
        gone = any(isinstance(a, Command) for a in answers)
        hold(not gone or command.status in UNSENT, "cancelled although it was sent", command)


def _settle(model: Model) -> None:
    """By hand, by somebody who went there and looked."""
    command = model.some_open(Status.UNKNOWN)
    if command is not None and not model.online[model.yard.point(command.point).device]:
        to = Status.CONFIRMED if model.acts[command.id] else Status.FAILED
        model.take((lambda now: model.desk.settle(command.id, "uwe", to, "looked", now), None))


def _answer(model: Model) -> None:
    if model.flights:
        outcome = model.chance.choices(list(WriteOutcome), (12, 2, 2, 2))[0]
        model.answer(model.chance.choice(model.flights), outcome)


def _acts_unanswered(model: Model) -> None:
    """The device has acted, and its answer takes its time."""
    waiting = [f for f in model.flights if not f.acted]
    if waiting:
        flight = model.chance.choice(waiting)
        model._device_acts(flight)
        if model.chance.random() < 0.5:
            model.answer(flight, model.chance.choice((WriteOutcome.ACCEPTED, WriteOutcome.UNKNOWN)))
        else:
            model.crashing, before = 1.0, model.crashing  # after the write, before its answer is recorded
            try:
                model._boundary("after the effect")
            finally:
                model.crashing = before


def _look(model: Model) -> None:
    if model.looks:
        model.look(model.chance.choice(model.looks), model.chance.random() < 0.9)


def _predict(model: Model) -> None:
    if model.predictions:
        model.predict(model.chance.choice(model.predictions), model.chance.random() < 0.8)


def _link_changes(model: Model) -> None:
    device = model.chance.choice(list(YARD))
    online = not model.online[device]
    if not online:  # what it had under way ends first: the link says of each what it knows
        for flight in [f for f in model.flights if f.device == device]:
            model.answer(
                flight, model.chance.choice((WriteOutcome.UNKNOWN, WriteOutcome.NOT_SENT, WriteOutcome.ACCEPTED))
            )
    model._link(device, online)


def _plant_changes(model: Model) -> None:
    point, condition = model.chance.choice(list(model.yard.points)), model.chance.choice("xyz")
    model.yard.locked ^= {point} if model.chance.random() < 0.5 or point in model.yard.locked else set()
    model.yard.holding ^= {condition}


def _time_passes(model: Model) -> None:
    step_s = model.chance.choices((0.001, 0.05, 0.5, 3.0, 100.0), (6, 6, 6, 2, 0.4))[0] * model.chance.random()
    model.now += int(step_s * SECOND)
    model.yard.clock_s += step_s
    model.take()


def _lease(model: Model) -> None:
    """Sometimes with the key of one before: the same lease, however it ended."""
    chance, known = model.chance, list(model.disk.leases.values())
    if known and chance.random() < 0.2:
        before = chance.choice(known)
        asked, holder = msgspec.json.decode(before.asked, type=LeaseRequest), before.holder
        asked = msgspec.structs.replace(asked, key=before.key)
    else:
        points = tuple(chance.sample(list(model.yard.points), chance.choice((1, 1, 2, 4))))
        revert = {p: model.fresh_value() for p in points if chance.random() < 0.4 and p in REVERTED}
        priority = chance.choice([Priority.SAFETY, Priority.OPERATOR, Priority.OPTIMISER])
        key, holder = f"l{model.fresh_value()}", chance.choice(PEOPLE)
        asked = LeaseRequest(key, points, chance.choice([1.0, 3.0, 20.0]), priority, revert)
    before_, identity = model.disk.store.leases.by_key(holder, asked.key), model.new_id()

    def act(now: int) -> Orders:
        lease, orders = model.leasing.take(asked, holder, identity, model.yard.plant, before_, now)
        hold(before_ is None or lease.id == before_.id, "two leases for one key", lease, before_)
        return orders

    model.take((act, None))


def _beat(model: Model) -> None:
    held = model.leasing.book.active
    if held:
        lease = model.chance.choice(held)
        with suppress(TwinloopError):
            model.leasing.book.beat(lease.id, lease.holder, model.now)


def _release(model: Model) -> None:
    held = model.leasing.book.active
    if held:
        lease, revert = model.chance.choice(held), model.chance.random() < 0.5
        by = lease.holder if model.chance.random() < 0.8 else "otto"
        model.take((lambda now: model.leasing.release(lease.id, by, now, others=False, revert=revert)[1], None))


def _group(model: Model) -> None:
    chance = model.chance
    points = chance.sample([p for p in model.yard.points if p not in ("a.chosen", "b.both")], chance.choice((1, 2, 3)))
    members = tuple(
        MemberRequest(p, model.fresh_value(), model.fresh_value() if chance.random() < 0.6 else None) for p in points
    )
    order: Literal["sequence", "together"] = chance.choice(["sequence", "together"])
    asked = GroupRequest(f"g{model.fresh_value()}", members, order, Priority.OPERATOR, chance.choice([0.5, 5.0, 100.0]))
    author, identity = chance.choice(PEOPLE), model.new_id()
    model.take((lambda now: model.grouping.submit(asked, author, identity, None, now)[1], None))


def _cancel_group(model: Model) -> None:
    if model.grouping.open:
        team = model.chance.choice(model.grouping.open)
        model.take((lambda now: model.grouping.cancel(team.group.id, team.group.author, "", now)[1], None))


STEPS: Mapping[str, tuple[float, Callable[[Model], None]]] = {
    "submit": (12, _submit_new),
    "submit again": (4, _submit_again),
    "submit other": (1, _submit_other),
    "operate": (4, _operate),
    "approve": (5, _approve),
    "reject": (0.3, _reject),
    "cancel": (2, _cancel),
    "settle": (1, _settle),
    "answer": (18, _answer),
    "acts unanswered": (0.6, _acts_unanswered),
    "lease": (2, _lease),
    "beat": (2, _beat),
    "release": (0.5, _release),
    "group": (2, _group),
    "cancel group": (0.3, _cancel_group),
    "look": (10, _look),
    "predict": (3, _predict),
    "link": (2, _link_changes),
    "plant": (3, _plant_changes),
    "time": (16, _time_passes),
}
