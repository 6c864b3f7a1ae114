"""Answers of an OPC UA server as asyncua writes them, for the tests of the decoder and its benchmark."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.ua.ua_binary import nodeid_to_binary, struct_to_binary, variant_to_binary

EPOCH_TICKS = 116_444_736_000_000_000

OF_EVERY_TYPE: dict[str, Any] = {
    "Boolean": True, "SByte": -5, "Byte": 200, "Int16": -30_000, "UInt16": 60_000, "Int32": -(2**31), "UInt32": 2**32 - 1,
    "Int64": -(2**53) - 1, "UInt64": 2**64 - 1, "Float": 1.5, "Double": -2.25, "String": "größer als 5 µm",
    "DateTime": datetime(2026, 11, 21, 9, 30, 0, 250_000, tzinfo=UTC), "Guid": uuid.UUID(int=7), "ByteString": b"\x00\xff",
    "XmlElement": ua.XmlElement("<a/>"), "NodeId": ua.NodeId("tank", 2), "StatusCode": ua.StatusCode(0x80310000),
    "QualifiedName": ua.QualifiedName("level", 2), "LocalizedText": ua.LocalizedText("Füllstand", "de"),
}  # fmt: skip


def variant(type_name: str, value: Any) -> ua.Variant:
    return ua.Variant(value, ua.VariantType[type_name])


def ticks(time_ns: int) -> int:
    return EPOCH_TICKS + time_ns // 100


def data_value(
    value: bytes | None = None,
    status: int | None = None,
    source: int | None = None,
    server: int | None = None,
    source_pico: int | None = None,
    server_pico: int | None = None,
) -> bytes:
    """A DataValue as Part 6, 5.2.2.17 has it (asyncua puts the picoseconds in another order); times in ticks."""
    parts = (
        (0x01, value, None), (0x02, status, "<I"), (0x04, source, "<q"), (0x10, source_pico, "<H"), (0x08, server, "<q"),
        (0x20, server_pico, "<H"),
    )  # fmt: skip
    there = [(bit, part, form) for bit, part, form in parts if part is not None]
    packed = [part if form is None else struct.pack(form, part) for _, part, form in there]
    return bytes([sum(bit for bit, *_ in there)]) + b"".join(packed)  # type: ignore[arg-type]


def header(encoding: int, result: int = 0, strings: Sequence[str] = ()) -> bytes:
    found = ua.ResponseHeader(
        Timestamp=datetime(2026, 11, 21, tzinfo=UTC), RequestHandle=9, ServiceResult=ua.StatusCode(result)
    )
    found.StringTable = list(strings)
    return nodeid_to_binary(ua.FourByteNodeId(encoding)) + struct_to_binary(found)


def structure(encoding: int, body: bytes) -> bytes:
    return nodeid_to_binary(ua.FourByteNodeId(encoding)) + b"\x01" + struct.pack("<i", len(body)) + body


def data_change(items: Sequence[tuple[int, bytes]]) -> bytes:
    """Items are (client handle, DataValue)."""
    body = b"".join(struct.pack("<I", handle) + value for handle, value in items)
    return structure(811, struct.pack("<i", len(items)) + body + struct.pack("<i", -1))


def status_change(code: int) -> bytes:
    return structure(820, struct.pack("<I", code) + b"\x00")


def notification_message(sequence: int, parts: Sequence[bytes]) -> bytes:
    return struct.pack("<Iqi", sequence, ticks(0), len(parts)) + b"".join(parts)


def publish(
    parts: Sequence[bytes],
    *,
    sequence: int = 1,
    subscription: int = 5,
    available: Sequence[int] = (),
    further: bool = False,
    results: Sequence[int] = (),
) -> bytes:
    head = struct.pack("<Ii", subscription, len(available)) + struct.pack(f"<{len(available)}I", *available)
    tail = struct.pack("<i", len(results)) + struct.pack(f"<{len(results)}I", *results) + struct.pack("<i", -1)
    return header(829) + head + bytes([further]) + notification_message(sequence, parts) + tail


def read(values: Sequence[bytes]) -> bytes:
    return header(634) + struct.pack("<i", len(values)) + b"".join(values) + struct.pack("<i", -1)


def number(type_name: str, value: Any) -> bytes:
    return variant_to_binary(variant(type_name, value))
