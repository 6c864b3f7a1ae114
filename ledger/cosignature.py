"""Cosignatures of witnesses (c2sp.org/tlog-cosignature, Ed25519, version 1): a checkpoint was seen, when, by whom.

Must not know files or the network; text and keys in, text and verdicts out.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import NoteError
from ledger.note import DASH, Signer, key_parts, signature_lines

_TYPE = b"\x04"  # tlog-cosignature: a timestamped Ed25519 cosignature
_STAMPED = struct.Struct(">Q64s")
TIME_S_MAX = 2**63 - 1


@dataclass(frozen=True)
class Witness:
    """A witness's public key under its name; its text form is a C2SP verifier key of type 4."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + _TYPE + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_TYPE + self.public_key).decode()}"


@dataclass(frozen=True)
class Cosignature:
    """`witness` saw the checkpoint as the largest of its log at `time_s`, Unix seconds, by its own clock."""

    witness: Witness
    time_s: int


def witness_of(signer: Signer) -> Witness:
    """The public half of a witness's key."""
    return Witness(signer.name, signer.verifier().public_key)


def parse_witness(vkey: str) -> Witness:
    """The witness in a C2SP verifier key line of type 4; a trailing newline is allowed. Raises NoteError."""
    line = vkey.removesuffix("\n")
    name, key = key_parts(line, "witness key", _TYPE)
    witness = Witness(name, key)
    if str(witness) != line:
        raise NoteError("witness key: the key id does not belong to this name and key; fetch the key again")
    return witness


def cosign(signer: Signer, text: str, time_s: int) -> str:
    """The signature line over a checkpoint's text (all lines before the empty one)."""
    signature = Ed25519PrivateKey.from_private_bytes(signer.seed).sign(_message(text, time_s))
    blob = witness_of(signer).key_id + _STAMPED.pack(time_s, signature)
    return f"{DASH}{signer.name} {base64.b64encode(blob).decode()}\n"


def cosignatures(note: str, witnesses: Sequence[Witness]) -> list[Cosignature]:
    """Which of the witnesses cosigned the note, and when.

    Others are ignored, as are lines of keys not asked for. Raises NoteError when one of theirs does not hold.
    """
    text, lines = signature_lines(note)
    known = {(witness.name, witness.key_id): witness for witness in witnesses}
    found: list[Cosignature] = []
    for name, key_id, signature in lines:
        witness = known.get((name, key_id))
        if witness is None or any(witness == seen.witness for seen in found):
            continue
        if len(signature) != _STAMPED.size:
            raise NoteError(f"the cosignature of {name} has {len(signature)} bytes, expected {_STAMPED.size}")
        time_s, bare = _STAMPED.unpack(signature)
        if time_s > TIME_S_MAX:
            raise NoteError(f"the cosignature of {name} is of a time after 2^63 seconds")
        try:
            Ed25519PublicKey.from_public_bytes(witness.public_key).verify(bare, _message(text, time_s))
        except InvalidSignature as error:
            raise NoteError(f"the cosignature of {name} does not hold: text or signature was changed") from error
        found.append(Cosignature(witness, time_s))
    return found


def _message(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()
