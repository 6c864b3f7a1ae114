"""The commands that wait for one device, and which goes next: by class with ageing, then first come; pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field

from control.command import Command, Priority

OF_POINT_MAX = 200  # open commands of one point: a week at every hour; an emergency ends all of them in one commit
QUEUE_MAX = 10_000  # open commands of one device: beyond it nobody is waiting for an answer any more
AGEING_NS = 60 * 1_000_000_000
"""A command waits at most this long for each class above it; nothing ages into the emergency class."""


def rank(priority: Priority, entered: int, now: int) -> tuple[int, int]:
    """Smaller goes first: class after ageing, then the time of entering the queue (ns)."""
    if priority is Priority.EMERGENCY:
        return Priority.EMERGENCY, entered
    aged = priority - (now - entered) // AGEING_NS
    return max(Priority.SAFETY, aged), entered


@dataclass(slots=True)
class Line:
    """One device's queue.

    Attributes:
        online: whether its link is.
        writing: ids handed to the link and not answered.
        held_until: nothing goes before this (ns): the link said that it could not send.
        free_at: the device's pace lets nothing but emergencies go before this (ns).
        wake_at: when the pace of some point lets its next command go (ns).
        open: how many commands of the device have not ended.
    """

    online: bool = False
    writing: set[str] = field(default_factory=set)
    held_until: int = 0
    free_at: int = 0
    wake_at: int = 0
    open: int = 0
    _classes: dict[Priority, list[tuple[int, int, str]]] = field(default_factory=lambda: {p: [] for p in Priority})
    _places: dict[str, tuple[Priority, tuple[int, int, str]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, command: Command, entered: int, order: int) -> None:
        """`entered` (ns) when it was first queued, `order` tells apart those of one moment."""
        place = (entered, order, command.id)
        insort(self._classes[command.priority], place)
        self._places[command.id] = (command.priority, place)

    def leave(self, identity: str) -> None:
        """No harm if it does not wait here."""
        found = self._places.pop(identity, None)
        if found is not None:
            priority, place = found
            waiting = self._classes[priority]
            del waiting[bisect_left(waiting, place)]

    def next(self, may_go: Callable[[str], bool], now: int, emergencies_only: bool) -> str | None:
        """The id to send now. `may_go` is asked of the first of a class, then of the second …, until one may."""
        best: tuple[tuple[int, int], str] | None = None
        for priority, waiting in self._classes.items():
            if emergencies_only and priority is not Priority.EMERGENCY:
                break
            for entered, _, identity in waiting:
                if may_go(identity):
                    found = (rank(priority, entered, now), identity)
                    best = found if best is None or found < best else best
                    break
            if best is not None and best[0][0] == Priority.EMERGENCY:
                break
        return best[1] if best else None

    def before(self, identity: str, now: int) -> int:
        """How many would go before it now."""
        if identity not in self._places:
            return 0
        priority, (entered, order, _) = self._places[identity]
        mine = (*rank(priority, entered, now), order)
        return sum((*rank(p, e, now), o) < mine for p, w in self._classes.items() for e, o, _ in w)
