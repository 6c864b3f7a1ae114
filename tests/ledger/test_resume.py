"""A start that need not hash every entry: as strict as one that does, and never wrong where its notes are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ledger.entry import Entry, encode
from ledger.errors import LogDamaged, LogFailed
from ledger.frames import HEADER, frame
from ledger.keys import load_signer
from ledger.log import Log
from ledger.merkle import Tree, leaf_hash
from ledger.resume import Resume

COUNT, KNOWN = 1_100, 1_024  # four full blocks


def payload(number: int) -> bytes:
    return encode(Entry("test.made", 1_700_000_000_000_000_000 + number, {"number": number}))


PAYLOADS = [payload(number) for number in range(COUNT)]
TREE = Tree(leaf_hash(data) for data in PAYLOADS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed log with its notes for the next start. Not to be written to: copy it."""
    directory = tmp_path_factory.mktemp("made")
    with Log.open(directory) as log:
        for start, stop in ((0, 3), (3, 700), (700, COUNT)):
            log.append(PAYLOADS[start:stop])
            log.checkpoint()
    return directory


@pytest.fixture
def thousand(made: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "thousand"
    directory.mkdir()
    for name in ("log", "checkpoint", "key", "key.pub", "resume", "resume.note"):
        (directory / name).write_bytes((made / name).read_bytes())
    return directory


def flip(path: Path, position: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= bit
    path.write_bytes(data)


def opened(directory: Path) -> int:
    """How many entries the start did not hash; all that the log says is right."""
    with Log.open(directory) as log:
        assert (log.size, log.root(), log.torn_bytes) == (COUNT, TREE.root(), 0)
        assert list(log.entries()) == PAYLOADS
        assert [log.read(n) for n in range(0, COUNT, 37)] == PAYLOADS[::37]
        assert all(log.root(n) == TREE.root(n) for n in range(0, COUNT, 61))
        assert all(log.inclusion_proof(n, COUNT) == TREE.inclusion_proof(n) for n in range(0, COUNT, 7))
        assert all(log.consistency_proof(n, COUNT) == TREE.consistency_proof(n) for n in range(1, COUNT, 41))
        return log.resumed


def test_a_start_hashes_only_what_came_after_the_last_full_block(thousand: Path) -> None:
    assert opened(thousand) == KNOWN


def test_a_log_goes_on_after_such_a_start_and_the_next_one_knows_more(thousand: Path) -> None:
    more = [payload(number) for number in range(COUNT, 2_000)]
    tree = Tree(map(leaf_hash, PAYLOADS + more))
    with Log.open(thousand) as log:
        log.append(more)
        log.checkpoint()
        assert log.root() == tree.root()
    with Log.open(thousand) as log:
        assert (log.resumed, log.root()) == (1_792, tree.root())
        assert all(log.inclusion_proof(n, 2_000) == tree.inclusion_proof(n) for n in range(0, 2_000, 13))


@pytest.mark.parametrize("name", ["resume", "resume.note"])
def test_notes_that_are_missing_or_changed_cost_a_slow_start_and_are_made_anew(thousand: Path, name: str) -> None:
    path = thousand / name
    whole = path.read_bytes()
    for left in (None, whole[:-1], b"\xff" + whole, bytes(len(whole))):
        path.unlink() if left is None else path.write_bytes(left)
        assert opened(thousand) == 0
        assert path.read_bytes() == whole
        assert opened(thousand) == KNOWN


@pytest.mark.parametrize("name", ["resume", "resume.note", "log"])
def test_every_flipped_byte_of_notes_or_of_what_they_cover_is_noticed(thousand: Path, name: str) -> None:
    path, signer = thousand / name, load_signer(thousand)
    descriptor = os.open(thousand / "log", os.O_RDONLY)
    whole = path.read_bytes()[: sum(len(frame(data)) for data in PAYLOADS[:KNOWN])]
    assert len(Resume(thousand, signer).read(descriptor)) == KNOWN // 256
    for position in range(0, len(whole), {"resume": 13, "resume.note": 1, "log": 499}[name]):
        flip(path, position, 1 << position % 8)
        assert Resume(thousand, signer).read(descriptor) == []
        flip(path, position, 1 << position % 8)
    os.close(descriptor)


def test_notes_that_a_kill_left_unsigned_are_not_read(thousand: Path) -> None:
    whole = (thousand / "resume").read_bytes()
    (thousand / "resume").write_bytes(whole + b"half a record")
    assert opened(thousand) == KNOWN
    with Log.open(thousand) as log:
        log.append([payload(number) for number in range(COUNT, 1_300)])
        log.checkpoint()
    assert (thousand / "resume").read_bytes()[: len(whole)] == whole
    with Log.open(thousand) as log:
        assert log.resumed == 1_280


def test_notes_of_another_log_are_not_believed(thousand: Path, tmp_path: Path) -> None:
    with Log.open(tmp_path / "other") as other:
        other.append([payload(number + 1) for number in range(COUNT)])
        other.checkpoint()
    for name in ("resume", "resume.note"):
        (thousand / name).write_bytes((tmp_path / "other" / name).read_bytes())
    assert opened(thousand) == 0


def test_a_changed_byte_of_an_old_entry_still_refuses_to_start_and_says_where(thousand: Path) -> None:
    path, length = thousand / "log", HEADER.size + len(PAYLOADS[0])
    whole = path.read_bytes()
    for position in range(0, 256 * length, 1_009):
        flip(path, position)
        index = next(n for n in range(COUNT) if sum(len(frame(p)) for p in PAYLOADS[: n + 1]) > position)
        with pytest.raises(LogDamaged, match=f"entry {index} at byte .* restore the log"):
            Log.open(thousand)
        path.write_bytes(whole)


def test_an_old_entry_that_was_replaced_with_a_right_crc_refuses_to_start(thousand: Path) -> None:
    whole = (thousand / "log").read_bytes()
    (thousand / "log").write_bytes(whole.replace(frame(PAYLOADS[400]), frame(payload(401))))
    with pytest.raises(LogDamaged, match="root of the first 1100 entries is not the signed one"):
        Log.open(thousand)


@pytest.mark.parametrize("left", [1_000, 1_050])
def test_a_log_that_lost_its_end_refuses_to_start(thousand: Path, left: int) -> None:
    size = sum(len(frame(data)) for data in PAYLOADS[:left])
    os.truncate(thousand / "log", size)
    with pytest.raises(LogDamaged, match="the signed checkpoint says 1100"):
        Log.open(thousand)


def test_a_torn_tail_is_cut_off_after_such_a_start(thousand: Path) -> None:
    with (thousand / "log").open("ab") as file:
        file.write(frame(payload(COUNT))[:-1])
    with Log.open(thousand) as log:
        assert (log.resumed, log.size, log.torn_bytes) == (KNOWN, COUNT, len(frame(payload(COUNT))) - 1)


def test_a_disk_that_refuses_the_notes_is_told(thousand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> None:
        raise OSError("No space left on device")

    with Log.open(thousand) as log:
        log.append([payload(number) for number in range(COUNT, 1_300)])
        monkeypatch.setattr("ledger.resume.write_all", full)
        with pytest.raises(LogFailed, match="No space left"):
            log.checkpoint()


def test_bytes_that_changed_before_they_were_noted_are_not_taken_for_good(thousand: Path) -> None:
    with Log.open(thousand) as log:
        log.append([payload(number) for number in range(COUNT, 1_300)])
        whole = (thousand / "log").read_bytes()
        (thousand / "log").write_bytes(whole.replace(frame(payload(1_200)), frame(payload(1_201))))
        log.checkpoint()
    with pytest.raises(LogDamaged, match="root of the first 1300 entries is not the signed one"):
        Log.open(thousand)
