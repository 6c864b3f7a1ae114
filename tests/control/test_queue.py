"""Which of a device's commands goes next: by class, with ageing, then first come."""

from __future__ import annotations

from control.command import Command, Priority, Status, Transition
from control.queue import Line

MINUTE = 60 * 10**9


def line(*waiting: tuple[str, Priority, int]) -> Line:
    made = Line(online=True)
    for order, (identity, priority, entered) in enumerate(waiting):
        first = (Transition(Status.QUEUED, entered, ""),)
        command = Command(identity, identity, "me", "p.x", 1.0, priority, 10**18, "", Status.QUEUED, first)
        made.enter(command, entered, order)
    return made


def following(queue: Line, now: int, *, emergencies_only: bool = False) -> list[str]:
    """All of them, in the order in which they would go now."""
    went: list[str] = []
    while (identity := queue.next(lambda _: True, now, emergencies_only)) is not None:
        queue.leave(identity)
        went.append(identity)
    return went


def test_an_emergency_goes_before_everything_and_nothing_ages_past_it() -> None:
    queue = line(("old", Priority.OPTIMISER, 0), ("stop", Priority.EMERGENCY, 100 * MINUTE))
    assert following(queue, 100 * MINUTE) == ["stop", "old"]


def test_a_waiting_command_ages_towards_the_front() -> None:
    waiting = (("new", Priority.OPERATOR, 2 * MINUTE), ("old", Priority.SCHEDULE, 0))
    assert following(line(*waiting), 2 * MINUTE) == ["old", "new"]
    younger = (("new", Priority.OPERATOR, 2 * MINUTE), ("old", Priority.SCHEDULE, 2 * MINUTE - 1))
    assert following(line(*younger), 2 * MINUTE) == ["new", "old"]


def test_commands_of_one_class_go_first_come_first_served() -> None:
    queue = line(("first", Priority.OPERATOR, 1), ("second", Priority.OPERATOR, 1), ("third", Priority.OPERATOR, 2))
    assert following(queue, 3) == ["first", "second", "third"]


def test_one_that_comes_back_takes_its_old_place() -> None:
    queue = line(("first", Priority.OPERATOR, 1), ("second", Priority.OPERATOR, 2))
    queue.leave("first")
    first = (Transition(Status.QUEUED, 1, ""),)
    queue.enter(Command("first", "k", "me", "p.x", 1.0, Priority.OPERATOR, 10**18, "", Status.QUEUED, first), 1, 0)
    assert following(queue, 3) == ["first", "second"]


def test_who_may_not_go_holds_up_nobody_behind() -> None:
    queue = line(("held", Priority.OPERATOR, 1), ("free", Priority.OPERATOR, 2))
    assert queue.next(lambda identity: identity != "held", 3, False) == "free"


def test_while_a_write_is_under_way_only_emergencies_go() -> None:
    queue = line(("urgent", Priority.SAFETY, 1), ("stop", Priority.EMERGENCY, 2))
    assert following(queue, 3, emergencies_only=True) == ["stop"]


def test_a_place_is_the_number_of_those_that_would_go_before() -> None:
    queue = line(("a", Priority.OPERATOR, 1), ("b", Priority.OPERATOR, 2), ("stop", Priority.EMERGENCY, 3))
    assert [queue.before(i, 4) for i in ("stop", "a", "b", "nobody")] == [0, 1, 2, 0]
