"""The log file's bytes: frames of length, CRC and payload, and where a damaged file can be read again.

Must not know entries or trees; reads from any seekable stream and never writes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
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
class Batch:
    """Whole frames, one after the other from `offset` on."""

    offset: int
    data: bytes
    payloads: list[bytes]


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


def frames(payloads: Iterable[bytes]) -> list[bytes]:
    """Each as it stands in the file. Raises EntryError, EntryTooLarge."""
    found: list[bytes] = []
    for payload in payloads:
        length = len(payload)
        if not 0 < length <= ENTRY_BYTES_MAX:
            frame(payload)  # raises, saying which limit
        found.append(HEADER.pack(length, crc32(payload, _length_crc(length))) + payload)
    return found


def whole(data: bytes, position: int = 0) -> tuple[list[bytes], int]:
    """The payloads of the whole frames from `position` on, and where the last of them ends."""
    payloads: list[bytes] = []
    unpack, size = HEADER.unpack_from, len(data)
    while position + HEADER.size <= size:
        length, checksum = unpack(data, position)
        start = position + HEADER.size
        if not 0 < length <= ENTRY_BYTES_MAX or start + length > size:
            break
        payload = data[start : start + length]
        if crc32(payload, _length_crc(length)) != checksum:
            break
        payloads.append(payload)
        position = start + length
    return payloads, position


def prefixed(data: bytes, count: int, prefix: Callable[[int], bytes]) -> bytes:
    """The payloads of so many whole frames, each behind what `prefix` makes of its length; no CRC is checked again."""
    parts: list[bytes] = []
    unpack, position = _LENGTH.unpack_from, 0
    for _ in range(count):
        (length,) = unpack(data, position)
        start = position + HEADER.size
        position = start + length
        parts.append(prefix(length))
        parts.append(data[start:position])
    return b"".join(parts)


def skip(data: bytes, count: int) -> int:
    """Where the frame after `count` frames begins, by their lengths alone."""
    position = 0
    for _ in range(count):
        if position + HEADER.size > len(data):
            break
        position += HEADER.size + _LENGTH.unpack_from(data, position)[0]
    return position


def batches(stream: BinaryIO, start: int = 0) -> Iterator[Batch | Fault]:
    """Every frame of the stream from `start` on, many at a time, and a Fault for each stretch that is not one."""
    base, buffer = start, b""  # buffer begins at `base` of the stream
    stream.seek(start)
    while True:
        fresh = stream.read(READ_BYTES)
        buffer += fresh
        if not buffer:
            return
        payloads, end = whole(buffer)
        if payloads:
            yield Batch(base, buffer[:end], payloads)
            base, buffer = base + end, buffer[end:]
        if not buffer or (fresh and len(buffer) < FRAME_BYTES_MAX):
            continue
        why = parse(buffer)
        if isinstance(why, bytes):
            continue
        resumes_at = _resume(stream, base + 1)
        yield Fault(base, why, resumes_at)
        if resumes_at is None:
            return
        stream.seek(resumes_at)
        base, buffer = resumes_at, b""


def scan(stream: BinaryIO) -> Iterator[Frame | Fault]:
    """Every frame of the stream in order, and a Fault for each stretch that is not one."""
    for found in batches(stream):
        if isinstance(found, Fault):
            yield found
            continue
        offset = found.offset
        for payload in found.payloads:
            yield Frame(offset, payload)
            offset += HEADER.size + len(payload)


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
    return crc32(payload, _length_crc(len(payload)))


@cache  # at most one for each of the 65,535 lengths
def _length_crc(length: int) -> int:
    return crc32(_LENGTH.pack(length))
