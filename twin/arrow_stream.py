"""An Arrow IPC stream from somebody else as a table: what it unpacks to is known before anything is unpacked.

Layout: arrow.apache.org/docs/format/Columnar.html (messages are flatbuffers; a compressed buffer begins with its length).
"""

from __future__ import annotations

import struct

import pyarrow as pa

from twin.errors import BadRequest, LimitExceeded

_HEADER, _BUFFERS, _COMPRESSION = 2, 2, 3  # fields of Message and of RecordBatch, as Message.fbs numbers them
_OF_DICTIONARY = 1  # field of DictionaryBatch: its RecordBatch


def read(data: bytes, bytes_max: int) -> pa.Table:
    """
    Raises:
        BadRequest: it is no stream. LimitExceeded: it would unpack to more than `bytes_max`.
    """
    try:
        size = sum(map(_unpacked_bytes, pa.ipc.MessageReader.open_stream(data)))
        if size > bytes_max:
            raise LimitExceeded(
                f"the stream unpacks to {size} bytes, at most {bytes_max} are taken", "send smaller parts"
            )
        table = pa.ipc.open_stream(data).read_all()
        table.validate(full=True)  # offsets that lead astray are memory of somebody else
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        raise BadRequest(
            f"the body is no Arrow IPC stream: {error}", "send one, or use `twinloop history import`"
        ) from None
    return table


def _unpacked_bytes(message: pa.ipc.Message) -> int:
    """Of its compressed buffers; the others lie in the stream as they are."""
    said, body = memoryview(message.metadata), message.body
    if message.type not in ("record batch", "dictionary") or body is None:
        return 0
    batch = _field(said, _follow(said, 0), _HEADER)
    if batch and message.type == "dictionary":
        batch = _field(said, _follow(said, batch), _OF_DICTIONARY)
    at = _follow(said, batch) if batch else 0
    buffers = _field(said, at, _BUFFERS) if at else 0
    if not buffers or not _field(said, at, _COMPRESSION):
        return 0
    first = _follow(said, buffers)
    (count,) = struct.unpack_from("<I", said, first)
    places = struct.iter_unpack("<qq", said[first + 4 : first + 4 + 16 * count])
    held = memoryview(body)
    lengths = [struct.unpack_from("<q", held, start)[0] for start, length in places if length >= 8]
    return sum(length for length in lengths if length > 0)  # -1: as it is


def _follow(said: memoryview, at: int) -> int:
    """Where the offset that stands there leads to."""
    return at + int(struct.unpack_from("<I", said, at)[0])


def _field(said: memoryview, table: int, number: int) -> int:
    """Where a field of a table stands, 0 when it has none."""
    fields = table - int(struct.unpack_from("<i", said, table)[0])
    (size,) = struct.unpack_from("<H", said, fields)
    place = 4 + 2 * number
    offset = struct.unpack_from("<H", said, fields + place)[0] if place < size else 0
    return table + offset if offset else 0
