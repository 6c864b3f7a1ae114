"""JSON from strangers: depth and names."""

from __future__ import annotations

import json

import pytest

from ledger.strict_json import NESTING_MAX, bounded, once


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_is_refused_from_the_first_level_too_many(opening: str, closing: str) -> None:
    levels = NESTING_MAX // opening.replace('"a":', "").__len__()
    inner = "1"
    deepest = opening * levels + inner + closing * levels
    assert bounded(deepest) is deepest
    with pytest.raises(ValueError, match="nested deeper"):
        bounded(f"[{deepest}]")


def test_brackets_side_by_side_and_in_texts_are_no_depth() -> None:
    wide = json.dumps([[n] for n in range(2_000)])
    said = json.dumps({"a": "[" * 2_000, 'b\\"[': '{"' * 2_000})
    assert json.loads(bounded(wide)) and json.loads(bounded(said))


def test_what_is_cut_off_is_still_bounded() -> None:
    with pytest.raises(ValueError, match="nested deeper"):
        bounded("[" * 100_000)


def test_a_name_stands_once() -> None:
    with pytest.raises(ValueError, match="stands twice"):
        json.loads('{"a": {"b": 1, "b": 1}}', object_pairs_hook=once)
