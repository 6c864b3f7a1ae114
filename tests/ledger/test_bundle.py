"""A proof that travels: it holds without the log, and no change to it does."""

from __future__ import annotations

import base64
import copy
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.batch_rows import BatchRows, parse_rows
from ledger.bundle import FORMAT, digest, verify_bundle
from ledger.cosignature import cosign, witness_of
from ledger.entry import Entry, decode, encode
from ledger.errors import LogDamaged, NotFound
from ledger.log import Log
from ledger.note import Signer
from ledger.proving import About, about_batch, about_command, about_entry, about_reading, indexes_of, prove, prove_from
from ledger.receipts import Receipt, read_receipts

GOLDEN = Path(__file__).parent / "golden" / "bundle_v1.json"
GOLDEN_KEY = "example.com/golden+ec459b04+AQOhB7/zzhC+HXDdGdOLwJln5NYwm6UNXx3chmQSVTG4"
GOLDEN_WITNESS = "witness.example/golden+dcb80a35+BHm1Vi6P5lT5QHixEuipi6eQH4U65pW+1+DjkQutBJZk"


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
        assert [prove_from(log, about_entry(index), [index], receipts) for index in range(9)] == [
            prove(copied, index) for index in range(9)
        ]


def test_a_log_without_anchors_proves_too(ten: Path) -> None:
    report = verify_bundle(prove(ten, 9))
    assert (report.ok, report.anchor) == (True, None)


def test_the_golden_bundle_verifies_for_ever() -> None:
    report = verify_bundle(json.loads(GOLDEN.read_text("utf-8")))
    assert report.problems == ()
    assert report.anchor is not None


def test_the_golden_bundle_of_version_2_verifies_for_ever_with_its_witness() -> None:
    witness = "witness.example/golden+dcb80a35+BHm1Vi6P5lT5QHixEuipi6eQH4U65pW+1+DjkQutBJZk"
    report = verify_bundle(
        json.loads(GOLDEN.with_name("bundle_v2.json").read_text()),
        "example.com/golden+ec459b04+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
        [witness],
    )
    assert report.ok
    assert (report.index, report.size) == (5, 10)
    assert [(str(one.witness), one.time_s) for one in report.cosignatures] == [(witness, 1_795_000_000)]


def test_an_entry_that_is_not_under_the_checkpoint_is_not_found(ten: Path) -> None:
    with Log.open(ten) as log:
        log.append([b"not yet signed"])
        for index in (-1, 10, 11):
            with pytest.raises(NotFound, match="not under the signed checkpoint of 10"):
                prove(ten, index)
            with pytest.raises(NotFound):
                prove_from(log, about_entry(index), [index], [])
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


def test_an_anchor_from_before_the_entry_does_not_cover_it(anchored_once: Path) -> None:
    earlier, later = prove(anchored_once, 0), prove(anchored_once, 4)
    mixed = {**later, "anchor": earlier["anchor"], "consistency_proof": earlier["consistency_proof"]}
    assert [str(problem.place) for problem in verify_bundle(mixed).problems] == ["anchor"]


# --- commands and batches --------------------------------------------------------------------------------------------

ROWS = BatchRows(
    2,
    {3: "tank_1.level", 7: "pump_335.mode \u00e9"},
    {
        "series": struct.pack("<4i", 3, 7, 3, 3),
        "value": struct.pack("<4d", 1.25, float("nan"), 1.5, float("nan")),
        "quality": struct.pack("<4I", 0, 0, 0x40000000, 0x80000000),
        "source_time": struct.pack("<4q", *(1_795_000_000_000_000_000 + n for n in (1, 2, 3, 3))),
        "received_time": struct.pack("<4q", *(1_795_000_000_000_000_000 + n for n in (11, 12, 13, 14))),
        "noticed": bytes([0, 0, 0, 1]),
    },
    ((1, "ol\u00e9 \u2028"),),
)
NOW_NS = 1_795_000_000_000_000_000


def step(identity: str, n: int, status: str) -> bytes:
    return encode(Entry("command", NOW_NS + n, {"id": identity, "n": n, "status": status}, version=1))


def plant_log(directory: Path, witness: Signer | None = None) -> Path:
    """Two commands among other entries and a batch; an anchor that is newer than the cosigned checkpoint."""
    entries = [
        step("c1", 0, "QUEUED"),
        step("c2", 0, "QUEUED"),
        encode(Entry("prediction", NOW_NS, {"id": "c1", "sha256": "00"}, version=1)),
        step("c1", 1, "SENT"),
        encode(Entry("history.batch", NOW_NS, {"batch": 5, "rows": 4, "sha256": ROWS.digest(5)}, version=1)),
        step("c1", 2, "CONFIRMED"),
        encode(Entry("login", NOW_NS, {"user": 'mentions "id":"c1"'}, version=1)),
    ]
    (directory / "key").write_text(Signer("example.com/golden", bytes(32)).private_text())
    with Log.open(directory) as log:
        log.append(entries)
        log.checkpoint()
        note = (directory / "checkpoint").read_text()
        if witness is not None:
            line = cosign(witness, note.partition("\n\n")[0] + "\n", 1_795_000_000)
            (directory / "checkpoint.witnessed").write_text(note + line)
        log.append([step("c2", 1, "SENT"), step("c2", 2, "CONFIRMED")])
        log.checkpoint()
        receipt = Receipt(
            0, 8, "0x" + log.root(8).hex(), 2, 1_795_000_003, "0x" + "ab" * 32, 0, 60_000, 31_337, "0x" + "cd" * 20
        )
    (directory / "anchors.jsonl").write_text(receipt.line())
    return directory


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant_log(tmp_path_factory.mktemp("plant"), Signer("witness.example/w1", bytes(range(32))))


