"""The messages that go in bulk: requests into bytes, answers into columns; pure, imports no OPC UA library."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.opcua import binary

READ, CREATE_ITEMS, PUBLISH, REPUBLISH = 631, 751, 826, 832
"""Ids of the requests' binary encodings (Part 6, annex A)."""

ROWS_FIRST = 1024  # of an answer's columns, 39 bytes each; they grow to the longest answer
HEADER_BYTES = 100  # of a request at most, with a long authentication token
VALUE, DATA_TYPE = 13, 14  # attributes of a node (Part 6, annex A)

WHATEVER_AGE_MS = float(2**31 - 1)  # what the server holds (Part 4, 5.10.2)

_BOTH = 2  # TimestampsToReturn: the source's and the server's
_REPORTING = 2  # MonitoringMode
_NO_STRUCTURE = b"\x00\x00\x00"  # an ExtensionObject of nothing
_NO_TEXT = b"\xff\xff\xff\xff"
_WHOLE_AS_IT_IS = _NO_TEXT + b"\x00\x00" + _NO_TEXT  # no IndexRange, no DataEncoding
_COUNT = struct.Struct("<i")
_HEADER = struct.Struct("<qII4sI3s")
_ACKNOWLEDGEMENT = struct.Struct("<II")
_ITEM = struct.Struct("<I10siId3sI?")  # behind the NodeId of a MonitoredItemCreateRequest


class Garbled(ValueError):
    """Bytes that no server may send: they end too soon, or a length in them is impossible."""


class Strange(ValueError):
    """Nothing wrong so far, but nothing that is read here: the library's own decoder is to try."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. Columns have shape (B,) and hold until the next answer is decoded.

    Attributes:
        body: the bytes.
        head: the cells that protocols.opcua.binary names.
        handle … stop: see protocols.opcua.binary.decode.
    """

    body: bytes
    head: tuple[int, ...]
    handle: NDArray[np.uint32]
    wire: NDArray[np.float64]
    kind: NDArray[np.uint8]
    quality: NDArray[np.uint32]
    stamp: NDArray[np.int64]
    builtin: NDArray[np.uint8]
    begin: NDArray[np.int32]
    stop: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.wire)

    def acknowledged(self) -> list[int]:
        """Status codes of the acknowledgements that went with the request."""
        return self._numbers(binary.ACKNOWLEDGED, binary.ACKNOWLEDGED_AT)

    def available(self) -> list[int]:
        """Sequence numbers that the server keeps for Republish."""
        return self._numbers(binary.AVAILABLE, binary.AVAILABLE_AT)

    def _numbers(self, count: int, at: int) -> list[int]:
        return list(struct.unpack_from(f"<{self.head[count]}I", self.body, self.head[at]))


class Answers:
    """Decodes one answer after the other into the same columns."""

    def __init__(self, rows: int = ROWS_FIRST) -> None:
        self._head = np.empty(binary.HEAD_CELLS, np.int64)
        self._columns = _columns(rows)

    def decode(self, body: bytes) -> Answer:
        """
        Raises:
            Garbled: not an answer as a whole.
            Strange: left to the library's decoder.
        """
        raw = np.frombuffer(body, np.uint8)
        outcome = binary.decode(raw, self._head, *self._columns)
        if outcome == binary.MORE:
            # An item takes 5 bytes at least, so the message itself limits how much this is.
            self._columns = _columns(int(self._head[binary.ROWS]))
            outcome = binary.decode(raw, self._head, *self._columns)
        if outcome == binary.CUT:
            raise Garbled(f"{len(body)} bytes that end before the message does")
        if outcome == binary.STRANGE:
            raise Strange(f"{len(body)} bytes in a form that is not read here")
        head = tuple(self._head.tolist())
        rows = head[binary.ROWS]
        return Answer(body, head, *(column[:rows] for column in self._columns))


def _columns(rows: int) -> tuple[NDArray[Any], ...]:
    kinds = (np.uint32, np.float64, np.uint8, np.uint32, np.int64, np.uint8, np.int32, np.int32)
    return tuple(np.empty(rows, kind) for kind in kinds)


_NUMBERS = {
    1: "<?", 2: "<b", 3: "<B", 4: "<h", 5: "<H", 6: "<i", 7: "<I", 8: "<q", 9: "<Q", 10: "<f", 11: "<d",
}  # fmt: skip
_TEXT = 12


def value_at(answer: Answer, row: int, rare: Callable[[bytes], object]) -> object:
    """The value of one row, exactly; None when there is none.

    Args:
        rare: decodes the bytes of a Variant that is neither a number nor a text.

    Raises:
        ValueError: a text that is not UTF-8.
    """
    builtin, begin = int(answer.builtin[row]), int(answer.begin[row])
    if builtin == binary.NO_VALUE:
        return None
    if builtin in _NUMBERS:
        return struct.unpack_from(_NUMBERS[builtin], answer.body, begin + 1)[0]
    if builtin == _TEXT:
        (count,) = _COUNT.unpack_from(answer.body, begin + 1)
        return None if count < 0 else answer.body[begin + 5 : begin + 5 + count].decode()
    return rare(raw_at(answer, row))


def raw_at(answer: Answer, row: int) -> bytes:
    """The bytes of one row's Variant."""
    return answer.body[answer.begin[row] : answer.stop[row]]


def request(encoding: int, token: bytes, sent_at: int, handle: int, hint_ms: int, parameters: bytes) -> bytes:
    """A request from the id of its encoding on.

    Args:
        token: the session's authentication token, a NodeId as bytes.
        sent_at: ns since 1970 UTC.
        hint_ms: how long an answer is of use; 0 for ever.
    """
    header = _HEADER.pack(sent_at // 100 + 116_444_736_000_000_000, handle, 0, _NO_TEXT, hint_ms, _NO_STRUCTURE)
    return b"\x01\x00" + encoding.to_bytes(2, "little") + token + header + parameters


def publish(acknowledgements: Sequence[tuple[int, int]]) -> bytes:
    """Parameters of a Publish; each acknowledgement is (subscription, sequence number)."""
    return _COUNT.pack(len(acknowledgements)) + b"".join(_ACKNOWLEDGEMENT.pack(*one) for one in acknowledgements)


def republish(subscription: int, sequence: int) -> bytes:
    """Parameters of a Republish."""
    return _ACKNOWLEDGEMENT.pack(subscription, sequence)


def read(nodes: Sequence[bytes], max_age_ms: float = 0.0) -> bytes:
    """Parameters of a Read of values; each node is a NodeId as bytes. An age of 0 asks the device itself."""
    tail = VALUE.to_bytes(4, "little") + _WHOLE_AS_IT_IS
    asked = b"".join(node + tail for node in nodes)
    return struct.pack("<dii", max_age_ms, _BOTH, len(nodes)) + asked


def create_items(subscription: int, items: Sequence[tuple[int, bytes]], sampling_ms: float, queue_size: int) -> bytes:
    """Parameters of a CreateMonitoredItems; each item is (client handle, NodeId as bytes)."""
    tail = (VALUE, _WHOLE_AS_IT_IS, _REPORTING)
    limits = (sampling_ms, _NO_STRUCTURE, queue_size, True)
    asked = b"".join(node + _ITEM.pack(*tail, handle, *limits) for handle, node in items)
    return struct.pack("<Iii", subscription, _BOTH, len(items)) + asked


def items_bytes(items: Sequence[tuple[int, bytes]]) -> int:
    """How long a CreateMonitoredItems of these is, its header included."""
    return HEADER_BYTES + sum(len(node) + _ITEM.size for _, node in items)
