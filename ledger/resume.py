"""What spares a start the hashing of every entry anew: digests of the log's bytes, block by block, and the tree of them.

Must not decide anything, and is no evidence: what the log's own key did not sign, or what does not fit the log's bytes, is
as if it were not there; then every entry is read and hashed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ledger.errors import NoteError
from ledger.files import RESUME, RESUME_NOTE, write_all
from ledger.merkle import HASH_BYTES, KEPT_LEVEL
from ledger.note import Signer, open_note

STRIDE = 1 << KEPT_LEVEL  # entries between two known offsets
BLOCK = 256  # entries of one record
_GROUPS = BLOCK // STRIDE
_RECORD = struct.Struct(f"<{HASH_BYTES}s{_GROUPS * HASH_BYTES}s{_GROUPS}I")  # 608 bytes
_TITLE = "twinloop-resume-1"


@dataclass(frozen=True, slots=True)
class Block:
    """BLOCK entries: SHA-256 of their frames, the tree's node over each STRIDE of them, and how many bytes those take."""

    digest: bytes
    nodes: bytes
    lengths: Sequence[int]


class Resume:
    """The files `resume` and `resume.note` of a log. One thread at a time. Not synced: their loss costs one slow start."""

    def __init__(self, directory: Path, signer: Signer) -> None:
        self.blocks = 0  # in the file, and good
        self._path, self._note = directory / RESUME, directory / RESUME_NOTE
        self._signer = signer
        self._hash = sha256()  # of the records

    def read(self, log: int) -> list[Block]:
        """The blocks; none unless they are signed and the bytes of `log`, a descriptor, are still those of then."""
        try:
            records = self._path.read_bytes()
            text, _ = open_note(self._note.read_text("utf-8"), [self._signer.verifier()])
        except (OSError, UnicodeDecodeError, NoteError):
            return []
        title, _, number, _, _ = (*text.split("\n"), *[""] * 5)[:5]
        blocks = int(number) if title == _TITLE and number.isdecimal() else 0
        records = records[: blocks * _RECORD.size]
        hashed = sha256(records)
        if not blocks or text != self._text(blocks, hashed.hexdigest()):
            return []
        found = [_block(row) for row in _RECORD.iter_unpack(records)]
        if not _fits(log, found):
            return []
        self.blocks, self._hash = blocks, hashed
        return found

    def write(self, blocks: Sequence[Block]) -> None:
        """Add blocks, and sign all that are there."""
        data = b"".join([_RECORD.pack(block.digest, block.nodes, *block.lengths) for block in blocks])
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, self.blocks * _RECORD.size)  # what an earlier process wrote and did not sign
            os.lseek(descriptor, 0, os.SEEK_END)
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        self._hash.update(data)
        self.blocks += len(blocks)
        temporary = self._note.with_name(self._note.name + ".tmp")
        temporary.write_text(self._signer.sign(self._text(self.blocks, self._hash.hexdigest())), "utf-8")
        temporary.replace(self._note)

    def _text(self, blocks: int, digest: str) -> str:
        return f"{_TITLE}\n{self._signer.name}\n{blocks}\n{digest}\n"


def _block(row: tuple[Any, ...]) -> Block:
    digest, nodes, *lengths = row
    return Block(digest, nodes, lengths)


def _fits(log: int, blocks: Sequence[Block]) -> bool:
    """Whether every byte that they cover is as it was."""
    at = 0
    for block in blocks:
        size = sum(block.lengths)
        if sha256(os.pread(log, size, at)).digest() != block.digest:
            return False
        at += size
    return True