WITNESS = str(witness_of(Signer("witness.example/w1", bytes(range(32)))))


def test_a_command_is_proved_by_every_entry_of_its_life_under_one_checkpoint(plant: Path) -> None:
    report = verify_bundle(json.loads(json.dumps(prove(plant, about_command("c1")))), witnesses=[WITNESS])
    assert report.problems == ()
    assert [one.index for one in report.entries] == [0, 2, 3, 5]
    assert [one.entry.body.get("status") for one in report.entries if one.entry] == [
        "QUEUED",
        None,
        "SENT",
        "CONFIRMED",
    ]
    assert (report.about, report.size) == ("command c1", 7)
    assert "the steps 0 to 2 of command c1 are all here" in report.checked
    assert "whether the command had later steps than these" in report.unchecked


def test_an_anchor_newer_than_the_cosigned_checkpoint_covers_it_with_a_consistency_proof(plant: Path) -> None:
    bundle = prove(plant, 5)
    report = verify_bundle(bundle, witnesses=[WITNESS])
    assert report.problems == ()
    assert report.anchor is not None and (report.size, report.anchor.size) == (7, 8)
    newer = prove(plant, about_command("c2"))  # not under the cosigned one any more; no anchor covers all of it
    assert (verify_bundle(newer).problems, newer["anchor"], verify_bundle(newer).size) == ((), None, 9)


def test_a_command_with_a_missing_foreign_or_doubled_step_is_refused(plant: Path) -> None:
    bundle = prove(plant, about_command("c1"))
    first, predicted, second, third = bundle["entries"]
    foreign = prove(plant, 1)["entries"][0]
    for entries, what in [
        ([first, predicted, third], "one is missing"),
        ([second, third], "one is missing"),
        ([predicted], "one is missing"),
        ([first, foreign, predicted, second, third], "are not all of command c1"),
        ([first, first, predicted, second, third], "not in order"),
        ([second, first], "not in order"),
        ([], "no list of 1"),
    ]:
        changed = {**bundle, "entries": entries}
        changed["sha256"] = digest(changed)
        assert what in str(verify_bundle(changed).problems[0]), what


def test_a_batch_is_proved_with_its_rows_and_a_reading_is_read_from_them(plant: Path) -> None:
    alone = verify_bundle(prove(plant, about_batch(5)))
    assert alone.problems == () and "ask for it with --with-data" in " ".join(alone.unchecked)
    whole = verify_bundle(json.loads(json.dumps(prove(plant, about_batch(5), ROWS))))
    assert "the 4 rows here are batch 5: their SHA-256 is the recorded one" in whole.checked
    asked = about_reading(5, "pump_335.mode \u00e9", NOW_NS + 2)
    report = verify_bundle(json.loads(json.dumps(prove(plant, asked, ROWS))))
    assert report.problems == ()
    assert report.reading is not None and (report.reading.text, report.reading.value) == ("ol\u00e9 \u2028", None)
    latest = verify_bundle(prove(plant, about_reading(5, "tank_1.level", NOW_NS + 3), ROWS)).reading
    assert latest is not None and (latest.row, latest.quality, latest.value) == (3, 0x80000000, None)


def test_rows_that_are_not_the_recorded_ones_are_refused(plant: Path) -> None:
    bundle = prove(plant, about_reading(5, "tank_1.level", NOW_NS + 1), ROWS)
    data = bundle["data"]
    changes: list[dict[str, Any]] = [
        {"data": None},
        {"data": {**data, "version": 1}},
        {"data": {**data, "text": []}},
        {"data": {**data, "series": {**data["series"], "3": "tank_2.level"}}},
        {"data": {**data, "series": {**data["series"], "03": "tank_1.level"}}},
        *(
            {"data": {**data, "columns": {**data["columns"], name: flipped(text)}}}
            for name, text in data["columns"].items()
        ),
        {"about": {**bundle["about"], "point": "tank_2.level"}},
        {"about": {**bundle["about"], "source_time_ns": "1"}},
        {"about": {**bundle["about"], "source_time_ns": NOW_NS + 1}},
        {"about": {**bundle["about"], "source_time_ns": f"0{NOW_NS + 1}"}},
        {"about": {**bundle["about"], "batch": 6}},
        {"about": {**bundle["about"], "batch": 5.0}},
        {"about": {"kind": "entry", "index": 4}},
    ]
    for change in changes:
        changed = {**bundle, **change}
        changed["sha256"] = digest(changed)
        assert not verify_bundle(changed).ok, change
    foreign = {**prove(plant, 0), "data": data}
    assert not verify_bundle({**foreign, "sha256": digest(foreign)}).ok


