"""What topics and payloads say of the values behind them, over all messages heard; pure, hears nothing itself.

Sources: RFC 6901 (JSON pointer), RFC 8259, 6 (a JSON number is neither whole nor not), MQTT 5.0, 4.7 (topics).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from protocols.discovery import Found, FoundThing, FoundValue, Path, Skipped, distinct
from protocols.mqtt import codec
from protocols.mqtt.codec import DEFAULT_POINTER, DEPTH_MAX, Malformed
from protocols.said_units import unit_of_text
from twin.schema import Primitive

LIST_MAX = 16  # elements of a list that become values of their own: an axis, three phases, a few channels
FIELDS_MAX = 2000  # values of one payload
BESIDE = frozenset({"time", "quality", "unit"})
"""Members that say something of the value beside them, and are taken with it."""
SPARKPLUG = "spBv1.0/"
SCHEMA_OF_KIND = {"number": Primitive("double"), "boolean": Primitive("boolean"), "text": Primitive("string")}

Pointer = tuple[str, ...]


@dataclass(slots=True)
class _Value:
    """All that was said at one place of one topic's payloads."""

    kinds: set[str] = field(default_factory=set)
    units: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Topic:
    values: dict[Pointer, _Value] = field(default_factory=dict)
    faults: set[str] = field(default_factory=set)
    live: bool = False
    cut: bool = False


class Heard:
    """Collects messages. Numbers are doubles: JSON does not tell 20 from 20.0, and the next message may say 20.5."""

    def __init__(self, form: str, topics_max: int) -> None:
        self.messages = 0
        self.sparkplug: set[str] = set()
        self.complete = True
        self._form = form
        self._topics_max = topics_max
        self._topics: dict[str, _Topic] = {}

    def __len__(self) -> int:
        return len(self._topics)

    def take(self, topic: str, payload: bytes, retained: bool) -> None:
        self.messages += 1
        if topic.startswith(SPARKPLUG):
            self.sparkplug.add("/".join(topic.split("/")[1::2][:2]))
            return
        known = self._topics.get(topic)
        if known is None:
            if len(self._topics) >= self._topics_max:
                self.complete = False
                return
            known = self._topics[topic] = _Topic()
        known.live |= not retained
        try:
            document = codec.decode_payload(payload, self._form)
        except Malformed as fault:
            known.faults.add(fault.detail.partition(":")[0])
            return
        for count, (pointer, kind, unit) in enumerate(_places(document)):
            if count >= FIELDS_MAX:
                known.cut = True
                return
            value = known.values.setdefault(pointer, _Value())
            value.kinds.add(kind)
            if unit:
                value.units.add(unit)

    def found(self, scope: Path = ()) -> Found:
        """Branches of topics as things; a topic whose payload holds several values is a thing of its own."""
        return _Offer(self._topics, self._form, self.complete, self.sparkplug).found(scope)


def _places(document: Any) -> Iterator[tuple[Pointer, str, str]]:
    """(pointer, kind, unit) of every value in a payload."""
    if not isinstance(document, dict | list):
        yield DEFAULT_POINTER, _kind(document), ""
        return
    todo: list[tuple[Pointer, Any, str]] = [((), document, "")]
    while todo:
        pointer, value, unit = todo.pop()
        if isinstance(value, dict):
            said = _unit_beside(value)
            inner = [((*pointer, k), v, said) for k, v in value.items() if isinstance(k, str) and k not in BESIDE]
        elif isinstance(value, list):
            inner = [((*pointer, str(i)), v, "") for i, v in enumerate(value[: LIST_MAX + 1])]
        else:
            yield pointer, _kind(value), unit
            continue
        is_long = isinstance(value, list) and len(value) > LIST_MAX
        if is_long or len(pointer) >= DEPTH_MAX:
            yield pointer, "a long list" if is_long else "deeply nested", ""
        else:
            todo += reversed(inner)


def _unit_beside(document: dict[Any, Any]) -> str:
    """The unit that a document gives for its value; of several numbers nobody knows which is meant."""
    numbers = [k for k, v in document.items() if k not in BESIDE and _kind(v) == "number"]
    unit = document.get("unit")
    return unit if isinstance(unit, str) and len(numbers) == 1 else ""


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "nothing" if value is None else type(value).__name__


