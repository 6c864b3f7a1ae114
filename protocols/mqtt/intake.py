"""Messages into a batch of readings: numbers in columns where a payload is plain, one by one where not; no I/O."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from protocols.delivery import Batch
from protocols.mqtt import codec
from protocols.mqtt.bindings import Bindings, Pointer
from protocols.mqtt.documents import take
from protocols.mqtt.messages import Message, Messages
from twin.points import Point, Selection
from twin.quality import GOOD, UNCERTAIN_LAST_USABLE

VALUES_MAX = 32_768  # of one pass: 0.9 MB of columns; a message with more is taken one by one

POINTS_MAX = 20_000  # kept as objects, which takes 8 MB: those that cannot be taken in columns


class Intake:
    """Takes the messages of one link. `expects`: whether a topic without points is nothing to complain of."""

    def __init__(self, bindings: Bindings, points: Selection, form: str, expects: Callable[[str], bool]) -> None:
        self._bindings = bindings
        self._points = points
        self._form = form
        self._expects = expects
        size = VALUES_MAX
        self._columns = (
            np.empty(size, np.int32), np.empty(size), np.empty(size, np.uint8), np.empty(size, np.uint32),
            np.empty(size, np.int64), np.empty(size, np.uint8), np.empty(size, np.int32),
        )  # fmt: skip
        self._made: dict[int, Point] = {}
        self._seen = (np.full(len(points), -1, np.int64), np.full(bindings.places.containers, -1, np.int64))
        self._serial = 0

    def take(self, batch: Batch, messages: Messages) -> None:
        """Everything in order."""
        places, topic = self._bindings.places, self._bindings.numbers(messages)
        count, begin = len(messages), 0
        while begin < count:
            n, after = take(
                messages.data, messages.payload_at, messages.payload_size, messages.first, topic, begin,
                places.bare, places.root, *places.keys.columns(), places.item_first, places.item_count, places.items,
                *self._seen, self._serial, *self._columns,
            )  # fmt: skip
            self._serial += count
            if n:
                self._add(batch, messages, n)
            if after < count and (n == 0 or after == begin):
                self._by_hand(batch, messages.message(after))
                after += 1
            begin = after

    def _add(self, batch: Batch, messages: Messages, count: int) -> None:
        rows, wires, kinds, qualities, stamps, _, numbers = self._columns
        row, number = rows[:count], numbers[:count]
        last: list[tuple[int, Message, object]] = []

        def doubt(place: int) -> None:
            if not last or last[0][0] != number[place]:
                message = messages.message(int(number[place]))
                last[:] = [(int(number[place]), message, codec.decode_payload(message.payload, self._form))]
            _, message, document = last[0]
            pointer = self._bindings.pointer(message.topic, int(row[place]))
            self._value(batch, message, message.topic.decode(), document, int(row[place]), pointer)

        batch.add_columns(row, wires[:count], kinds[:count], qualities[:count], stamps[:count], doubt)

    def _by_hand(self, batch: Batch, message: Message) -> None:
        topic = message.topic.decode(errors="replace")
        bound = self._bindings.bound(message.topic)
        if not bound:
            if not self._expects(topic):
                batch.reject(topic, "unknown_address", "no point is bound to this topic", message.payload)
            return
        try:
            document = codec.decode_payload(message.payload, self._form)
        except codec.Malformed as fault:
            for row, _ in bound:
                batch.reject(topic, fault.reason, fault.detail, message.payload, self._point(row).name)
            return
        said = [self._value(batch, message, topic, document, row, pointer) for row, pointer in bound]
        if not any(said):
            for row, pointer in bound:
                detail = f"the payload has no /{'/'.join(pointer)}"
                batch.reject(topic, "decode", detail, message.payload, self._point(row).name)

    def _point(self, row: int) -> Point:
        made = self._made.get(row)
        if made is None:
            if len(self._made) >= POINTS_MAX:
                self._made.clear()
            made = self._made[row] = self._points[row]
        return made

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
