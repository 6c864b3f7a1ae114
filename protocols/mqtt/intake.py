"""Messages into a batch of readings: numbers in columns where a payload is plain, one by one where not; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.delivery import Batch
from protocols.mqtt import codec, documents, msgpack_documents, packed
from protocols.mqtt.bindings import Bindings, Pointer
from protocols.mqtt.layout import Layout
from protocols.mqtt.messages import Message, Messages
from twin.points import Point, Selection
from twin.quality import GOOD, UNCERTAIN_LAST_USABLE

VALUES_MAX = 32_768  # of one pass: 0.9 MB of columns; a message with more is taken one by one
POINTS_MAX = 20_000  # kept as objects, which takes 8 MB: those that cannot be taken in columns


@dataclass(frozen=True, slots=True)
class Columns:
    """Room for the values of one pass, see Batch.add_columns; `message`: the number of the message of each."""

    row: NDArray[np.int32]
    wire: NDArray[np.float64]
    kind: NDArray[np.uint8]
    quality: NDArray[np.uint32]
    stamp: NDArray[np.int64]
    message: NDArray[np.int32]

    @classmethod
    def sized(cls, size: int) -> Columns:
        return cls(
            np.empty(size, np.int32), np.empty(size), np.empty(size, np.uint8), np.empty(size, np.uint32),
            np.empty(size, np.int64), np.empty(size, np.int32),
        )  # fmt: skip


class Reader(Protocol):
    """Reads the plain payloads of one format."""

    def take(self, messages: Messages, topic: NDArray[np.int32], begin: int, into: Columns) -> tuple[int, int]:
        """From message `begin` up to one that is by hand -> (values, the message that is next)."""


class JsonReader:
    def __init__(self, bindings: Bindings, points: int) -> None:
        self._places = bindings.places
        self._marks = np.empty(VALUES_MAX, np.uint8)
        self._seen = (np.full(points, -1, np.int64), np.full(bindings.places.containers, -1, np.int64))
        self._serial = 0

    def take(self, messages: Messages, topic: NDArray[np.int32], begin: int, into: Columns) -> tuple[int, int]:
        places = self._places
        taken: tuple[int, int] = documents.take(
            messages.data, messages.payload_at, messages.payload_size, messages.first, topic, begin,
            places.bare, places.root, *places.keys.columns(),
            places.key_first, places.item_first, places.item_count, places.items,
            *self._seen, self._serial,
            into.row, into.wire, into.kind, into.quality, into.stamp, self._marks, into.message,
        )  # fmt: skip
        self._serial += len(topic)
        return taken


class MsgpackReader:
    """`guess`: payloads may be of another format."""

    def __init__(self, bindings: Bindings, points: int, guess: bool) -> None:
        self._places = bindings.places
        self._guess = guess
        self._marks = np.empty(VALUES_MAX, np.uint8)
        self._seen = (np.full(points, -1, np.int64), np.full(bindings.places.containers, -1, np.int64))
        self._serial = 0

    def take(self, messages: Messages, topic: NDArray[np.int32], begin: int, into: Columns) -> tuple[int, int]:
        places = self._places
        taken: tuple[int, int] = msgpack_documents.take(
            messages.data, messages.payload_at, messages.payload_size, messages.first, topic, begin, self._guess,
            places.bare, places.root, *places.keys.columns(),
            places.key_first, places.item_first, places.item_count, places.items,
            *self._seen, self._serial,
            into.row, into.wire, into.kind, into.quality, into.stamp, self._marks, into.wire.view(np.uint64), into.message,
        )  # fmt: skip
        self._serial += len(topic)
        return taken


class PackedReader:
    def __init__(self, bindings: Bindings, layout: Layout) -> None:
        self._places = bindings.places
        self._layout = layout

    def take(self, messages: Messages, topic: NDArray[np.int32], begin: int, into: Columns) -> tuple[int, int]:
        places, layout, bits = self._places, self._layout, into.wire.view(np.uint64)
        count, after = packed.take(
            messages.data, messages.payload_at, messages.payload_size, messages.first, topic, begin,
            layout.size, layout.head, layout.tail, places.root, places.item_first, places.item_count, places.items,
            into.row, bits, into.kind, into.quality, into.stamp, into.message,
        )  # fmt: skip
        if layout.size == 4:
            into.wire[:count] = bits[:count].astype(np.uint32).view(np.float32)
        return count, after


class Intake:
    """Takes the messages of one link. `expects`: whether a topic without points is nothing to complain of."""

    def __init__(
        self, bindings: Bindings, points: Selection, form: str, layout: str, expects: Callable[[str], bool]
    ) -> None:
        self._bindings = bindings
        self._points = points
        self._form = form
        self._layout = layout
        self._expects = expects
        self._made: dict[int, Point] = {}
        self._columns = Columns.sized(VALUES_MAX)
        self._readers = _readers(bindings, len(points), form, layout)

    def take(self, batch: Batch, messages: Messages) -> None:
        """Everything in order."""
        topic = self._bindings.numbers(messages)
        count, begin = len(messages), 0
        while begin < count:
            n, after = 0, begin
            for reader in self._readers:
                n, after = reader.take(messages, topic, begin, self._columns)
                if n:
                    self._add(batch, messages, n)
                    break
            if n == 0 and after < count:
                self._by_hand(batch, messages.message(after))
                after += 1
            begin = after

    def _add(self, batch: Batch, messages: Messages, count: int) -> None:
        c = self._columns
        row, number = c.row[:count], c.message[:count]
        last: list[tuple[int, Message, object]] = []

        def doubt(place: int) -> None:
            if not last or last[0][0] != number[place]:
                message = messages.message(int(number[place]))
                last[:] = [(int(number[place]), message, self._decode(message))]
            _, message, document = last[0]
            pointer = self._bindings.pointer(message.topic, int(row[place]))
            self._value(batch, message, message.topic.decode(), document, int(row[place]), pointer)

        batch.add_columns(row, c.wire[:count], c.kind[:count], c.quality[:count], c.stamp[:count], doubt)

    def _by_hand(self, batch: Batch, message: Message) -> None:
        topic = message.topic.decode(errors="replace")
        bound, level = self._bindings.bound(message.topic), None
        if not bound and (said := self._bindings.by_level(message.topic)) is not None:
            bound, level = self._bindings.bound(said[0]), said[1]
        if not bound:
            if not self._expects(topic):
                batch.reject(topic, "unknown_address", "no point is bound to this topic", message.payload)
            return
        try:
            document = self._decode(message) if level is None else codec.level_document(level, message.payload)
        except codec.Malformed as fault:
            for row, _ in bound:
                batch.reject(topic, fault.reason, fault.detail, message.payload, self._point(row).name)
            return
        found = [self._value(batch, message, topic, document, row, pointer) for row, pointer in bound]
        if not any(found):
            for row, pointer in bound:
                detail = f"the payload has no /{'/'.join(pointer)}"
                batch.reject(topic, "decode", detail, message.payload, self._point(row).name)

    def _value(self, batch: Batch, message: Message, topic: str, document: object, row: int, pointer: Pointer) -> bool:
        """Whether the document says anything about the point, believable or not."""
        point = self._point(row)
        try:
            found = codec.look_up(document, pointer, point.type == "object")
        except codec.Malformed as fault:
            batch.reject(topic, fault.reason, fault.detail, message.payload, point.name)
            return True
        if found is None:
            return False
        # A retained value is what the broker remembers, not what the device says now.
        retained = message.retained and found.quality == GOOD
        quality = UNCERTAIN_LAST_USABLE if retained else found.quality
        batch.add(point, found.value, quality, found.stamp, topic, message.payload)
        return True

    def _decode(self, message: Message) -> object:
        return codec.decode_payload(message.payload, self._form, self._layout)

    def _point(self, row: int) -> Point:
        made = self._made.get(row)
        if made is None:
            if len(self._made) >= POINTS_MAX:
                self._made.clear()
            made = self._made[row] = self._points[row]
        return made


def _readers(bindings: Bindings, points: int, form: str, layout: str) -> Sequence[Reader]:
    """In the order in which a payload is offered to them."""
    if form == "packed":
        return [PackedReader(bindings, Layout.of(layout))]
    msgpack = MsgpackReader(bindings, points, form == "auto")
    if form == "msgpack":
        return [msgpack]
    json = JsonReader(bindings, points)
    return [json, msgpack] if form == "auto" else [json]
