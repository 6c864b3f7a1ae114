"""A proof that travels: it holds without the log, and no change to it does."""

from __future__ import annotations

import base64
import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.bundle import prove, prove_from, verify_bundle
from ledger.errors import LogDamaged, NotFound
from ledger.log import Log
from ledger.note import Signer
from ledger.receipts import read_receipts

GOLDEN = Path(__file__).parent / "golden" / "bundle_v1.json"


@pytest.fixture
def bundle(anchored_once: Path) -> dict[str, Any]:
    return prove(anchored_once, 4)


def test_every_entry_is_proved_and_covered_by_the_first_anchor_after_it(anchored_once: Path) -> None:
    for index in range(9):
        report = verify_bundle(json.loads(json.dumps(prove(anchored_once, index))))
        assert report.problems == ()
        assert report.entry is not None and report.entry.body["number"] == index
        assert report.anchor is not None and report.anchor.size == (index // 3 + 1) * 3
        assert (report.index, report.size) == (index, 9)


def test_an_open_log_gives_the_same_bundle_as_its_files(anchored_once: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(anchored_once, tmp_path / "copy")
    with Log.open(copied) as log:
        receipts, _ = read_receipts(copied)
        assert [prove_from(log, index, receipts) for index in range(9)] == [prove(copied, index) for index in range(9)]


def test_a_log_without_anchors_proves_too(ten: Path) -> None:
    report = verify_bundle(prove(ten, 9))
    assert (report.ok, report.anchor) == (True, None)


def test_the_golden_bundle_verifies_for_ever() -> None:
    report = verify_bundle(json.loads(GOLDEN.read_text("utf-8")))
    assert report.problems == ()
    assert report.anchor is not None


def test_an_entry_that_is_not_under_the_checkpoint_is_not_found(ten: Path) -> None:
    with Log.open(ten) as log:
        log.append([b"not yet signed"])
        for index in (-1, 10, 11):
            with pytest.raises(NotFound, match="not under the signed checkpoint of 10"):
                prove(ten, index)
            with pytest.raises(NotFound):
                prove_from(log, index, [])
        log.checkpoint()
        assert verify_bundle(prove(ten, 10)).entry is None  # not an entry of ours, but provably in the log


def test_a_damaged_log_proves_nothing(anchored_once: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(anchored_once, tmp_path / "copy")
    whole = (copied / "log").read_bytes()
    (copied / "log").write_bytes(whole[:-1])
    with pytest.raises(LogDamaged):
        prove(copied, 0)
    (copied / "log").write_bytes(whole[:100] + b"\xff" + whole[101:])
    with pytest.raises(LogDamaged, match="is damaged"):
        prove(copied, 0)


def test_a_bundle_of_another_key_is_refused_by_who_knows_the_right_one(bundle: dict[str, Any]) -> None:
    assert verify_bundle(bundle, bundle["public_key"]).ok
    stranger = Signer("twinloop.local/ledger", bytes(32)).verifier()
    report = verify_bundle(bundle, str(stranger))
    assert "not the key you trust" in str(report.problems[0])


def flipped(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[len(data) // 2] ^= 1
    return base64.b64encode(data).decode()


def test_any_changed_field_is_a_problem(bundle: dict[str, Any]) -> None:
    anchor = bundle["anchor"]
    changes: list[dict[str, Any]] = [
        {"index": 5},
        {"index": -1},
        {"index": True},
        {"index": 4.0},
        {"entry": flipped(bundle["entry"])},
        {"entry": bundle["entry"][:-1]},
        {"inclusion_proof": bundle["inclusion_proof"][1:]},
        {"inclusion_proof": bundle["inclusion_proof"] * 2},
        {"inclusion_proof": [flipped(bundle["inclusion_proof"][0]), *bundle["inclusion_proof"][1:]]},
        {"consistency_proof": bundle["consistency_proof"][:-1]},
        {"consistency_proof": [*bundle["consistency_proof"], bundle["consistency_proof"][0]]},
        {"anchor": None},
        {"anchor": {**anchor, "size": 3}},
        {"anchor": {**anchor, "size": 7}},
        {"anchor": {**anchor, "root": "0x" + "00" * 32}},
        {"anchor": {**anchor, "extra": 1}},
        {"anchor": {**anchor, "block": "1"}},
        {"checkpoint": bundle["checkpoint"].replace("\n9\n", "\n8\n")},
        {"checkpoint": 9},
        {"public_key": bundle["public_key"].replace("+", "-", 1)},
        {"format": "twinloop-proof-2"},
        {"more": 1},
    ]
    for change in changes:
        changed = {**copy.deepcopy(bundle), **change}
        assert not verify_bundle(changed).ok, change


def test_an_anchor_from_before_the_entry_does_not_cover_it(anchored_once: Path) -> None:
    earlier, later = prove(anchored_once, 0), prove(anchored_once, 4)
    mixed = {**later, "anchor": earlier["anchor"], "consistency_proof": earlier["consistency_proof"]}
    assert [str(problem.place) for problem in verify_bundle(mixed).problems] == ["anchor"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_nonsense_in_any_field_is_a_problem_and_never_a_crash(data: st.DataObject) -> None:
    bundle = json.loads(GOLDEN.read_text("utf-8"))
    name = data.draw(st.sampled_from(sorted(bundle)))
    value = data.draw(anything)
    assert not verify_bundle({**bundle, name: value}).ok or value == bundle[name]
    if isinstance(bundle["anchor"], dict):
        bundle["anchor"][data.draw(st.sampled_from(sorted(bundle["anchor"])))] = data.draw(anything)
        verify_bundle(bundle)


@given(value=anything)
def test_what_is_no_bundle_is_a_problem(value: Any) -> None:
    assert not verify_bundle(value).ok
