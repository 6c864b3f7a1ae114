"""Lists with commas."""

from __future__ import annotations

import pytest

from control.api.scope import POINTS
from twin.lists import listed


@pytest.mark.parametrize(
    "text, words",
    [("", []), (" , ,", []), ("a", ["a"]), ("b, a ,,b", ["b", "a", "b"]), ("two words,\tx\n", ["two words", "x"])],
)
def test_blanks_and_empty_words_count_for_nothing(text: str, words: list[str]) -> None:
    assert listed(text) == words


def test_a_token_for_some_points_is_asked_for_the_very_points_that_are_exported() -> None:
    said = " tank.level, ,pump.flow "
    assert POINTS["export_history"]({"points": said}) == listed(said)