class _Offer:
    """From what was heard to what is offered."""

    def __init__(self, topics: dict[str, _Topic], form: str, complete: bool, sparkplug: set[str]) -> None:
        self._topics = topics
        self._complete = complete
        self._form = form
        self._sparkplug = sparkplug
        self._taken: set[Path] = set()
        self._things: dict[Path, FoundThing] = {}
        self._values: list[FoundValue] = []
        self._skipped: list[Skipped] = []

    def found(self, scope: Path) -> Found:
        for topic in sorted(self._topics):
            self._take(topic, self._topics[topic])
        remarks = [f"{len(self._topics)} topics; Modes of access are not told over MQTT: every point is read-only"]
        if not self._complete:
            remarks.append("more topics than the limit; raise --limit, or listen to less with --under")
        if self._sparkplug:
            remarks.append(
                f"{len(self._sparkplug)} Sparkplug edge nodes were heard; search them with --under {SPARKPLUG[:-1]}"
            )
        around = {v.thing[:n] for v in self._values for n in range(1, len(v.thing) + 1)}
        things = (FoundThing(p) for p in sorted(around))
        return Found(tuple(things), tuple(self._values), tuple(self._skipped), scope, self._complete, tuple(remarks))

    def _take(self, topic: str, heard: _Topic) -> None:
        levels = _levels(topic)
        reason = self._misfit(topic, heard)
        if reason:
            self._skipped.append(Skipped(levels, topic, reason))
            return
        is_single = set(heard.values) == {DEFAULT_POINTER}
        thing = levels[:-1] if is_single else levels
        for pointer, value in heard.values.items():
            name = levels[-1:] if is_single else tuple(pointer)
            address = _address(topic, pointer)
            path = distinct((*thing, *name), address, self._taken)
            self._put(thing, path[len(thing) :], address, value, heard)

    def _misfit(self, topic: str, heard: _Topic) -> str:
        if not topic.isprintable() or topic != topic.strip():
            return "its topic has characters that a sheet does not keep"
        base = topic.removesuffix("/set")
        if base != topic and base in self._topics:
            return "commands for the topic above it"
        try:
            codec.check_address(topic, "double", False)
        except ValueError as error:
            return str(error)
        if not heard.values:
            return (
                f"its payloads cannot be read: {', '.join(sorted(heard.faults))}" if heard.faults else "no value in it"
            )
        return ""

    def _put(self, thing: Path, name: Path, address: str, value: _Value, heard: _Topic) -> None:
        kinds = value.kinds - {"nothing"}
        reason = ""
        if not kinds:
            reason = "only null was said"
        elif len(kinds) > 1:
            reason = f"sometimes {' and sometimes '.join(sorted(kinds))}"
        elif kinds.isdisjoint(SCHEMA_OF_KIND):
            reason = next(iter(kinds))
        elif not address.isprintable():
            reason = "its name has characters that a sheet does not keep"
        if reason:
            self._skipped.append(Skipped((*thing, *name), address, reason))
            return
        kind = next(iter(kinds))
        unit, scale, note = _unit(value) if kind == "number" else ("", 1.0, "")
        if not heard.live:
            note = note or "only the broker's memory spoke of it"
        self._values.append(FoundValue(thing, name, address, SCHEMA_OF_KIND[kind], unit, scale, note=note))


def _levels(topic: str) -> Path:
    return tuple(level or "_" for level in topic.split("/"))


def _address(topic: str, pointer: Pointer) -> str:
    if pointer == DEFAULT_POINTER:
        return topic
    return f"{topic}#" + "".join(f"/{p.replace('~', '~0').replace('/', '~1')}" for p in pointer)


def _unit(value: _Value) -> tuple[str, float, str]:
    """(symbol, factor, what a person should know)."""
    if len(value.units) != 1:
        return "", 1.0, "its unit changes" if value.units else ""
    said = next(iter(value.units))
    found = unit_of_text(said)
    return (*found, "") if found is not None else ("", 1.0, f"its unit {said} is not one of ours")
