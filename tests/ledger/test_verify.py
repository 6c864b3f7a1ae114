"""The verifier finds every change, and says where."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.anchors import Anchorer
from ledger.entry import CHAIN_KIND, Entry, encode
from ledger.errors import LogDamaged, NoteError, NotFound
from ledger.frames import HEADER, frame
from ledger.log import Log
from ledger.note import Checkpoint, Signer
from ledger.verify import Report, verify


def payload(number: int) -> bytes:
    return encode(Entry("test.made", 1_700_000_000_000_000_000 + number, {"number": number}))


LENGTH = HEADER.size + len(payload(0))


@pytest.fixture
def anchored(anchored_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(anchored_once, tmp_path / "anchored")


def places(report: Report) -> str:
    return " | ".join(str(problem) for problem in report.problems)


def test_a_sound_log_is_verified_with_its_chain(anchored: Path) -> None:
    report = verify(anchored)
    assert (report.ok, report.problems) == (True, ())
    assert (report.entries, report.checkpoint_size, report.anchors_checked, report.chain) == (9, 9, 3, "ok")
    assert report.key == (anchored / "key.pub").read_text().strip()
    assert verify(anchored, key=report.key).ok


def test_an_empty_log_is_sound(log: Log) -> None:
    report = verify(log.directory)
    assert report.ok
    assert report.chain.startswith("not checked: there is no chain directory")


def test_what_is_not_a_log_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not a log directory"):
        verify(tmp_path)
    with pytest.raises(NotFound):
        verify(tmp_path / "nowhere")


def test_every_flipped_bit_of_the_log_is_found_in_its_entry(ten: Path) -> None:
    whole = (ten / "log").read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        (ten / "log").write_bytes(changed)
        report = verify(ten)
        assert not report.ok
        index = position // LENGTH
        assert report.problems[0].place == f"log, entry {index}, byte {index * LENGTH}"


@pytest.mark.parametrize("name", ["checkpoint", "key.pub", "anchors.jsonl"])
def test_every_flipped_bit_of_the_small_files_is_found(anchored: Path, name: str) -> None:
    whole = (anchored / name).read_bytes()
    step = 17 if name == "anchors.jsonl" else 1  # only the chain finds some of these, and is read each time
    if step == 1:
        shutil.rmtree(anchored / "chain")
    for position in range(0, len(whole), step):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        (anchored / name).write_bytes(changed)
        assert not verify(anchored).ok, (position, bytes(changed))


def test_a_rewritten_entry_with_a_right_crc_is_placed_between_two_anchors(anchored: Path) -> None:
    whole = (anchored / "log").read_bytes()
    (anchored / "log").write_bytes(whole.replace(frame(payload(4)), frame(payload(5))))
    report = verify(anchored)
    assert [problem.place for problem in report.problems] == [
        "anchors.jsonl, anchor 1",
        "anchors.jsonl, anchor 2",
        "checkpoint",
        "tile/entries/000.p/9",
        "tile/0/000.p/9",
    ]
    assert "entries 3 to 5 were changed" in report.problems[0].hint
    assert "the hash of entry 4 is another" in report.problems[-1].what
    assert "the log was changed there, or this tile was" in report.problems[-1].hint


def test_cut_off_entries_are_found(anchored: Path) -> None:
    whole = (anchored / "log").read_bytes()
    (anchored / "log").write_bytes(whole[: 7 * LENGTH])
    assert "speaks of 9 entries, the log has 7" in places(verify(anchored))
    (anchored / "log").write_bytes(whole[: 7 * LENGTH + 20])
    assert "entry 7" in places(verify(anchored))
    (anchored / "log").unlink()
    assert "log is missing" in places(verify(anchored))


def test_two_damaged_stretches_are_both_placed(anchored: Path) -> None:
    data = bytearray((anchored / "log").read_bytes())
    data[LENGTH + 12] ^= 1
    data[5 * LENGTH : 6 * LENGTH] = bytes(LENGTH)
    (anchored / "log").write_bytes(data)
    report = verify(anchored)
    assert [problem.place for problem in report.problems] == [
        f"log, entry 1, byte {LENGTH}",
        f"log, entry 5, byte {5 * LENGTH}",
        "log",
    ]
    assert report.entries == 9


def resigned(directory: Path) -> None:
    """The operator rewrites the log and signs it again with the log's own key."""
    shutil.copy(directory / "log", directory / "before")
    (directory / "log").write_bytes(b"".join(frame(payload(number + 50)) for number in range(9)))
    for name in ("checkpoint", "anchors.jsonl"):
        (directory / name).unlink()
    (directory / "log").rename(directory / "rewritten")
    shutil.rmtree(directory / "tile")
    with Log.open(directory):
        pass
    (directory / "rewritten").rename(directory / "log")
    with Log.open(directory) as log:
        log.checkpoint()


