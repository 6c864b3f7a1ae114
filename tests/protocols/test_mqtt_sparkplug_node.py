"""An edge node: what it says of itself and which commands it obeys, each heard by our own host."""

from __future__ import annotations

import pytest

from protocols.mqtt import sparkplug_metrics as spm
from protocols.mqtt.codec import Malformed
from protocols.mqtt.sparkplug import Source, parse_address
from protocols.mqtt.sparkplug_edge import Life
from protocols.mqtt.sparkplug_host import Host, Lost
from protocols.mqtt.sparkplug_metrics import Metric
from protocols.mqtt.sparkplug_node import DATA_MAX, Change, EdgeNode, Offer, Orders, Said, readable
from tests.protocols.test_mqtt_sparkplug_host import heard
from twin.quality import BAD, BAD_NO_COMMUNICATION, GOOD

EDGE = Source("G", "N")
OFFERS = [
    Offer("", "speed", spm.INT64),
    Offer("D", "level", spm.DOUBLE, {"engUnit": "m"}),
    Offer("D", "run", spm.BOOLEAN),
]
ADDRESSES = [
    parse_address("spBv1.0/G/N#speed"),
    parse_address("spBv1.0/G/N/D#level"),
    parse_address("spBv1.0/G/N/D#run"),
]
NOW = 1_700_000_000_000_000_000
NOW_MS = NOW // 1_000_000


def hear(host: Host, messages: list[Said]) -> dict[int, object]:
    done = [i for said in messages for i in host.take(said.topic.encode(), said.payload, False, NOW)]
    return heard(done)


def pair() -> tuple[EdgeNode, Host]:
    host = Host(ADDRESSES, 2_000_000_000, 1)
    host.begin(NOW)
    node = EdgeNode(EDGE, OFFERS)
    node.will(NOW_MS)
    return node, host


def change(place: int, value: object, quality: int = GOOD, always: bool = False) -> Change:
    return Change(place, value, quality, NOW, always)


def test_what_a_node_says_a_host_hears() -> None:
    node, host = pair()
    assert node.tell([change(0, 5), change(1, 2.5), change(2, True)], NOW_MS) == []  # not born yet
    assert hear(host, node.born(NOW_MS)) == {0: 5, 1: 2.5, 2: True}
    assert hear(host, node.tell([change(0, 6), change(1, 2.5), change(2, False)], NOW_MS)) == {0: 6, 2: False}
    assert node.tell([change(0, 6)], NOW_MS) == []
    assert hear(host, node.tell([change(0, 6, always=True)], NOW_MS)) == {0: 6}
    assert hear(host, node.tell([change(1, 2.5, BAD)], NOW_MS)) == {1: 2.5}


def test_hundreds_of_messages_keep_their_order() -> None:
    node, host = pair()
    hear(host, node.born(NOW_MS))
    for number in range(600):
        assert hear(host, node.tell([change(0, number)], NOW_MS)) == {0: number}
    assert host.life(EDGE) is Life.ALIVE


def test_data_goes_by_alias_and_leaves_names_and_datatypes_to_the_birth() -> None:
    node, _ = pair()
    birth, _ = node.born(NOW_MS)
    names = [metric.name for metric in spm.metrics_of(birth.payload)]
    assert names == ["speed", "bdSeq", "Node Control/Rebirth"]
    (data,) = node.tell([change(1, 3.0)], NOW_MS)
    (metric,) = spm.parse(data.payload).metrics
    assert (metric.name, metric.alias, metric.datatype, metric.double_value) == ("", 2, 0, 3.0)
    assert data.topic == "spBv1.0/G/DDATA/N/D" and node.edge == EDGE


def test_its_will_is_the_death_of_its_own_session() -> None:
    node, host = pair()
    wills = []
    for session in range(258):
        wills.append(node.will(NOW_MS))
        hear(host, node.born(NOW_MS + session))
    assert host.take(wills[-2].topic.encode(), wills[-2].payload, False, NOW) == []
    assert host.take(wills[-1].topic.encode(), wills[-1].payload, False, NOW) == [Lost((0, 1, 2), BAD_NO_COMMUNICATION)]
    assert node.died(NOW_MS) == wills[-1] and not node.is_born
    assert spm.metrics_of(wills[255].payload)[0].value == 0  # 1 … 255, 0


def test_large_changes_are_cut() -> None:
    offers = [Offer("", f"m{n}", spm.DOUBLE) for n in range(DATA_MAX + 1)]
    node = EdgeNode(EDGE, offers)
    node.born(NOW_MS)
    sizes = [
        len(spm.parse(s.payload).metrics) for s in node.tell([change(n, 1.0) for n in range(DATA_MAX + 1)], NOW_MS)
    ]
    assert sizes == [DATA_MAX, 1]


def test_commands_are_obeyed_by_name_and_by_alias() -> None:
    node, _ = pair()

    def command(source: Source, *metrics: Metric) -> Orders:
        return node.obey(source.topic("CMD").encode(), spm.encode(metrics, NOW_MS))

    device = Source("G", "N", "D")
    rebirth = Metric("Node Control/Rebirth", None, spm.BOOLEAN, True)
    assert command(EDGE, rebirth) == Orders(True, ())
    assert command(EDGE, Metric("Node Control/Rebirth", None, spm.BOOLEAN, False)) == Orders(False, ())
    assert command(EDGE, Metric("speed", None, spm.INT64, -3)) == Orders(False, ((0, -3),))
    assert command(device, Metric("", 3, spm.BOOLEAN, True)) == Orders(False, ((2, True),))
    for source, metric in ((device, rebirth), (device, Metric("speed", None, spm.INT64, 1)), (EDGE, Metric("", 99))):
        assert command(source, metric) == Orders(False, ())
    assert command(Source("G", "other"), rebirth) == Orders(False, ())
    with pytest.raises(Malformed):
        command(device, Metric("run", None, spm.STRING, "on"))
    assert readable(node, b"spBv1.0/G/NCMD/N", b"\xff") is None
