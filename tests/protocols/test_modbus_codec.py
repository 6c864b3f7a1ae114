"""Modbus bytes, addresses and blocks."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus import codec
from protocols.modbus.codec import Address, BadFrame, DeviceException, Frame, FrameParser, Table


@pytest.mark.parametrize("table", ["coil", "discrete"])
def test_a_bit_has_no_type(table: str) -> None:
    assert codec.parse_address(f"{table}:17") == Address(Table(table), 17, "bit", "ABCD")
    with pytest.raises(ValueError, match="no type"):
        codec.parse_address(f"{table}:17:uint16")


def test_registers_have_a_type_and_an_order() -> None:
    assert codec.parse_address("holding:3") == Address(Table.HOLDING, 3, "uint16", "ABCD")
    assert codec.parse_address("input:3:float64:DCBA").count == 4


@pytest.mark.parametrize(
    "text",
    ["", "holding", "holding:", "holding:-1", "holding:65536", "holding:65535:uint32", "holding:0:uint8", "register:1",
     "holding:0:float32:ABDC", "holding:0:uint16:CDAB", "holding:0:int16:DCBA", "holding:0:", "HOLDING:0", "holding:٣"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"holding|uint|types|orders|words|reaches"):
        codec.parse_address(text)


@pytest.mark.parametrize(
    ("text", "kind", "writable"),
    [("coil:0", "double", False), ("input:0", "double", True), ("discrete:0", "boolean", True),
     ("holding:0", "string", False), ("holding:0:float32", "boolean", False), ("holding:0", "object", False),
     ("holding:0:float32", "enum", False), ("coil:0", "enum", False)],
)  # fmt: skip
def test_an_address_that_does_not_suit_its_point_is_refused(text: str, kind: str, writable: bool) -> None:
    with pytest.raises(ValueError):
        codec.check_address(text, kind, writable)


@pytest.mark.parametrize(
    "endpoint",
    ["modbus://h:502", "modbus://h/1", "tcp://h:502/1", "modbus://h:502/256", "modbus://h:502/1/2", "modbus://h:x/1"],
)
def test_what_is_no_endpoint_is_refused_with_the_form(endpoint: str) -> None:
    with pytest.raises(ValueError, match="modbus"):
        codec.check_endpoint(endpoint)


def test_an_endpoint_names_host_port_and_unit() -> None:
    assert codec.parse_endpoint("modbus://plc.local:502/17") == ("plc.local", 502, 17)


ORDERED = {"ABCD": "11223344", "CDAB": "33441122", "BADC": "22114433", "DCBA": "44332211"}


@pytest.mark.parametrize(("order", "wire"), ORDERED.items())
def test_the_four_orders_are_what_the_manuals_mean(order: str, wire: str) -> None:
    address = Address(Table.HOLDING, 0, "uint32", order)
    (block,) = codec.plan([address])
    assert codec.decode_block(block, bytes.fromhex(wire)) == [(0, 0x11223344)]


@given(
    st.sampled_from(list(codec.DTYPES)),
    st.sampled_from(codec.ORDERS),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, width=32),
)
def test_what_is_encoded_decodes_to_the_same_number(kind: str, order: str, whole: int, real: float) -> None:
    address = Address(Table.HOLDING, 5, kind, order)
    value = real if kind.startswith("float") else whole
    try:
        words = codec.encode_registers(address, value)
    except ValueError:
        return
    (block,) = codec.plan([address])
    assert codec.decode_block(block, struct.pack(f">{len(words)}H", *words)) == [(0, value)]


def test_neighbours_share_a_read_and_holes_are_never_read_unasked() -> None:
    cells = [codec.parse_address(f"holding:{n}") for n in (0, 1, 2, 10, 12)]
    assert [(b.start, b.count) for b in codec.plan(cells)] == [(0, 3), (10, 1), (12, 1)]
    assert [(b.start, b.count) for b in codec.plan(cells, gap=1)] == [(0, 3), (10, 3)]
    assert [(b.start, b.count) for b in codec.plan(cells, gap=7)] == [(0, 13)]
    assert [(b.start, b.count) for b in codec.plan(cells, gap=7, max_registers=4)] == [(0, 3), (10, 3)]


ADDRESSES = st.lists(
    st.builds(
        Address,
        st.sampled_from([Table.HOLDING, Table.INPUT]),
        st.integers(0, 400),
        st.sampled_from(["uint16", "int32", "float64"]),
        st.just("ABCD"),
    ),
    max_size=60,
)


@given(ADDRESSES, st.integers(0, 20), st.integers(4, 125))
def test_every_plan_reads_every_point_once_within_the_limits(addresses: list[Address], gap: int, most: int) -> None:
    blocks = codec.plan(addresses, gap, most)
    assert sorted(row for block in blocks for row in block.rows) == list(range(len(addresses)))
    for block in blocks:
        asked = {c for a in block.addresses for c in range(a.start, a.start + a.count)}
        read = set(range(block.start, block.start + block.count))
        assert asked <= read and block.count <= most
        holes = sorted(read - asked)
        assert gap > 0 or not holes


def test_a_refused_block_is_halved_until_single_values_are_left() -> None:
    cells = [codec.parse_address(f"holding:{n}") for n in range(5)]
    (block,) = codec.plan(cells)
    left, right = block.halves()
    assert (left.start, left.count, left.rows) == (0, 2, (0, 1))
    assert (right.start, right.count, right.rows) == (2, 3, (2, 3, 4))


def test_bits_come_packed_from_the_lowest() -> None:
    cells = [codec.parse_address(f"coil:{n}") for n in (3, 4, 5, 12)]
    (block,) = codec.plan(cells, gap=9)
    assert dict(codec.decode_block(block, b"\x05\x02")) == {0: True, 1: False, 2: True, 3: True}


def test_requests_are_those_of_the_specification() -> None:
    assert codec.write_request(codec.parse_address("coil:172"), 1.0).hex() == "0500acff00"  # V1.1b3, 6.5
    assert codec.write_request(codec.parse_address("holding:1"), 3.0).hex() == "0600010003"  # 6.6
    assert codec.write_coils_request(19, [c == "1" for c in "1011001110"]).hex() == "0f0013000a02cd01"  # 6.11
    assert codec.write_registers_request(1, [10, 258]).hex() == "100001000204000a0102"  # 6.12
    (block,) = codec.plan([codec.parse_address(f"holding:{n}") for n in (107, 108, 109)])
    assert codec.read_request(block).hex() == "03006b0003"  # 6.3
    assert codec.read_answer(block, bytes.fromhex("0306022b00000064")).hex() == "022b00000064"
    assert codec.frame(1, 17, b"\x03").hex() == "0001000000021103"


def test_an_exception_answer_has_its_name() -> None:
    (block,) = codec.plan([codec.parse_address("holding:0")])
    with pytest.raises(DeviceException, match="IllegalDataAddress"):
        codec.read_answer(block, b"\x83\x02")
    with pytest.raises(DeviceException, match="Exception99"):
        codec.write_answer(b"\x06\0\0\0\0", b"\x86\x63")


@pytest.mark.parametrize(
    ("pdu", "reason"),
    [(b"", "truncated"), (b"\x03", "truncated"), (b"\x03\x02\x00", "truncated"), (b"\x04\x02\0\0", "decode"),
     (b"\x03\x04\0\0\0\0", "decode"), (b"\x03\x01\0\0", "decode")],
)  # fmt: skip
def test_an_answer_to_another_question_is_no_answer(pdu: bytes, reason: str) -> None:
    (block,) = codec.plan([codec.parse_address("holding:0")])
    with pytest.raises(BadFrame) as fault:
        codec.read_answer(block, pdu)
    assert fault.value.reason == reason


def parsed(chunks: list[bytes]) -> list[Frame | str]:
    """Everything that the chunks hold: frames, and the reason why it ended early."""
    parser, found = FrameParser(), list[Frame | str]()
    for chunk in chunks:
        parser.feed(chunk)
        try:
            while (frame := parser.next_frame()) is not None:
                found.append(frame)
        except BadFrame as fault:
            return [*found, fault.reason]
    return found


FRAMES = st.lists(
    st.tuples(st.integers(0, 65535), st.integers(0, 255), st.binary(min_size=1, max_size=253)), max_size=5
)


@given(FRAMES, st.binary(max_size=30))
def test_byte_by_byte_is_the_same_as_all_at_once(frames: list[tuple[int, int, bytes]], tail: bytes) -> None:
    stream = b"".join(codec.frame(*f) for f in frames) + tail
    whole = parsed([stream])
    assert parsed([stream[i : i + 1] for i in range(len(stream))]) == whole
    assert whole[: len(frames)] == [Frame(*f) for f in frames]


@given(st.binary(max_size=600))
def test_any_bytes_are_frames_or_a_typed_error(data: bytes) -> None:
    for found in parsed([data]):
        if isinstance(found, Frame):
            for table in ("holding:0", "coil:0"):
                (block,) = codec.plan([codec.parse_address(table)])
                try:
                    codec.decode_block(block, codec.read_answer(block, found.pdu))
                except (BadFrame, DeviceException):
                    continue


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        codec.parse_address(text)
        codec.parse_endpoint(text)
    except ValueError:
        pass
