"""Signed notes and checkpoints as C2SP defines them (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), Ed25519.

Must not know files or logs; text and keys in, text and verdicts out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import NoteError
from ledger.merkle import HASH_BYTES

NOTE_BYTES_MAX = 65_536  # a checkpoint is ~200 bytes; room for the cosignatures of many witnesses
SIGNATURES_MAX = 100  # the limit of the reference implementation (golang.org/x/mod/sumdb/note)
SIZE_MAX = 2**63 - 1
_ED25519 = b"\x01"
_KINDS = {_ED25519: "Ed25519", b"\x04": "a cosignature"}
DASH = "\N{EM DASH} "
_PRIVATE = "PRIVATE+KEY+"
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Verifier:
    """A public key under a name; its text form is the C2SP verifier key, `name+id+base64`."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """C2SP signed-note: SHA-256(name || 0x0A || type || public key), the first four bytes."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_encode(_ED25519 + self.public_key)}"

    def holds(self, text: str, signature: bytes) -> bool:
        """Whether `signature` is this key's over `text`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Signer:
    """A private key under a name; its text form is the one of golang.org/x/mod/sumdb/note."""

    name: str
    seed: bytes

    def __repr__(self) -> str:
        return f"Signer({self.name!r})"  # never the seed: this text may reach a log

    def verifier(self) -> Verifier:
        return Verifier(self.name, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def private_text(self) -> str:
        return f"{_PRIVATE}{self.name}+{self.verifier().key_id.hex()}+{_encode(_ED25519 + self.seed)}"

    def sign(self, text: str) -> str:
        """The note: `text` (which ends in a newline), an empty line, one signature line."""
        _checked_text(text)
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return f"{text}\n{DASH}{self.name} {_encode(self.verifier().key_id + signature)}\n"


@dataclass(frozen=True)
class Checkpoint:
    """The log called `origin` has `size` entries under `root`; extension lines are kept as they came."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), _encode(self.root), *self.extensions))


def parse_verifier(vkey: str) -> Verifier:
    """The key in a C2SP verifier key line; a trailing newline is allowed."""
    name, key = key_parts(vkey.removesuffix("\n"), "verifier key")
    verifier = Verifier(name, key)
    if str(verifier) != vkey.removesuffix("\n"):
        raise NoteError("verifier key: the key id does not belong to this name and key; fetch the key file again")
    return verifier


def parse_signer(skey: str) -> Signer:
    """The key in a `PRIVATE+KEY+…` line; a trailing newline is allowed."""
    line = skey.removesuffix("\n")
    if not line.startswith(_PRIVATE):
        raise NoteError(f"private key: expected a line that begins with {_PRIVATE}")
    name, seed = key_parts(line.removeprefix(_PRIVATE), "private key")
    signer = Signer(name, seed)
    if signer.private_text() != line:
        raise NoteError("private key: the key id does not belong to this name and key; restore the key file")
    return signer


def open_note(note: str, verifiers: Sequence[Verifier]) -> tuple[str, list[Verifier]]:
    """The note's text and the keys that signed it.

    Unknown keys are ignored; a bad signature of a known key, or no known key at all, raises NoteError.
    """
    text, lines = signature_lines(note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    signed: list[Verifier] = []
    for name, key_id, signature in lines:
        verifier = known.get((name, key_id))
        if verifier is None or verifier in signed:
            continue
        if not verifier.holds(text, signature):
            raise NoteError(f"the signature of {name} ({key_id.hex()}) does not hold: text or signature was changed")
        signed.append(verifier)
    if not signed:
        raise NoteError(f"no signature by {', '.join(map(str, verifiers)) or 'any key: no key was given'}")
    return text, signed


def signature_lines(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """The note's text, and of each signature line the name, the key id and the signature. Raises NoteError."""
    text, lines = _split(note)
    return text, [_signature(line) for line in lines]


def open_checkpoint(note: str, verifier: Verifier) -> Checkpoint:
    """The checkpoint in a note signed by the log's own key, whose name is the log's origin."""
    text, _ = open_note(note, [verifier])
    checkpoint = parse_checkpoint(text)
    if checkpoint.origin != verifier.name:
        raise NoteError(f"the checkpoint is of the log {checkpoint.origin!r}, the key belongs to {verifier.name!r}")
    return checkpoint


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in a note's text (not yet known to be signed)."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() != "":
        raise NoteError("checkpoint: expected the lines origin, size and root, each ended by a newline")
    origin, size, root, *extensions = lines
    if not origin or "" in extensions:
        raise NoteError("checkpoint: an empty line")
    if not _SIZE.fullmatch(size, 0) or int(size) > SIZE_MAX:
        raise NoteError(f"checkpoint: {size!r} is not a size (decimal, no leading zero)")
    return Checkpoint(origin, int(size), _decode(root, HASH_BYTES, "checkpoint: the root"), tuple(extensions))


def is_name(name: str) -> bool:
    """Whether a key may be called so: not empty, no white space, no plus sign."""
    return _NAME.fullmatch(name) is not None


def _split(note: str) -> tuple[str, list[str]]:
    if len(note.encode("utf-8", "surrogatepass")) > NOTE_BYTES_MAX:
        raise NoteError(f"a note of more than {NOTE_BYTES_MAX:,} bytes")
    end = note.rfind("\n\n")
    if end < 0 or not note.endswith("\n"):
        raise NoteError("not a signed note: expected text, an empty line and signature lines, ended by a newline")
    text, lines = note[: end + 1], note[end + 2 :].split("\n")[:-1]
    _checked_text(text)
    if not 0 < len(lines) <= SIGNATURES_MAX:
        raise NoteError(f"a note has 1 to {SIGNATURES_MAX} signature lines, this one has {len(lines)}")
    return text, lines


def _checked_text(text: str) -> None:
    if not text.endswith("\n") or any(ord(char) < 0x20 and char != "\n" for char in text):
        raise NoteError("the text of a note ends in a newline and has no other control characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NoteError("the text of a note is not valid Unicode") from error


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, space, blob = line.removeprefix(DASH).partition(" ")
    if not line.startswith(DASH) or not space or not is_name(name):
        raise NoteError(f"not a signature line: {line[:80]!r}")
    data = _decode(blob, None, "signature")
    if len(data) <= 4:
        raise NoteError("a signature without bytes")
    return name, data[:4], data[4:]


def key_parts(line: str, what: str, kind: bytes = _ED25519) -> tuple[str, bytes]:
    """Name and key bytes of a `name+id+base64` line whose key is of `kind`. Raises NoteError."""
    parts = line.split("+", 2)
    if len(parts) != 3 or not is_name(parts[0]) or not re.fullmatch("[0-9a-f]{8}", parts[1]):
        raise NoteError(f"{what}: expected name+id+base64, got a line of {len(line)} characters")
    data = _decode(parts[2], 1 + 32, what)
    if data[:1] != kind:
        raise NoteError(f"{what}: key type {data[0]} is not {_KINDS[kind]} ({kind[0]})")
    return parts[0], data[1:]


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: str, length: int | None, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError(f"{what} is not base64") from error
    if _encode(data) != text:  # spare bits set: the same bytes in another text, so a change nobody would see
        raise NoteError(f"{what} is not canonical base64")
    if length is not None and len(data) != length:
        raise NoteError(f"{what} has {len(data)} bytes, expected {length}")
    return data
