"""What people may write as a command's value."""

from __future__ import annotations

import pytest

from control.command_value import as_said, number_of
from tests.protocols.protocol_bench import point
from twin.errors import BadRequest
from twin.schema import Enum, EnumValue

MODE = Enum("integer", (EnumValue("off", 0), EnumValue("auto", 4)))


@pytest.mark.parametrize(("said", "number"), [("auto", 4.0), ("off", 0.0), (4.0, 4.0), (1.0, 1.0)])
def test_an_enum_is_commanded_by_name_or_number(said: float | str, number: float) -> None:
    assert number_of(point(0, "a", "enum", schema=MODE), said) == number


def test_a_switch_has_words() -> None:
    assert [number_of(point(0, "a", "boolean"), w) for w in ("on", "TRUE", "off", "false")] == [1.0, 1.0, 0.0, 0.0]


def test_a_word_that_means_no_value_says_which_do() -> None:
    with pytest.raises(BadRequest, match="one of 0 off, 4 auto"):
        number_of(point(0, "a", "enum", schema=MODE), "manual")
    with pytest.raises(BadRequest, match="give on or off"):
        number_of(point(0, "a", "boolean"), "fast")
    for word in ("fast", "on"):
        with pytest.raises(BadRequest, match="give a number"):
            number_of(point(0, "a"), word)


@pytest.mark.parametrize(("typed", "said"), [("10", 10.0), ("-5.5", -5.5), ("1e3", 1000.0), ("auto", "auto")])
def test_what_is_typed_is_a_number_where_it_reads_as_one(typed: str, said: float | str) -> None:
    assert as_said(typed) == said


@pytest.mark.parametrize("typed", ["1_0", "٥٠", "１０", "nan", "inf"])
def test_what_only_python_reads_as_a_number_stays_text(typed: str) -> None:
    assert as_said(typed) == typed
