"""Modbus requests, answers and frames as bytes, over TCP and RTU."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus import codec
from protocols.modbus.address import Table
from protocols.modbus.codec import BadFrame, DeviceException, Frame, FrameParser, RtuParser


def test_requests_are_those_of_the_specification() -> None:
    assert codec.write_coil_request(172, True).hex() == "0500acff00"  # V1.1b3, 6.5
    assert codec.write_register_request(1, 3).hex() == "0600010003"  # 6.6
    assert codec.write_coils_request(19, [c == "1" for c in "1011001110"]).hex() == "0f0013000a02cd01"  # 6.11
    assert codec.write_registers_request(1, [10, 258]).hex() == "100001000204000a0102"  # 6.12
    assert codec.read_request(Table.HOLDING, 107, 3).hex() == "03006b0003"  # 6.3
    assert codec.read_answer(3, 6, bytes.fromhex("0306022b00000064")).hex() == "022b00000064"
    assert codec.frame(1, 17, b"\x03").hex() == "0001000000021103"


def test_a_mask_sets_or_clears_one_bit_and_leaves_the_others() -> None:
    for register in (0x0000, 0x1234, 0xFFFF):
        for on in (True, False):
            _, start, keep, value = struct.unpack(">BHHH", codec.mask_register_request(7, 5, on))
            after = register & keep | value & ~keep & 0xFFFF  # V1.1b3, 6.16
            assert (start, after) == (7, register | 0x20 if on else register & ~0x20)


def test_the_check_sum_is_that_of_the_specification() -> None:
    assert codec.rtu_frame(2, b"\x07").hex() == "02074112"  # V1.02, 6.2.2


def test_an_exception_answer_has_its_name() -> None:
    with pytest.raises(DeviceException, match="IllegalDataAddress"):
        codec.read_answer(3, 2, b"\x83\x02")
    with pytest.raises(DeviceException, match="Exception99"):
        codec.write_answer(b"\x06\0\0\0\0", b"\x86\x63")


@pytest.mark.parametrize(
    ("pdu", "reason"),
    [(b"", "truncated"), (b"\x03", "truncated"), (b"\x03\x02\x00", "truncated"), (b"\x04\x02\0\0", "decode"),
     (b"\x03\x04\0\0\0\0", "decode"), (b"\x03\x01\0\0", "decode")],
)  # fmt: skip
def test_an_answer_to_another_question_is_no_answer(pdu: bytes, reason: str) -> None:
    with pytest.raises(BadFrame) as fault:
        codec.read_answer(3, 2, pdu)
    assert fault.value.reason == reason


def test_every_answer_cut_anywhere_is_no_answer() -> None:
    whole = bytes.fromhex("0306022b00000064")
    for end in range(len(whole)):
        with pytest.raises(BadFrame):
            codec.read_answer(3, 6, whole[:end])
    request = codec.mask_register_request(7, 5, True)
    for end in range(len(request)):
        with pytest.raises(BadFrame):
            codec.write_answer(request, request[:end])


@given(st.binary(max_size=260), st.sampled_from([b"\x05\0\0\xff\0", b"\x16\0\x04\0\xff\0\x01"]))
def test_any_bytes_are_an_answer_or_a_typed_error(pdu: bytes, request: bytes) -> None:
    for ask in (lambda: codec.read_answer(3, 4, pdu), lambda: codec.write_answer(request, pdu)):
        try:
            ask()
        except (BadFrame, DeviceException):
            continue


Parser = FrameParser | RtuParser


def parsed(parser: Parser, chunks: list[bytes]) -> list[Frame | str]:
    """Everything that the chunks hold: frames, and the reason why it ended early."""
    found = list[Frame | str]()
    for chunk in chunks:
        parser.feed(chunk)
        try:
            while (frame := parser.next_frame()) is not None:
                found.append(frame)
        except BadFrame as fault:
            return [*found, fault.reason]
    return found


UNITS = st.integers(0, 255)
FRAMES = st.lists(st.tuples(st.integers(0, 65535), UNITS, st.binary(min_size=1, max_size=253)), max_size=5)


@given(FRAMES, st.binary(max_size=30))
def test_over_tcp_byte_by_byte_is_the_same_as_all_at_once(frames: list[tuple[int, int, bytes]], tail: bytes) -> None:
    stream = b"".join(codec.frame(*f) for f in frames) + tail
    whole = parsed(FrameParser(), [stream])
    assert parsed(FrameParser(), [stream[i : i + 1] for i in range(len(stream))]) == whole
    assert whole[: len(frames)] == [Frame(*f) for f in frames]


def answer(kind: int, data: bytes) -> bytes:
    """An answer of one of the forms that a client of ours may get."""
    if kind == 0:
        return bytes((3, 2 * len(data))) + data * 2 if data else b"\x83\x02"
    if kind == 1:
        return b"\x06" + data[:4].ljust(4, b"\0")
    return b"\x16" + data[:6].ljust(6, b"\0") if kind == 2 else b"\x90\x04"


ANSWERS = st.lists(st.tuples(UNITS, st.builds(answer, st.integers(0, 3), st.binary(max_size=125))), max_size=5)


@given(ANSWERS, st.binary(max_size=30))
def test_over_rtu_byte_by_byte_is_the_same_as_all_at_once(frames: list[tuple[int, bytes]], tail: bytes) -> None:
    stream = b"".join(codec.rtu_frame(*f) for f in frames) + tail
    whole = parsed(RtuParser(), [stream])
    assert parsed(RtuParser(), [stream[i : i + 1] for i in range(len(stream))]) == whole
    assert whole[: len(frames)] == [Frame(0, *f) for f in frames]


@given(st.integers(0, 8 * 9 - 1))
def test_one_wrong_bit_of_a_serial_frame_is_noticed(bit: int) -> None:
    whole = bytearray(codec.rtu_frame(17, b"\x03\x04\x12\x34\x56\x78"))
    whole[bit // 8] ^= 1 << bit % 8
    parser = RtuParser()
    parser.feed(bytes(whole))
    try:
        assert parser.next_frame() is None, "the byte count was hit: more bytes seem to be on their way"
    except BadFrame as fault:
        assert fault.reason == "decode"


@pytest.mark.parametrize("size", [1, 255, 65535])
def test_a_frame_of_an_impossible_size_is_refused_before_it_is_there(size: int) -> None:
    parser = FrameParser()
    parser.feed(b"\0\1\0\0" + size.to_bytes(2, "big"))
    with pytest.raises(BadFrame, match="2 to 254"):
        parser.next_frame()


@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_are_frames_or_a_typed_error(data: bytes, rtu: bool) -> None:
    for found in parsed(RtuParser() if rtu else FrameParser(), [data]):
        assert isinstance(found, Frame) or found == "decode"


def test_a_parser_that_was_cleared_begins_anew() -> None:
    for parser, garbage, good in (
        (FrameParser(), b"HTTP/1.1", codec.frame(1, 1, b"\x03\x02\0\0")),
        (RtuParser(), b"\x01\x2a\x00", codec.rtu_frame(1, b"\x03\x02\0\0")),
    ):
        parser.feed(garbage)
        with pytest.raises(BadFrame):
            parser.next_frame()
        parser.clear()
        parser.feed(good)
        frame = parser.next_frame()
        assert frame is not None and frame.pdu == b"\x03\x02\0\0" and parser.pending == b""
