"""Moments and durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.errors import BadRequest
from twin.when import parse_duration_s, parse_when_ns

NOW = 1_795_000_000_000_000_000


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("now", NOW),
        ("-15m", NOW - 900 * 10**9),
        ("now-1h30m", NOW - 5400 * 10**9),
        ("now + 0.5s", NOW + 5 * 10**8),
        ("1970-01-01", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01 00:00:01.000001Z", 1_000_001_000),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
    ],
)
def test_a_moment_is_read_to_the_microsecond_and_is_utc_without_a_zone(text: str, ns: int) -> None:
    assert parse_when_ns(text, NOW, "at") == ns


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "-15", "15m", "2026-13-01", "-1h-", "9999-01-01", "0001-01-01", "-9y", "-999999999999999h"],
)
def test_what_is_no_moment_names_the_place_and_the_form(text: str) -> None:
    with pytest.raises(BadRequest, match="--at"):
        parse_when_ns(text, NOW, "--at")


@given(st.text(max_size=12))
def test_no_text_breaks_the_parser(text: str) -> None:
    for parse in (parse_duration_s, lambda said: parse_when_ns(said, NOW, "at")):
        try:
            parse(text)
        except BadRequest as error:
            assert error.hint
