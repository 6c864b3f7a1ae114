"""Answers of an OPC UA server from bytes into columns, compiled; must not know sockets, sessions or what a value means.

Reads the binary encoding (Part 6, 5.2) of the answers that come in bulk: Publish, Republish, Read and
CreateMonitoredItems. Numbers land in columns; of every other scalar, array or structure only the place is noted.
Whatever the bytes are, nothing is read outside them. Compiled with numba when first imported.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from protocols.scan import NO_STAMP, WIRE_BOOLEAN, WIRE_FLOAT, WIRE_INTEGER

# Ids of the binary encodings (Part 6, annex A; namespace 0).
SERVICE_FAULT, READ, CREATE_ITEMS, PUBLISH, REPUBLISH = 397, 634, 754, 829, 835
_DATA_CHANGE, _STATUS_CHANGE = 811, 820

# What became of a message. MORE: the columns are too short, ROWS says how long they must be. CUT: the bytes end before
# the message does, or a length in it is impossible. STRANGE: nothing wrong so far, but not for this decoder.
DONE, MORE, CUT, STRANGE = 0, 1, 2, 3
_CUT, _STRANGE = -1, -2  # the same from functions that else return a place

# Cells of the head, int64.
(
    SERVICE,  # id of the answer's encoding
    RESULT,  # status code of the service as a whole
    ROWS,  # rows filled, or wanted
    SUBSCRIPTION,
    SEQUENCE,  # number of the notification message
    PARTS,  # notifications in it; 0 is a keep-alive
    FURTHER,  # 1: the server has more to publish at once
    STATUS,  # status code of a StatusChangeNotification, or NONE
    OVERFLOWS,  # values that say that the server's queue lost others
    ACKNOWLEDGED,  # how many results of acknowledgements there are …
    ACKNOWLEDGED_AT,  # … and where they begin
    AVAILABLE,  # how many messages the server keeps for Republish …
    AVAILABLE_AT,  # … and where their numbers begin
    _SPARE,
    HEAD_CELLS,
) = range(15)
NONE = -1

NO_VALUE = 0  # `builtin` of a DataValue without one; as Null
ARRAY = 0x80  # bit of `builtin`
_INFO_OVERFLOW = 0x0480  # InfoType DataValue and its bit Overflow (Part 4, 7.39)
_GOOD_OVERLOAD = 0x002F_0000

_1970 = 116_444_736_000_000_000  # in units of 100 ns since 1601
_STAMP_MAX = 2**63 - 1

# Bytes of the built-in types that always take as many (Part 6, 5.2.2); 0 for the others.
_SIZE = np.array([0, 1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8, 0, 8, 16, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0], np.int64)
_NULL, _BOOLEAN, _SBYTE, _BYTE, _INT16, _UINT16, _INT32, _UINT32, _INT64, _UINT64, _FLOAT, _DOUBLE = range(12)
_STRING, _DATE_TIME, _GUID, _BYTE_STRING, _XML, _NODE_ID, _EXPANDED_NODE_ID, _STATUS_CODE = range(12, 20)
_QUALIFIED_NAME, _LOCALIZED_TEXT, _STRUCTURE = range(20, 23)


@njit(nogil=True)
def overflowed(code):  # type: ignore[no-untyped-def]
    """Whether a status code says that the server's queue lost values before this one, or sampled too slowly."""
    return code & _INFO_OVERFLOW == _INFO_OVERFLOW or code & 0xFFFF_0000 == _GOOD_OVERLOAD


@njit(nogil=True)
def _u16(buf, at):  # type: ignore[no-untyped-def]
    return np.uint16(buf[at]) | np.uint16(buf[at + 1]) << np.uint16(8)


@njit(nogil=True)
def _u32(buf, at):  # type: ignore[no-untyped-def]
    found = np.uint32(0)
    for place in range(4):
        found |= np.uint32(buf[at + place]) << np.uint32(8 * place)
    return found


@njit(nogil=True)
def _u64(buf, at):  # type: ignore[no-untyped-def]
    found = np.uint64(0)
    for place in range(8):
        found |= np.uint64(buf[at + place]) << np.uint64(8 * place)
    return found


@njit(nogil=True)
def _count(buf, at, end, least):  # type: ignore[no-untyped-def]
    """Elements of an array whose length stands here, each of `least` bytes at least; Null counts as empty."""
    if end - at < 4:
        return np.int64(_CUT)
    count = np.int64(np.int32(_u32(buf, at)))
    if count < -1 or count * least > end - at - 4:
        return np.int64(_CUT)
    return max(count, np.int64(0))


@njit(nogil=True)
def _after_text(buf, at, end):  # type: ignore[no-untyped-def]
    """String, ByteString and XmlElement are alike: a length and bytes."""
    count = _count(buf, at, end, 1)
    return count if count < 0 else at + 4 + count


