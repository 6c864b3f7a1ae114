"""A simulated Modbus device: a real pymodbus server over our image of its tables; must not know where values arise."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from protocols.believe import Unbelievable, twin_value, wire_value
from protocols.link import Clock
from protocols.modbus import values
from protocols.modbus.address import (
    BCD,
    BIT_TABLES,
    FLOAT,
    TEXT,
    Address,
    Endpoint,
    Medium,
    Table,
    parse_address,
    parse_endpoint,
)
from protocols.served import OnWrite
from twin.plant import Device
from twin.points import Point

STOP_S = 2.0
_TABLE_OF_FUNCTION = {
    1: Table.COIL,
    2: Table.DISCRETE,
    3: Table.HOLDING,
    4: Table.INPUT,
    5: Table.COIL,
    6: Table.HOLDING,
    15: Table.COIL,
    16: Table.HOLDING,
    22: Table.HOLDING,
    23: Table.HOLDING,
}

Action = Callable[..., Coroutine[Any, Any, Any]]


class ModbusDevice:
    """See protocols.served.ServedDevice. Modbus carries neither quality nor source time: a value that is not Good
    stays what it was, as on a device whose sensor froze."""

    def __init__(
        self, device: Device, points: Sequence[Point], on_write: OnWrite, clock: Clock, pki: Path | None = None
    ) -> None:
        self.endpoint = device.endpoint
        self._points = tuple(points)
        self._address = {point.id: parse_address(point.address) for point in points}
        self._on_write = on_write
        self._point_of_id = {point.id: point for point in points}
        self._image: dict[Table, dict[int, int]] = {table: {} for table in Table}
        for address in self._address.values():
            for cell in range(address.start, address.start + address.count):
                self._image[address.table][cell] = 0
            if address.factor >= 0:
                self._image[address.table].setdefault(address.factor, 0)
        self._server: ModbusTcpServer | ModbusSerialServer | None = None

    async def start(self) -> None:
        at = parse_endpoint(self.endpoint)
        tables = tuple(_sim_data(table, self._image[table]) for table in Table)
        self._server = _server(at, SimDevice(id=at.unit, simdata=tables, action=self._action))
        try:
            await self._server.serve_forever(background=True)
        except RuntimeError as failure:  # pymodbus's word for a port that is taken
            raise OSError(f"{self.endpoint}: {failure}") from failure
        if at.medium is not Medium.SERIAL:
            self.endpoint = str(replace(at, port=self._server.transport.sockets[0].getsockname()[1]))

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        listener = server.transport
        await server.shutdown()
        if isinstance(listener, asyncio.Server):
            async with asyncio.timeout(STOP_S):
                await listener.wait_closed()

    async def publish(self, said: Mapping[int, float | str], source_time: int, quality: Mapping[int, int]) -> None:
        for point_id, value in said.items():
            address = self._address[point_id]
            if quality.get(point_id, 0) >> 30:
                continue
            if address.kind.code == TEXT:
                self._store_registers(address, values.encode_text(address, str(value)))
            elif not isinstance(value, str):
                self._store(address, wire_value(self._point_of_id[point_id], value))

    def _store_registers(self, address: Address, registers: Sequence[int]) -> None:
        self._image[address.table].update(enumerate(registers, address.start))

    def _store(self, address: Address, wire: float) -> None:
        image = self._image[address.table]
        if address.type == "bit":
            bit = max(0, address.bit)
            image[address.start] = image[address.start] & ~(1 << bit) | int(wire == 1.0) << bit
            return
        factor = self._factor(address)
        code = address.kind.code
        if code != FLOAT and not math.isfinite(wire):
            return  # an integer register cannot say "no number": it keeps its last one
        if code != FLOAT:
            wire = _clamped(address, wire, factor)
        self._store_registers(address, values.encode(address, wire, factor))

    def _factor(self, address: Address) -> bytes:
        return b"" if address.factor < 0 else self._image[address.table][address.factor].to_bytes(2, "big")

    @property
    def _action(self) -> Action:
        """pymodbus insists on a plain async function."""

        async def action(
            function: int, start: int, address: int, count: int, registers: list[int], written: list[Any] | None
        ) -> Any:
            table = _TABLE_OF_FUNCTION[function]
            if written:
                return self._written(table, address, [int(cell) for cell in written])
            fill = partial(self._fill_bits if table in BIT_TABLES else self._fill_words, self._image[table])
            fill(registers, start, address, count)
            return None

        return action

    def _fill_words(self, image: Mapping[int, int], registers: list[int], start: int, address: int, count: int) -> None:
        for cell in range(address, address + count):
            registers[cell - start] = image.get(cell, 0)

    def _fill_bits(self, image: Mapping[int, int], registers: list[int], start: int, address: int, count: int) -> None:
        """pymodbus keeps bits sixteen to a register and counts registers here."""
        for word in range(address // 16, address // 16 + count):
            registers[word - start] = sum(image.get(word * 16 + bit, 0) << bit for bit in range(16))

    def _written(self, table: Table, start: int, cells: Sequence[int]) -> ExcCodes | None:
        """Ask about every point that the write touches before any cell changes."""
        image = self._image[table]
        after = image | {start + offset: cell for offset, cell in enumerate(cells)}
        if any(cell not in image for cell in range(start, start + len(cells))):
            return ExcCodes.ILLEGAL_ADDRESS
        touched = list(self._touched(table, start, len(cells)))
        if not touched or not all(point.writable for point, _ in touched):
            return ExcCodes.ILLEGAL_ADDRESS
        for point, address in touched:
            wire = self._decode(address, after)
            if address.bit >= 0 and wire == self._decode(address, image):
                continue  # a neighbour in the same register was meant
            try:
                value, _ = twin_value(point, wire)
            except Unbelievable:
                return ExcCodes.ILLEGAL_VALUE
            if not self._on_write(point, value):
                return ExcCodes.ILLEGAL_VALUE
        image.update({start + offset: cell for offset, cell in enumerate(cells)})
        return None

    def _touched(self, table: Table, start: int, count: int) -> Iterable[tuple[Point, Address]]:
        for point in self._points:
            address = self._address[point.id]
            if address.table is table and address.start < start + count and start < address.start + address.count:
                yield point, address

    def _decode(self, address: Address, image: Mapping[int, int]) -> bool | int | float | str | None:
        """Of cells that are written, so it is no text; what cannot be decoded is no value either."""
        cells = [image[cell] for cell in range(address.start, address.start + address.count)]
        data = bytes(cells) if address.table in BIT_TABLES else np.array(cells, ">u2").tobytes()
        try:
            return values.decode(address, data, self._factor(address))
        except values.Undecodable:
            return None


def _server(at: Endpoint, simulated: SimDevice) -> ModbusTcpServer | ModbusSerialServer:
    if at.medium is Medium.SERIAL:
        line = at.line
        return ModbusSerialServer(
            simulated, port=at.host, baudrate=line.baud, parity=line.parity, bytesize=line.bits, stopbits=line.stop
        )
    framer = FramerType.SOCKET if at.medium is Medium.TCP else FramerType.RTU
    return ModbusTcpServer(simulated, address=(at.host, at.port), framer=framer)


def _clamped(address: Address, wire: float, factor: bytes) -> float:
    """Within what a whole number of the address can say."""
    if address.kind.code == BCD:
        low, high = 0, int(10 ** (4 * address.count)) - 1
    else:
        limits = np.iinfo(address.kind.dtype)
        low, high = int(limits.min), int(limits.max)
    if not factor:
        return min(max(round(wire), low), high)  # as integers: the limits of 64 bits are no floats
    power = 10.0 ** (values.exponent(factor) or 0)
    return min(max(wire, low * power), high * power)


def _sim_data(table: Table, cells: Mapping[int, int]) -> list[SimData]:
    """The cells as pymodbus's runs; holes stay holes, so that a client that reads across them is told.

    Between the bits of one sixteen pymodbus knows no holes: those read as 0.
    """
    kind = DataType.BITS if table in BIT_TABLES else DataType.REGISTERS
    empty: Any = False if table in BIT_TABLES else 0
    runs: list[SimData] = []
    start: int | None = None
    for cell in sorted(cells):
        if start is None:
            start = cell
        if cell + 1 not in cells:
            runs.append(SimData(start, values=[empty] * (cell + 1 - start), datatype=kind))
            start = None
    # pymodbus wants every table to hold something; the last cell of the table is as far out of the way as it gets.
    return runs or [SimData(0xFFFF, values=[empty], datatype=kind)]
