"""The twin as a Modbus device, asked by pymodbus's client; a real Modbus PLC stands behind the twin."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient

from tests.control.plants import until
from tests.control.served_plant import Works, works, write_plant

MAP = """point,address,scale
tank.level,input:0:uint16,0.001
tank.level:good,discrete:0,
tank.level:quality,input:1:uint32,
pump.status,coil:0,
pump.speed,holding:0:float32,
pump.mode,holding:2,
pump.starts,input:3:uint32,
far.status,coil:9,
far.status:good,discrete:9,
:heartbeat,input:5,
"""
SERVE = '[[serve]]\nid = "dcs"\nprotocol = "modbus"\nendpoint = "modbus://127.0.0.1:0/7"\nmap = "map.csv"\n'
WRITES = f'{SERVE}writes = "operator"\n'


@asynccontextmanager
async def served(folder: Path, serve: str = SERVE) -> AsyncIterator[tuple[Works, AsyncModbusTcpClient]]:
    (folder / "plant").mkdir()
    (folder / "plant" / "map.csv").write_text(MAP)
    async with works(folder, serve) as plant:
        port = int(plant.endpoints["dcs"].rpartition(":")[2].partition("/")[0])
        client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=20, retries=0)
        assert await client.connect()
        try:
            await until(lambda: client.read_input_registers(0, count=1, device_id=7), lambda a: not a.isError())  # type: ignore[attr-defined]
            yield plant, client
        finally:
            client.close()


async def test_values_quality_and_heartbeat_are_read(tmp_path: Path) -> None:
    async with served(tmp_path) as (plant, client):
        assert (await client.read_input_registers(0, count=1, device_id=7)).registers == [3250]
        assert (await client.read_input_registers(3, count=2, device_id=7)).registers == [0, 7]
        speed = (await client.read_holding_registers(0, count=2, device_id=7)).registers
        assert struct.unpack(">f", struct.pack(">2H", *speed))[0] == 80.0
        assert (await client.read_holding_registers(2, count=1, device_id=7)).registers == [4]
        assert (await client.read_discrete_inputs(0, count=1, device_id=7)).bits[0] is True
        assert (await client.read_coils(9, count=1, device_id=7)).exception_code == 4, "never read is not good"
        assert (await client.read_discrete_inputs(9, count=1, device_id=7)).bits[0] is False
        assert (await client.read_input_registers(6, count=1, device_id=7)).exception_code == 2
        assert (await client.read_input_registers(0, count=1, device_id=8)).exception_code == 11
        before = (await client.read_input_registers(5, count=1, device_id=7)).registers
        await until(lambda: client.read_input_registers(5, count=1, device_id=7), lambda a: a.registers != before)  # type: ignore[attr-defined]
        await until(lambda: plant.value("dcs.clients"), lambda n: n == 1)


async def test_a_value_of_a_device_that_is_gone_is_an_exception(tmp_path: Path) -> None:
    async with served(tmp_path) as (plant, client):
        await plant.plc.served.stop()
        await until(lambda: client.read_input_registers(0, count=1, device_id=7), lambda a: a.isError())  # type: ignore[attr-defined]
        assert (await client.read_input_registers(0, count=1, device_id=7)).exception_code == 4
        assert (await client.read_input_registers(1, count=2, device_id=7)).registers == [0x8031, 0]
        assert (await client.read_discrete_inputs(0, count=1, device_id=7)).bits[0] is False


async def test_writes_are_refused_unless_the_plant_allows_them(tmp_path: Path) -> None:
    async with served(tmp_path) as (plant, client):
        assert (await client.write_coil(0, True, device_id=7)).exception_code == 1
        assert (await client.write_registers(0, [0, 0], device_id=7)).exception_code == 1
        assert await plant.commands.newest(1) == []
        await until(lambda: plant.value("dcs.refused"), lambda n: n == 2)


async def test_a_write_becomes_a_command_and_only_the_plant_changes_the_cells(tmp_path: Path) -> None:
    async with served(tmp_path, WRITES) as (plant, client):
        plant.plc.accepts = False
        assert not (await client.write_coil(0, True, device_id=7)).isError(), "it is queued; the answer knows no more"
        record = await plant.ended("REFUSED")
        assert (record.author, record.point, record.value) == ("modbus:127.0.0.1", "pump.status", 1.0)
        assert (await client.read_coils(0, count=1, device_id=7)).bits[0] is False
        plant.plc.accepts = True
        assert not (await client.write_coil(0, True, device_id=7)).isError()
        await plant.ended("CONFIRMED")
        await until(lambda: client.read_coils(0, count=1, device_id=7), lambda a: a.bits[0] is True)  # type: ignore[attr-defined]
        fifty = list(struct.unpack(">2H", struct.pack(">f", 50.0)))
        assert not (await client.write_registers(0, fifty, device_id=7)).isError()
        await plant.ended("CONFIRMED")
        assert plant.plc.writes == [("pump.status", 1.0), ("pump.speed", 50.0)]
        kinds = [(e.body.get("author"), e.body.get("status")) for _, e in plant.evidence.entries(50, "command")]
        assert ("modbus:127.0.0.1", "CONFIRMED") in kinds


async def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path, WRITES) as (plant, client):
        beyond = list(struct.unpack(">2H", struct.pack(">f", 121.0)))
        assert (await client.write_registers(0, beyond, device_id=7)).exception_code == 3
        assert (await client.write_register(0, 1, device_id=7)).exception_code == 2, "half a value"
        assert (await client.write_register(2, 3, device_id=7)).exception_code == 3, "no value of the enum"
        assert (await client.write_coil(1, True, device_id=7)).exception_code == 2
        assert await plant.commands.newest(1) == []


async def test_an_answer_can_wait_for_what_the_process_does(tmp_path: Path) -> None:
    async with served(tmp_path, f"{WRITES}wait_s = 0.7\n") as (plant, client):
        assert not (await client.write_coil(0, True, device_id=7)).isError()
        assert (await plant.newest()).status == "CONFIRMED"
        plant.plc.accepts = False
        assert (await client.write_coil(0, False, device_id=7)).exception_code == 4
        assert (await plant.newest()).status == "REFUSED"
        assert (await client.write_coil(9, True, device_id=7)).exception_code == 5, "the device is away: still queued"


async def test_only_named_addresses_may_write_where_some_are_named(tmp_path: Path) -> None:
    async with served(tmp_path, f'{WRITES}writers = ["192.0.2.1"]\n') as (_, client):
        assert (await client.write_coil(0, True, device_id=7)).exception_code == 1


async def test_garbage_ends_its_own_connection_only(tmp_path: Path) -> None:
    async with served(tmp_path) as (plant, client):
        port = int(plant.endpoints["dcs"].rpartition(":")[2].partition("/")[0])
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0\xff\xff\1\3", bytes(6)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(garbage)
            assert await reader.read(100) == b""
            writer.close()
        assert (await client.read_input_registers(0, count=1, device_id=7)).registers == [3250]


async def test_masters_that_went_without_a_word_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.modbus.northbound.SPARED_S", 0.0)
    async with served(tmp_path, f"{SERVE}clients = 2\n") as (plant, _):
        port = int(plant.endpoints["dcs"].rpartition(":")[2].partition("/")[0])
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        newcomer = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=20, retries=0)
        assert await newcomer.connect()
        assert (await newcomer.read_input_registers(0, count=1, device_id=7)).registers == [3250]
        newcomer.close()
        for _, writer in silent:
            writer.close()


async def test_a_master_that_asks_keeps_its_place(tmp_path: Path) -> None:
    async with served(tmp_path, f"{SERVE}clients = 1\n") as (plant, client):
        port = int(plant.endpoints["dcs"].rpartition(":")[2].partition("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read(100) == b"", "there is no room"
        writer.close()
        assert (await client.read_input_registers(0, count=1, device_id=7)).registers == [3250]


def test_a_map_with_mistakes_keeps_the_plant_from_starting(tmp_path: Path) -> None:
    from tests.control.served_plant import read_plant
    from twin.errors import BadPlant

    folder = write_plant(tmp_path / "plant", SERVE)
    (folder / "map.csv").write_text("point,address\ntank.levl,input:0\n")
    with pytest.raises(BadPlant, match=r"map\.csv:2: 'tank\.levl' is no point"):
        read_plant(folder)
