"""Probes a Modbus unit, one request at a time, and reads SunSpec's models; must not decide what to ask or what it means."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocols.discovery import Found, FoundThing, FoundValue, Path, Skipped, Told
from protocols.healing import Broken
from protocols.link import Clock
from protocols.modbus import codec, sunspec
from protocols.modbus.address import BIT_TABLES, BITS_MAX, READ_FUNCTION, REGISTERS_MAX, Table, parse_endpoint
from protocols.modbus.bus import bus_of
from protocols.modbus.probing import Answer, Read, Readable, Refusal, Span, explore, meaningful
from protocols.modbus.session import Command, Session, words
from protocols.modbus.turns import GATEWAY_CODES, NoAnswer
from twin.errors import DeviceFault, Unavailable
from twin.plant import Device
from twin.schema import Primitive

BUSY = frozenset({4, 5, 6})  # the device fails or is busy: asked again
ATTEMPTS_MAX = 3  # of one request
FAILURES_MAX = 9  # in a row, of three requests; then nothing else is to be expected
BUSY_S = 0.2  # to leave a busy device alone
NO_FUNCTION = 1
TABLE_WORDS: Mapping[Table, tuple[str, str]] = {
    Table.COIL: ("coils", "coil"),
    Table.DISCRETE: ("discrete inputs", "discrete"),
    Table.HOLDING: ("holding registers", "register"),
    Table.INPUT: ("input registers", "register"),
}
TYPE_NOTE = "Modbus does not tell types: set type, unit and scale by hand"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be looked at: addresses of every table, every `stride`-th where blocks are refused; limits."""

    first: int = 0
    last: int = 9999
    stride: int = 10
    tables: tuple[Table, ...] = tuple(Table)
    limit: int = 100_000
    requests_max: int = 20_000  # some minutes on a slow device


async def discover(device: Device, wanted: Wanted, told: Told, clock: Clock) -> Found:
    """
    Raises:
        Unavailable: nothing is there, or the unit keeps silent.
        DeviceFault: it answers with what is no Modbus.
    """
    unit = _Unit(device, wanted, told, clock)
    try:
        return await unit.search()
    except Broken as failure:
        raise Unavailable(f"{device.endpoint}: {failure}", "are host, port and unit right?") from failure
    finally:
        await unit.leave()


class _Stopped(Exception):
    """The search goes no further, and why."""


