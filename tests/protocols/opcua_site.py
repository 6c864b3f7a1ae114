"""A small site as an OPC UA server, with what real servers have: types, units, enums, arrays, loops, odd names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from asyncua import Server, ua


@dataclass
class Site:
    """The running server and ways to add to it."""

    server: Server
    index: int
    plant: Any

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.server.bserver.port}/"

    def node(self, text: str) -> Any:
        return self.server.get_node(ua.NodeId(text, self.index))

    async def variable(self, parent: Any, name: str, value: Any, *, writable: bool = False, **more: Any) -> Any:
        identity = ua.NodeId(more.pop("id", f"{parent.nodeid.Identifier}.{name}"), self.index)
        made = await parent.add_variable(identity, ua.QualifiedName(name, self.index), value, **more)
        if writable:
            await made.set_writable()
        return made

    async def object(self, parent: Any, name: str, kind: Any = None) -> Any:
        identity = ua.NodeId(f"{parent.nodeid.Identifier}.{name}", self.index)
        return await parent.add_object(identity, ua.QualifiedName(name, self.index), kind)

    async def analog(self, variable: Any, code: int, text: str, low: float, high: float) -> None:
        """Make a variable an AnalogItem: a unit and a range (Part 8, 5.3.2.3)."""
        unit = ua.EUInformation(
            NamespaceUri="http://www.opcfoundation.org/UA/units/un/cefact",
            UnitId=code, DisplayName=ua.LocalizedText(text), Description=ua.LocalizedText(text),
        )  # fmt: skip
        base = variable.nodeid.Identifier
        await variable.add_property(
            ua.NodeId(f"{base}.unit", self.index), ua.QualifiedName("EngineeringUnits", 0), unit
        )
        range_ = ua.Range(low, high)
        await variable.add_property(ua.NodeId(f"{base}.range", self.index), ua.QualifiedName("EURange", 0), range_)


CELSIUS, CUBIC_METRE_PER_HOUR, UNKNOWN_UNIT = 4408652, 5067080, 0


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace("urn:site")
    plant = await server.nodes.objects.add_folder(ua.NodeId("Plant", index), ua.QualifiedName("Plant", index))
    made = Site(server, index, plant)
    await _pumps(made)
    await _tank(made)
    await _oddities(made)
    await server.start()
    try:
        yield made
    finally:
        await server.stop()


async def _pumps(site: Site) -> None:
    """Two objects of one type, one of them with a part that the other lacks."""
    kind = await site.server.nodes.base_object_type.add_object_type(
        ua.NodeId("PumpType", site.index), ua.QualifiedName("PumpType", site.index)
    )
    line = await site.object(site.plant, "Line 1")
    for number in (1, 2):
        pump = await site.object(line, f"Pump {number}", kind)
        await site.variable(pump, "Speed", 1450.0, writable=True)
        await site.variable(pump, "Running", True)
        await site.variable(pump, "Starts", ua.Variant(17, ua.VariantType.UInt32))
        if number == 2:
            flow = await site.variable(pump, "Flow", ua.Variant(12.5, ua.VariantType.Float))
            await site.analog(flow, CUBIC_METRE_PER_HOUR, "m³/h", 0.0, 100.0)
            bearing = await site.object(pump, "Bearing")
            await site.variable(bearing, "Temperature", 41.5)


async def _tank(site: Site) -> None:
    tank = await site.object(site.plant, "Tank")
    temperature = await site.variable(tank, "Temperature", 20.5)
    await site.analog(temperature, CELSIUS, "°C", 0.0, 90.0)
    setpoint = await site.variable(tank, "Setpoint", 30.0, writable=True)
    await site.analog(setpoint, CELSIUS, "°C", 5.0, 80.0)
    mode = await site.variable(tank, "Mode", ua.Variant(1, ua.VariantType.UInt32), writable=True)
    names = [ua.LocalizedText(t) for t in ("Off", "Auto mode", "3rd")]
    await mode.add_property(ua.NodeId("Tank.Mode.names", site.index), ua.QualifiedName("EnumStrings", 0), names)
    state = await site.server.nodes.enum_data_type.add_data_type(
        ua.NodeId("State", site.index), ua.QualifiedName("State", site.index)
    )
    values = [ua.EnumValueType(v, ua.LocalizedText(t), ua.LocalizedText("")) for v, t in ((1, "Idle"), (7, "Busy"))]
    await state.add_property(ua.NodeId("State.values", site.index), ua.QualifiedName("EnumValues", 0), values)
    await site.variable(tank, "State", ua.Variant(7, ua.VariantType.Int32), datatype=state.nodeid)
    await site.variable(tank, "Note", "as built", writable=True)
    await site.variable(tank, "Profile", [1.0, 2.0, 3.0])
    await site.variable(tank, "Built", ua.DateTime(2020, 1, 1))
    await site.variable(tank, "Picture", b"GIF89a")
    await site.variable(tank, "Range", ua.Range(0.0, 1.0))


async def _oddities(site: Site) -> None:
    name = ua.QualifiedName("Füllstände & mehr", site.index)
    odd = await site.plant.add_folder(ua.NodeId("odd", site.index), name)
    await site.variable(odd, "Höhe", 1.0, id="odd.1")
    await site.variable(odd, "Hohe", 2.0, id="odd.2")
    await site.variable(odd, "泵", 3.0, id="odd.3")
    await site.variable(odd, "阀", 4.0, id="odd.4")
    await site.variable(odd, "contains", 5.0, id="odd.5")
    await site.variable(odd, '1st, "quoted"', 6.0, id='odd.6, "q"')
    await site.variable(odd, "Any", ua.Variant(2.5, ua.VariantType.Double), id="odd.7", datatype=ua.NodeId(24))
    secret = await site.variable(odd, "Secret", 1.0, id="odd.8")
    await secret.write_attribute(ua.AttributeIds.AccessLevel, ua.DataValue(ua.Variant(0, ua.VariantType.Byte)))
    weird = await site.variable(odd, "Weird unit", 1.0, id="odd.9")
    await site.analog(weird, UNKNOWN_UNIT, "furlong/fortnight", 0.0, 0.0)
    # A loop: the part holds the whole. (asyncua takes no reference in both directions between two nodes.)
    inner = await site.object(odd, "Inner")
    await inner.add_reference(site.plant.nodeid, ua.ObjectIds.Organizes)
    await site.object(site.plant, "Empty")
