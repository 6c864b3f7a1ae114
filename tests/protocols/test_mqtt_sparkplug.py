"""Sparkplug B on the wire: datatypes both ways, addresses and topics, births as lists of metrics, and garbage."""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mqtt import sparkplug as spb
from protocols.mqtt import sparkplug_metrics as spm
from protocols.mqtt.codec import PAYLOAD_MAX, Malformed
from protocols.mqtt.sparkplug import Source
from protocols.mqtt.sparkplug_b_pb2 import Payload as Wire
from protocols.mqtt.sparkplug_metrics import Metric
from twin.quality import BAD, GOOD, UNCERTAIN, UNCERTAIN_LAST_USABLE

NOW_MS = 1_700_000_000_000


def carried(datatype: int, value: Any) -> Any:
    """What is read of a value that was written."""
    (found,) = spm.metrics_of(spm.encode([Metric("m", datatype=datatype, value=value)], NOW_MS))
    return found.value


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        (spm.INT8, -128), (spm.INT8, 127), (spm.INT16, -1), (spm.INT32, -(2**31)), (spm.INT64, -(2**63)),
        (spm.INT64, 2**63 - 1), (spm.UINT8, 255), (spm.UINT16, 65535), (spm.UINT32, 2**32 - 1),
        (spm.UINT64, 2**64 - 1), (spm.FLOAT, 1.5), (spm.DOUBLE, -1e300), (spm.BOOLEAN, True), (spm.BOOLEAN, False),
        (spm.STRING, "Grüße"), (spm.TEXT, ""), (spm.DATE_TIME, NOW_MS), (spm.UUID, "c0ffee"), (spm.DOUBLE, None),
        (spm.INT64_ARRAY, [1, -2]), (spm.DOUBLE_ARRAY, [0.5, 2.0]), (spm.BOOLEAN_ARRAY, [True] * 9 + [False]),
        (spm.STRING_ARRAY, ["a", "", "ä"]), (spm.DOUBLE_ARRAY, []),
    ],
)  # fmt: skip
def test_a_value_of_every_datatype_comes_back_as_it_went(datatype: int, value: Any) -> None:
    assert carried(datatype, value) == value and type(carried(datatype, value)) is type(value)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        (spm.INT8, 128), (spm.INT8, -129), (spm.UINT8, -1), (spm.UINT64, 2**64), (spm.INT32, 1.5), (spm.FLOAT, 1e39),
        (spm.DOUBLE, float("nan")), (spm.DOUBLE, True), (spm.BOOLEAN, 2), (spm.STRING, 1), (spm.DATA_SET, 1), (99, 1),
        (22, 1), (spm.INT32, "1"), (spm.INT64_ARRAY, [0.5]), (spm.INT64_ARRAY, 1), (spm.DOUBLE_ARRAY, ["1"]),
        (spm.BOOLEAN_ARRAY, [2]), (spm.STRING_ARRAY, [1]),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_datatype_is_not_written(datatype: int, value: Any) -> None:
    with pytest.raises(ValueError, match=r"is no|does not fit|cannot be written"):
        spm.put_value(Wire.Metric(), datatype, value)


def said(datatype: int, **fields: Any) -> Any:
    return spm.value_of(Wire.Metric(**fields), datatype)


def test_negative_numbers_are_read_in_both_widths_that_senders_use() -> None:
    assert said(spm.INT8, int_value=2**32 - 5) == -5
    assert said(spm.INT8, int_value=2**8 - 5) == -5
    assert said(spm.INT16, int_value=2**16 - 5) == -5
    assert said(spm.INT64, long_value=2**64 - 5) == -5
    assert said(spm.INT32, long_value=2**64 - 5) == -5