@dataclass(slots=True)
class _Unit:
    """One search of one unit."""

    device: Device
    wanted: Wanted
    told: Told
    clock: Clock
    asked: int = 0
    silent: int = 0  # requests in a row without an answer
    failed: int = 0  # requests in a row that the unit could not work on
    answered: bool = False
    cells: int = 0
    session: Session | None = None
    together: int = REGISTERS_MAX
    things: list[FoundThing] = field(default_factory=list)
    values: list[FoundValue] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    complete: bool = True
    also: set[str] = field(default_factory=set)

    async def search(self) -> Found:
        known: set[int] = set()
        try:
            known = await self._sunspec()
            for table in self.wanted.tables:
                await self._table(table, known if table is Table.HOLDING else set())
        except _Stopped as stop:
            self.complete = False
            self.remarks.append(str(stop))
        if not self.values and not self.skipped:
            self.remarks.append("no table answered in this range; try another with --registers")
        settings: dict[str, Any] = {} if self.together >= REGISTERS_MAX else {"max_registers": max(4, self.together)}
        return Found(
            tuple(self.things), tuple(self.values), tuple(self.skipped), (), self.complete, tuple(self.remarks),
            settings, frozenset(self.also),
        )  # fmt: skip

    async def leave(self) -> None:
        if self.session is not None:
            session, self.session = self.session, None
            await session.leave()

    # --- SunSpec -----------------------------------------------------------------------------------------------------

    async def _sunspec(self) -> set[int]:
        """Follows the chain of models; gives the registers that it covers."""
        if Table.HOLDING not in self.wanted.tables:
            return set()
        for start in sunspec.BASES:
            if await self._ask(Table.HOLDING, Read(start, 2)) == sunspec.MARK:
                return await self._models(start)
        return set()

    async def _models(self, start: int) -> set[int]:
        at, taken = start + len(sunspec.MARK), set[Path]()
        for _ in range(sunspec.MODELS_MAX):
            head = await self._ask(Table.HOLDING, Read(at, sunspec.HEAD))
            if isinstance(head, Refusal) or head[0] == sunspec.END:
                break
            model = sunspec.Model(head[0], at, head[1])
            registers = await self._registers(at, sunspec.HEAD + model.length)
            described = sunspec.described(self.device.id, model, registers, taken)
            self.things.append(described.thing)
            self.values += described.values
            self.skipped += described.skipped
            at += sunspec.HEAD + model.length
        self.remarks.append(f"SunSpec at register {start}: {len(self.things)} models")
        return set(range(start, at + sunspec.HEAD))

    async def _registers(self, start: int, count: int) -> list[int]:
        """As many as the device gives of a model."""
        found: list[int] = []
        while len(found) < count:
            part = Read(start + len(found), min(self.together, count - len(found)))
            answer = await self._ask(Table.HOLDING, part)
            if not isinstance(answer, Refusal):
                found += answer
            elif part.count > 1:
                self.together = max(1, part.count // 2)
            else:
                break
        return found

    # --- tables ------------------------------------------------------------------------------------------------------

    async def _table(self, table: Table, known: set[int]) -> None:
        most = BITS_MAX if table in BIT_TABLES else self.together
        span = Span(self.wanted.first, self.wanted.last, most, self.wanted.stride)
        readable = Readable()
        asking = explore(span, readable)
        try:
            read = next(asking)
            while True:
                read = asking.send(await self._ask(table, read))
        except StopIteration:
            pass
        finally:
            self._keep(table, readable, known)

    def _keep(self, table: Table, readable: Readable, known: set[int]) -> None:
        kept, left_out = meaningful(readable)
        title, noun = TABLE_WORDS[table]
        self.also |= {f"{table}:{cell}" for cell in readable.cells if cell not in kept}
        if left_out:
            self.remarks.append(
                f"{title}: all {len(readable.cells)} addresses answer; {left_out} in long rows of zeros were left out"
            )
        cells = [cell for cell in kept if cell not in known]
        room = self.wanted.limit - self.cells
        if len(cells) > room:
            self.complete = False
            self.remarks.append(f"{title}: only {room} of {len(cells)} taken; raise --limit or narrow --registers")
        cells = sorted(cells)[: max(0, room)]
        if not cells:
            return
        self.cells += len(cells)
        if table not in BIT_TABLES and readable.together:
            self.together = min(self.together, readable.together)
        path: Path = (f"{self.device.id} {title}",)
        self.things.append(FoundThing(path, display=title))
        is_bit = table in BIT_TABLES
        schema = Primitive("boolean" if is_bit else "integer")
        for cell in cells:
            self.values.append(
                FoundValue(
                    path,
                    (f"{noun} {cell}",),
                    f"{table}:{cell}",
                    schema,
                    note="" if is_bit else TYPE_NOTE,
                )
            )

    # --- one request -------------------------------------------------------------------------------------------------

    async def _ask(self, table: Table, read: Read) -> Answer:
        for _ in range(ATTEMPTS_MAX):
            if self.asked >= self.wanted.requests_max:
                raise _Stopped(f"stopped after {self.asked} requests; narrow --registers, or raise --requests")
            self.asked += 1
            try:
                data = await self._data(table, read)
            except codec.DeviceException as refusal:
                if refusal.code in GATEWAY_CODES:
                    raise Broken(f"the gateway answers {refusal.name}") from refusal
                self.silent = 0
                if refusal.code not in BUSY:
                    self.failed, self.answered = 0, True
                    return Refusal.TABLE if refusal.code == NO_FUNCTION else Refusal.CELLS
                self.failed += 1
                if self.failed >= FAILURES_MAX:
                    self._give_up(f"the unit answers {refusal.name}")
                await asyncio.sleep(BUSY_S)
            except (NoAnswer, OSError, EOFError) as failure:
                await self.leave()  # what comes late must not pass for the next answer
                self.silent += 1
                if self.silent >= ATTEMPTS_MAX:
                    self._give_up(words(failure))
            except codec.BadFrame as garbage:
                await self.leave()
                raise DeviceFault(f"{self.device.endpoint}: {garbage.detail}", "is it Modbus?") from garbage
            else:
                self.silent, self.failed, self.answered = 0, 0, True
                self.told(self.asked, f"requests, {title_of(table)} {read.start}, {len(self.values)} values found")
                return _cells(table, read.count, data)
        return Refusal.CELLS

    def _give_up(self, why: str) -> None:
        """
        Raises:
            Broken, _Stopped: the unit never said anything, or no longer does.
        """
        if not self.answered:
            raise Broken(why)
        raise _Stopped(f"stopped after {self.asked} requests: {why}")

    async def _data(self, table: Table, read: Read) -> bytes:
        session = self.session or await self._joined()
        until = asyncio.get_running_loop().time() + float(self.device.settings["timeout_s"])
        pdu = await Command(session, codec.read_request(table, read.start, read.count)).answer(until)
        return codec.read_answer(READ_FUNCTION[table], codec.data_bytes(table, read.count), pdu)

    async def _joined(self) -> Session:
        settings, endpoint = self.device.settings, parse_endpoint(self.device.endpoint)
        bus = bus_of(endpoint, False, bool(settings["match_transaction"]), self.clock)
        seat = (endpoint.unit, float(settings["timeout_s"]), 1, float(settings["request_delay_s"]))
        session = Session(bus, seat, self.clock, lambda: None, lambda garbage: None)
        await session.join(float(settings["connect_delay_s"]))
        self.session = session
        return session


def title_of(table: Table) -> str:
    return TABLE_WORDS[table][1]


def _cells(table: Table, count: int, data: bytes) -> tuple[int, ...]:
    if table in BIT_TABLES:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return tuple(int(bit) for bit in bits[:count])
    return tuple(int(word) for word in np.frombuffer(data, ">u2"))