def replayed(directory: Path) -> None:
    """The whole directory but the chain is put back to an earlier day."""
    (directory / "log").write_bytes((directory / "log").read_bytes()[: 6 * LENGTH])
    lines = (directory / "anchors.jsonl").read_text().splitlines(keepends=True)
    (directory / "anchors.jsonl").write_text("".join(lines[:2]))
    (directory / "checkpoint").unlink()
    (directory / "log").rename(directory / "earlier")
    (directory / "anchors.jsonl").rename(directory / "earlier.jsonl")
    shutil.rmtree(directory / "tile")
    with Log.open(directory):
        pass
    (directory / "earlier").rename(directory / "log")
    (directory / "earlier.jsonl").rename(directory / "anchors.jsonl")
    with Log.open(directory) as log:
        log.checkpoint()


def rechained(directory: Path) -> None:
    """The chain is replaced by a new one with the same roots."""
    shutil.rmtree(directory / "chain")
    receipts = (directory / "anchors.jsonl").read_bytes()
    (directory / "anchors.jsonl").unlink()
    with Log.open(directory) as log, Anchorer(directory) as anchorer:
        for size in (3, 6, 9):
            anchorer.anchor(size, log.root(size))
    (directory / "anchors.jsonl").write_bytes(receipts)


@pytest.mark.parametrize("attack", [resigned, replayed, rechained])
def test_past_attacks_with_the_logs_own_key_are_seen_on_the_chain(
    anchored: Path, attack: Callable[[Path], None]
) -> None:
    attack(anchored)
    report = verify(anchored)
    assert not report.ok
    assert report.chain.startswith("mismatch")


def test_a_replaced_key_is_seen_by_who_knows_the_old_one(anchored: Path) -> None:
    old = (anchored / "key.pub").read_text()
    forger = Signer("twinloop.local/ledger", bytes(32))
    report = verify(anchored)
    root = bytes.fromhex(report.root[2:])
    (anchored / "key.pub").write_text(f"{forger.verifier()}\n")
    (anchored / "checkpoint").write_text(forger.sign(Checkpoint(forger.name, 9, root).text()))
    assert verify(anchored).ok  # nothing in the directory itself contradicts it
    assert "not the key you trust" in places(verify(anchored, key=old))
    with pytest.raises(NoteError):
        verify(anchored, key="nonsense")


def test_a_log_that_is_being_written_is_not_called_damaged(ten: Path) -> None:
    with Log.open(ten) as log:
        log.append([payload(10)])
        with (ten / "log").open("ab") as file:
            file.write(frame(payload(11))[:9])
        assert verify(ten).ok
    report = verify(ten)
    assert report.problems[0].place == f"log, entry 11, byte {10 * LENGTH + len(frame(payload(10)))}"
    assert "start it" in report.problems[0].hint


def test_an_anchor_whose_receipt_was_lost_is_checked_all_the_same(anchored: Path) -> None:
    lines = (anchored / "anchors.jsonl").read_text().splitlines(keepends=True)
    (anchored / "anchors.jsonl").write_text("".join(lines[:2]) + lines[2][:30])
    report = verify(anchored)
    assert (report.ok, report.anchors_checked, report.chain) == (True, 2, "ok")


@pytest.mark.parametrize("left", [0, None])
def test_receipts_that_were_taken_away_are_missed(anchored: Path, left: int | None) -> None:
    if left is None:
        (anchored / "anchors.jsonl").unlink()
    else:
        (anchored / "anchors.jsonl").write_text("")
    report = verify(anchored)
    assert [str(p.place) for p in report.problems] == ["anchors.jsonl"]
    assert "lacks the receipts of anchors 0 to 2, which the chain has" in places(report)
    assert (report.anchored_size, report.receipts_size) == (9, 0)


def test_a_chain_put_back_to_an_earlier_day_is_a_mismatch(tmp_path: Path) -> None:
    with Log.open(tmp_path) as log:
        for number in range(2):
            log.append([payload(number)])
            with Anchorer(tmp_path) as anchorer:
                anchorer.anchor(log.size, log.root())
            if number == 0:
                shutil.copytree(tmp_path / "chain", tmp_path / "earlier")
        log.checkpoint()
    assert verify(tmp_path).chain == "ok"
    assert (
        verify(tmp_path, tmp_path / "earlier").chain == "mismatch: the chain has 1 anchors, the log has receipts for 2"
    )


