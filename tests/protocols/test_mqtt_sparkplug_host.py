"""What a host makes of the messages of edge nodes: births, deaths, lost and late messages, instruction by instruction."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mqtt import sparkplug as spb
from protocols.mqtt import sparkplug_metrics as spm
from protocols.mqtt.sparkplug import Source
from protocols.mqtt.sparkplug_b_pb2 import Payload as Wire
from protocols.mqtt.sparkplug_edge import Life
from protocols.mqtt.sparkplug_host import (
    DEVICES_MAX,
    WAITING_MAX,
    Dropped,
    Host,
    Instruction,
    Letter,
    Lost,
    Publish,
    Values,
)
from protocols.mqtt.sparkplug_metrics import Metric
from twin.quality import BAD_NO_COMMUNICATION, UNCERTAIN_LAST_USABLE

NODE, DEVICE, OTHER = Source("G", "N"), Source("G", "N", "D"), Source("G", "M")
ADDRESSES = [spb.Address(NODE, "speed"), spb.Address(DEVICE, "level"), spb.Address(DEVICE, "run"),
             spb.Address(OTHER, "flow")]  # fmt: skip
S = 1_000_000_000
START = 1_700_000_000 * S
REORDER, REBIRTH_EVERY = 2 * S, 10 * S


class Field:
    """A host, a clock, and an edge node that says what the test likes."""

    def __init__(self) -> None:
        self.host = Host(ADDRESSES, REORDER, REBIRTH_EVERY)
        self.now = START
        self.host.begin(self.now)

    def hear(self, kind: str, source: Source, *metrics: Metric, seq: int | None, ago: int = 0) -> list[Instruction]:
        return self.take(source.topic(kind), spm.encode(metrics, (self.now - ago) // 1_000_000, seq))

    def take(self, topic: str, payload: bytes, retained: bool = False) -> list[Instruction]:
        return self.host.take(topic.encode(), payload, retained, self.now)

    def wait(self, duration: int) -> list[Instruction]:
        self.now += duration
        return self.host.due(self.now)

    def born(self, bd_seq: int = 0) -> list[Instruction]:
        """Node and device, numbers 0 and 1."""
        births = self.hear("BIRTH", NODE, bd(bd_seq), Metric("speed", 1, spm.INT32, 5), seq=0)
        level, run = Metric("level", 2, spm.DOUBLE, 2.5), Metric("run", 3, spm.BOOLEAN, True)
        return births + self.hear("BIRTH", DEVICE, level, run, Metric("unbound", 4, spm.INT8, 1), seq=1)

    def data(self, seq: int, level: float = 3.0) -> list[Instruction]:
        return self.hear("DATA", DEVICE, Metric("", 2, value=level, datatype=spm.DOUBLE), seq=seq)


def bd(number: int) -> Metric:
    return Metric("bdSeq", None, spm.INT64, number)


def heard(done: list[Instruction]) -> dict[int, Any]:
    """Row -> value, of all that is said."""
    found: dict[int, Any] = {}
    for values in done:
        if isinstance(values, Values):
            for place in range(values.begin, values.end):
                columns, said = values.columns, values.columns.metric(place)
                value = None if said.is_null else spm.value_of(said, int(columns.datatype[place]))
                number = float(columns.wire[place])
                assert number == value or not isinstance(value, bool | int | float), "both readings say the same"
                found[int(columns.row[place])] = value
    return found


def rebirths(done: list[Instruction]) -> list[str]:
    return [i.topic for i in done if isinstance(i, Publish)]


def reasons(done: list[Instruction]) -> list[str]:
    return [i.reason for i in done if isinstance(i, Letter)]


def test_births_give_values_and_aliases_give_more() -> None:
    field = Field()
    assert heard(field.born()) == {0: 5, 1: 2.5, 2: True}
    assert heard(field.hear("DATA", NODE, Metric("", 1, spm.INT32, -6), seq=2)) == {0: -6}
    said = field.hear("DATA", DEVICE, Metric("", 2, spm.DOUBLE, 4.0), Metric("run", None, spm.BOOLEAN, False), seq=3)
    assert heard(said) == {1: 4.0, 2: False}
    assert field.host.life(NODE) is Life.ALIVE and field.host.life(OTHER) is Life.UNKNOWN


def test_data_may_leave_the_datatype_to_the_birth() -> None:
    field = Field()
    field.born()
    wire = Wire(timestamp=START // 1_000_000, seq=2)
    wire.metrics.add(alias=1, int_value=2**32 - 7)
    assert heard(field.take(NODE.topic("DATA"), wire.SerializeToString())) == {0: -7}


def test_numbers_wrap_after_255() -> None:
    field = Field()
    field.born()
    for number in range(2, 600):
        assert heard(field.data(number % 256, number)) == {1: number}
    assert field.wait(REORDER) and field.host.life(NODE) is Life.ALIVE  # asks for the other node only


def test_a_message_that_comes_late_is_waited_for_and_put_in_its_place() -> None:
    field = Field()
    field.born()
    assert field.data(4, 4.0) == [] and field.data(3, 3.0) == []
    done = field.data(2, 2.0)
    assert [heard([i]) for i in done] == [{1: 2.0}, {1: 3.0}, {1: 4.0}]
    assert rebirths(field.wait(REORDER)) == [OTHER.topic("CMD")]
    assert heard(field.data(5)) == {1: 3.0}


def test_a_lost_message_makes_the_node_doubted_until_its_one_rebirth() -> None:
    field = Field()
    field.born()
    field.wait(REORDER)
    assert field.data(3) == [] and field.wait(REORDER - 1) == []
    assert field.wait(1) == [Dropped(1), Lost((0, 1, 2), UNCERTAIN_LAST_USABLE), *field_rebirth(field)]
    assert field.host.life(NODE) is Life.DOUBTED
    for number in range(4, 8):
        assert field.data(number) == [Dropped(1)]
    assert field.wait(REBIRTH_EVERY - 1) == []
    assert heard(field.born()) == {0: 5, 1: 2.5, 2: True}
    assert field.wait(REBIRTH_EVERY) == [] and heard(field.data(2)) == {1: 3.0}


def field_rebirth(field: Field) -> list[Instruction]:
    """A request for a rebirth of the node, now: as a command, without a number (6.4.21)."""
    payload = spm.encode([Metric("Node Control/Rebirth", None, spm.BOOLEAN, True)], field.now // 1_000_000)
    return [Publish("spBv1.0/G/NCMD/N", payload)]


def test_a_rebirth_that_does_not_come_is_asked_for_again_but_not_often() -> None:
    field = Field()
    field.born()
    field.data(3)
    asked = sum(len(rebirths(field.wait(S // 4))) for _ in range(4 * 60) if field.host.life(NODE) is not Life.DEAD)
    assert asked == 1 + 6  # the other node once, this one at 2 s, 12 s … 52 s


def test_too_many_messages_after_a_loss_do_not_wait_for_the_time_out() -> None:
    field = Field()
    field.born()
    done = [i for n in range(WAITING_MAX + 1) for i in field.data(3 + n)]
    assert done[:2] == [Dropped(WAITING_MAX + 1), Lost((0, 1, 2), UNCERTAIN_LAST_USABLE)]
    assert rebirths(done) == [NODE.topic("CMD")]


def test_a_repeated_message_is_dropped() -> None:
    field = Field()
    field.born()
    field.data(2, 2.0)
    field.data(3, 3.0)
    assert field.data(2, 2.0) == [Dropped(1)]
    assert heard(field.data(4)) == {1: 3.0}
    payload = spm.encode([bd(1), Metric("speed", 1, spm.INT32, 5)], START // 1_000_000, 0)
    assert heard(field.take(NODE.topic("BIRTH"), payload)) == {0: 5}
    field.hear("BIRTH", DEVICE, seq=1)
    assert field.take(NODE.topic("BIRTH"), payload) == [Dropped(1)]


def test_what_a_birth_overtook_is_not_taken_for_what_follows_it() -> None:
    field = Field()
    field.born()
    assert field.hear("DATA", DEVICE, Metric("", 2, spm.DOUBLE, 9.0), seq=2, ago=S) == [Dropped(1)]
    assert heard(field.data(2)) == {1: 3.0}


def test_a_clock_that_is_set_back_long_after_the_birth_changes_nothing() -> None:
    field = Field()
    field.born()
    field.wait(REORDER)
    assert heard(field.hear("DATA", DEVICE, Metric("", 2, spm.DOUBLE, 9.0), seq=2, ago=3600 * S)) == {1: 9.0}


def test_the_death_of_a_node_takes_its_devices_along() -> None:
    field = Field()
    field.born(bd_seq=7)
    assert field.hear("DEATH", NODE, bd(7), seq=None) == [Lost((0, 1, 2), BAD_NO_COMMUNICATION)]
    assert field.host.life(NODE) is Life.DEAD and field.host.known(0) is None
    assert rebirths(field.data(2)) == [NODE.topic("CMD")]
    assert heard(field.born(bd_seq=8)) == {0: 5, 1: 2.5, 2: True}


def test_the_death_of_an_earlier_session_is_nobodys_death() -> None:
    field = Field()
    field.born(bd_seq=7)
    field.born(bd_seq=8)
    assert field.hear("DEATH", NODE, bd(7), seq=None) == []
    assert heard(field.data(2)) == {1: 3.0}
    assert field.hear("DEATH", NODE, bd(8), seq=None) == [Lost((0, 1, 2), BAD_NO_COMMUNICATION)]


def test_a_device_dies_and_comes_back_alone() -> None:
    field = Field()
    field.born()
    assert field.hear("DEATH", DEVICE, seq=2) == [Lost((1, 2), BAD_NO_COMMUNICATION)]
    assert field.host.known(0) is not None and field.host.known(1) is None
    assert field.data(3) == [Dropped(1), *field_rebirth(field)]
    done = field.hear("BIRTH", DEVICE, Metric("level", 9, spm.FLOAT, 1.5), Metric("run", 3, spm.BOOLEAN, True), seq=4)
    assert heard(done) == {1: 1.5, 2: True}
    assert heard(field.hear("DATA", DEVICE, Metric("", 9, spm.FLOAT, 2.5), seq=5)) == {1: 2.5}


def test_a_device_that_a_rebirth_does_not_bring_back_is_lost() -> None:
    field = Field()
    field.born()
    field.wait(REBIRTH_EVERY)
    assert heard(field.hear("BIRTH", NODE, bd(0), Metric("speed", 1, spm.INT32, 6), seq=0)) == {0: 6}
    assert field.wait(REORDER) == [Lost((1, 2), BAD_NO_COMMUNICATION)]
    assert field.wait(REORDER) == []


def test_aliases_are_those_of_the_newest_birth() -> None:
    field = Field()
    field.born()
    field.hear("BIRTH", NODE, bd(0), Metric("speed", 3, spm.INT32, 5), seq=0)
    field.hear("BIRTH", DEVICE, Metric("level", 1, spm.DOUBLE, 2.5), Metric("run", 2, spm.BOOLEAN, True), seq=1)
    said = field.hear("DATA", DEVICE, Metric("", 1, spm.DOUBLE, 8.0), Metric("", 2, spm.BOOLEAN, False), seq=2)
    assert heard(said) == {1: 8.0, 2: False}


def test_an_alias_without_a_birth_asks_for_one() -> None:
    field = Field()
    field.born()
    done = field.hear("DATA", DEVICE, Metric("", 99, spm.DOUBLE, 1.0), Metric("", 2, spm.DOUBLE, 3.0), seq=2)
    assert heard(done) == {1: 3.0} and reasons(done) == ["unknown_address"]
    assert rebirths(done) == [NODE.topic("CMD")]
    assert rebirths(field.hear("DATA", DEVICE, Metric("new", None, spm.DOUBLE, 1.0), seq=3)) == []  # a moment ago


def test_an_alias_of_two_metrics_and_a_metric_that_is_missing_are_said() -> None:
    field = Field()
    done = field.hear("BIRTH", NODE, bd(0), Metric("a", 1, spm.INT32, 1), Metric("b", 1, spm.INT32, 1), seq=0)
    assert reasons(done) == ["decode", "unknown_address"]
    assert [i.rows for i in done if isinstance(i, Letter)] == [(), (0,)]


def test_data_before_the_birth_asks_for_it_at_once_and_silence_does_so_after_a_while() -> None:
    field = Field()
    assert field.data(17) == [Dropped(1), *field_rebirth(field)]
    assert rebirths(field.wait(REORDER)) == [OTHER.topic("CMD")]
    assert field.wait(REBIRTH_EVERY) and field.wait(REBIRTH_EVERY) == []


def test_after_a_new_connection_nothing_of_before_holds() -> None:
    field = Field()
    field.born()
    field.host.begin(field.now)
    assert field.host.life(NODE) is Life.UNKNOWN
    assert field.data(2) == [Dropped(1), *field_rebirth(field)]
    assert heard(field.born()) == {0: 5, 1: 2.5, 2: True}


def test_retained_messages_and_those_of_others_are_passed_over() -> None:
    field = Field()
    birth = spm.encode([bd(0)], START // 1_000_000, 0)
    assert field.take(NODE.topic("BIRTH"), birth, retained=True) == []
    assert field.take("spBv1.0/G/NBIRTH/stranger", birth) == []
    assert field.take("spBv1.0/G/NCMD/N", birth) == [] and field.take("spBv1.0/STATE/h", b"{}") == []
    assert field.host.life(NODE) is Life.UNKNOWN


def test_a_message_without_a_number_is_not_believed() -> None:
    field = Field()
    field.born()
    assert reasons(field.hear("DATA", DEVICE, Metric("", 2, spm.DOUBLE, 1.0), seq=None)) == ["decode"]
    assert reasons(field.hear("DATA", DEVICE, Metric("", 2, spm.DOUBLE, 1.0), seq=256)) == ["decode"]


def test_devices_without_end_are_a_mistake() -> None:
    field = Field()
    field.born()
    for number in range(DEVICES_MAX):
        done = field.hear("BIRTH", Source("G", "N", f"d{number}"), seq=(2 + number) % 256)
    assert reasons(done) == ["overflow"]


def test_two_points_of_one_metric_both_hear_it() -> None:
    host = Host([ADDRESSES[0], ADDRESSES[0]], REORDER, REBIRTH_EVERY)
    host.begin(START)
    birth = spm.encode([bd(0), Metric("speed", 1, spm.INT32, 5)], START // 1_000_000, 0)
    assert heard(host.take(NODE.topic("BIRTH").encode(), birth, False, START)) == {0: 5, 1: 5}


KINDS = st.sampled_from([(k, s) for k in ("BIRTH", "DATA", "DEATH") for s in (NODE, DEVICE)])
METRICS = st.lists(
    st.builds(
        Metric,
        st.sampled_from(["", "level", "speed", "bdSeq"]),
        st.none() | st.integers(0, 4),
        st.just(spm.INT32),
        st.none() | st.integers(-9, 9),
    ),
    max_size=3,
)


@settings(max_examples=200)
@given(st.lists(st.tuples(KINDS, METRICS, st.none() | st.integers(0, 5), st.integers(0, 3 * S)), max_size=30))
def test_no_order_of_messages_breaks_the_host(messages: list[Any]) -> None:
    field = Field()
    for (kind, source), metrics, seq, pause in messages:
        done = field.hear(kind, source, *metrics, seq=seq) + field.wait(pause)
        alive = field.host.life(NODE) is Life.ALIVE
        assert alive or not any(isinstance(i, Values) for i in done) or kind != "DATA" or pause
        assert len(rebirths(done)) <= 2


def test_bytes_of_any_kind_become_dead_letters_only() -> None:
    chance = random.Random(5)
    field = Field()
    field.born()
    for _ in range(500):
        topic = chance.choice([NODE, DEVICE]).topic(chance.choice(["BIRTH", "DATA", "DEATH"]))
        for instruction in field.take(topic, chance.randbytes(chance.randrange(60))):
            assert isinstance(instruction, Letter | Lost | Publish | Dropped)
