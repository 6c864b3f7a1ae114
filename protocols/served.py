"""The serving side of a protocol: simulated devices, and faces of the twin; must not know any protocol.

A simulated device is moved by the fleet. A face shows the twin to other programs: it reads a `TwinView` and asks it for
commands; it never writes to the twin.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.link import Clock
from twin.past import Past, Span
from twin.plant import Plant, Serving
from twin.points import Point, Points
from twin.role import Role
from twin.rules import Setting

OnWrite = Callable[[Point, float], bool]
"""A client wrote this value (twin's unit); True accepts it, False makes the device refuse it."""


class ServedDevice(Protocol):
    """A real server on a real socket that serves the points of one device."""

    endpoint: str
    """Where it really listens: a port 0 asked for is a port number here after `start`."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def publish(self, values: Mapping[int, float | str], source_time: int, quality: Mapping[int, int]) -> None:
        """New values by point id in the twin's unit, texts and canonical JSON as text; quality by point id, Good where
        absent. After a restart everything must be said again."""


# --- faces -----------------------------------------------------------------------------------------------------------

FACE_SETTINGS: Mapping[str, Setting] = {
    "points": Setting(list, ("*",), 'patterns of point names that are shown, such as ["tank_*", "*.flow"]'),
}
"""What every `[[serve]]` knows."""


@dataclass(frozen=True, slots=True)
class Guest:
    """Who asks through a face.

    Attributes:
        author: written into commands, such as `opcua:anna`.
        account: name of the account that signed in, whose role is looked up again at every command; "" where the
            protocol knows none and the plant file gave the role.
    """

    author: str
    role: Role
    account: str = ""


@dataclass(frozen=True, slots=True)
class States:
    """The newest reading of some points. Every column has shape (N,); columns are copies.

    Attributes:
        plant: as it is with these; another object than before once it was edited.
        point: dense ids, ascending.
        source_time: ns since 1970 UTC.
        text: point id -> text, for points that have one.
    """

    plant: Plant
    point: NDArray[np.int32]
    value: NDArray[np.float64]
    quality: NDArray[np.uint32]
    source_time: NDArray[np.int64]
    text: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.point)


@dataclass(frozen=True, slots=True)
class Asked:
    """A command as a face asks for it. Each one is new: the view gives it an idempotency key."""

    point: str
    value: float
    reason: str = ""
    priority: str = "operator"
    deadline_s: float = 30.0


@dataclass(frozen=True, slots=True)
class CommandState:
    """Where a command stands; `status` is a word of docs/operator.md."""

    id: str
    status: str
    final: bool
    detail: str


@dataclass(slots=True)
class Figures:
    """What a face counts about itself; read from another thread.

    Attributes:
        state: such as `listening at …`, `online` or `offline: …`.
        clients: connected now.
        writes: commands asked for and taken.
        refused: writes, commands and sign-ins refused.
        dropped: values that a newer one replaced before they could be told.
    """

    state: str = "starting"
    clients: int = 0
    writes: int = 0
    refused: int = 0
    dropped: int = 0


class TwinView(Protocol):
    """The twin as a face sees it, from the face's own event loop and no other.

    Everything raises the errors of twin/errors.py: BadRequest, NotFound, Refused, Denied, LimitExceeded, Unavailable.
    """

    figures: Figures

    @property
    def plant(self) -> Plant:
        """As of the newest states given."""

    def states(self) -> AsyncIterator[States]:
        """First of every shown point that was ever read, then of those that advanced since; coalesced and bounded.

        An edited plant comes as States with another `plant`, be they empty; and at least every second come some, a sign
        that the twin lives. One iterator at a time; a new one starts with everything again.
        """

    async def history(self, point: str, span: Span) -> list[Past]: ...

    async def command(self, asked: Asked, by: Guest) -> CommandState:
        """Through the same queue, checks and ledger as any command; durable when this returns.

        Raises:
            Denied, NotPermitted: the account is gone, or its role does not allow it (any more). And what a command over
                HTTP may be refused with.
        """

    async def follow(self, command_id: str, by: Guest, timeout_s: float) -> CommandState:
        """The command once it has ended, or as it stands when the time is over."""

    async def sign_in(self, name: str, password: str, peer: str) -> Role:
        """
        Args:
            peer: where the client is, such as its address: attempts are limited by it and by name.

        Raises:
            Denied: no such account, another password, or too many attempts.
        """


class Face(Protocol):
    """Shows the twin by one protocol."""

    endpoint: str
    """Where it really listens, or the broker it talks to."""

    async def start(self) -> None:
        """
        Raises:
            OSError: the place to listen is taken.
        """

    async def run(self) -> None:
        """Follow the view until cancelled. What is out there heals; it never ends this."""

    async def stop(self) -> None: ...


FaceFactory = Callable[[Serving, TwinView, Clock, Path | None], Face]
"""The path is that of the pki folder."""


@dataclass(slots=True)
class Shown:
    """Which points of a plant the patterns choose; grows with the plant."""

    patterns: Sequence[str]
    _mask: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))

    def of(self, points: Points) -> NDArray[np.bool_]:
        """Shape (points.size,); retired points are left out."""
        known = len(self._mask)
        if points.size > known:
            names = points.column("name").slice(known).to_pylist()
            self._mask = np.concatenate([self._mask, np.fromiter(chosen(names, self.patterns), np.bool_, len(names))])
        return self._mask[: points.size] & ~points.retired


def chosen(names: Iterable[str], patterns: Sequence[str]) -> Iterable[bool]:
    """Whether any pattern fits, name by name; `*` stands for any characters, `?` for one."""
    fits = re.compile("|".join(fnmatch.translate(p) for p in patterns) or r"(?!)").match
    return (fits(name) is not None for name in names)
