"""The log on disk: what was acknowledged survives any death, and damage is never built upon."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ledger.entry import Entry, decode, encode
from ledger.errors import EntryError, EntryTooLarge, KeyFileError, LogClosed, LogDamaged, LogFailed, LogLocked, NotFound
from ledger.frames import HEADER, frame
from ledger.log import Log
from ledger.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion


def payload(number: int) -> bytes:
    return encode(Entry("test.made", 1_700_000_000_000_000_000 + number, {"number": number}))


def test_appended_entries_are_read_back_in_order(log: Log) -> None:
    assert log.append([payload(0), payload(1)]) == range(0, 2)
    assert log.append([]) == range(2, 2)
    assert log.append([payload(2)]) == range(2, 3)
    assert [decode(data).body["number"] for data in log.entries()] == [0, 1, 2]
    assert log.read(1) == payload(1)
    assert log.root() == root_of(leaf_hash(payload(number)) for number in range(3))


def test_a_reopened_log_goes_on_where_it_was(ten: Path) -> None:
    with Log.open(ten) as log:
        assert (log.size, log.torn_bytes) == (10, 0)
        assert log.append([payload(10)]) == range(10, 11)
        assert log.signed.size == 10
        assert log.checkpoint().size == 11


def test_an_open_log_proves_its_entries(ten: Path) -> None:
    with Log.open(ten) as log:
        assert verify_inclusion(leaf_hash(log.read(4)), 4, 10, log.inclusion_proof(4, 10), log.root())
        assert verify_consistency(7, log.root(7), 10, log.root(), log.consistency_proof(7, 10))


def test_two_writers_cannot_open_one_log(ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.files.LOCK_WAIT_S", 0.0)
    with Log.open(ten), pytest.raises(LogLocked, match="another process has this log open"):
        Log.open(ten)
    Log.open(ten).close()


@pytest.mark.parametrize(("data", "error"), [(b"", EntryError), (b"x" * 65_536, EntryTooLarge)])
def test_an_entry_that_fits_no_frame_is_refused_before_anything_is_written(
    log: Log, data: bytes, error: type[EntryError]
) -> None:
    with pytest.raises(error):
        log.append([payload(0), data])
    assert log.size == 0
    assert (log.directory / "log").stat().st_size == 0


def test_an_index_outside_the_log_is_not_found(ten: Path) -> None:
    with Log.open(ten) as log:
        for index in (-1, 10):
            with pytest.raises(NotFound):
                log.read(index)


def test_a_closed_log_takes_and_gives_nothing(ten: Path) -> None:
    log = Log.open(ten)
    log.close()
    log.close()
    for use in (lambda: log.append([b"x"]), lambda: log.read(0), log.checkpoint):
        with pytest.raises(LogClosed):
            use()


def test_every_torn_tail_is_cut_off_and_the_log_goes_on(ten: Path) -> None:
    whole = (ten / "log").read_bytes()
    torn = frame(payload(10))
    for cut in range(1, len(torn)):
        (ten / "log").write_bytes(whole + torn[:cut])
        with Log.open(ten) as log:
            assert (log.size, log.torn_bytes) == (10, cut)
        assert (ten / "log").read_bytes() == whole
    (ten / "log").write_bytes(whole + torn[:-1] + b"\0")
    with Log.open(ten) as log:
        assert log.torn_bytes == len(torn)
        assert log.append([payload(10)]) == range(10, 11)


def test_damage_inside_the_log_refuses_to_start_and_changes_nothing(ten: Path) -> None:
    whole = (ten / "log").read_bytes()
    length = HEADER.size + len(payload(0))
    for position in range(3 * length, 4 * length):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        (ten / "log").write_bytes(changed)
        with pytest.raises(LogDamaged, match=f"entry 3 at byte {3 * length} .* restore the log"):
            Log.open(ten)
        assert (ten / "log").read_bytes() == changed


def test_a_log_shorter_than_its_checkpoint_refuses_to_start(ten: Path) -> None:
    whole = (ten / "log").read_bytes()
    for cut in (1, HEADER.size + len(payload(9)), len(whole)):
        (ten / "log").write_bytes(whole[:-cut])
        with pytest.raises(LogDamaged, match="the signed checkpoint says 10"):
            Log.open(ten)


def test_a_rewritten_entry_refuses_to_start_even_with_a_right_crc(ten: Path) -> None:
    whole = (ten / "log").read_bytes()
    (ten / "log").write_bytes(whole.replace(frame(payload(4)), frame(payload(5))))
    with pytest.raises(LogDamaged, match="root of the first 10 entries is not the signed one"):
        Log.open(ten)


def test_a_log_that_contradicts_its_anchors_refuses_to_start(ten: Path, anchored_once: Path) -> None:
    receipts = (anchored_once / "anchors.jsonl").read_text()
    (ten / "anchors.jsonl").write_text(receipts)
    Log.open(ten).close()  # the same first nine entries
    (ten / "anchors.jsonl").write_text(receipts.splitlines(keepends=True)[0].replace('"size": 3', '"size": 4'))
    with pytest.raises(LogDamaged, match="anchor 0 says another root at size 4"):
        Log.open(ten)


@pytest.mark.parametrize("name", ["log", "checkpoint", "key"])
def test_a_missing_file_of_a_log_with_entries_refuses_to_start(ten: Path, name: str) -> None:
    (ten / name).unlink()
    with pytest.raises((LogDamaged, KeyFileError), match=str(ten / name)):
        Log.open(ten)


@pytest.mark.parametrize("left", [[], ["key"], ["key", "key.pub"], ["key", "key.pub", "checkpoint"]])
def test_a_creation_cut_short_is_taken_up_again(tmp_path: Path, left: list[str]) -> None:
    Log.open(tmp_path).close()
    key = (tmp_path / "key").read_text()
    for path in tmp_path.iterdir():
        if path.name not in left:
            path.unlink()
    with Log.open(tmp_path) as log:
        assert log.append([payload(0)]) == range(0, 1)
        log.checkpoint()
    assert ((tmp_path / "key").read_text() == key) == ("key" in left)
    Log.open(tmp_path).close()


def test_a_disk_that_refuses_once_is_never_trusted_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append([payload(0)])

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(LogFailed, match="No space left"):
        log.append([payload(1)])
    monkeypatch.undo()
    with pytest.raises(LogFailed, match="earlier"):
        log.append([payload(1)])
    assert log.size == 1


def test_short_writes_are_completed(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr("ledger.files.os.write", lambda descriptor, data: real(descriptor, data[:7]))
    log.append([payload(0), payload(1)])
    monkeypatch.undo()
    assert list(log.entries()) == [payload(0), payload(1)]


def test_a_read_finds_damage_that_came_after_opening(log: Log) -> None:
    log.append([payload(0), payload(1)])
    data = bytearray((log.directory / "log").read_bytes())
    data[12] ^= 1
    (log.directory / "log").write_bytes(data)
    with pytest.raises(LogDamaged, match="entry 0"):
        log.read(0)
    assert log.read(1) == payload(1)