def test_a_changed_receipt_is_a_mismatch_with_the_chain(anchored: Path) -> None:
    lines = [json.loads(line) for line in (anchored / "anchors.jsonl").read_text().splitlines()]
    lines[1]["tx_hash"] = "0x" + "ab" * 32
    (anchored / "anchors.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = verify(anchored)
    assert report.chain == "mismatch: anchor 1 has another block, transaction or contract on the chain"
    assert not report.ok


def test_without_the_chain_libraries_everything_else_is_checked(
    anchored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ledger.chain_check", None)
    report = verify(anchored)
    assert report.ok
    assert report.anchors_checked == 3
    assert report.chain.startswith("not checked: ")


def test_a_chain_directory_that_was_named_must_be_there(anchored: Path) -> None:
    report = verify(anchored, anchored / "elsewhere")
    assert not report.ok
    assert report.chain.startswith("not checked")


def test_a_damaged_chain_file_is_a_problem_and_never_a_crash(anchored: Path) -> None:
    path = anchored / "chain" / "chain.sqlite"
    whole = path.read_bytes()
    for position in range(0, len(whole), 4_001):
        changed = bytearray(whole)
        changed[position : position + 8] = b"\xa5" * 8
        path.write_bytes(changed)
        verify(anchored)
    path.write_bytes(b"no database")
    assert "chain" in places(verify(anchored))


def test_verifying_changes_no_file(anchored: Path) -> None:
    before = {path: path.read_bytes() for path in anchored.iterdir() if path.is_file()}
    verify(anchored)
    assert {path: path.read_bytes() for path in anchored.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("name", ["checkpoint", "anchors.jsonl", "checkpoint.witnessed", "key.pub", "tile/0/000.p/9"])
def test_a_folder_in_the_place_of_a_file_is_a_finding_like_any_other(anchored: Path, name: str) -> None:
    (anchored / name).unlink(missing_ok=True)
    (anchored / name).mkdir()
    assert name in places(verify(anchored))


def test_a_file_in_the_place_of_the_tiles_is_told_and_removing_it_mends_it(anchored: Path) -> None:
    shutil.rmtree(anchored / "tile")
    (anchored / "tile").touch()
    assert "tile: is no folder" in places(verify(anchored))
    with pytest.raises(LogDamaged, match="tile: tiles cannot be written"):
        Log.open(anchored)
    (anchored / "tile").unlink()
    Log.open(anchored).close()
    assert verify(anchored).ok


def test_whoever_removes_chain_and_receipts_leaves_the_entry_that_names_them(tmp_path: Path) -> None:
    with Log.open(tmp_path) as log, Anchorer(tmp_path) as anchorer:
        log.append([payload(0)])
        signed = log.checkpoint()
        receipt = anchorer.anchor(signed.size, signed.root)
        log.append([encode(Entry(CHAIN_KIND, 1, {"contract": receipt.contract, "chain_id": 1, "before": ""}))])
        log.checkpoint()
    sound = verify(tmp_path)
    assert (sound.problems, sound.contracts) == ((), (f"{receipt.contract} from entry 1 on",))
    shutil.rmtree(tmp_path / "chain")
    (tmp_path / "anchors.jsonl").unlink()
    assert f"has no receipt of contract {receipt.contract}, at which entry 1 says" in places(verify(tmp_path))


def test_verifying_leaves_no_trace(anchored: Path) -> None:
    before = {path: path.read_bytes() for path in anchored.rglob("*") if path.is_file()}
    assert verify(anchored).ok
    assert {path: path.read_bytes() for path in anchored.rglob("*") if path.is_file()} == before


def test_no_depth_of_json_ends_the_reader_however_far_its_limit_was_raised(anchored: Path) -> None:
    (anchored / "anchors.jsonl").write_text("[" * 100_000 + "\n")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        assert "anchors.jsonl, line 1: nested deeper than 500" in places(verify(anchored))
        assert sys.getrecursionlimit() == 1_000_000
    finally:
        sys.setrecursionlimit(limit)


def test_a_receipt_that_says_a_thing_twice_is_none(anchored: Path) -> None:
    path = anchored / "anchors.jsonl"
    path.write_text(path.read_text().replace('{"block":', '{"size": 1, "block":', 1))
    assert "stands twice" in places(verify(anchored))
