"""Answers taken from a socket's bytes at once: as the frame parser takes them one by one, and nothing else."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus import codec
from protocols.modbus.address import parse_address
from protocols.modbus.blocks import Cells, Limits, image_bytes, plan
from protocols.modbus.burst import Burst

TEXTS = ("holding:0:float32", "holding:9", "coil:3", "coil:4", "input:7:int64")
BLOCKS = plan(Cells.of([parse_address(text) for text in TEXTS]), Limits())


def made() -> tuple[Burst, np.ndarray]:
    image = np.zeros(image_bytes(BLOCKS), np.uint8)
    burst = Burst(BLOCKS, image, 5)
    burst.begin()
    return burst, image


def answers(first: int, seed: int) -> list[bytes]:
    chance = np.random.default_rng(seed)
    frames = []
    for index, block in enumerate(BLOCKS):
        data = chance.bytes(codec.data_bytes(block.table, block.count))
        pdu = burst_function(index) + bytes((len(data),)) + data
        frames.append(codec.frame(first + index, 5, pdu))
    return frames


def burst_function(index: int) -> bytes:
    return codec.read_request(BLOCKS[index].table, 0, 1)[:1]


def one_by_one(frames: bytes, first: int) -> np.ndarray:
    """What the ordinary parser makes of them."""
    burst, image = made()
    parser = codec.FrameParser()
    parser.feed(frames)
    while (found := parser.next_frame()) is not None:
        index = found.transaction - first
        block = BLOCKS[index]
        size = codec.data_bytes(block.table, block.count)
        burst.put(index, codec.read_answer(burst_function(index)[0], size, found.pdu), 7)
    return image


def test_the_requests_are_those_of_the_codec() -> None:
    burst, _ = made()
    expected = [codec.frame(300 + i, 5, pdu) for i, pdu in enumerate(burst.pdus)]
    assert burst.frames(300) == b"".join(expected)
    assert burst.frames(0xFFF0)[:2] == b"\xff\xf0"


@given(st.integers(1, 60_000), st.integers(0, 99), st.permutations(range(len(BLOCKS))), st.integers(0, 200))
def test_answers_in_any_order_and_any_portions_make_the_same_image(
    first: int, seed: int, order: list[int], cut: int
) -> None:
    frames = answers(first, seed)
    stream = b"".join(frames[i] for i in order)
    burst, image = made()
    at, count = burst.scan(first, stream[:cut], 0, 7)
    assert at <= cut
    at, more = burst.scan(first, stream, at, 8)
    assert (at, count + more) == (len(stream), len(BLOCKS))
    assert image.tolist() == one_by_one(stream, first).tolist()
    assert burst.came.all() and set(burst.stamps.tolist()) <= {7, 8}


@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 99))
def test_one_wrong_byte_is_never_taken_for_an_answer_of_another_shape(place: int, byte: int, seed: int) -> None:
    frames = b"".join(answers(100, seed))
    spoilt = bytearray(frames)
    spoilt[place % len(frames)] = byte
    burst, _ = made()
    at, _ = burst.scan(100, bytes(spoilt), 0, 7)
    if at == len(frames):
        return  # the byte was a value's, or the same as before
    parser = codec.FrameParser()
    parser.feed(bytes(spoilt[at:]))
    try:
        found = parser.next_frame()
    except codec.BadFrame:
        return
    if found is not None:  # what is left in its place is not plainly an answer that is waited for
        index = found.transaction - 100
        plain = 0 <= index < len(BLOCKS) and not burst.came[index] and found.unit == 5
        if plain:
            size = codec.data_bytes(BLOCKS[index].table, BLOCKS[index].count)
            assert found.pdu[:2] != burst_function(index) + bytes((size,)) or len(found.pdu) != size + 2


@given(st.binary(max_size=300), st.integers(0, 60_000))
def test_any_bytes_leave_the_burst_in_one_piece(data: bytes, first: int) -> None:
    burst, image = made()
    before = image.size
    at, count = burst.scan(first, data, 0, 7)
    assert 0 <= at <= len(data) and 0 <= count <= len(BLOCKS) and image.size == before


def test_an_answer_is_taken_once_and_handed_over_once() -> None:
    burst, _ = made()
    (first, second, *_) = answers(1, 3)
    assert burst.scan(1, first + first, 0, 7) == (len(first), 1)
    assert burst.fresh().tolist() == [0]
    assert burst.scan(1, second, 0, 9) == (len(second), 1)
    assert burst.fresh().tolist() == [1] and burst.fresh().tolist() == []
    burst.begin()
    assert burst.scan(1, first, 0, 7)[1] == 1


def test_an_exception_is_left_for_the_codec() -> None:
    burst, _ = made()
    refused = struct.pack(">HHHBBB", 1, 0, 3, 5, 0x83, 2)
    assert burst.scan(1, refused, 0, 7) == (0, 0)