@njit(nogil=True)
def _after_node_id(buf, at, end):  # type: ignore[no-untyped-def]
    """Behind a NodeId or ExpandedNodeId (5.2.2.9, 5.2.2.10)."""
    if at >= end:
        return np.int64(_CUT)
    flags = buf[at]
    form = flags & 0x3F
    if form > 5:
        return np.int64(_STRANGE)
    if form == 3 or form == 5:
        at = _after_text(buf, at + 3, end) if end - at >= 3 else np.int64(_CUT)
        if at < 0:
            return at
    else:
        at += 2 if form == 0 else 4 if form == 1 else 7 if form == 2 else 19
    if flags & 0x80:
        if at > end:
            return np.int64(_CUT)
        at = _after_text(buf, at, end)
        if at < 0:
            return at
    if flags & 0x40:
        at += 4
    return at if at <= end else np.int64(_CUT)


@njit(nogil=True)
def _after_structure(buf, at, end):  # type: ignore[no-untyped-def]
    """Behind an ExtensionObject (5.2.2.15)."""
    at = _after_node_id(buf, at, end)
    if at < 0:
        return at
    if at >= end:
        return np.int64(_CUT)
    form = buf[at]
    at += 1
    if form == 0:
        return at
    if form > 2:
        return np.int64(_STRANGE)
    if end - at >= 4 and np.int32(_u32(buf, at)) == -1:
        return np.int64(_STRANGE)  # an unknown length: only who knows the structure finds its end
    return _after_text(buf, at, end)


@njit(nogil=True)
def _after_scalar(buf, at, end, builtin):  # type: ignore[no-untyped-def]
    size = _SIZE[builtin]
    if size:
        return at + size if size <= end - at else np.int64(_CUT)
    if builtin == _NULL:
        return at
    if builtin in (_STRING, _BYTE_STRING, _XML):
        return _after_text(buf, at, end)
    if builtin in (_NODE_ID, _EXPANDED_NODE_ID):
        return _after_node_id(buf, at, end)
    if builtin == _QUALIFIED_NAME:
        return _after_text(buf, at + 2, end)
    if builtin == _LOCALIZED_TEXT:
        if at >= end:
            return np.int64(_CUT)
        mask = buf[at]
        at += 1
        for bit in (1, 2):
            if mask & bit:
                at = _after_text(buf, at, end)
                if at < 0:
                    return at
        return at
    if builtin == _STRUCTURE:
        return _after_structure(buf, at, end)
    return np.int64(_STRANGE)


@njit(nogil=True)
def _after_array(buf, at, end, encoding):  # type: ignore[no-untyped-def]
    """Behind the elements of a Variant that is an array, and behind its dimensions (5.2.2.16)."""
    builtin = encoding & 0x3F
    if builtin == _NULL:
        return np.int64(_STRANGE)
    size = _SIZE[builtin]
    count = _count(buf, at, end, max(size, np.int64(1)))
    if count < 0:
        return count
    at += 4
    if size:
        at += count * size
    else:
        for _ in range(count):
            at = _after_scalar(buf, at, end, builtin)
            if at < 0:
                return at
    if encoding & 0x40:
        count = _count(buf, at, end, 4)
        if count < 0:
            return count
        at += 4 + 4 * count
    return at


@njit(nogil=True)
def _number(buf, at, row, builtin, wire, kind):  # type: ignore[no-untyped-def]
    """Take a number that lies within the bytes into its row; other types leave NaN, which no point believes."""
    kind[row] = WIRE_INTEGER
    if builtin == _DOUBLE:
        kind[row] = WIRE_FLOAT
        wire[row] = np.int64(_u64(buf, at)).view(np.float64)
    elif builtin == _INT32:
        wire[row] = np.float64(np.int32(_u32(buf, at)))
    elif builtin == _FLOAT:
        kind[row] = WIRE_FLOAT
        wire[row] = np.float64(np.int32(_u32(buf, at)).view(np.float32))
    elif builtin == _BOOLEAN:
        kind[row] = WIRE_BOOLEAN
        wire[row] = 1.0 if buf[at] else 0.0
    elif builtin == _UINT32:
        wire[row] = np.float64(_u32(buf, at))
    elif builtin == _INT16:
        wire[row] = np.float64(np.int16(_u16(buf, at)))
    elif builtin == _UINT16:
        wire[row] = np.float64(_u16(buf, at))
    elif builtin == _SBYTE:
        wire[row] = np.float64(np.int8(buf[at]))
    elif builtin == _BYTE:
        wire[row] = np.float64(buf[at])
    elif builtin == _INT64:
        wire[row] = np.float64(np.int64(_u64(buf, at)))
    elif builtin == _UINT64:
        wire[row] = np.float64(_u64(buf, at))
    else:
        kind[row] = WIRE_FLOAT


