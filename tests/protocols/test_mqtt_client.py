"""A client's side of MQTT without a socket: what it takes, answers, keeps and refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mqtt import client as mqtt
from protocols.mqtt import frames, packets
from protocols.mqtt.client import Client
from protocols.mqtt.messages import Message
from protocols.mqtt.packets import BrokerFault, Filter, Options, Will
from protocols.mqtt.silence import Silence, Step

WELCOME = {"3.1.1": b"\x20\x02\x00\x00", "5": b"\x20\x03\x00\x00\x00"}
PRESENT = {"3.1.1": b"\x20\x02\x01\x00", "5": b"\x20\x03\x01\x00\x00"}


@dataclass
class Heard:
    """Everything a client said about some bytes."""

    messages: list[Message] = field(default_factory=list)
    answers: bytes = b""
    others: list[mqtt.Event] = field(default_factory=list)


def feed(client: Client, data: bytes, step: int = 1 << 30) -> Heard:
    """Hand over the bytes, `step` at a time."""
    heard, buffer, start = Heard(), bytearray(data), 0
    array = np.frombuffer(bytes(buffer), np.uint8)
    for end in [*range(step, len(data), step), len(data)]:
        while True:
            at, events = client.receive(array, start, end)
            for event in events:
                match event:
                    case mqtt.Heard(messages):
                        heard.messages += list(messages)
                    case mqtt.Answer(answer):
                        heard.answers += answer
                    case _:
                        heard.others.append(event)
            if at == start and not events:
                break
            start = at
    return heard


def entered(version: str = "3.1.1", present: bool = False, **more: object) -> Client:
    client = Client(Options("c", version, **more))  # type: ignore[arg-type]
    client.enter()
    feed(client, (PRESENT if present else WELCOME)[version])
    return client


def publish(topic: bytes, payload: bytes, qos: int = 0, identity: int = 0, version: str = "3.1.1", retain: bool = False,
            said: Sequence[tuple[int, object]] = (), dup: bool = False) -> bytes:  # fmt: skip
    first = packets.PUBLISH | dup << 3 | qos << 1 | retain
    inside = packets.properties(said) if version == "5" else b""
    return packets.packet(first, packets.text(topic), identity.to_bytes(2, "big") if qos else b"", inside, payload)


messages = st.lists(
    st.tuples(st.binary(min_size=1, max_size=20), st.binary(max_size=200), st.integers(0, 2), st.booleans()),
    max_size=12,
)


@given(messages, st.sampled_from(["3.1.1", "5"]), st.sampled_from([1, 2, 3, 7]))
def test_messages_byte_by_byte_are_those_of_all_at_once(
    said: list[tuple[bytes, bytes, int, bool]], version: str, step: int
) -> None:
    data = b"".join(publish(t, p, q, i + 1, version, r) for i, (t, p, q, r) in enumerate(said))
    whole, bits = feed(entered(version), data), feed(entered(version), data, step)
    assert whole == bits
    assert whole.messages == [Message(t, p, r) for t, p, _, r in said]
    kinds = {1: packets.PUBACK, 2: packets.PUBREC}
    assert whole.answers == b"".join(
        packets.acknowledgement(kinds[q], i + 1) for i, (_, _, q, _) in enumerate(said) if q
    )


@given(st.binary(max_size=120), st.sampled_from(["3.1.1", "5"]), st.booleans(), st.integers(1, 9))
def test_any_bytes_are_packets_or_the_brokers_fault(data: bytes, version: str, inside: bool, step: int) -> None:
    client = entered(version) if inside else Client(Options("c", version))
    try:
        feed(client, data, step)
    except BrokerFault as fault:
        assert str(fault) and 0x80 <= fault.code < 0x100


valid = st.sampled_from(
    [
        publish(b"a/b", b"1", 1, 7, "5", said=[(packets.USER, ("k", "v")), (packets.SUBSCRIPTION_ID, 300)]),
        publish(b"a/b", b"1", 2, 7, "5", said=[(packets.ALIAS, 3)]),
        publish(b"", b"1", 0, 0, "5", said=[(packets.ALIAS, 3)]),
        b"\x90\x04\x00\x01\x00\x01", b"\x62\x02\x00\x07", b"\x40\x02\x00\x01", b"\x50\x04\x00\x01\x10\x00",
        b"\xd0\x00", b"\xe0\x02\x8e\x00",
        packets.packet(packets.DISCONNECT, b"\x8b", packets.properties([(packets.REASON, "tired")])),
    ]
)  # fmt: skip


@given(st.lists(valid, max_size=4), st.data())
def test_a_broken_packet_is_a_fault_or_another_packet_and_nothing_worse(said: list[bytes], data: st.DataObject) -> None:
    stream = bytearray(b"".join(said))
    for _ in range(data.draw(st.integers(0, 3))):
        if stream:
            stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    client = entered("5")
    client.subscribe([Filter("x", 0)])
    try:
        feed(client, bytes(stream), data.draw(st.integers(1, 30)))
    except BrokerFault as fault:
        assert 0x80 <= fault.code < 0x100


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_message_of_qos_2_is_taken_once_whatever_is_said_again(version: str) -> None:
    client = entered(version, clean=False)
    first, again = publish(b"t", b"1", 2, 5, version), publish(b"t", b"1", 2, 5, version, dup=True)
    assert feed(client, first).messages == [Message(b"t", b"1", False)]
    assert feed(client, again) == Heard(answers=packets.acknowledgement(packets.PUBREC, 5))
    client.enter()  # the connection broke, and the session is resumed
    heard = feed(client, PRESENT[version] + again)
    assert heard.messages == [] and heard.answers == packets.acknowledgement(packets.PUBREC, 5)
    release = packets.acknowledgement(packets.PUBREL, 5)
    assert feed(client, release + release).answers == packets.acknowledgement(packets.PUBCOMP, 5) * 2
    assert len(feed(client, first).messages) == 1
    client.enter()
    assert len(feed(client, WELCOME[version] + first).messages) == 1  # the broker has forgotten: another message


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_resumed_session_says_again_what_the_broker_did_not_settle(version: str) -> None:
    client = entered(version, clean=False)
    _, _ = client.publish("t", b"gone", 1, False)
    kept, _ = client.publish("t", b"kept", 1, True, keep=True)
    twice, _ = client.publish("t", b"twice", 2, False)
    released, _ = client.publish("t", b"released", 2, False)
    answer = feed(client, packets.acknowledgement(packets.PUBREC, released)).answers
    assert answer == packets.acknowledgement(packets.PUBREL, released)
    client.enter()
    again = feed(client, PRESENT[version]).answers
    assert again == (
        packets.publish(version, "t", b"kept", 1, True, kept, True)
        + packets.publish(version, "t", b"twice", 2, False, twice, True)
        + packets.acknowledgement(packets.PUBREL, released)
    )
    client.enter()
    assert feed(client, WELCOME[version]).answers == b""


def test_a_settled_message_is_reported_once_with_the_brokers_reason() -> None:
    client = entered("5")
    identity, _ = client.publish("t", b"x", 1, False)
    refusal = packets.packet(packets.PUBACK, identity.to_bytes(2, "big"), b"\x87", packets.properties([(0x1F, "no")]))
    assert feed(client, refusal * 2).others == [mqtt.Settled(identity, 0x87, "no")]
    twice, _ = client.publish("t", b"x", 2, False)
    refusal = packets.packet(packets.PUBREC, twice.to_bytes(2, "big"), b"\x97")
    heard = feed(client, refusal)
    assert heard.others == [mqtt.Settled(twice, 0x97, "")] and heard.answers == b""


def test_what_the_broker_does_not_allow_is_not_sent() -> None:
    client = Client(Options("c", "5"))
    client.enter()
    said = [(packets.RECEIVE_MAX, 1), (packets.QOS_MAX, 1), (packets.RETAIN_AVAILABLE, 0), (packets.PACKET_MAX, 50)]
    feed(client, packets.packet(packets.CONNACK, b"\0\0", packets.properties(said)))
    refused = [("t", b"", 2, False), ("t", b"", 0, True), ("t", b"x" * 60, 0, False), ("a/#", b"", 0, False)]
    for topic, payload, qos, retain in refused:
        with pytest.raises(ValueError, match=r"broker|topic"):
            client.publish(topic, payload, qos, retain)
    room = [client.may_publish]
    identity, _ = client.publish("t", b"x", 1, False)
    room.append(client.may_publish)
    feed(client, packets.acknowledgement(packets.PUBACK, identity))
    assert [*room, client.may_publish] == [True, False, True]


def test_a_topic_alias_stands_for_its_topic_until_the_connection_ends() -> None:
    client = entered("5", clean=False)
    given_ = publish(b"long/topic", b"1", 1, 1, "5", said=[(packets.ALIAS, 2)])
    short = publish(b"", b"2", 0, 0, "5", said=[(packets.ALIAS, 2)])
    heard = feed(client, given_ + short)
    assert heard.messages == [Message(b"long/topic", b"1", False), Message(b"long/topic", b"2", False)]
    assert heard.answers == packets.acknowledgement(packets.PUBACK, 1)
    client.enter()
    with pytest.raises(BrokerFault, match="alias") as fault:
        feed(client, PRESENT["5"] + short)
    assert fault.value.code == 0x94


def test_of_a_message_without_end_the_first_part_is_shown_and_the_rest_skipped() -> None:
    client = entered()
    large = publish(b"t", b"x" * (mqtt.PACKET_MAX + 1000), 1, 9)
    heard = feed(client, large + publish(b"t", b"after"), 100_000)
    assert [len(m.payload) > mqtt.PAYLOAD_MAX for m in heard.messages] == [True, False]
    assert heard.messages[1].payload == b"after" and heard.answers == packets.acknowledgement(packets.PUBACK, 9)
    with pytest.raises(BrokerFault) as fault:
        feed(entered(), b"\xd0" + packets.variable(mqtt.PACKET_MAX * 2) + b"x" * 100)
    assert fault.value.code == 0x95


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 400 Bad", b"\x20\x02\x02\x00", b"\x20\xff\xff\xff\xff", b"\x20\x02\x01\x00", b"\x30\x03\x00\x01t"],
)
def test_what_is_no_greeting_is_refused(data: bytes) -> None:
    client = Client(Options("c"))
    client.enter()
    with pytest.raises(BrokerFault):
        feed(client, data)


@pytest.mark.parametrize(("version", "data", "code"), [("3.1.1", b"\x20\x02\x00\x05", 0x87), ("5", b"\x20\x02\x00\x01", 0x84),
                                                        ("5", b"\x20\x03\x00\x86\x00", 0x86)])  # fmt: skip
def test_a_refusal_has_the_words_of_the_standard(version: str, data: bytes, code: int) -> None:
    client = Client(Options("c", version))
    client.enter()
    (event,) = feed(client, data).others
    assert isinstance(event, mqtt.Entered) and event.welcome.code == code and packets.reason(code)


def test_a_connection_says_who_we_are_and_what_is_to_be_said_when_we_are_gone() -> None:
    will = Will("status", b"offline", 1, True)
    options = Options("me", "5", 30, False, 3600, "user", "secret", will)
    data = Client(options).enter()
    body = packets.Body(data[2:])
    assert (body.text(), body.take(2), body.number(packets.SHORT)) == ("MQTT", b"\x05\xec", 30)
    said = body.properties()
    assert said[packets.SESSION_EXPIRY] == 3600 and packets.ALIAS_MAX in said
    assert (body.text(), body.properties(), body.text(), body.text()) == ("me", {}, "status", "offline")
    assert (body.text(), body.text(), body.rest) == ("user", "secret", 0)
    plain = packets.Body(Client(Options("me")).enter()[2:])
    assert plain.take(10) == b"\0\4MQTT\4\2\0\x0f" and plain.text() == "me" and plain.rest == 0


def test_an_answer_that_nobody_asked_for_is_a_fault() -> None:
    client = entered()
    identity, _ = client.subscribe([Filter("a", 1), Filter("b", 2)])
    answer = packets.packet(packets.SUBACK, identity.to_bytes(2, "big"), b"\x01\x80")
    assert feed(client, answer).others == [mqtt.Granted(identity, b"\x01\x80")]
    with pytest.raises(BrokerFault, match="nobody asked"):
        feed(client, answer)


def test_packet_ids_are_not_used_twice_while_they_are_open() -> None:
    client = entered()
    opened = {client.publish("t", b"", 1, False)[0] for _ in range(mqtt.IDS - 1)}
    last, _ = client.subscribe([Filter("a", 0)])
    assert len(opened | {last}) == mqtt.IDS and 0 not in opened
    with pytest.raises(ValueError, match="wait for the broker"):
        client.publish("t", b"", 1, False)
    feed(client, packets.acknowledgement(packets.PUBACK, 4711))
    assert client.publish("t", b"", 1, False)[0] == 4711


def test_more_messages_than_one_pass_takes_come_in_order() -> None:
    count = 3 * frames.ROWS_MAX + 5
    heard = feed(entered(), b"".join(publish(b"t", str(i).encode()) for i in range(count)))
    assert [int(m.payload) for m in heard.messages] == list(range(count))


@given(st.integers(0, packets.REMAINING_MAX))
def test_lengths_are_read_as_they_are_written(length: int) -> None:
    raw = packets.variable(length)
    assert frames.variable_at(np.frombuffer(raw, np.uint8), 0, len(raw)) == (length, len(raw))
    assert packets.Body(raw).number(packets.VARIABLE) == length


def test_silence_is_asked_about_once_and_then_given_up() -> None:
    silence = Silence(keepalive_s=4.0, answer_s=2.0)
    assert silence.step(2.9, heard_s=0.0, sent_s=2.0) is Step.WAIT
    assert silence.step(3.0, heard_s=0.0, sent_s=2.0) is Step.ASK
    assert silence.step(4.9, heard_s=0.0, sent_s=3.0) is Step.WAIT
    assert silence.step(5.0, heard_s=4.5, sent_s=3.0) is Step.WAIT  # answered
    assert silence.step(8.0, heard_s=4.5, sent_s=7.0) is Step.ASK
    assert silence.step(10.0, heard_s=4.5, sent_s=8.0) is Step.GIVE_UP
