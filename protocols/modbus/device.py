"""A simulated Modbus TCP device: a real pymodbus server over our image of its tables; must not know where values arise."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from protocols.believe import Unbelievable, twin_value, wire_value
from protocols.link import Clock
from protocols.modbus import codec
from protocols.modbus.codec import Address, Table
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
        self._address = {point.id: codec.parse_address(point.address) for point in points}
        self._on_write = on_write
        self._point_of_id = {point.id: point for point in points}
        self._image: dict[Table, dict[int, int]] = {table: {} for table in Table}
        for address in self._address.values():
            for cell in range(address.start, address.start + address.count):
                self._image[address.table][cell] = 0
        self._server: ModbusTcpServer | None = None

    async def start(self) -> None:
        host, port, unit = codec.parse_endpoint(self.endpoint)
        tables = tuple(_sim_data(table, self._image[table]) for table in Table)
        simulated = SimDevice(id=unit, simdata=tables, action=self._action)
        self._server = ModbusTcpServer(simulated, address=(host, port))
        try:
            await self._server.serve_forever(background=True)
        except RuntimeError as failure:  # pymodbus's word for a port that is taken
            raise OSError(f"{self.endpoint}: {failure}") from failure
        listening = self._server.transport.sockets[0].getsockname()
        self.endpoint = f"modbus://{host}:{listening[1]}/{unit}"

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        listener = server.transport
        await server.shutdown()
        if listener is not None:
            async with asyncio.timeout(STOP_S):
                await listener.wait_closed()

    async def publish(self, values: Mapping[int, float | str], source_time: int, quality: Mapping[int, int]) -> None:
        for point_id, value in values.items():
            if not isinstance(value, str) and quality.get(point_id, 0) >> 30 == 0:
                self._store(self._address[point_id], wire_value(self._point_of_id[point_id], value))

    def _store(self, address: Address, wire: float) -> None:
        image = self._image[address.table]
        if address.type == "bit":
            image[address.start] = int(wire == 1.0)
            return
        if not address.type.startswith("float"):
            if not math.isfinite(wire):
                return  # an integer register cannot say "no number": it keeps its last one
            limits = np.iinfo(codec.DTYPES[address.type])
            # Rounded as an integer: the limits of 64 bits are no floats.
            wire = min(max(round(wire), limits.min), limits.max)
        for offset, word in enumerate(codec.encode_registers(address, wire)):
            image[address.start + offset] = word

    @property
    def _action(self) -> Action:
        """pymodbus insists on a plain async function."""

        async def action(
            function: int, start: int, address: int, count: int, registers: list[int], written: list[Any] | None
        ) -> Any:
            table = _TABLE_OF_FUNCTION[function]
            if written:
                return self._written(table, address, [int(cell) for cell in written])
            fill = partial(self._fill_bits if table in codec.BIT_TABLES else self._fill_words, self._image[table])
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
            try:
                value, _ = twin_value(point, _decode(address, after))
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


def _decode(address: Address, image: Mapping[int, int]) -> bool | int | float:
    cells = [image[cell] for cell in range(address.start, address.start + address.count)]
    data = bytes([cells[0]]) if address.type == "bit" else np.array(cells, ">u2").tobytes()
    ((_, value),) = codec.decode_block(codec.plan([address])[0], data)
    return value


def _sim_data(table: Table, cells: Mapping[int, int]) -> list[SimData]:
    """The cells as pymodbus's runs; holes stay holes, so that a client that reads across them is told.

    Between the bits of one sixteen pymodbus knows no holes: those read as 0.
    """
    kind = DataType.BITS if table in codec.BIT_TABLES else DataType.REGISTERS
    empty: Any = False if table in codec.BIT_TABLES else 0
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