@njit(nogil=True)
def _nanoseconds(ticks):  # type: ignore[no-untyped-def]
    """A DateTime in ns since 1970, exact to the microsecond as in asyncua; 0 for none (5.2.2.5)."""
    if ticks <= _1970:
        return np.int64(0)
    since = ticks - _1970
    return since // 10 * 1000 if since <= _STAMP_MAX // 100 else np.int64(_STAMP_MAX)


@njit(nogil=True)
def _data_value(buf, at, end, row, columns):  # type: ignore[no-untyped-def]
    """Take a DataValue (5.2.2.17) into its row; returns the place behind it."""
    _, wire, kind, quality, stamp, builtin, begin, stop = columns
    if at >= end:
        return np.int64(_CUT)
    mask = buf[at]
    at += 1
    wire[row], kind[row], builtin[row], begin[row] = np.nan, WIRE_FLOAT, NO_VALUE, at
    if mask & 0x01:
        if at >= end:
            return np.int64(_CUT)
        encoding = buf[at]
        of_type = encoding & 0x3F
        if of_type > _STRUCTURE:
            return np.int64(_STRANGE)
        builtin[row] = of_type | (encoding & ARRAY)
        if encoding & 0xC0:
            if not encoding & ARRAY:
                return np.int64(_STRANGE)
            behind = _after_array(buf, at + 1, end, encoding)
        else:
            behind = _after_scalar(buf, at + 1, end, of_type)
        if behind < 0:
            return behind
        if not encoding & ARRAY and of_type <= _DOUBLE and of_type != _NULL:
            _number(buf, at + 1, row, of_type, wire, kind)
        at = behind
    stop[row] = at
    need = 0
    for bit, size in ((0x02, 4), (0x04, 8), (0x10, 2), (0x08, 8), (0x20, 2)):
        if mask & bit:
            need += size
    if need > end - at:
        return np.int64(_CUT)
    quality[row] = np.uint32(0)
    if mask & 0x02:
        quality[row] = _u32(buf, at)
        at += 4
    taken = np.int64(0)
    if mask & 0x04:
        taken = _nanoseconds(np.int64(_u64(buf, at)))
        at += 8
    if mask & 0x10:
        at += 2
    if mask & 0x08:
        if taken <= 0:
            taken = _nanoseconds(np.int64(_u64(buf, at)))
        at += 8
    if mask & 0x20:
        at += 2
    stamp[row] = taken if taken > 0 else np.int64(NO_STAMP)
    return np.int64(at)


@njit(nogil=True)
def _after_header(buf, at, end, head):  # type: ignore[no-untyped-def]
    """Behind the id of the answer and its ResponseHeader (Part 4, 7.33)."""
    if end - at < 4 + 16 + 1:
        return np.int64(_CUT)
    if buf[at] != 1 or buf[at + 1] != 0:  # a NodeId of four bytes in namespace 0
        return np.int64(_STRANGE)
    head[SERVICE] = _u16(buf, at + 2)
    head[RESULT] = _u32(buf, at + 16)
    at += 20
    if buf[at] != 0:
        return np.int64(_STRANGE)  # diagnostics nest without end, and nobody asks for them
    at += 1
    count = _count(buf, at, end, 4)
    if count < 0:
        return count
    at += 4
    for _ in range(count):
        at = _after_text(buf, at, end)
        if at < 0:
            return at
    return _after_structure(buf, at, end)


@njit(nogil=True)
def _notification(buf, at, end, head, columns):  # type: ignore[no-untyped-def]
    """Take one notification of a message; returns the place behind it."""
    handle, quality = columns[0], columns[3]
    if end - at < 5 or buf[at] != 1 or buf[at + 1] != 0 or buf[at + 4] != 1:
        return _after_structure(buf, at, end)
    of_type = _u16(buf, at + 2)
    behind = _after_structure(buf, at, end)
    if behind < 0 or (of_type != _DATA_CHANGE and of_type != _STATUS_CHANGE):
        return behind
    at += 9
    if of_type == _STATUS_CHANGE:
        if behind - at < 4:
            return np.int64(_CUT)
        head[STATUS] = _u32(buf, at)
        return behind
    count = _count(buf, at, behind, 5)
    if count < 0:
        return count
    at += 4
    first = head[ROWS]
    head[ROWS] = first + count
    if head[ROWS] > len(handle):
        return behind  # the caller comes again with longer columns
    for row in range(first, first + count):
        if behind - at < 4:
            return np.int64(_CUT)
        handle[row] = _u32(buf, at)
        at = _data_value(buf, at + 4, behind, row, columns)
        if at < 0:
            return at
        head[OVERFLOWS] += overflowed(quality[row])
    return behind


