"""What an MQTT client owes its broker: bytes in, events out, and the state of a session; pure, no socket and no clock.

Sources: MQTT 3.1.1 and MQTT 5.0 (OASIS), section numbers of 5.0. What of a session outlives a connection (4.1) stays in
here: one Client serves one connection after another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.mqtt import frames, packets
from protocols.mqtt.messages import Message, Messages
from protocols.mqtt.packets import BrokerFault, Filter, Options, Welcome

IDS = 65_535  # packet identifiers there are, 2.2.1
ALIASES_MAX = 1_000  # topics that the broker may shorten: 64 kB each at worst
PAYLOAD_MAX = 1 << 20  # bytes of one payload that we read; a thousand points with names take about 100 kB
# Of one packet: the payload and room for the longest topic, and for properties. Of a larger one the first part is
# handed over, so that there is something to show, and the rest is skipped.
PACKET_MAX = PAYLOAD_MAX + (1 << 17)
ACCEPTED_MAX = 1 << 24  # what we tell a broker of version 5: larger ones it keeps to itself


@dataclass(frozen=True, slots=True)
class Entered:
    """The broker has taken us in."""

    welcome: Welcome


@dataclass(frozen=True, slots=True)
class Heard:
    """Messages to be taken before the next call."""

    messages: Messages


@dataclass(frozen=True, slots=True)
class Granted:
    """The broker's answer to a SUBSCRIBE or UNSUBSCRIBE: one code a topic, from 0x80 on refused."""

    identity: int
    codes: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a PUBLISH of ours: code 0 or another below 0x80 when the broker took it."""

    identity: int
    code: int
    words: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes to send, once what came before was taken."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The broker says goodbye (version 5)."""

    code: int
    words: str


Event = Entered | Heard | Granted | Settled | Answer | Ended


