"""The log file's bytes: frames of length, CRC and payload, and where a damaged file can be read again.

Must not know entries or trees; reads from any seekable stream and never writes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from zlib import crc32

from ledger.entry import ENTRY_BYTES_MAX
from ledger.errors import EntryError, EntryTooLarge

HEADER = struct.Struct("<II")  # length of the payload, CRC-32 of the length field and the payload
FRAME_BYTES_MAX = HEADER.size + ENTRY_BYTES_MAX
READ_BYTES = 1 << 20  # one read in ~1 MiB: large enough that the system call does not count
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Frame:
    offset: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """Bytes from `offset` that are no frame. `resumes_at` is the next whole frame, None when none follows."""

    offset: int
    why: str
    resumes_at: int | None


def frame(payload: bytes) -> bytes:
    """The payload as it stands in the file."""
    if not payload:
        raise EntryError("an empty entry cannot be recorded")
    if len(payload) > ENTRY_BYTES_MAX:
        raise EntryTooLarge(f"an entry of {len(payload):,} bytes cannot be recorded, the limit is {ENTRY_BYTES_MAX:,}")
    return HEADER.pack(len(payload), _checksum(payload)) + payload


def parse(data: bytes, offset: int = 0) -> bytes | str:
    """The payload of the frame at `offset`, or why there is none."""
    if len(data) - offset < HEADER.size:
        return f"only {len(data) - offset} of the {HEADER.size} bytes of a frame header"
    length, checksum = HEADER.unpack_from(data, offset)
    if not 0 < length <= ENTRY_BYTES_MAX:
        return f"a frame length of {length:,}, outside 1 to {ENTRY_BYTES_MAX:,}"
    start = offset + HEADER.size
    payload = data[start : start + length]
    if len(payload) < length:
        return f"only {len(payload):,} of {length:,} payload bytes"
    if _checksum(payload) != checksum:
        return "the CRC does not match the bytes"
    return payload


def scan(stream: BinaryIO) -> Iterator[Frame | Fault]:
    """Every frame of the stream in order, and a Fault for each stretch that is not one."""
    base, buffer, position = 0, b"", 0  # buffer[0] stands at `base` of the stream
    stream.seek(0)
    while True:
        if len(buffer) - position < FRAME_BYTES_MAX:
            base, buffer, position = base + position, buffer[position:] + stream.read(READ_BYTES), 0
            if not buffer:
                return
        payload = parse(buffer, position)
        offset = base + position
        if isinstance(payload, bytes):
            yield Frame(offset, payload)
            position += HEADER.size + len(payload)
            continue
        resumes_at = _resume(stream, offset + 1)
        yield Fault(offset, payload, resumes_at)
        if resumes_at is None:
            return
        stream.seek(resumes_at)
        base, buffer, position = resumes_at, b"", 0


def _resume(stream: BinaryIO, start: int) -> int | None:
    """Where the next whole frame begins, at or after `start`."""
    while True:
        stream.seek(start)
        window = stream.read(READ_BYTES + FRAME_BYTES_MAX)
        # A length below 65,536 has two zero high bytes, which JSON text never has: few places need a CRC.
        found = window.find(b"\0\0", 2)
        while found >= 0 and found - 2 < READ_BYTES:
            if isinstance(parse(window, found - 2), bytes):
                return start + found - 2
            found = window.find(b"\0\0", found + 1)
        if len(window) < READ_BYTES + FRAME_BYTES_MAX:
            return None
        start += READ_BYTES


def _checksum(payload: bytes) -> int:
    return crc32(payload, crc32(_LENGTH.pack(len(payload))))
