"""OPC UA words to ours and back."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary
from hypothesis import given
from hypothesis import strategies as st

from protocols.opcua import codec
from tests.protocols.protocol_bench import point
from twin.quality import BAD_NODE_ID_UNKNOWN, GOOD


@pytest.mark.parametrize(
    "address",
    [
        "ns=2;s=Tank.Level",
        "i=2258",
        "ns=3;i=7",
        "ns=1;g=72962B91-FA75-4AE6-8D28-B404DC7DAF63",
        "ns=1;b=TWluZQ==",
        "s=a;b=c",
    ],
)
def test_every_form_of_node_id_is_an_address_that_the_library_reads_too(address: str) -> None:
    codec.check_address(address, "double", True)
    assert ua.NodeId.from_string(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "Tank",
        "ns=2",
        "ns=2;s=",
        "ns=2;x=1",
        "ns=70000;i=1",
        "i=-1",
        "i=4294967296",
        "ns=1;g=7",
        "ns=1;b=a",
        "ns=1;i=²",
    ],
)
def test_what_is_no_node_id_is_refused_with_the_reason(address: str) -> None:
    with pytest.raises(ValueError, match=r"NodeId|namespace|number|GUID|base64"):
        codec.check_address(address, "double", False)


@pytest.mark.parametrize(
    "endpoint", ["http://a:1", "opc.tcp://", "opc.tcp://host", "opc.tcp://host:99999", "opc.tcp://[:1"]
)
def test_what_is_no_endpoint_is_refused_with_the_form(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"opc\.tcp://"):
        codec.check_endpoint(endpoint)


def test_user_and_password_come_from_the_endpoint() -> None:
    codec.check_endpoint("opc.tcp://us%40er:p%3Aw@host:4840/path")
    assert codec.credentials("opc.tcp://us%40er:p%3Aw@host:4840/path") == ("us@er", "p:w")
    assert codec.credentials("opc.tcp://host:4840") == (None, None)


def test_a_data_value_keeps_all_32_bits_of_its_status_and_its_source_time() -> None:
    stamp = datetime(2026, 11, 21, 3, 4, 5, 678901, UTC)
    said = ua.DataValue(ua.Variant(1.5, ua.VariantType.Double), ua.StatusCode(0x480), SourceTimestamp=stamp)
    assert codec.read_data_value(said) == (1.5, 0x480, 1795230245678901000)
    assert codec.moment(1795230245678901000) == stamp


def test_the_server_time_stands_in_and_a_bare_status_has_no_value() -> None:
    later = datetime(2026, 1, 1)  # as on the wire: no zone, UTC
    said = ua.DataValue(None, ua.StatusCode(BAD_NODE_ID_UNKNOWN), ServerTimestamp=later)
    assert codec.read_data_value(said) == (None, BAD_NODE_ID_UNKNOWN, codec.nanoseconds(later))
    empty = SimpleNamespace(Value=None, StatusCode=None, SourceTimestamp=None, ServerTimestamp=None)
    assert codec.read_data_value(empty) == (None, GOOD, None)


def test_a_device_without_a_clock_has_no_time() -> None:
    said = ua.DataValue(ua.Variant(1.0), SourceTimestamp=datetime(1601, 1, 1), ServerTimestamp=datetime(1, 1, 1))
    assert codec.read_data_value(said)[2] is None


def test_node_types_follow_the_points() -> None:
    assert codec.node_type(point(0, "i=1")) == "Double"
    assert codec.node_type(point(0, "i=1", "boolean")) == "Boolean"
    assert codec.node_type(point(0, "i=1", "integer")) == "Int64"
    assert codec.node_type(point(0, "i=1", "integer", scale=0.1)) == "Double"
    assert codec.node_type(point(0, "i=1", "string")) == "String"


@pytest.mark.parametrize(
    ("kind", "wire"),
    [
        ("Boolean", 0.5),
        ("Int16", 40_000.0),
        ("Byte", -1.0),
        ("Int32", 1.5),
        ("Float", 1e39),
        ("String", 1.0),
        ("Double", float("nan")),
    ],
)
def test_a_number_that_the_nodes_type_cannot_carry_is_refused(kind: str, wire: float) -> None:
    with pytest.raises(ValueError, match=r"fit|neither|finite|takes no"):
        codec.variant_value(kind, wire)


def test_unit_conversion_does_not_make_whole_numbers_fractions() -> None:
    assert codec.variant_value("Int32", 2.9999999999999996) == 3
    assert codec.variant_value("Boolean", 1.0) is True


def test_only_answers_that_settle_a_write_are_refusals() -> None:
    assert codec.is_unsettled("BadTimeout") and codec.is_unsettled("BadTcpInternalError")
    assert not codec.is_unsettled("BadUserAccessDenied") and not codec.is_unsettled("BadOutOfRange")


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        codec.check_address(text, "double", False)
    except ValueError:
        return
    assert "=" in text


@given(st.text())
def test_any_text_is_an_endpoint_or_a_value_error(text: str) -> None:
    try:
        codec.check_endpoint(text)
    except ValueError:
        return
    assert text.lower().lstrip().startswith("opc.tcp:")


@pytest.mark.parametrize(
    "address",
    ["i=5", "i=255", "i=256", "ns=2;i=7", "ns=256;i=7", "i=65536", "ns=65535;i=4294967295", "ns=2;s=tank_1.level",
     "s=größe", "ns=3;g=72962B91-FA75-4AE6-8D28-B404DC7DAF63"],
)  # fmt: skip
def test_a_node_id_is_written_so_that_asyncua_reads_it(address: str) -> None:
    read = nodeid_from_binary(Buffer(codec.node_id(address)))
    assert ua.NodeId.from_string(read.to_string()) == ua.NodeId.from_string(address)


def test_an_opaque_node_id_is_sent_as_the_bytes_that_its_base64_means() -> None:
    assert nodeid_from_binary(Buffer(codec.node_id("ns=3;b=AAECAw=="))).Identifier == bytes([0, 1, 2, 3])


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (datetime(2026, 11, 21, 9, 30, 0, 250_000, tzinfo=UTC), "2026-11-21T09:30:00.250000Z"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (b"\x00\xff", "AP8="),
        (ua.XmlElement("<a/>"), "<a/>"),
        (ua.LocalizedText("Füllstand", "de"), "Füllstand"),
        (ua.QualifiedName("level", 2), "2:level"),
        (ua.NodeId("tank", 2), "ns=2;s=tank"),
        (ua.StatusCode(0x80310000), 0x80310000),
        ([b"a", "b", 3], ["YQ==", "b", 3]),
        (2.5, 2.5),
    ],
)
def test_values_that_are_no_numbers_become_what_points_take(value: object, told: object) -> None:
    assert codec.plain(value) == told