@pytest.mark.parametrize(
    ("datatype", "fields", "reason"),
    [
        (spm.INT8, {"int_value": 300}, "range"),
        (spm.UINT8, {"int_value": 256}, "range"),
        (spm.INT32, {"long_value": 2**40}, "range"),
        (spm.DOUBLE, {"string_value": "1"}, "type"),
        (spm.BOOLEAN, {"int_value": 1}, "type"),
        (spm.TEMPLATE, {"template_value": Wire.Template()}, "type"),
        (spm.DATA_SET, {"dataset_value": Wire.DataSet()}, "type"),
        (spm.BYTES, {"bytes_value": b"x"}, "type"),
        (0, {"int_value": 1}, "type"),
        (spm.INT32, {}, "decode"),
        (24, {"bytes_value": b"12345"}, "decode"),
        (32, {"bytes_value": struct.pack("<I", 9) + b"\xff"}, "decode"),
        (32, {"bytes_value": b"\x01"}, "decode"),
        (33, {"bytes_value": b"open"}, "decode"),
        (33, {"bytes_value": b"\xff\0"}, "decode"),
    ],
)
def test_a_value_that_is_none_of_its_datatype_says_why(datatype: int, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        said(datatype, **fields)
    assert caught.value.reason == reason


def test_arrays_are_lists() -> None:
    assert said(22, bytes_value=b"\xff\x01") == [-1, 1]
    assert said(25, bytes_value=struct.pack("<2q", -5, 5)) == [-5, 5]
    assert said(31, bytes_value=struct.pack("<2d", 0.5, -2.0)) == [0.5, -2.0]
    assert said(32, bytes_value=struct.pack("<I", 9) + bytes([0b10100000, 0b10000000])) == [
        True, False, True, False, False, False, False, False, True,
    ]  # fmt: skip
    assert said(33, bytes_value=b"a\0\0\xc3\xa4\0") == ["a", "", "ä"]
    assert said(34, bytes_value=struct.pack("<q", NOW_MS)) == [NOW_MS]


@pytest.mark.parametrize(
    ("code", "quality"),
    [(192, GOOD), (0, BAD), (500, UNCERTAIN_LAST_USABLE), (216, GOOD), (64, UNCERTAIN), (24, BAD), (-1, BAD)],
)
def test_the_property_quality_is_a_status_code(code: int, quality: int) -> None:
    payload = spm.encode([Metric("m", datatype=spm.INT32, value=1, properties={"Quality": code})], NOW_MS)
    assert spm.metrics_of(payload)[0].quality == quality


def test_a_quality_that_is_not_good_is_written_as_the_property() -> None:
    for quality, code in ((BAD, 0), (UNCERTAIN, 500), (0x8005_0000, 0)):
        payload = spm.encode([Metric("m", datatype=spm.INT32, value=1, quality=quality)], NOW_MS)
        assert spm.metrics_of(payload)[0].properties == {"Quality": code}


def test_a_birth_tells_its_metrics_with_their_units_and_ranges() -> None:
    engineering = {"engUnit": "m", "engLow": -2, "engHigh": 10.5}
    birth = [
        Metric("level", 7, spm.DOUBLE, 2.5, stamp=NOW_MS * 1_000_000, properties=engineering),
        Metric("run", 8, spm.BOOLEAN, None, historical=True),
    ]
    assert spm.metrics_of(spm.encode(birth, NOW_MS, 0)) == birth
    assert spm.parse(spm.encode(birth, NOW_MS, 0)).seq == 0
    assert not spm.parse(spm.encode(birth, NOW_MS)).HasField("seq")


def test_addresses_name_a_metric_of_a_node_or_a_device() -> None:
    assert spb.parse_address("spBv1.0/G/N#a/b#c") == spb.Address(Source("G", "N"), "a/b#c")
    assert spb.parse_address("spBv1.0/G/N/D#m") == spb.Address(Source("G", "N", "D"), "m")


@pytest.mark.parametrize(
    "text",
    ["spBv1.0/G#m", "spBv1.0/G/N", "spBv1.0/G/N#", "spBv1.0/G/N/D/E#m", "spAv1.0/G/N#m", "spBv1.0/G//D#m",
     "spBv1.0/+/N#m", "spBv1.0/STATE/N#m", "G/N#m"],
)  # fmt: skip
def test_another_address_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="GROUP/NODE"):
        spb.parse_address(text)


def test_topics_say_kind_and_source() -> None:
    node, device = Source("G", "N"), Source("G", "N", "D")
    for source in (node, device):
        for kind in ("BIRTH", "DATA", "DEATH", "CMD"):
            assert spb.parse_topic(source.topic(kind).encode()) == (("D" if source.device else "N") + kind, source)
    for topic in (
        b"spBv1.0/STATE/h",
        b"spBv1.0/G/NBIRTH/N/D",
        b"spBv1.0/G/DDATA/N",
        b"x/G/NDATA/N",
        b"spBv1.0/\xff/a/b",
    ):
        assert spb.parse_topic(topic) is None
    assert (device.edge, str(node), str(device)) == (node, "spBv1.0/G/N", "spBv1.0/G/N/D")


def test_a_hosts_state_is_json() -> None:
    assert spb.parse_state(spb.encode_state(True, NOW_MS)) == (True, NOW_MS)
    for payload in (b"ONLINE", b"[]", b'{"online": 1, "timestamp": 1}', b'{"online": true, "timestamp": true}', b""):
        with pytest.raises(Malformed):
            spb.parse_state(payload)


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_random_bytes_are_read_or_malformed(payload: bytes) -> None:
    try:
        spm.metrics_of(payload)
    except Malformed as fault:
        assert fault.reason in ("decode", "overflow")


def test_a_payload_cut_or_changed_anywhere_is_read_or_malformed() -> None:
    chance = random.Random(3)
    whole = spm.encode(
        [Metric("level", 7, spm.DOUBLE, 2.5, properties={"engUnit": "m"}), Metric("s", 8, spm.STRING, "text")],
        NOW_MS,
        4,
    )
    changed = [bytes(b if i != n else chance.randrange(256) for i, b in enumerate(whole)) for n in range(len(whole))]
    for payload in [whole[:n] for n in range(len(whole))] + changed:
        try:
            spm.metrics_of(payload)
        except Malformed as fault:
            assert fault.reason == "decode"


def test_a_payload_has_a_limit() -> None:
    with pytest.raises(Malformed) as caught:
        spm.parse(bytes(PAYLOAD_MAX + 1))
    assert caught.value.reason == "overflow"
    with pytest.raises(Malformed) as caught:
        spm.parse(Wire(metrics=[Wire.Metric()] * (spm.METRICS_MAX + 1)).SerializeToString())
    assert caught.value.reason == "overflow"


def test_a_compressed_payload_has_the_same_limit() -> None:
    def wrapped(body: bytes) -> bytes:
        payload: bytes = Wire(uuid="SPBV1.0_COMPRESSED", body=body).SerializeToString()
        return payload

    inside = spm.encode([Metric("m", datatype=spm.INT32, value=1)], NOW_MS, 7)
    for body in (zlib.compress(inside), gzip.compress(inside)):
        assert spm.parse(wrapped(body)).seq == 7
    for body, reason in ((zlib.compress(bytes(PAYLOAD_MAX + 1)), "overflow"), (b"x", "decode"), (inside, "decode")):
        with pytest.raises(Malformed) as caught:
            spm.parse(wrapped(body))
        assert caught.value.reason == reason
