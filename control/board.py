"""Every open command, found by id, key, point and device, and what comes due when; pure, decides nothing."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from enum import IntEnum

from control.command import Command
from control.queue import Line


class Timer(IntEnum):
    """What comes due: a command's last moment of waiting, its schedule, its next read-back, a device's next turn."""

    DEADLINE = 0
    DUE = 1
    LOOK = 2
    DEVICE = 3


class Board:
    """Times are ns since 1970 UTC."""

    def __init__(self) -> None:
        self.open: dict[str, Command] = {}
        self._of_point: dict[str, dict[str, None]] = {}
        self._of_key: dict[tuple[str, str], str] = {}
        self._lines: dict[str, Line] = {}
        self._timers: list[tuple[int, int, Timer, str]] = []
        self._count = 0

    def hold(self, command: Command) -> None:
        """As it is now; one that has ended goes."""
        key, others = (command.author, command.key), self._of_point.setdefault(command.point, {})
        if not command.final:
            self.open[command.id] = command
            self._of_key[key] = command.id
            others[command.id] = None
            return
        self.open.pop(command.id, None)
        self._of_key.pop(key, None)
        others.pop(command.id, None)
        if not others:
            del self._of_point[command.point]

    def by_key(self, author: str, key: str) -> Command | None:
        return self.open.get(self._of_key.get((author, key), ""))

    def of_point(self, point: str) -> list[Command]:
        """Open commands for it, oldest first."""
        return [self.open[identity] for identity in self._of_point.get(point, ())]

    def line(self, device: str) -> Line:
        line = self._lines.get(device)
        if line is None:
            line = self._lines[device] = Line()
        return line

    def next_number(self) -> int:
        """Tells apart what happens in one moment."""
        self._count += 1
        return self._count

    def at(self, time: int, kind: Timer, what: str) -> None:
        """`what` is a command's id or a device's."""
        heapq.heappush(self._timers, (time, self.next_number(), kind, what))

    def due(self, now: int) -> Iterator[tuple[Timer, str]]:
        """What has come due, oldest first; also what comes due meanwhile."""
        while self._timers and self._timers[0][0] <= now:
            _, _, kind, what = heapq.heappop(self._timers)
            yield kind, what

    def next_time(self) -> int | None:
        """When the next comes due."""
        return self._timers[0][0] if self._timers else None