@njit(nogil=True)
def _notifications(buf, at, end, head, columns):  # type: ignore[no-untyped-def]
    """Take a NotificationMessage (Part 4, 7.26); returns the place behind it."""
    if end - at < 12:
        return np.int64(_CUT)
    head[SEQUENCE] = _u32(buf, at)
    at += 12
    count = _count(buf, at, end, 3)
    if count < 0:
        return count
    head[PARTS] = count
    at += 4
    for _ in range(count):
        at = _notification(buf, at, end, head, columns)
        if at < 0:
            return at
    return at


@njit(nogil=True)
def _publish(buf, at, end, head, columns):  # type: ignore[no-untyped-def]
    """Take the rest of a PublishResponse (Part 4, 5.13.5)."""
    if end - at < 4:
        return np.int64(_CUT)
    head[SUBSCRIPTION] = _u32(buf, at)
    at += 4
    count = _count(buf, at, end, 4)
    if count < 0:
        return count
    head[AVAILABLE], head[AVAILABLE_AT] = count, at + 4
    at += 4 + 4 * count
    if at >= end:
        return np.int64(_CUT)
    head[FURTHER] = 1 if buf[at] else 0
    at = _notifications(buf, at + 1, end, head, columns)
    if at < 0:
        return at
    count = _count(buf, at, end, 4)
    if count < 0:
        return count
    head[ACKNOWLEDGED], head[ACKNOWLEDGED_AT] = count, at + 4
    return at + 4 + 4 * count


@njit(nogil=True)
def _read(buf, at, end, head, columns):  # type: ignore[no-untyped-def]
    """Take the rest of a ReadResponse (Part 4, 5.10.2): its results in order."""
    count = _count(buf, at, end, 1)
    if count < 0:
        return count
    head[ROWS] = count
    if count > len(columns[0]):
        return at
    at += 4
    for row in range(count):
        at = _data_value(buf, at, end, row, columns)
        if at < 0:
            return at
    return at


@njit(nogil=True)
def _created(buf, at, end, head, columns):  # type: ignore[no-untyped-def]
    """Take the rest of a CreateMonitoredItemsResponse (Part 4, 5.12.2).

    Each row: `quality` the result, `handle` the server's id of the item, `wire` the granted sampling interval in ms,
    `stamp` the granted queue size.
    """
    handle, wire, _, quality, stamp = columns[:5]
    count = _count(buf, at, end, 23)
    if count < 0:
        return count
    head[ROWS] = count
    if count > len(columns[0]):
        return at
    at += 4
    for row in range(count):
        if end - at < 20:
            return np.int64(_CUT)
        quality[row], handle[row] = _u32(buf, at), _u32(buf, at + 4)
        wire[row], stamp[row] = np.int64(_u64(buf, at + 8)).view(np.float64), _u32(buf, at + 16)
        at = _after_structure(buf, at + 20, end)
        if at < 0:
            return at
    return at


_SIGNATURE = types.int64(
    types.Array(types.uint8, 1, "C", readonly=True), types.int64[::1],
    types.uint32[::1], types.float64[::1], types.uint8[::1], types.uint32[::1], types.int64[::1],
    types.uint8[::1], types.int32[::1], types.int32[::1],
)  # fmt: skip


@njit(_SIGNATURE, cache=True, nogil=True)  # type: ignore[untyped-decorator]
def decode(
    buf: np.ndarray,
    head: np.ndarray,
    handle: np.ndarray,
    wire: np.ndarray,
    kind: np.ndarray,
    quality: np.ndarray,
    stamp: np.ndarray,
    builtin: np.ndarray,
    begin: np.ndarray,
    stop: np.ndarray,
) -> int:
    """One answer into `head` and the columns, which all have the same length; returns DONE, MORE, CUT or STRANGE.

    Args:
        buf: the answer from the id of its encoding on.
        handle: client handles of the items.
        wire, kind, quality, stamp: as protocols.delivery takes them; NaN where the value is no number.
        builtin: built-in type of each value (Part 6, table 1), with the bit ARRAY.
        begin, stop: where each value's Variant lies in the bytes.
    """
    head[:] = 0
    head[STATUS] = NONE
    columns = (handle, wire, kind, quality, stamp, builtin, begin, stop)
    end = np.int64(len(buf))
    at = _after_header(buf, np.int64(0), end, head)
    service = head[SERVICE]
    if at >= 0 and service != SERVICE_FAULT and head[RESULT] >> 31 == 0:
        if service == PUBLISH:
            at = _publish(buf, at, end, head, columns)
        elif service == READ:
            at = _read(buf, at, end, head, columns)
        elif service == REPUBLISH:
            at = _notifications(buf, at, end, head, columns)
        elif service == CREATE_ITEMS:
            at = _created(buf, at, end, head, columns)
        else:
            at = np.int64(_STRANGE)
    if at >= 0:
        return MORE if head[ROWS] > len(wire) else DONE
    return CUT if at == _CUT else STRANGE
