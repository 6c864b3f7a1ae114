"""What a host makes of Sparkplug messages: births, deaths, order and rebirths, as instructions; pure: no broker, no clock.

Source: Eclipse Sparkplug 3.0.0, 5.6 to 5.9 and 6.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from protocols.mqtt.codec import TIME_MAX_NS, Malformed
from protocols.mqtt.sparkplug import Address, Source, parse_topic
from protocols.mqtt.sparkplug_b_pb2 import Payload as Wire
from protocols.mqtt.sparkplug_metrics import BD_SEQ, BOOLEAN, REBIRTH, SEQUENCE, Metric, encode, parse
from twin.quality import BAD_NO_COMMUNICATION, UNCERTAIN_LAST_USABLE

WAITING_MAX = 64  # messages of one edge node kept while an earlier one is missing: a quarter of the numbers there are
RECENT_MAX = 32  # messages of one edge node by which a repetition is known
DEVICES_MAX = 1000  # devices of one edge node, beside those that have points: ten times what one gateway carries
TOPICS_MAX = 100_000  # topics whose place is remembered; past it they are looked up again
STAMP_MAX_MS = TIME_MAX_NS // 1_000_000


class Life(StrEnum):
    """Where an edge node stands with us. Only what an ALIVE one says is believed.

    UNKNOWN: not heard since we connected. DOUBTED: a message of it was lost, so what its aliases mean is not sure.
    """

    UNKNOWN = "unknown"
    ALIVE = "alive"
    DOUBTED = "doubted"
    DEAD = "dead"


NEXT: Mapping[Life, frozenset[Life]] = {
    Life.UNKNOWN: frozenset({Life.ALIVE, Life.DEAD}),
    Life.ALIVE: frozenset({Life.ALIVE, Life.DOUBTED, Life.DEAD}),
    Life.DOUBTED: frozenset({Life.ALIVE, Life.DEAD}),
    Life.DEAD: frozenset({Life.ALIVE, Life.DEAD}),
}


@dataclass(frozen=True, slots=True)
class Known:
    """A metric as its birth defined it; `rows` are the points bound to it, mostly none or one."""

    name: str
    datatype: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Values:
    """What one message says of points: row, metric and datatype in the same places; `stamp` (ns) where a metric has none."""

    topic: str
    raw: bytes
    stamp: int | None
    rows: list[int]
    said: list[Wire.Metric]
    datatypes: list[int]


@dataclass(frozen=True, slots=True)
class Letter:
    """Something that cannot be believed; `rows`: the points it was about, where that is known."""

    topic: str
    reason: str
    detail: str
    raw: bytes
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody vouches for these points any more."""

    rows: tuple[int, ...]
    quality: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Send this, at QoS 0, not retained."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Dropped:
    """So many messages were thrown away unread: late, or after a loss that made them doubtful."""

    count: int


Instruction = Values | Letter | Lost | Publish | Dropped


@dataclass(frozen=True, slots=True)
class _Message:
    kind: str
    device: str
    topic: str
    raw: bytes
    wire: Wire


@dataclass(slots=True)
class _Edge:
    """One edge node: what is bound to it, and what it said."""

    source: Source
    bound: Mapping[str, Mapping[str, tuple[int, ...]]]  # device -> metric -> rows
    life: Life = Life.UNKNOWN
    bd_seq: int | None = None
    birth: int = 0  # hash of the payload
    born_ms: int = 0  # by its clock
    born_at: int = 0  # by ours
    expected: int = 0
    by_alias: dict[int, tuple[str, Known]] = field(default_factory=dict)  # alias -> (device, metric)
    by_name: dict[str, dict[str, Known]] = field(default_factory=dict)  # of each device that is born
    waiting: dict[int, _Message] = field(default_factory=dict)  # by number, because an earlier one is missing
    missing_since: int = 0
    recent: dict[int, int] = field(default_factory=dict)  # number -> hash of the payload, oldest first
    awaited: dict[str, int] = field(default_factory=dict)  # devices that a rebirth must bring back, and since when
    wants_rebirth: bool = False
    asked_at: int | None = None

    def rows(self) -> tuple[int, ...]:
        return tuple(row for device in self.bound for row in self.rows_of(device))

    def rows_of(self, device: str) -> tuple[int, ...]:
        return tuple(row for rows in self.bound.get(device, {}).values() for row in rows)

    def enter(self, life: Life) -> None:
        assert life in NEXT[self.life], f"{self.life} does not become {life}"
        self.life = life

    def forget(self) -> None:
        self.by_alias.clear()
        self.by_name.clear()
        self.waiting.clear()
        self.recent.clear()
        self.awaited.clear()


