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
        ends = np.cumsum(sizes, dtype=np.int32)
        starts = ends - sizes
        return cls(
            np.frombuffer(b"".join(parts), np.uint8),
            starts[0::2], sizes[0::2], starts[1::2], sizes[1::2],
            np.array([0x30 | m.retained for m in messages], np.uint8),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.first)

    def topic(self, row: int) -> bytes:
        at = int(self.topic_at[row])
        return self.data[at : at + int(self.topic_size[row])].tobytes()

    def payload(self, row: int) -> bytes:
        at = int(self.payload_at[row])
        return self.data[at : at + int(self.payload_size[row])].tobytes()

    def __iter__(self) -> Iterator[Message]:
        view = self.data.data
        columns = (self.topic_at, self.topic_size, self.payload_at, self.payload_size, self.first)
        for topic, topic_size, payload, payload_size, first in zip(*(c.tolist() for c in columns), strict=True):
            yield Message(
                bytes(view[topic : topic + topic_size]),
                bytes(view[payload : payload + payload_size]),
                bool(first & RETAIN),
            )
