"""What can happen to commands in the model test, and how often; must not know what may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from control.command import UNSENT, Command, Status
from control.request import Request
from protocols.link import WriteOutcome
from tests.control.command_model import PEOPLE, Model
from tests.control.command_yard import SECOND, YARD, hold
from twin.errors import TwinloopError


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
    "look": (10, _look),
    "predict": (3, _predict),
    "link": (2, _link_changes),
    "plant": (3, _plant_changes),
    "time": (16, _time_passes),
}
