"""How the twin speaks over MQTT: plain JSON topics; and what any way of speaking is; pure: no broker, no clock.

Must not know commands' fate or the twin's table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from protocols.mqtt.codec import Malformed, decode_payload, time_text
from protocols.mqtt.packets import Filter, Will
from protocols.served import CommandState
from twin.points import Point
from twin.quality import severity
from twin.schema import Enum, offer

SET, RESULT, STATUS = "/set", "/result", "status"
ONLINE, OFFLINE = b"online", b"offline"
WORDS_MAX = 1_000  # characters of a reason or an id that somebody sends
_QUALITY_WORDS = ("good", "uncertain", "bad", "bad")


@dataclass(frozen=True, slots=True)
class Saying:
    """A message to publish."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True)
class Spoken:
    """The newest state of a point; `stamp` in ns since 1970 UTC."""

    point: Point
    value: float
    text: str | None
    quality: int
    stamp: int


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody wants a value. `answer`: the topic where he listens, "" where there is none; `identity`: his own word."""

    point: Point
    value: float
    reason: str
    priority: str
    answer: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Unfit:
    """Somebody wants something that cannot be understood."""

    detail: str
    answer: str = ""
    identity: str = ""


class Voice(Protocol):
    """One way of speaking.

    Attributes:
        listener: whether the one that all this is said for is there.
        greeted: whether the greeting of this connection was said, and still holds.
    """

    listener: bool

    @property
    def greeted(self) -> bool: ...

    def bind(self, points: Sequence[Point]) -> list[Saying]:
        """These points are shown from now on; -> what must be said of those that are gone."""

    def will(self, now: int) -> Will:
        """Of the next connection."""

    def filters(self) -> list[Filter]: ...

    def greeting(self, everything: Sequence[Spoken], now: int) -> list[Saying]:
        """What is said first."""

    def say(self, news: Sequence[Spoken], now: int) -> list[Saying]: ...

    def farewell(self, now: int) -> list[Saying]: ...

    def hear(self, topic: bytes, payload: bytes, retained: bool) -> list[Wish | Unfit]: ...

    def answer(self, asked: Wish | Unfit, state: CommandState | None, detail: str) -> Saying | None:
        """To a wish, where anybody listens; no state: it did not become a command."""


class PlainVoice:
    """A retained JSON message a point on PREFIX/twin/property, and whether we are there on PREFIX/status."""

    def __init__(self, prefix: str, qos: int, retain: bool, writes: bool) -> None:
        self.listener = True
        self.greeted = False
        self._prefix, self._qos, self._retain, self._writes = prefix, qos, retain, writes
        self._points: Mapping[str, Point] = {}

    def bind(self, points: Sequence[Point]) -> list[Saying]:
        before, self._points = self._points, {self._topic(p): p for p in points}
        gone = before.keys() - self._points.keys()
        # An empty retained message takes away what the broker keeps (MQTT 5.0, 3.3.1.3).
        return [Saying(topic, b"", self._qos, True) for topic in sorted(gone)] if self._retain else []

    def will(self, now: int) -> Will:
        self.greeted = False
        return Will(f"{self._prefix}/{STATUS}", OFFLINE, 1, True)

    def filters(self) -> list[Filter]:
        return [Filter(f"{self._prefix}/+/+{SET}", self._qos)] if self._writes else []

    def greeting(self, everything: Sequence[Spoken], now: int) -> list[Saying]:
        self.greeted = True
        return [Saying(f"{self._prefix}/{STATUS}", ONLINE, 1, True)]

    def say(self, news: Sequence[Spoken], now: int) -> list[Saying]:
        return [Saying(self._topic(s.point), document(s), self._qos, self._retain) for s in news]

    def farewell(self, now: int) -> list[Saying]:
        return [Saying(f"{self._prefix}/{STATUS}", OFFLINE, 1, True)]

    def hear(self, topic: bytes, payload: bytes, retained: bool) -> list[Wish | Unfit]:
        text = topic.decode(errors="replace")
        if retained or not text.endswith(SET):
            return []  # a wish that the broker kept is not one of now
        point = self._points.get(text.removesuffix(SET))
        if point is None:
            return [Unfit("no point that is shown has this topic", text + RESULT)]
        return [wish(point, payload, text + RESULT)]

    def answer(self, asked: Wish | Unfit, state: CommandState | None, detail: str) -> Saying | None:
        body: dict[str, Any] = {"id": asked.identity} if asked.identity else {}
        if state is None:
            body |= {"status": "REFUSED", "final": True, "detail": detail}
        else:
            body |= {"command": state.id, "status": state.status, "final": state.final, "detail": state.detail}
        return Saying(asked.answer, orjson.dumps(body), self._qos, False)

    def _topic(self, point: Point) -> str:
        return f"{self._prefix}/{point.twin}/{point.property}"


def document(spoken: Spoken) -> bytes:
    """The JSON of a state. `status` (the whole status code) only where it says more than `quality`."""
    quality = _QUALITY_WORDS[severity(spoken.quality)]
    body = {"value": plain(spoken), "time": time_text(spoken.stamp), "quality": quality}
    if spoken.quality:
        body["status"] = spoken.quality
    if spoken.point.unit:
        body["unit"] = spoken.point.unit
    return orjson.dumps(body)


def plain(spoken: Spoken) -> Any:
    """A value as JSON has it: an enum by its name, a structure as what it is, null where there is no number."""
    kind = spoken.point.type
    if kind == "object" and spoken.text is not None:
        return orjson.Fragment(spoken.text)
    if spoken.text is not None:
        return spoken.text
    if not math.isfinite(spoken.value):
        return None
    if kind == "boolean":
        return spoken.value == 1.0
    return int(spoken.value) if kind in ("integer", "enum") and spoken.value.is_integer() else spoken.value


def wish(point: Point, payload: bytes, answer: str) -> Wish | Unfit:
    """A bare JSON value, or an object with `value`, and perhaps `id`, `reason` and `priority`."""
    identity = ""
    try:
        said = decode_payload(payload, "json")
        words = said if isinstance(said, dict) else {"value": said}
        identity = _word(words, "id", "")
        if "value" not in words:
            raise Malformed("decode", "the object has no value")
        value = wanted(point, words["value"])
        return Wish(point, value, _word(words, "reason", ""), _word(words, "priority", "operator"), answer, identity)
    except Malformed as fault:
        return Unfit(fault.detail, answer, identity)


def wanted(point: Point, value: Any) -> float:
    """
    Raises:
        Malformed: no value that this point could have.
    """
    if isinstance(point.schema, Enum):
        index = point.schema.index_of(value)
        if index is None:
            raise Malformed("enum", f"{value!r} is no value of {point.name}; {offer(point.schema)}")
        return float(point.schema.code(index))
    if isinstance(value, bool) == (point.type == "boolean") and isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            raise Malformed("range", "the number does not fit a double") from None
    raise Malformed("type", f"{point.name} is {point.type}, got {type(value).__name__}")


def _word(words: Mapping[str, Any], key: str, default: str) -> str:
    word = words.get(key, default)
    if not isinstance(word, str) or len(word) > WORDS_MAX:
        raise Malformed("type", f"{key} must be a text of at most {WORDS_MAX} characters")
    return word
