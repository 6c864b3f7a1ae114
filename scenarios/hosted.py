"""One device of a fleet: its server, the cable in front of it, and what acts on it now; must not know what moves it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from protocols.cable import Cable
from protocols.faults import Fault, Kind, trouble
from protocols.served import ServedDevice
from twin.plant import Device

RESTART_TRIES, RESTART_WAIT_S = 20, 0.25  # another process may hold the port for a moment: 5 s in all


@dataclass(eq=False)
class Hosted:
    """A served device.

    Attributes:
        ids: of its points, shape (n,).
        asked: where the plant wants it to listen.
    """

    device: Device
    served: ServedDevice
    ids: NDArray[np.int32]
    asked: str
    chance: random.Random
    cable: Cable | None = None
    lost_share: float = 0.0
    refuses: bool = False
    _acting: list[Fault] = field(default_factory=list)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # one start or stop at a time

    async def start(self) -> None:
        """Serve it, behind its cable if it has one.

        Raises:
            OSError: an endpoint cannot be served.
        """
        await self.served.start()
        if self.cable is not None:
            self.cable.target = _place(self.served.endpoint)
            host, port = _place(self.asked)
            # A broker stands where the plant says: the way to it begins somewhere else.
            await self.cable.start(host, 0 if self.device.protocol == "mqtt" else port)

    async def stop(self) -> None:
        """Also a device that never started."""
        if self.cable is not None:
            await self.cable.stop()
        async with self._turn:
            await self.served.stop()

    @property
    def endpoint(self) -> str:
        """Where a link reaches it."""
        if self.cable is None:
            return self.served.endpoint
        parts = urlsplit(self.served.endpoint)
        user, at, _ = parts.netloc.rpartition("@")
        host = parts.hostname or "127.0.0.1"
        shown = f"[{host}]" if ":" in host else host
        return parts._replace(netloc=f"{user}{at}{shown}:{self.cable.port}").geturl()

    async def begin(self, fault: Fault) -> None:
        """A fault of the cable or of the whole device begins."""
        match fault.kind:
            case Kind.RESTART:
                async with self._turn:
                    await self.served.stop()
            case Kind.LOSE:
                self.lost_share = fault["share"]
            case Kind.REFUSE_WRITES:
                self.refuses = True
            case _:
                self._acting.append(fault)
                self._suffer()

    async def end(self, fault: Fault) -> None:
        """
        Raises:
            OSError: the device cannot be served again.
        """
        match fault.kind:
            case Kind.RESTART:
                async with self._turn:
                    await self._start_again()
            case Kind.LOSE:
                self.lost_share = 0.0
            case Kind.REFUSE_WRITES:
                self.refuses = False
            case _:
                self._acting.remove(fault)
                self._suffer()

    def loses(self) -> bool:
        """Whether the publication that is due now gets lost."""
        return self.lost_share > 0 and self.chance.random() < self.lost_share

    async def publish(self, values: Mapping[int, float | str], source_time: int, quality: Mapping[int, int]) -> None:
        await self.served.publish(values, source_time, quality)

    def _suffer(self) -> None:
        if self.cable is not None:
            self.cable.suffer(trouble(self._acting))

    async def _start_again(self) -> None:
        for left in reversed(range(RESTART_TRIES)):
            try:
                await self.served.start()
                return
            except OSError:
                if not left:
                    raise
            await asyncio.sleep(RESTART_WAIT_S)


def _place(endpoint: str) -> tuple[str, int]:
    parts = urlsplit(endpoint)
    default = 1883 if parts.scheme == "mqtt" else 0
    return parts.hostname or "127.0.0.1", default if parts.port is None else parts.port
