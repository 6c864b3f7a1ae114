"""Entries are the same bytes for ever, and only those bytes are read."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import ENTRY_BYTES_MAX, Entry, decode, encode
from ledger.errors import EntryError, EntryTooLarge

GOLDEN = Path(__file__).parent / "golden"

bodies = st.dictionaries(
    st.text(st.characters(codec="utf-8")),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)


@given(kind=st.text("abc.", min_size=1), time_ns=st.integers(0, 2**63 - 1), body=bodies)
def test_an_entry_comes_back_as_it_went(kind: str, time_ns: int, body: dict) -> None:  # type: ignore[type-arg]
    entry = Entry(kind, time_ns, body)
    assert decode(encode(entry)) == entry
    assert encode(decode(encode(entry))) == encode(entry)


def test_the_golden_entries_are_written_as_they_were_in_version_1() -> None:
    lines = (GOLDEN / "entries_v1.jsonl").read_bytes().splitlines()
    assert len(lines) == 5
    for line in lines:
        assert encode(decode(line)) == line


def test_keys_are_sorted_and_numbers_keep_their_kind() -> None:
    data = encode(Entry("k", 1, {"b": 1.0, "a": 1, "c": [True, None, 0.1, 1e300, -0.0], "ä": "é"}))
    assert (
        data.decode() == '{"body":{"a":1,"b":1.0,"c":[true,null,0.1,1e+300,-0.0],"ä":"é"},"kind":"k","time_ns":1,"v":2}'
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_json_cannot_hold_is_refused_with_its_key(value: float) -> None:
    with pytest.raises(EntryError, match=r"body\.tank\.level_m\[1\]"):
        encode(Entry("k", 0, {"tank": {"level_m": [1.0, value]}}))


@pytest.mark.parametrize("body", [{"x": b"bytes"}, {"x": {1: 2}}, {"x": object()}, {"x": {1, 2}}, {"x": "\ud800"}])
def test_what_json_cannot_hold_is_refused(body: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(EntryError):
        encode(Entry("k", 0, body))


@pytest.mark.parametrize(
    "entry",
    [
        Entry("", 0, {}),
        Entry("k", -1, {}),
        Entry("k", True, {}),
        Entry("k", 1.5, {}),
        Entry("k", 2**63, {}),
        Entry("k", 0, []),
    ],
)  # type: ignore[arg-type]
def test_kind_time_and_body_are_required(entry: Entry) -> None:
    with pytest.raises(EntryError, match=r"kind|time_ns|body"):
        encode(entry)


def test_the_largest_entry_fits_and_one_byte_more_is_refused_by_name() -> None:
    empty = len(encode(Entry("big", 0, {"x": ""})))
    assert len(encode(Entry("big", 0, {"x": "a" * (ENTRY_BYTES_MAX - empty)}))) == ENTRY_BYTES_MAX
    with pytest.raises(EntryTooLarge, match=r"'big' is 65,536 bytes"):
        encode(Entry("big", 0, {"x": "a" * (ENTRY_BYTES_MAX - empty + 1)}))


def test_a_body_that_never_ends_is_refused() -> None:
    body: dict[str, object] = {}
    body["again"] = body
    with pytest.raises(EntryError, match="nested deeper"):
        encode(Entry("k", 0, body))  # type: ignore[arg-type]


GOOD = encode(Entry("k", 1, {"a": 1}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"{" * 5000,
        GOOD + b" ",
        GOOD.replace(b'"v":2', b'"v":3'),
        GOOD.replace(b'"v":2', b'"v":0'),
        GOOD.replace(b'"v":2', b'"v":true'),
        GOOD.replace(b'"v":2', b'"v":2.0'),
        GOOD.replace(b'"v":2', b'"v":2,"w":1'),
        GOOD.replace(b'"a":1', b'"a":1,"a":2'),
        GOOD.replace(b'"a":1', b'"a":NaN'),
        GOOD.replace(b'{"a":1}', b"[]"),
        json.dumps(json.loads(GOOD)).encode(),
    ],
)
def test_bytes_that_encode_would_not_write_are_refused(data: bytes) -> None:
    with pytest.raises(EntryError):
        decode(data)
