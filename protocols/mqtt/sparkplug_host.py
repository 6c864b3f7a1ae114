"""What a host makes of Sparkplug messages: births, deaths, order and rebirths, as instructions; pure: no broker, no clock.

Source: Eclipse Sparkplug 3.0.0, 5.6 to 5.9 and 6.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from protocols.mqtt import sparkplug_scan as scan
from protocols.mqtt.codec import PAYLOAD_MAX, Malformed
from protocols.mqtt.sparkplug import Address, Source, parse_topic
from protocols.mqtt.sparkplug_b_pb2 import Payload as Wire
from protocols.mqtt.sparkplug_columns import Columns, Known
from protocols.mqtt.sparkplug_edge import Edge, Life, Message
from protocols.mqtt.sparkplug_metrics import (
    BD_SEQ,
    BOOLEAN,
    METRICS_MAX,
    REBIRTH,
    SEQUENCE,
    Metric,
    encode,
    parse,
)
from twin.quality import BAD_NO_COMMUNICATION, UNCERTAIN_LAST_USABLE

WAITING_MAX = 64  # messages of one edge node kept while an earlier one is missing: a quarter of the numbers there are
RECENT_MAX = 32  # messages of one edge node by which a repetition is known
DEVICES_MAX = 1000  # devices of one edge node, beside those that have points: ten times what one gateway carries
TOPICS_MAX = 100_000  # topics whose place is remembered; past it they are looked up again


@dataclass(frozen=True, slots=True)
class Values:
    """What one message says of points lies in the columns from `begin` to `end`."""

    columns: Columns
    begin: int
    end: int


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
            source: Edge(source, {d: {m: tuple(rows) for m, rows in ms.items()} for d, ms in devices.items()})
            for source, devices in bound.items()
        }
        self._topics: dict[bytes, tuple[str, str, Edge]] = {}
        self._head = np.empty(2, np.int64)
        self.columns = Columns()

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
            fresh = Edge(source, edge.bound, asked_at=edge.asked_at, missing_since=now, wants_rebirth=True)
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
        """One message; the values that it says go to `columns`, which whoever takes them clears.

        Retained messages say what was, and nothing here may be (4.1.1): they are passed over.
        """
        place = self._place(topic)
        if place is None or retained:
            return []
        kind, device, edge = place
        text = topic.decode()
        try:
            message = self._message(kind, device, text, payload)
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

    def _message(self, kind: str, device: str, topic: str, raw: bytes) -> Message:
        """
        Raises:
            Malformed: it cannot be read.
        """
        if kind.endswith("DATA") and len(raw) <= PAYLOAD_MAX:
            count = scan.head(np.frombuffer(raw, np.uint8), self._head)
            if 0 <= count <= METRICS_MAX:
                stamp_ms, seq = (None if number == scan.NOT_SAID else number for number in self._head.tolist())
                return Message(kind, device, topic, raw, stamp_ms, seq, count, None)
        wire = parse(raw)
        stamp_ms = wire.timestamp if wire.HasField("timestamp") else None
        seq = wire.seq if wire.HasField("seq") else None
        return Message(kind, device, topic, raw, stamp_ms, seq, len(wire.metrics), wire)

    # --- births and deaths -------------------------------------------------------------------------------------------

    def _born(self, edge: Edge, message: Message, now: int) -> list[Instruction]:
        if edge.life is Life.ALIVE and edge.birth == hash(message.raw):
            return [Dropped(1)]
        devices = [d for d in edge.bound if d and (d in edge.by_name or d in edge.awaited)]
        edge.enter(Life.ALIVE)
        edge.forget()
        edge.awaited = dict.fromkeys(devices, now)
        edge.birth, edge.born_at = hash(message.raw), now
        edge.bd_seq = _bd_seq(message)
        edge.born_ms = message.stamp_ms or 0
        edge.expected = ((message.seq or 0) + 1) % SEQUENCE
        edge.wants_rebirth = False
        return self._define(edge, message)

    def _define(self, edge: Edge, message: Message) -> list[Instruction]:
        """Names and aliases of a birth, and the values it says."""
        device = message.device
        if device not in edge.bound and device not in edge.by_name and len(edge.by_name) >= DEVICES_MAX:
            return [Letter(message.topic, "overflow", f"more than {DEVICES_MAX} devices of one edge node", message.raw)]
        edge.drop_aliases(device)
        edge.awaited.pop(device, None)
        bound = edge.bound.get(device, {})
        names = edge.by_name[device] = {}
        letters: list[Instruction] = []
        begin = self.columns.begin(message.raw, message.count)
        for said in message.wire.metrics if message.wire is not None else ():
            known = names[said.name] = Known(said.name, said.datatype, bound.get(said.name, ()))
            if said.HasField("alias"):
                other = edge.by_alias.get(said.alias)
                if other is not None and other[1].name != said.name:
                    detail = f"alias {said.alias} stands for {other[1].name!r} and for {said.name!r}"
                    letters.append(Letter(message.topic, "decode", detail, message.raw, known.rows))
                edge.by_alias[said.alias] = (device, known)
            for row in known.rows:
                self.columns.put(row, said, said.datatype, message.stamp_ms)
        for name, rows in bound.items():
            if name not in names:
                letters.append(
                    Letter(message.topic, "unknown_address", f"the birth has no metric {name!r}", message.raw, rows)
                )
        return [*self._said(begin), *letters]

    def _said(self, begin: int) -> list[Instruction]:
        end = len(self.columns)
        return [Values(self.columns, begin, end)] if end > begin else []

    def _died(self, edge: Edge, message: Message) -> list[Instruction]:
        if edge.life in (Life.ALIVE, Life.DOUBTED) and edge.bd_seq not in (None, _bd_seq(message)):
            return []  # the will of an earlier session, delivered after the birth of this one (6.4.25)
        edge.enter(Life.DEAD)
        edge.forget()
        edge.wants_rebirth = False
        return [Lost(edge.rows(), BAD_NO_COMMUNICATION)]

    # --- order -------------------------------------------------------------------------------------------------------

    def _ordered(self, edge: Edge, message: Message, now: int) -> list[Instruction]:
        """A message that has its number in the row: DBIRTH, DDEATH, NDATA, DDATA."""
        seq = message.seq
        if seq is None or not 0 <= seq < SEQUENCE:
            detail = "it has no seq" if seq is None else f"its seq is {seq}"
            return [Letter(message.topic, "decode", f"{detail}; 0 … {SEQUENCE - 1} is wanted", message.raw)]
        if edge.life is not Life.ALIVE:
            edge.wants_rebirth = True
            return [Dropped(1), *self._ask(edge, now)]
        # Sent before the birth and overtaken by it. Not asked for long: clocks of edge nodes are set back, too.
        sent_ms = edge.born_ms if message.stamp_ms is None else message.stamp_ms
        overtaken = now - edge.born_at < self._reorder_ns and sent_ms < edge.born_ms
        if overtaken or edge.recent.get(seq) == hash(message.raw):
            return [Dropped(1)]
        if seq == edge.expected:
            done = self._read(edge, message, now)
            while (later := edge.waiting.pop(edge.expected, None)) is not None:
                edge.missing_since = now
                done += self._read(edge, later, now)
            return done
        if not edge.waiting:
            edge.missing_since = now
        edge.waiting[seq] = message
        if len(edge.waiting) > WAITING_MAX or self._reorder_ns == 0:
            return [*self._doubt(edge), *self._ask(edge, now)]
        return []

    def _doubt(self, edge: Edge) -> list[Instruction]:
        """The missing message does not come any more."""
        count = len(edge.waiting)
        edge.enter(Life.DOUBTED)
        edge.waiting.clear()
        edge.wants_rebirth = True
        return [Dropped(count), Lost(edge.rows(), UNCERTAIN_LAST_USABLE)]

    def _ask(self, edge: Edge, now: int) -> list[Instruction]:
        """For a rebirth, unless it was asked for a moment ago."""
        if edge.asked_at is not None and now - edge.asked_at < self._rebirth_ns:
            return []
        edge.asked_at = now
        payload = encode([Metric(REBIRTH, datatype=BOOLEAN, value=True)], now // 1_000_000)
        return [Publish(edge.source.topic("CMD"), payload)]

    # --- reading -----------------------------------------------------------------------------------------------------

    def _read(self, edge: Edge, message: Message, now: int) -> list[Instruction]:
        """A message whose turn it is."""
        edge.recent[edge.expected] = hash(message.raw)
        edge.expected = (edge.expected + 1) % SEQUENCE
        if len(edge.recent) > RECENT_MAX:
            del edge.recent[next(iter(edge.recent))]
        match message.kind:
            case "DBIRTH":
                return self._define(edge, message)
            case "DDEATH":
                edge.by_name.pop(message.device, None)
                edge.drop_aliases(message.device)
                edge.awaited.pop(message.device, None)
                return [Lost(edge.rows_of(message.device), BAD_NO_COMMUNICATION)]
            case _:
                return self._data(edge, message, now)

    def _data(self, edge: Edge, message: Message, now: int) -> list[Instruction]:
        names = edge.by_name.get(message.device)
        if names is None:  # a device that was never born, or has died
            return [Dropped(1), *self._ask(edge, now)]
        begin = self.columns.begin(message.raw, message.count)
        letters: list[Instruction] = []
        strange = 0
        if message.wire is None:
            stamp_ms = scan.NOT_SAID if message.stamp_ms is None else message.stamp_ms
            strange, places = self.columns.read(np.frombuffer(message.raw, np.uint8), stamp_ms, edge.aliases())
            for place in places:
                self.columns.row[place] = scan.UNBOUND
                try:
                    said = self.columns.special(place, message.raw)
                except Malformed as fault:
                    letters.append(Letter(message.topic, fault.reason, fault.detail, message.raw))
                    continue
                strange += self._say(edge, names, said, message, place)
            if places:
                self.columns.drop(begin)
        else:
            strange = sum(self._say(edge, names, said, message) for said in message.wire.metrics)
        if strange:
            detail = f"{strange} of {message.count} metrics are of no birth"
            letters.append(Letter(message.topic, "unknown_address", detail, message.raw))
            letters += self._ask(edge, now)
        return [*self._said(begin), *letters]

    def _say(
        self, edge: Edge, names: Mapping[str, Known], said: Wire.Metric, message: Message, place: int = -1
    ) -> bool:
        """A metric as protobuf reads it, into its place or at the end; whether no birth has it."""
        if said.HasField("alias"):
            found = edge.by_alias.get(said.alias)
            known = None if found is None else found[1]
        else:
            known = names.get(said.name)
        if known is None:
            return True
        datatype = said.datatype or known.datatype
        for row in known.rows:
            if place >= 0:
                self.columns.settle(place, row, said, datatype, message.stamp_ms)
                place = -1
            else:
                self.columns.put(row, said, datatype, message.stamp_ms)
        return False

    def _place(self, topic: bytes) -> tuple[str, str, Edge] | None:
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


def _bd_seq(message: Message) -> int | None:
    metrics = message.wire.metrics if message.wire is not None else ()
    said = next((m for m in metrics if m.name == BD_SEQ), None)
    return None if said is None else int(said.long_value if said.HasField("long_value") else said.int_value)
