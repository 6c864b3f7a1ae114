"""What moves a plant's simulated devices: three verbs; must not know sockets, nor any one plant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from twin.points import Point


@dataclass(frozen=True, slots=True)
class Measured:
    """What the instruments read now, those of them that there are. Columns have shape (n,).

    Attributes:
        ids: dense point ids, each once.
        value: in the twin's unit; NaN for texts and structured values.
        quality: OPC UA status codes.
        text: point id -> text or canonical JSON; only what changed need be there.
    """

    ids: NDArray[np.int32]
    value: NDArray[np.float64]
    quality: NDArray[np.uint32]
    text: Mapping[int, str] = field(default_factory=dict)


class Mover(Protocol):
    """The physics behind the devices. `advance` runs in a worker thread, the others on the event loop's thread."""

    def advance(self, elapsed_s: float) -> Measured:
        """Let the plant live until so many seconds of its own time after its start; readings of that moment."""

    def command(self, point: Point, value: float) -> bool:
        """A client wrote; False refuses. What is accepted acts at the next `advance`."""

    def settings(self) -> Mapping[int, float]:
        """What the devices were told last, by point id."""
