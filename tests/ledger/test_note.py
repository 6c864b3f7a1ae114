"""Signed notes and checkpoints: the specification's example, and every change refused."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from ledger import keys
from ledger.errors import KeyFileError, NoteError
from ledger.note import Checkpoint, Signer, open_checkpoint, open_note, parse_checkpoint, parse_signer, parse_verifier

# The example of c2sp.org/signed-note.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n"
    "\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
SIGNER = Signer("example.com/log", bytes(range(32)))
CHECKPOINT = Checkpoint("example.com/log", 1_234, bytes(range(32)))
NOTE = SIGNER.sign(CHECKPOINT.text())


def test_the_note_of_the_specification_is_verified() -> None:
    verifier = parse_verifier(SPEC_KEY)
    assert open_note(SPEC_NOTE, [verifier]) == ("This is an example message.\n", [verifier])
    assert str(verifier) == SPEC_KEY


def test_a_checkpoint_is_three_lines_and_a_signature() -> None:
    origin, size, root, empty, signature, end = NOTE.split("\n")
    assert (origin, size, root) == ("example.com/log", "1234", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    assert (empty, end) == ("", "")
    assert signature.startswith("— example.com/log ")
    assert open_checkpoint(NOTE, SIGNER.verifier()) == CHECKPOINT


def test_the_golden_checkpoint_verifies_for_ever() -> None:
    note = (Path(__file__).parent / "golden" / "checkpoint_v1").read_text("utf-8")
    assert note == NOTE
    assert open_checkpoint(note, SIGNER.verifier()).size == 1_234


def test_every_flipped_bit_of_a_signed_checkpoint_is_refused() -> None:
    data = NOTE.encode()
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            try:
                note = changed.decode()
            except UnicodeDecodeError:
                continue
            with pytest.raises(NoteError):
                open_checkpoint(note, SIGNER.verifier())


def test_the_same_bytes_in_another_base64_text_are_refused() -> None:
    assert NOTE.endswith("=\n")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = NOTE[-3]
    for spare in (1, 2, 3):
        twin = NOTE[:-3] + alphabet[alphabet.index(last) + spare] + "=\n"
        assert base64.b64decode(twin.split(" ")[-1]) == base64.b64decode(NOTE.split(" ")[-1])
        with pytest.raises(NoteError, match="not canonical"):
            open_checkpoint(twin, SIGNER.verifier())


@pytest.mark.parametrize("cut", range(0, len(NOTE)))
def test_every_truncated_note_is_refused(cut: int) -> None:
    with pytest.raises(NoteError):
        open_checkpoint(NOTE[:cut], SIGNER.verifier())


def test_signatures_of_strangers_are_ignored() -> None:
    stranger = Signer("witness.example", bytes(32))
    both = NOTE + stranger.sign(CHECKPOINT.text()).split("\n\n")[1]
    assert open_checkpoint(both, SIGNER.verifier()) == CHECKPOINT
    assert open_note(both, [stranger.verifier(), SIGNER.verifier()])[1] == [SIGNER.verifier(), stranger.verifier()]
    with pytest.raises(NoteError, match="no signature by"):
        open_note(NOTE, [stranger.verifier()])
    with pytest.raises(NoteError, match="no key was given"):
        open_note(NOTE, [])


def test_a_bad_signature_of_a_known_key_refuses_the_whole_note() -> None:
    stranger = Signer("witness.example", bytes(32))
    both = NOTE + stranger.sign("another text\n").split("\n\n")[1]
    with pytest.raises(NoteError, match=r"witness\.example"):
        open_note(both, [stranger.verifier(), SIGNER.verifier()])


def test_a_checkpoint_of_another_log_is_refused() -> None:
    foreign = SIGNER.sign(Checkpoint("example.com/other", 1, bytes(32)).text())
    with pytest.raises(NoteError, match=r"example.com/other"):
        open_checkpoint(foreign, SIGNER.verifier())


@pytest.mark.parametrize("size", ["01", "-1", "+1", "1 ", "", "1e3", "٣", "9223372036854775808"])
def test_a_size_that_is_not_plain_decimal_is_refused(size: str) -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(f"example.com/log\n{size}\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")


def test_extension_lines_are_kept() -> None:
    extended = Checkpoint("o", 1, bytes(32), ("extra",))
    assert parse_checkpoint(extended.text()) == extended
    with pytest.raises(NoteError):
        parse_checkpoint(CHECKPOINT.text() + "\n")


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "nul\0\n", "\ud800\n"])
def test_text_that_no_note_may_have_is_not_signed(text: str) -> None:
    with pytest.raises(NoteError):
        SIGNER.sign(text)


def test_keys_come_back_from_their_text() -> None:
    assert parse_signer(SIGNER.private_text()) == SIGNER
    assert parse_verifier(str(SIGNER.verifier())) == SIGNER.verifier()
    assert "00" not in repr(SIGNER) and repr(SIGNER) == "Signer('example.com/log')"


@pytest.mark.parametrize("parse", [parse_verifier, parse_signer])
@pytest.mark.parametrize("text", ["", "a+b", "a b+00000000+AAAA", SPEC_KEY.upper(), SPEC_KEY[:-4], SPEC_KEY + "="])
def test_a_malformed_key_is_refused(parse, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NoteError):
        parse(text)


def test_the_private_key_file_is_only_the_owners(tmp_path: Path) -> None:
    signer = keys.create(tmp_path, "example.com/log")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert keys.load_signer(tmp_path) == signer
    assert keys.load_verifier(tmp_path) == signer.verifier()


def test_a_missing_or_broken_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=str(tmp_path / "key")):
        keys.load_signer(tmp_path)
    (tmp_path / "key.pub").write_text("nonsense\n")
    with pytest.raises(KeyFileError, match=r"key\.pub"):
        keys.load_verifier(tmp_path)
    with pytest.raises(KeyFileError, match="cannot name a log"):
        keys.create(tmp_path, "two words")
