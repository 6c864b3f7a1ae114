"""Modbus as bytes: requests, answers, and the frames of both around them; pure, no socket, no clock, no values.

Sources: MODBUS Application Protocol V1.1b3 (function codes), MODBUS Messaging on TCP/IP V1.0b (MBAP), MODBUS over Serial
Line V1.02 (RTU).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from protocols.modbus.address import BIT_TABLES, READ_FUNCTION, Table

PDU_MAX = 253  # bytes, V1.1b3 4.1
HEADER_BYTES = 7
RTU_MAX = PDU_MAX + 3  # unit before, check sum behind

EXCEPTIONS = {
    1: "IllegalFunction",
    2: "IllegalDataAddress",
    3: "IllegalDataValue",
    4: "ServerDeviceFailure",
    5: "Acknowledge",
    6: "ServerDeviceBusy",
    7: "NegativeAcknowledge",
    8: "MemoryParityError",
    10: "GatewayPathUnavailable",
    11: "GatewayTargetFailedToRespond",
}


class BadFrame(Exception):
    """Bytes that are no Modbus: `reason` is a dead letter's, `raw` what was received."""

    def __init__(self, reason: str, detail: str, raw: bytes) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.raw = raw


class DeviceException(Exception):
    """The device answered with an exception code."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.name = EXCEPTIONS.get(code, f"Exception{code}")
        super().__init__(self.name)


# --- requests and answers -----------------------------------------------------------------------------------------


def read_request(table: Table, start: int, count: int) -> bytes:
    return struct.pack(">BHH", READ_FUNCTION[table], start, count)


def write_coil_request(start: int, on: bool) -> bytes:
    return struct.pack(">BHH", 5, start, 0xFF00 if on else 0)


def write_register_request(start: int, register: int) -> bytes:
    return struct.pack(">BHH", 6, start, register)


def write_coils_request(start: int, bits: Sequence[bool]) -> bytes:
    packed = np.packbits(np.array(bits, bool), bitorder="little").tobytes()
    return struct.pack(">BHHB", 15, start, len(bits), len(packed)) + packed


def write_registers_request(start: int, registers: Sequence[int]) -> bytes:
    count = len(registers)
    return struct.pack(f">BHHB{count}H", 16, start, count, 2 * count, *registers)


def mask_register_request(start: int, bit: int, on: bool) -> bytes:
    """Sets or clears one bit and leaves the others: register AND mask OR (value AND NOT mask), V1.1b3 6.16."""
    return struct.pack(">BHHH", 22, start, 0xFFFF ^ 1 << bit, int(on) << bit)


def data_bytes(table: Table, count: int) -> int:
    """Of an answer to a read."""
    return (count + 7) // 8 if table in BIT_TABLES else 2 * count


def read_answer(function: int, size: int, pdu: bytes) -> bytes:
    """The data bytes of the answer to a read that asked for so many of them.

    Raises:
        DeviceException: the device refused.
        BadFrame: not an answer to this request.
    """
    if len(pdu) == size + 2 and pdu[0] == function and pdu[1] == size:
        return pdu[2:]
    body = _answer_body(function, pdu)
    if len(body) < 1 + size:
        raise BadFrame("truncated", f"{len(body) - 1} of {size} data bytes came", pdu)
    raise BadFrame("decode", f"byte count {body[0]}, asked for {size}, got {len(body) - 1}", pdu)


def write_answer(request: bytes, pdu: bytes) -> None:
    """
    Raises:
        DeviceException: the device refused.
        BadFrame: not an answer to this request: all echo its head.
    """
    _answer_body(request[0], pdu)
    if pdu != request[: 7 if request[0] == 22 else 5]:
        raise BadFrame("decode", "the answer does not echo the write", pdu)


def _answer_body(function: int, pdu: bytes) -> bytes:
    if len(pdu) < 2:
        raise BadFrame("truncated", "an answer without a body", pdu)
    if pdu[0] == function | 0x80:
        raise DeviceException(pdu[1])
    if pdu[0] != function:
        raise BadFrame("decode", f"asked with function {function}, answered with {pdu[0]}", pdu)
    return pdu[1:]


# --- frames --------------------------------------------------------------------------------------------------------


class Frame(NamedTuple):
    """One PDU on its way. RTU frames carry no transaction id: theirs is 0."""

    transaction: int
    unit: int
    pdu: bytes


class Parser(Protocol):
    """Bytes in, frames out. After a BadFrame the stream has lost its beat; `clear` begins anew."""

    @property
    def pending(self) -> bytes:
        """What came of a frame that is not complete."""

    def feed(self, data: bytes) -> None: ...

    def next_frame(self) -> Frame | None:
        """The next whole frame; None: more bytes are needed.

        Raises:
            BadFrame: what came is no frame, from the first byte that shows it.
        """

    def clear(self) -> None: ...


_MBAP = struct.Struct(">HHHB")


def frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    """MBAP header and PDU."""
    return _MBAP.pack(transaction, 0, len(pdu) + 1, unit) + pdu


class FrameParser:
    """Frames of Modbus TCP. See Parser."""

    def __init__(self) -> None:
        self.data = b""
        self.at = 0  # byte of `data` at which the next frame begins

    @property
    def pending(self) -> bytes:
        return self.data[self.at :]

    def feed(self, data: bytes) -> None:
        self.data = self.data[self.at :] + data if self.at < len(self.data) else bytes(data)
        self.at = 0

    def next_frame(self) -> Frame | None:
        data, at = self.data, self.at
        if len(data) - at < HEADER_BYTES:
            if any(data[at + 2 : at + 4]):
                raise BadFrame("decode", "the protocol identifier is not 0", self.pending)
            if len(data) - at == 6:
                self._check(int.from_bytes(data[at + 4 : at + 6], "big"))
            return None
        transaction, protocol, length, unit = _MBAP.unpack_from(data, at)
        if protocol:
            raise BadFrame("decode", "the protocol identifier is not 0", self.pending)
        self._check(length)
        end = at + 6 + length
        if len(data) < end:
            return None
        self.at = end
        return Frame(transaction, unit, data[at + HEADER_BYTES : end])

    def clear(self) -> None:
        self.data, self.at = b"", 0

    def _check(self, length: int) -> None:
        if not 2 <= length <= PDU_MAX + 1:
            raise BadFrame("decode", f"a frame of {length} bytes; 2 to {PDU_MAX + 1} exist", self.pending)


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def check_sum(data: bytes) -> bytes:
    """CRC-16 of a serial frame, low byte first (V1.02 6.2.2)."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def rtu_frame(unit: int, pdu: bytes) -> bytes:
    head = bytes((unit,)) + pdu
    return head + check_sum(head)


_RTU_ECHOES = {5: 8, 6: 8, 15: 8, 16: 8, 22: 10}
"""Bytes of the whole answer to a write."""


class RtuParser:
    """Answers in RTU frames, whose length follows from their function. See Parser."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> bytes:
        return bytes(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_frame(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size = self._size(buffer[1])
        if size is None or len(buffer) < size:
            return None
        whole = bytes(buffer[:size])
        if check_sum(whole[:-2]) != whole[-2:]:
            raise BadFrame("decode", "the check sum is wrong", self.pending)
        del buffer[:size]
        return Frame(0, whole[0], whole[1:-2])

    def clear(self) -> None:
        self._buffer.clear()

    def _size(self, function: int) -> int | None:
        if function & 0x80:
            return 5
        if function in _RTU_ECHOES:
            return _RTU_ECHOES[function]
        if function not in READ_FUNCTION.values():
            raise BadFrame("decode", f"an answer with function {function}, which nobody asked for", self.pending)
        if len(self._buffer) < 3:
            return None
        if not 0 < self._buffer[2] <= RTU_MAX - 5:
            raise BadFrame("decode", f"an answer of {self._buffer[2]} data bytes", self.pending)
        return 5 + self._buffer[2]