@dataclass(slots=True)
class _Sent:
    """A PUBLISH of ours that is not settled; `released`: a PUBREC came and PUBREL was sent."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    keep: bool
    released: bool = False


class Client:
    """One session with a broker."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.welcome: Welcome | None = None
        self._version = options.version
        self._five = options.version == "5"
        self._held = np.zeros(IDS + 1, np.uint8)  # QoS 2: came and not released yet, 4.3.3
        self._sent: dict[int, _Sent] = {}
        self._asked: set[int] = set()  # packet ids of SUBSCRIBE and UNSUBSCRIBE
        self._last = 0
        self._aliases: dict[int, bytes] = {}
        self._skip = 0
        rows = frames.ROWS_MAX
        self._rows = [np.empty(rows, np.int32) for _ in range(4)]
        self._first = np.empty(rows, np.uint8)
        self._answers = np.empty((rows, 4), np.uint8)

    # What we say

    def enter(self) -> bytes:
        """The CONNECT of a new connection; what belonged to the last one alone is forgotten."""
        self.welcome = None
        self._skip = 0
        self._aliases.clear()
        self._asked.clear()
        # A QoS 1 message that was not meant to be kept is not sent again: its sender has learned that its fate is not
        # known, and a command must not reach a device minutes later.
        self._sent = {i: s for i, s in self._sent.items() if s.keep}
        said = [(packets.PACKET_MAX, ACCEPTED_MAX), (packets.ALIAS_MAX, ALIASES_MAX)]
        if self.options.session_expiry_s:
            said.append((packets.SESSION_EXPIRY, self.options.session_expiry_s))
        return packets.connect(self.options, said)

    def subscribe(self, filters: Sequence[Filter]) -> tuple[int, bytes]:
        identity = self._identity()
        self._asked.add(identity)
        return identity, packets.subscribe(self._version, identity, filters)

    def unsubscribe(self, topics: Sequence[str]) -> tuple[int, bytes]:
        identity = self._identity()
        self._asked.add(identity)
        return identity, packets.unsubscribe(self._version, identity, topics)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, keep: bool = False) -> tuple[int, bytes]:
        """-> (packet id, 0 at QoS 0; the packet).

        Args:
            keep: at QoS 1, send again what a resumed session has not acknowledged; QoS 2 always does (4.4).

        Raises:
            ValueError: the broker does not take such a message; the text says why.
        """
        allowed = self.welcome or Welcome(False, 0, "")
        if not topic or "+" in topic or "#" in topic or "\0" in topic:
            raise ValueError(f"{topic!r} is no topic to publish to")
        if qos > allowed.qos_max:
            raise ValueError(f"the broker takes QoS {allowed.qos_max} at most")
        if retain and not allowed.retain_available:
            raise ValueError("the broker keeps no retained messages")
        identity = self._identity() if qos else 0
        data = packets.publish(self._version, topic, payload, qos, retain, identity)
        if len(data) > allowed.packet_max:
            raise ValueError(f"a packet of {len(data)} bytes; the broker takes {allowed.packet_max} at most")
        if qos:
            self._sent[identity] = _Sent(topic, payload, qos, retain, keep or qos == 2)
        return identity, data

    @property
    def may_publish(self) -> bool:
        """Whether the broker's Receive Maximum leaves room for one more message above QoS 0 (4.9)."""
        return len(self._sent) < (self.welcome.receive_max if self.welcome else IDS)

    def leave(self, code: int = 0) -> bytes:
        return packets.disconnect(self._version, code)

    def _identity(self) -> int:
        for _ in range(IDS):
            self._last = self._last % IDS + 1
            if self._last not in self._sent and self._last not in self._asked:
                return self._last
        raise ValueError(f"{IDS} packets wait for the broker's answer")

    # What we hear

    def receive(self, data: NDArray[np.uint8], start: int, end: int) -> tuple[int, list[Event]]:
        """Take some of the bytes between `start` and `end` -> (where to go on, what they say).

        Call again until nothing is taken and nothing said; then more bytes are needed. Events are to be dealt with in
        order and before the next call.

        Raises:
            BrokerFault: the broker breaks the protocol; the connection is of no more use.
        """
        if self._skip:
            skipped = min(self._skip, end - start)
            self._skip -= skipped
            return start + skipped, []
        if self.welcome is None:
            return self._first_packet(data, start, end)
        rows, told, at, why, self._skip = frames.scan(
            data, start, end, self._five, PACKET_MAX, self._held, *self._rows, self._first, self._answers
        )
        events: list[Event] = []
        if rows:
            topic_at, topic_size, payload_at, payload_size = (column[:rows] for column in self._rows)
            first = self._first[:rows]
            events.append(Heard(Messages(data, topic_at, topic_size, payload_at, payload_size, first)))
        if told:
            events.append(Answer(self._answers[:told].tobytes()))
        if why == frames.OTHER and not events:
            return self._other(data, at, end)
        if why == frames.ALIASED and not events:
            return self._aliased(data, at, end)
        if why == frames.BAD and not events:
            raise BrokerFault("a packet that MQTT does not know")
        if why == frames.LARGE and not events:
            raise BrokerFault("a packet too large, and not for its payload", 0x95)
        return at, events

    def _first_packet(self, data: NDArray[np.uint8], start: int, end: int) -> tuple[int, list[Event]]:
        if end > start and data[start] != packets.CONNACK:
            raise BrokerFault("what answers does not speak MQTT", 0x82)
        size, body = frames.variable_at(data, start + 1, end)
        if size == -2 or size > packets.TEXT_BYTES_MAX:
            raise BrokerFault("a CONNACK without end")
        if size < 0 or body + size > end:
            return start, []
        welcome = packets.read_welcome(self._version, data[body : body + size].tobytes())
        if welcome.code >= 0x80:
            return body + size, [Entered(welcome)]
        if welcome.session_present and self.options.clean:
            raise BrokerFault("the broker resumes a session that we asked it to forget", 0x82)
        self.welcome = welcome
        events: list[Event] = [Entered(welcome)]
        again = self._resume(welcome.session_present)
        return body + size, events + ([Answer(again)] if again else [])

    def _resume(self, present: bool) -> bytes:
        """4.4: what the broker has not settled is said again, in the old order and under the old packet ids."""
        if not present:
            self._held[:] = 0
            self._sent.clear()
        return b"".join(
            packets.acknowledgement(packets.PUBREL, identity)
            if sent.released
            else packets.publish(self._version, sent.topic, sent.payload, sent.qos, sent.retain, identity, True)
            for identity, sent in self._sent.items()
        )

    def _other(self, data: NDArray[np.uint8], at: int, end: int) -> tuple[int, list[Event]]:
        size, body = frames.variable_at(data, at + 1, end)
        first = int(data[at])
        taker = _TAKERS.get(first)
        if taker is None or (first == packets.DISCONNECT and not self._five):
            raise BrokerFault(f"a packet of kind 0x{first:02X}, which no broker sends", 0x82)
        return body + size, taker(self, data[body : body + size].tobytes())

    def _aliased(self, data: NDArray[np.uint8], at: int, end: int) -> tuple[int, list[Event]]:
        size, start = frames.variable_at(data, at + 1, end)
        first = int(data[at])
        body = packets.Body(data[start : start + size].tobytes())
        topic = body.take(body.number(packets.SHORT))
        qos = first >> 1 & 3
        identity = body.number(packets.SHORT) if qos else 0
        alias = body.properties()[packets.ALIAS]
        if alias > ALIASES_MAX or (not topic and alias not in self._aliases):
            raise BrokerFault(f"topic alias {alias} was never given", 0x94)
        if topic:
            self._aliases[alias] = topic
        events: list[Event] = []
        if not (qos == 2 and self._held[identity]):
            message = Message(self._aliases[alias], body.take(body.rest), bool(first & 1))
            events.append(Heard(Messages.of([message])))
        if qos == 2:
            self._held[identity] = 1
        if qos:
            events.append(Answer(packets.acknowledgement((packets.PUBACK, packets.PUBREC)[qos - 1], identity)))
        return start + size, events

    def _take_settled(self, body: bytes) -> list[Event]:
        identity, code, words = packets.read_acknowledgement(self._version, body)
        return [Settled(identity, code, words)] if self._sent.pop(identity, None) is not None else []

    def _take_received(self, body: bytes) -> list[Event]:
        identity, code, _ = packets.read_acknowledgement(self._version, body)
        sent = self._sent.get(identity)
        if code >= 0x80:
            return self._take_settled(body)
        if sent is not None:
            sent.released = True
            sent.payload = b""
        return [Answer(packets.acknowledgement(packets.PUBREL, identity))]

    def _take_released(self, body: bytes) -> list[Event]:
        identity, _, _ = packets.read_acknowledgement(self._version, body)
        self._held[identity] = 0
        return [Answer(packets.acknowledgement(packets.PUBCOMP, identity))]

    def _take_granted(self, body: bytes) -> list[Event]:
        identity, codes = packets.read_granted(self._version, body)
        if identity not in self._asked:
            raise BrokerFault("an answer to a subscription that nobody asked for", 0x82)
        self._asked.discard(identity)
        return [Granted(identity, codes)]

    def _take_farewell(self, body: bytes) -> list[Event]:
        return [Ended(*packets.read_farewell(body))]

    def _take_pong(self, body: bytes) -> list[Event]:
        return []


_TAKERS: dict[int, Callable[[Client, bytes], list[Event]]] = {
    packets.PUBACK: Client._take_settled,
    packets.PUBREC: Client._take_received,
    packets.PUBREL | 2: Client._take_released,
    packets.PUBCOMP: Client._take_settled,
    packets.SUBACK: Client._take_granted,
    packets.UNSUBACK: Client._take_granted,
    packets.PINGRESP: Client._take_pong,
    packets.DISCONNECT: Client._take_farewell,
}
