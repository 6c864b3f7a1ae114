"""Values in registers: one by one and as columns, in all types and orders, exact and with the same meaning."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.address import BCD, FLOAT, KINDS, ORDERS, Address, Table, parse_address
from protocols.modbus.columns import Forms
from protocols.modbus.values import Undecodable, decode, encode, encode_text

ORDERED = {"ABCD": "11223344", "CDAB": "33441122", "BADC": "22114433", "DCBA": "44332211"}


@pytest.mark.parametrize(("order", "wire"), ORDERED.items())
def test_the_four_orders_are_what_the_manuals_mean(order: str, wire: str) -> None:
    assert decode(parse_address(f"holding:0:uint32:{order}"), bytes.fromhex(wire)) == 0x11223344


def test_words_of_64_bits_are_turned_as_a_whole() -> None:
    assert decode(parse_address("holding:0:uint64:CDAB"), bytes.fromhex("7788556633441122")) == 0x1122334455667788


def typed(kind: str, order: str, more: str = "") -> Address:
    known = KINDS[kind]
    if known.registers == 1 and order in ("CDAB", "DCBA"):
        order = "BADC"
    return parse_address(f"holding:5:{kind}:{order}{more}")


KIND = st.sampled_from(list(KINDS))
ORDER = st.sampled_from(ORDERS)


@given(KIND, ORDER, st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, width=32))
def test_what_is_encoded_decodes_to_the_same_number(kind: str, order: str, whole: int, real: float) -> None:
    address = typed(kind, order)
    value = real if address.kind.code == FLOAT else whole
    try:
        words = encode(address, value)
    except ValueError:
        return
    assert decode(address, struct.pack(f">{len(words)}H", *words)) == value


@given(st.sampled_from(["int16", "uint32", "int64", "bcd32"]), ORDER, st.integers(-10, 10), st.integers(-999, 9999))
def test_a_scaled_value_comes_back_to_its_last_digit(kind: str, order: str, power: int, whole: int) -> None:
    address, factor = typed(kind, order, ":sf=9"), power.to_bytes(2, "big", signed=True)
    value = whole * 10**power if power >= 0 else whole / 10**-power
    try:
        words = encode(address, value, factor)
    except ValueError:
        assert whole < 0 and kind in ("uint32", "bcd32")
        return
    assert decode(address, struct.pack(f">{len(words)}H", *words), factor) == value


def one(address: Address, data: bytes, factor: bytes) -> tuple[float, bool]:
    """The same by columns: number and absence."""
    image = np.frombuffer(b"\xaa" + data + factor, np.uint8)
    at, factor_at = np.array([1], np.int32), np.array([1 + len(data) if factor else -1], np.int32)
    wire, absent = Forms.of([address], at, factor_at).decode(image, np.zeros(1, np.int32))
    return float(wire[0]), bool(absent[0])


WORDS = st.sampled_from([*KINDS, *(f"bit{n}" for n in range(16))])
FACTORS = st.sampled_from([None, -32768, -11, -10, -3, 0, 2, 10, 11])
BYTES = st.binary(min_size=8, max_size=8) | st.lists(
    st.sampled_from([0, 0x7F, 0x80, 0xC0, 0xFF, 0x11]), min_size=8
).map(bytes)


@given(WORDS, ORDER, BYTES, FACTORS, st.booleans())
def test_columns_say_the_same_as_one_value_alone(
    word: str, order: str, data: bytes, power: int | None, sunspec: bool
) -> None:
    kind = KINDS.get(word)
    integer = kind is not None and kind.code != FLOAT
    power = power if integer else None
    sunspec = sunspec and not word.startswith("bcd")
    more = ("" if power is None else ":sf=9") + (":sunspec" if sunspec else "")
    address = parse_address(f"holding:5:{word}{more}") if kind is None else typed(word, order, more)
    cells = data[: 2 * address.count]
    factor = b"" if power is None else power.to_bytes(2, "big", signed=True)
    number, absent = one(address, cells, factor)
    try:
        alone = decode(address, cells, factor)
    except Undecodable:
        assert math.isnan(number) and not absent
        return
    assert absent == (alone is None)
    if alone is not None:
        assert number == alone or math.isclose(number, alone, rel_tol=1e-15) or (number != number and alone != alone)


def test_many_values_of_many_kinds_are_decoded_at_once() -> None:
    addresses = [parse_address(t) for t in ("coil:0", "holding:0:float32:CDAB", "holding:2:int16", "holding:2:bit15")]
    image = np.frombuffer(b"\x01" + struct.pack(">f", 2.5)[2:] + struct.pack(">f", 2.5)[:2] + b"\xff\xfe", np.uint8)
    forms = Forms.of(addresses, np.array([0, 1, 5, 5], np.int32), np.full(4, -1, np.int32))
    wire, absent = forms.decode(image, np.array([3, 2, 1, 0], np.int32))
    assert wire.tolist() == [1.0, -2.0, 2.5, 1.0] and not absent.any()


ABSENT = {"int16": "8000", "uint16": "ffff", "int32": "80000000", "uint32": "ffffffff", "acc32": "00000000",
          "float32": "7fc00000", "int64": "8000000000000000", "uint64": "ffffffffffffffff", "bit3": "ffff",
          "string2": "00000000", "acc64": "0000000000000000"}  # fmt: skip


@pytest.mark.parametrize(("kind", "cells"), ABSENT.items())
def test_what_sunspec_calls_not_implemented_is_no_value_where_it_is_asked_for(kind: str, cells: str) -> None:
    data = bytes.fromhex(cells)
    assert decode(parse_address(f"holding:0:{kind}:sunspec"), data) is None
    plain = decode(parse_address(f"holding:0:{kind}"), data)
    assert plain is not None


def test_a_scale_factor_that_is_not_implemented_leaves_no_value() -> None:
    assert decode(parse_address("holding:0:int16:sf=1"), b"\0\x07", b"\x80\0") is None
    with pytest.raises(Undecodable, match="scale factor is 300"):
        decode(parse_address("holding:0:int16:sf=1"), b"\0\x07", b"\x01\x2c")
    with pytest.raises(ValueError, match="no scale factor"):
        encode(parse_address("holding:0:int16:sf=1"), 7.0, b"\x80\0")


TEXTS: Sequence[tuple[str, bytes, str]] = (
    ("string4", b"PUMP 1\0\0", "PUMP 1"),
    ("string4", b"PUMP 1  ", "PUMP 1"),
    ("string4", b"AB\0garba", "AB"),
    ("string4:BADC", b"UPPM1 \0\0", "PUMP 1"),
    ("string2", b"\0\0\0\0", ""),
    ("string2", "°C".encode().ljust(4), "°C"),
)


@pytest.mark.parametrize(("kind", "cells", "text"), TEXTS)
def test_texts_lose_their_padding_and_nothing_else(kind: str, cells: bytes, text: str) -> None:
    assert decode(parse_address(f"holding:0:{kind}"), cells) == text


def test_bytes_that_are_no_text_and_digits_that_are_none_are_said_so() -> None:
    with pytest.raises(Undecodable, match="UTF-8"):
        decode(parse_address("holding:0:string2"), b"\xff\xfe\0\0")
    with pytest.raises(Undecodable, match="12a4"):
        decode(parse_address("holding:0:bcd16"), b"\x12\xa4")


@given(st.text(max_size=20), st.sampled_from(["", ":BADC"]))
def test_a_text_is_served_as_far_as_it_fits(text: str, order: str) -> None:
    address = parse_address(f"holding:0:string6{order}")
    cells = struct.pack(">6H", *encode_text(address, text))
    fits = text.encode()[:12].decode(errors="ignore").partition("\0")[0].rstrip(" ")
    assert decode(address, cells) == fits


@given(st.binary(min_size=8, max_size=8), st.sampled_from(["string4", "string4:BADC", "bcd32", "int64", "float64"]))
def test_any_registers_are_a_value_or_a_typed_error(data: bytes, kind: str) -> None:
    address = parse_address(f"holding:0:{kind}")
    try:
        decode(address, data[: 2 * address.count])
    except Undecodable:
        assert address.kind.code == BCD or address.type == "string"


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [("uint16", 70_000.0, "does not fit uint16"), ("int16", 0.5, "whole number"), ("float32", 1e300, "does not fit"),
     ("bcd16", 10_000.0, "does not fit bcd16"), ("bcd16", -1.0, "does not fit"), ("bit3", 1.0, "whole registers"),
     ("uint16:sunspec", 65535.0, "no such value"), ("int16", math.nan, "whole number")],
)  # fmt: skip
def test_what_a_register_cannot_say_is_refused_in_words(kind: str, value: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encode(parse_address(f"holding:0:{kind}"), value)


def test_a_coil_is_one_byte_of_an_image() -> None:
    assert decode(Address(Table.COIL, 3, "bit"), b"\x01") is True
    assert one(Address(Table.COIL, 3, "bit"), b"\x01", b"") == (1.0, False)