def test_what_the_log_has_not_is_not_found(plant: Path) -> None:
    for about in (about_command("c3"), about_command("\udc80"), about_batch(6)):
        with pytest.raises(NotFound, match="the log has no entry of"):
            prove(plant, about)
    with pytest.raises(NotFound):
        indexes_of(about_batch(5), enumerate([b'"batch":5 but no entry', encode(Entry("point", 1, {"batch": 5}))]))


@pytest.mark.parametrize(
    ("about", "rows"),
    [(about_entry(4), None), (about_command("c1"), None), (about_reading(5, "tank_1.level", NOW_NS + 1), ROWS)],
    ids=["entry", "command", "reading"],
)
def test_the_golden_bundles_of_version_3_verify_for_ever_and_are_made_so_again(
    about: About, rows: BatchRows | None, plant: Path
) -> None:
    golden = json.loads(GOLDEN.with_name(f"bundle_v3_{about['kind']}.json").read_text("utf-8"))
    report = verify_bundle(golden, golden["public_key"], [WITNESS])
    assert report.problems == ()
    assert prove(plant, about, rows) == golden


# --- changed in any way ----------------------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to everything in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for name, one in inside for found in places(one, (*path, name)))]


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def mutated(value: Any, data: st.DataObject) -> Any:
    """Another value in its place: near to it, from elsewhere, or nonsense."""
    near: list[Any] = [None, [], {}, "", 0, -1, True]
    match value:
        case bool():
            near += [not value, int(value)]
        case int():
            near += [value + 1, value - 1, float(value), str(value), 2**63, -value]
        case str():
            near += [value[:-1], value + "A", value + "=", value.upper(), value.lower(), f" {value}", value + "\n"]
        case list():
            near += [value[:-1], value[1:], value[::-1], value + value, [*value, None], [value]]
        case dict():
            near += [{**value, "more": 1}, *({k: v for k, v in value.items() if k != name} for name in value), [value]]
    return data.draw(st.sampled_from(near) | anything)


@pytest.fixture(scope="module")
def bundles(plant: Path, anchored_once: Path) -> list[dict[str, Any]]:
    asked = about_reading(5, "tank_1.level", NOW_NS + 1)
    made = [prove(anchored_once, 4), prove(plant, about_command("c1")), prove(plant, asked, ROWS)]
    old = [json.loads(GOLDEN.with_name(f"bundle_v{version}.json").read_text("utf-8")) for version in (1, 2)]
    assert all(verify_bundle(bundle).ok for bundle in (*made, *old))
    return [*made, *old]


@settings(max_examples=600)
@given(data=st.data())
def test_a_change_anywhere_is_a_problem_and_never_a_crash(bundles: list[dict[str, Any]], data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(bundles))
    bundle = copy.deepcopy(whole)
    path = data.draw(st.sampled_from(places(bundle)[1:]))
    at(bundle, path[:-1])[path[-1]] = mutated(at(bundle, path), data)
    changed = json.dumps(bundle, sort_keys=True) != json.dumps(whole, sort_keys=True)
    report = verify_bundle(bundle)
    if whole["format"] == "twinloop-proof-1" and path[0] == "anchor":
        return  # format 1 binds no more of a receipt than its size and root: only the chain can say
    if whole["format"] == "twinloop-proof-1" and path == ("index",) and bundle["index"] == 7:
        return  # entries 6 and 7 of that log are the same bytes: this is as true
    assert report.ok == (not changed), path


@settings(max_examples=300)
@given(data=st.data())
def test_a_change_with_a_mended_digest_is_a_problem_wherever_a_signature_or_hash_reaches(
    bundles: list[dict[str, Any]], data: st.DataObject
) -> None:
    whole = data.draw(st.sampled_from([bundle for bundle in bundles if bundle["format"] == FORMAT]))
    bundle = copy.deepcopy(whole)
    path = data.draw(st.sampled_from([path for path in places(bundle)[1:] if path[0] not in ("anchor", "sha256")]))
    at(bundle, path[:-1])[path[-1]] = mutated(at(bundle, path), data)
    bundle["sha256"] = digest(bundle)
    if json.dumps(bundle, sort_keys=True) == json.dumps(whole, sort_keys=True):
        return
    report = verify_bundle(bundle, whole["public_key"])
    same = [(one.index, one.entry) for one in report.entries] == [
        (one["index"], decode_or_none(one["entry"])) for one in whole["entries"]
    ]
    # Fewer claims may be made: no anchor, no rows, a cosignature cut off. What is claimed of entries is the truth.
    assert not report.ok or same, path


def decode_or_none(text: str) -> Entry | None:
    return decode(base64.b64decode(text))


@given(value=anything)
def test_what_is_no_bundle_is_a_problem(value: Any) -> None:
    assert not verify_bundle(value).ok


@given(value=anything)
def test_what_are_no_rows_is_said(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rows(value)
