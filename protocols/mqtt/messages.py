"""Messages of one read of the socket as columns over its bytes; must not know sockets, topics that count, or points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RETAIN = 0x01  # of a PUBLISH's first byte, 3.3.1.3


@dataclass(frozen=True, slots=True)
class Message:
    """One PUBLISH as it came. The topic stays bytes until somebody answers for its text."""

    topic: bytes
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Messages:
    """N messages over the bytes of a buffer that is overwritten later: whoever is given them takes what he needs now.

    Attributes:
        data: the buffer, uint8.
        topic_at, topic_size, payload_at, payload_size: places in it, int32, shape (N,).
        first: first byte of each packet, uint8, shape (N,).
    """

    data: NDArray[np.uint8]
    topic_at: NDArray[np.int32]
    topic_size: NDArray[np.int32]
    payload_at: NDArray[np.int32]
    payload_size: NDArray[np.int32]
    first: NDArray[np.uint8]

    @classmethod
    def of(cls, messages: Sequence[Message]) -> Messages:
        """The same columns over bytes of their own."""
        parts = [part for m in messages for part in (m.topic, m.payload)]
        sizes = np.array([len(part) for part in parts], np.int32)
        starts = np.cumsum(sizes, dtype=np.int32) - sizes
        return cls(
            np.frombuffer(b"".join(parts), np.uint8),
            starts[0::2].copy(), sizes[0::2].copy(), starts[1::2].copy(), sizes[1::2].copy(),
            np.array([0x30 | m.retained for m in messages], np.uint8),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.first)

    def message(self, row: int) -> Message:
        topic, payload = int(self.topic_at[row]), int(self.payload_at[row])
        return Message(
            self.data[topic : topic + int(self.topic_size[row])].tobytes(),
            self.data[payload : payload + int(self.payload_size[row])].tobytes(),
            bool(self.first[row] & RETAIN),
        )

    def __iter__(self) -> Iterator[Message]:
        return (self.message(row) for row in range(len(self)))
