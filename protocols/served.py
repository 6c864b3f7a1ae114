"""The serving side of a protocol: what a simulated device is to the fleet that moves it; must not know any protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from twin.points import Point

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