class Host:
    """A host application for the given metrics. Rows are the places of the addresses."""

    def __init__(self, addresses: Sequence[Address], reorder_ns: int, rebirth_ns: int) -> None:
        """
        Args:
            reorder_ns: how long a missing message may still come (5.9, Reorder Timeout).
            rebirth_ns: the shortest time between two requests for a rebirth of one edge node.
        """
        bound: dict[Source, dict[str, dict[str, list[int]]]] = {}
        for row, address in enumerate(addresses):
            devices = bound.setdefault(address.source.edge, {})
            devices.setdefault(address.source.device, {}).setdefault(address.metric, []).append(row)
        self._addresses = addresses
        self._reorder_ns = reorder_ns
        self._rebirth_ns = rebirth_ns
        self._edges = {
            source: _Edge(source, {d: {m: tuple(rows) for m, rows in ms.items()} for d, ms in devices.items()})
            for source, devices in bound.items()
        }
        self._topics: dict[bytes, tuple[str, str, _Edge]] = {}

    @property
    def edges(self) -> list[Source]:
        return list(self._edges)

    def life(self, edge: Source) -> Life:
        return self._edges[edge].life

    def rows(self, edge: Source) -> tuple[int, ...]:
        """Of the node itself and all its devices."""
        return self._edges[edge].rows()

    def begin(self, now: int) -> None:
        """We are connected: what was said before is void, since we did not hear how it went on."""
        for source, edge in self._edges.items():
            fresh = _Edge(source, edge.bound, asked_at=edge.asked_at, missing_since=now, wants_rebirth=True)
            self._edges[source] = fresh
        self._topics.clear()

    def known(self, row: int) -> Known | None:
        """The metric behind a row, as the birth that now holds defines it."""
        address = self._addresses[row]
        edge = self._edges[address.source.edge]
        if edge.life is not Life.ALIVE:
            return None
        return edge.by_name.get(address.source.device, {}).get(address.metric)

    def take(self, topic: bytes, payload: bytes, retained: bool, now: int) -> list[Instruction]:
        """One message. Retained ones say what was, and nothing here may be (4.1.1): they are passed over."""
        place = self._place(topic)
        if place is None or retained:
            return []
        kind, device, edge = place
        text = topic.decode()
        try:
            message = _Message(kind, device, text, payload, parse(payload))
        except Malformed as fault:
            return [Letter(text, fault.reason, fault.detail, payload)]
        match kind:
            case "NBIRTH":
                return self._born(edge, message, now)
            case "NDEATH":
                return self._died(edge, message)
            case _:
                return self._ordered(edge, message, now)

    def due(self, now: int) -> list[Instruction]:
        """What the passing of time asks for."""
        done: list[Instruction] = []
        for edge in self._edges.values():
            if edge.waiting and now - edge.missing_since >= self._reorder_ns:
                done += self._doubt(edge)
            for device in [d for d, since in edge.awaited.items() if now - since >= self._reorder_ns]:
                del edge.awaited[device]
                done.append(Lost(edge.rows_of(device), BAD_NO_COMMUNICATION))
            # One that is new to us may be about to be born by itself, since we have just said that we are there.
            waits = edge.life is Life.UNKNOWN and now - edge.missing_since < self._reorder_ns
            if edge.wants_rebirth and not waits and (asked := self._ask(edge, now)):
                done += asked
                edge.wants_rebirth = edge.life is Life.DOUBTED
        return done

    # --- births and deaths -------------------------------------------------------------------------------------------

    def _born(self, edge: _Edge, message: _Message, now: int) -> list[Instruction]:
        wire = message.wire
        if edge.life is Life.ALIVE and edge.birth == hash(message.raw):
            return [Dropped(1)]
        devices = [d for d in edge.bound if d and (d in edge.by_name or d in edge.awaited)]
        edge.enter(Life.ALIVE)
        edge.forget()
        edge.awaited = dict.fromkeys(devices, now)
        edge.birth, edge.born_at = hash(message.raw), now
        edge.bd_seq = next((_whole(m) for m in wire.metrics if m.name == BD_SEQ), None)
        edge.born_ms = wire.timestamp
        edge.expected = (wire.seq + 1) % SEQUENCE
        edge.wants_rebirth = False
        return self._define(edge, message)

    def _define(self, edge: _Edge, message: _Message) -> list[Instruction]:
        """Names and aliases of a birth, and the values it says."""
        device = message.device
        if device not in edge.bound and device not in edge.by_name and len(edge.by_name) >= DEVICES_MAX:
            return [Letter(message.topic, "overflow", f"more than {DEVICES_MAX} devices of one edge node", message.raw)]
        edge.by_alias = {a: known for a, known in edge.by_alias.items() if known[0] != device}
        edge.awaited.pop(device, None)
        bound = edge.bound.get(device, {})
        names = edge.by_name[device] = {}
        letters: list[Instruction] = []
        values = _values(message)
        for said in message.wire.metrics:
            known = names[said.name] = Known(said.name, said.datatype, bound.get(said.name, ()))
            if said.HasField("alias"):
                other = edge.by_alias.get(said.alias)
                if other is not None and other[1].name != said.name:
                    detail = f"alias {said.alias} stands for {other[1].name!r} and for {said.name!r}"
                    letters.append(Letter(message.topic, "decode", detail, message.raw, known.rows))
                edge.by_alias[said.alias] = (device, known)
            _say(values, known, said, said.datatype)
        for name, rows in bound.items():
            if name not in names:
                letters.append(
                    Letter(message.topic, "unknown_address", f"the birth has no metric {name!r}", message.raw, rows)
                )
        return [values, *letters] if values.rows else letters

    def _died(self, edge: _Edge, message: _Message) -> list[Instruction]:
        bd_seq = next((_whole(m) for m in message.wire.metrics if m.name == BD_SEQ), None)
        if edge.life in (Life.ALIVE, Life.DOUBTED) and edge.bd_seq is not None and bd_seq != edge.bd_seq:
            return []  # the will of an earlier session, delivered after the birth of this one (6.4.25)
        edge.enter(Life.DEAD)
        edge.forget()
        edge.wants_rebirth = False
        return [Lost(edge.rows(), BAD_NO_COMMUNICATION)]

    # --- order -------------------------------------------------------------------------------------------------------

    def _ordered(self, edge: _Edge, message: _Message, now: int) -> list[Instruction]:
        """A message that has its number in the row: DBIRTH, DDEATH, NDATA, DDATA."""
        wire = message.wire
        if not wire.HasField("seq") or wire.seq >= SEQUENCE:
            detail = f"its seq is {wire.seq}" if wire.HasField("seq") else "it has no seq"
            return [Letter(message.topic, "decode", f"{detail}; 0 … {SEQUENCE - 1} is wanted", message.raw)]
        if edge.life is not Life.ALIVE:
            edge.wants_rebirth = True
            return [Dropped(1), *self._ask(edge, now)]
        # Sent before the birth and overtaken by it. Not asked for long: clocks of edge nodes are set back, too.
        overtaken = (
            now - edge.born_at < self._reorder_ns and wire.HasField("timestamp") and wire.timestamp < edge.born_ms
        )
        if overtaken or edge.recent.get(wire.seq) == hash(message.raw):
            return [Dropped(1)]
        if wire.seq == edge.expected:
            done = self._read(edge, message, now)
            while (later := edge.waiting.pop(edge.expected, None)) is not None:
                edge.missing_since = now
                done += self._read(edge, later, now)
            return done
        if not edge.waiting:
            edge.missing_since = now
        edge.waiting[int(wire.seq)] = message
        if len(edge.waiting) > WAITING_MAX or self._reorder_ns == 0:
            return [*self._doubt(edge), *self._ask(edge, now)]
        return []

    def _doubt(self, edge: _Edge) -> list[Instruction]:
        """The missing message does not come any more."""
        count = len(edge.waiting)
        edge.enter(Life.DOUBTED)
        edge.waiting.clear()
        edge.wants_rebirth = True
        return [Dropped(count), Lost(edge.rows(), UNCERTAIN_LAST_USABLE)]

    def _ask(self, edge: _Edge, now: int) -> list[Instruction]:
        """For a rebirth, unless it was asked for a moment ago."""
        if edge.asked_at is not None and now - edge.asked_at < self._rebirth_ns:
            return []
        edge.asked_at = now
        payload = encode([Metric(REBIRTH, datatype=BOOLEAN, value=True)], now // 1_000_000)
        return [Publish(edge.source.topic("CMD"), payload)]

    # --- reading -----------------------------------------------------------------------------------------------------

    def _read(self, edge: _Edge, message: _Message, now: int) -> list[Instruction]:
        """A message whose turn it is."""
        edge.expected = (edge.expected + 1) % SEQUENCE
        edge.recent[int(message.wire.seq)] = hash(message.raw)
        if len(edge.recent) > RECENT_MAX:
            del edge.recent[next(iter(edge.recent))]
        match message.kind:
            case "DBIRTH":
                return self._define(edge, message)
            case "DDEATH":
                edge.by_name.pop(message.device, None)
                edge.by_alias = {a: known for a, known in edge.by_alias.items() if known[0] != message.device}
                edge.awaited.pop(message.device, None)
                return [Lost(edge.rows_of(message.device), BAD_NO_COMMUNICATION)]
            case _:
                return self._data(edge, message, now)

    def _data(self, edge: _Edge, message: _Message, now: int) -> list[Instruction]:
        names = edge.by_name.get(message.device)
        if names is None:  # a device that was never born, or has died
            return [Dropped(1), *self._ask(edge, now)]
        values = _values(message)
        strange: list[str] = []
        for said in message.wire.metrics:
            alias = said.alias
            if alias or said.HasField("alias"):
                found = edge.by_alias.get(alias)
                known = None if found is None else found[1]
            else:
                known = names.get(said.name)
            if known is None:
                strange.append(f"alias {alias}" if said.HasField("alias") else repr(said.name))
            elif known.rows:
                _say(values, known, said, said.datatype or known.datatype)
        done: list[Instruction] = [values] if values.rows else []
        if strange:
            detail = f"no birth has {', '.join(strange[:5])}{' …' if len(strange) > 5 else ''}"
            done += [Letter(message.topic, "unknown_address", detail, message.raw), *self._ask(edge, now)]
        return done

    def _place(self, topic: bytes) -> tuple[str, str, _Edge] | None:
        """-> (kind, device, edge node) of one of ours. Devices nobody bound are heard too: their numbers count."""
        if topic not in self._topics:
            parsed = parse_topic(topic)
            edge = None if parsed is None else self._edges.get(parsed[1].edge)
            if parsed is None or edge is None or parsed[0].endswith("CMD"):
                return None
            if len(self._topics) >= TOPICS_MAX:
                self._topics.clear()
            self._topics[topic] = (parsed[0], parsed[1].device, edge)
        return self._topics[topic]


def _values(message: _Message) -> Values:
    stamp = _stamp(message.wire.timestamp) if message.wire.HasField("timestamp") else None
    return Values(message.topic, message.raw, stamp, [], [], [])


def _say(values: Values, known: Known, said: Wire.Metric, datatype: int) -> None:
    for row in known.rows:
        values.rows.append(row)
        values.said.append(said)
        values.datatypes.append(datatype)


def _stamp(ms: int) -> int:
    return min(ms, STAMP_MAX_MS) * 1_000_000  # what lies beyond is ahead of every clock, and not believed as such


def _whole(said: Wire.Metric) -> int:
    return int(said.long_value if said.HasField("long_value") else said.int_value)
