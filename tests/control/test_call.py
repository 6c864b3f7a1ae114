"""The words of a call's query: moments and flags are read one way, whichever route asks."""

from __future__ import annotations

from typing import cast

import pytest

from control.api.route import TIME_MS_MAX, Call
from control.identity import Caller
from twin.errors import BadRequest

SECOND = 1_000_000_000
NOW = 1_795_300_000 * SECOND


def call(**query: str) -> Call:
    return Call(cast(Caller, None), {}, query, None)


@pytest.mark.parametrize(
    ("word", "moment"),
    [
        ("0", 0), ("1795300000000", NOW), ("1795300000000.5", NOW + 500_000), ("1.7953e12", NOW), ("now", NOW),
        ("-1h", NOW - 3_600 * SECOND), ("+1m", NOW + 60 * SECOND), ("2026-11-21T22:26:40Z", NOW), ("19700102", 86_400 * SECOND),
        (f"{TIME_MS_MAX:.0f}", 9_200_000_000 * SECOND),
    ],
)  # fmt: skip
def test_a_moment_is_said_in_ms_or_in_words(word: str, moment: int) -> None:
    assert call(since=word).moment("since", NOW) == moment
    assert call(**{"from": word}).span(NOW, "-1d", "now") == (moment, NOW)


def test_what_is_not_said_is_what_the_route_says_or_none() -> None:
    assert call().span(NOW) == (None, None)
    assert call(**{"from": "", "to": ""}).span(NOW, "-1s", "+1s") == (NOW - SECOND, NOW + SECOND)


@pytest.mark.parametrize("word", ["soon", "-5", "1e15", "nan", "inf", "1h", "2026-13-01"])
def test_what_is_no_moment_is_named(word: str) -> None:
    with pytest.raises(BadRequest, match="to"):
        call(to=word).span(NOW)


@pytest.mark.parametrize(("word", "said"), [("true", True), ("1", True), ("false", False), ("0", False), (None, False)])
def test_yes_and_no_are_said_one_way(word: str | None, said: bool) -> None:
    assert call(**({} if word is None else {"all": word})).flag("all") is said


@pytest.mark.parametrize("word", ["yes", "0.5", "", "TRUE"])
def test_what_is_neither_yes_nor_no_is_refused(word: str) -> None:
    with pytest.raises(BadRequest, match="all"):
        call(all=word).flag("all")
