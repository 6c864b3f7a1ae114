"""Every flipped byte of everything that a log consists of is found, and said where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.bundle import verify_bundle
from ledger.cosignature import cosign, witness_of
from ledger.log import Log
from ledger.note import Signer
from ledger.proving import prove
from ledger.verify import verify

GOLDEN = Path(__file__).parent / "golden"
WITNESS = Signer("witness.example/w1", bytes(range(32)))
VKEY = str(witness_of(WITNESS))


def build(directory: Path, *stops: int) -> Path:
    """A log that was signed at these sizes, the last of them witnessed."""
    with Log.open(directory) as log:
        for stop in stops:
            log.append([b"%d" % number for number in range(log.size, stop)])
            log.checkpoint()
        note = (directory / "checkpoint").read_text()
    line = cosign(WITNESS, note.partition("\n\n")[0] + "\n", 1_795_000_000)
    (directory / "checkpoint.witnessed").write_text(note + line)
    return directory


def flip(directory: Path, step: int, bits: int) -> None:
    """Flip one byte after the other in every file and hold the verifier to its place."""
    key = (directory / "key.pub").read_text()
    assert verify(directory, key=key, witnesses=[VKEY]).ok
    for name in files_of(directory):
        path = directory / name
        whole = path.read_bytes()
        for position in range(0, len(whole), step):
            for bit in range(position % 8, position % 8 + bits):
                changed = bytearray(whole)
                changed[position] ^= 1 << bit % 8
                path.write_bytes(changed)
                problems = verify(directory, key=key, witnesses=[VKEY]).problems
                assert problems, (name, position)
                assert problems[0].place.split(",")[0] == name, (name, position, problems[0])
        path.write_bytes(whole)


def files_of(directory: Path) -> list[str]:
    kept = {"key", "lock", "resume", "resume.note"}  # not for a verifier: secret, empty, and the server's own shortcut
    names = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    return sorted(set(names) - kept)


def test_every_flipped_byte_of_a_small_log_is_found_in_its_file(tmp_path: Path) -> None:
    directory = build(tmp_path / "small", 2, 6)
    assert {"log", "checkpoint", "checkpoint.witnessed", "key.pub", "tile/0/000.p/2", "tile/0/000.p/6"} <= set(
        files_of(directory)
    )
    flip(directory, step=1, bits=1)


def test_flipped_bytes_of_full_tiles_are_found_in_their_file(tmp_path: Path) -> None:
    directory = build(tmp_path / "larger", 3, 260)
    assert {"tile/0/000", "tile/entries/000", "tile/1/000.p/1", "tile/0/001.p/4"} <= set(files_of(directory))
    flip(directory, step=211, bits=1)


@pytest.mark.soak
def test_every_flipped_bit_of_a_log_is_found_in_its_file(tmp_path: Path) -> None:
    flip(build(tmp_path / "larger", 3, 260), step=1, bits=8)


def test_every_flipped_bit_of_a_bundle_is_found(anchored_once: Path) -> None:
    whole = json.dumps(prove(anchored_once, 4), indent=1).encode()
    vkey = (anchored_once / "key.pub").read_text().strip()
    assert verify_bundle(json.loads(whole), vkey).ok
    for position in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[position // 8] ^= 1 << position % 8
        try:
            bundle = json.loads(changed)
        except ValueError:
            continue  # not JSON any more: the reader says at which character
        report = verify_bundle(bundle, vkey)
        assert not report.ok, (position, bytes(changed))
        assert report.problems[0].place.partition("[")[0] in {
            "bundle", "about", "entries", "checkpoint", "public_key", "anchor", "consistency_proof", "data", "sha256",
        }  # fmt: skip


@pytest.mark.parametrize("name", ["command", "reading"])
def test_every_flipped_byte_of_a_bundle_of_many_entries_or_rows_is_found(name: str) -> None:
    whole = (GOLDEN / f"bundle_v3_{name}.json").read_bytes()
    vkey = json.loads(whole)["public_key"]
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        try:
            bundle = json.loads(changed)
        except ValueError:
            continue
        assert not verify_bundle(bundle, vkey).ok, (position, bytes(changed))


def test_a_bundle_under_a_cosigned_checkpoint_carries_the_word_of_its_witness(tmp_path: Path) -> None:
    bundle = prove(build(tmp_path / "seen", 3, 260), 7)
    report = verify_bundle(bundle, witnesses=[VKEY])
    assert report.ok
    assert [one.witness.name for one in report.cosignatures] == [WITNESS.name]
    stranger = str(witness_of(Signer("witness.example/w2", bytes(32))))
    assert "has no cosignature by witness.example/w2" in str(verify_bundle(bundle, witnesses=[stranger]).problems)
