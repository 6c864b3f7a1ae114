"""Writes the plant folder of a works of any size: many machines on OPC UA, Modbus and MQTT devices; loads as it is.

For load and fault tests, and to try Twinloop with as many devices as one's own plant has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twin.errors import BadRequest, Conflict

DEVICES_MAX, POINTS_MAX = 2_000, 1_000_000  # ports below 65536; a table of a gigabyte
ROW = 20  # devices side by side in the drawing
# One device in ten speaks OPC UA, two speak MQTT: most of what a works has are small controllers.
PROTOCOLS = ("opcua", "mqtt", "modbus", "modbus", "modbus", "modbus", "mqtt", "modbus", "modbus", "modbus")
# Below 32768, where systems take the ports of outgoing connections from. Each device takes the next one, all MQTT devices
# one broker.
OPCUA_PORT, MODBUS_PORT, MQTT_PORT = 24_840, 15_020, 18_830
INTERFACE = "dtmi:twinloop:works:Machine;1"


@dataclass(frozen=True, slots=True)
class Value:
    """One value that a machine may have: a row of the Interface and of points.csv.

    Attributes:
        register: table and type on Modbus, "" where Modbus cannot carry it.
        scale: of that register.
        shows: the setting that this value follows.
    """

    name: str
    type: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    writable: bool = False
    register: str = ""
    scale: float = 1.0
    shows: str = ""
    dtdl: tuple[str, str] | None = None


VALUES = (
    Value("temperature", "double", "degC", -20, 180, register="input:float32", dtdl=("Temperature", "degreeCelsius")),
    Value("pressure", "double", "bar", 0, 25, register="input:int16", scale=0.01, dtdl=("Pressure", "bar")),
    Value("running", "boolean", register="discrete", shows="run"),
    Value("run", "boolean", writable=True, register="coil"),
    Value("setpoint", "double", "%", 0, 100, writable=True, register="holding:uint16", scale=0.1, dtdl=("", "percent")),
    Value("output", "double", "%", 0, 100, register="input:float32", shows="setpoint", dtdl=("", "percent")),
    Value("speed", "double", "rpm", 0, 3600, register="input:float64",
          dtdl=("AngularVelocity", "revolutionPerMinute")),
    Value("power", "double", "kW", 0, 250, register="input:float32", dtdl=("Power", "kilowatt")),
    Value("pieces", "integer", "", 0, 1_000_000, register="input:uint32"),
    Value("mode", "enum", register="holding:uint16", writable=True),
    Value("product", "string"),
    Value("vibration", "double", "", 0, 50, register="input:float32"),
)  # fmt: skip
MODES = ("off", "manual", "automatic")
CELLS = {"int16": 1, "uint16": 1, "uint32": 2, "float32": 2, "float64": 4}


def write_works(
    folder: Path, devices: int, points: int, settings: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Write a plant of so many devices with so many points each.

    Args:
        settings: protocol -> settings of its devices other than the defaults.

    Raises:
        BadRequest: none, or too many of them.
        Conflict: the folder holds something.
    """
    if not (0 < devices <= DEVICES_MAX and points > 0 and devices * points <= POINTS_MAX):
        raise BadRequest(
            f"{devices} devices of {points} points", f"take 1 … {DEVICES_MAX} devices, {POINTS_MAX} points at most"
        )
    if folder.exists() and any(folder.iterdir()):
        raise Conflict(f"{folder} is not empty", "name a new folder")
    bindings = [_Binding(place, points) for place in range(devices)]
    (folder / "interfaces").mkdir(parents=True)
    (folder / "interfaces" / "machine.json").write_text(json.dumps(_interface(), indent=1))
    (folder / "plant.toml").write_text(_plant_file(bindings, settings or {}))
    lines = ["point,device,address,type,unit,scale,access,audit,low,high", *(r for b in bindings for r in b.rows())]
    (folder / "points.csv").write_text("\n".join(lines) + "\n")


class _Binding:
    """One device and what it carries."""

    def __init__(self, place: int, points: int) -> None:
        self.place = place
        self.id = f"device_{place + 1:03d}"
        self.protocol = PROTOCOLS[place % len(PROTOCOLS)]
        carried = [v for v in VALUES if v.register or self.protocol != "modbus"]
        self.points = [(f"{self.id}_m{n // len(carried) + 1}", carried[n % len(carried)]) for n in range(points)]
        self.machines = list(dict.fromkeys(machine for machine, _ in self.points))

    def endpoint(self) -> str:
        match self.protocol:
            case "opcua":
                return f"opc.tcp://127.0.0.1:{OPCUA_PORT + self.place}/works"
            case "modbus":
                return f"modbus://127.0.0.1:{MODBUS_PORT + self.place}/1"
        return f"mqtt://127.0.0.1:{MQTT_PORT}"

    def rows(self) -> Iterator[str]:
        addresses = self._addresses()
        for machine, value in self.points:
            scale = value.scale if self.protocol == "modbus" else 1.0
            cells = (
                f"{machine}.{value.name}", self.id, next(addresses), value.type, value.unit, f"{scale:g}",
                "rw" if value.writable else "r", "no", _cell(value.low), _cell(value.high),
            )  # fmt: skip
            yield ",".join(cells)

    def feedbacks(self) -> Iterator[tuple[str, str]]:
        here = {(machine, value.name) for machine, value in self.points}
        for machine, value in self.points:
            if value.shows and (machine, value.shows) in here:
                yield f"{machine}.{value.shows}", f"{machine}.{value.name}"

    def _addresses(self) -> Iterator[str]:
        free = dict.fromkeys(("coil", "discrete", "holding", "input"), 0)
        for machine, value in self.points:
            if self.protocol == "opcua":
                yield f"ns=2;s={machine}.{value.name}"
            elif self.protocol == "mqtt":
                yield f"works/{self.id}/{machine}#/{value.name}/value"
            else:
                table, _, kind = value.register.partition(":")
                yield f"{table}:{free[table]}" + (f":{kind}" if kind else "")
                free[table] += CELLS.get(kind, 1)


def _plant_file(bindings: list[_Binding], settings: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["[plant]", 'id = "works"', 'name = "Works"', ""]
    for binding in bindings:
        lines += ["[[device]]", f'id = "{binding.id}"', f'protocol = "{binding.protocol}"']
        lines += [f'endpoint = "{binding.endpoint()}"']
        own: dict[str, Any] = {"prefix": f"works/{binding.id}"} if binding.protocol == "mqtt" else {}
        lines += [
            f"{key} = {json.dumps(word)}" for key, word in (own | dict(settings.get(binding.protocol, {}))).items()
        ]
        lines.append("")
    for binding in bindings:
        x, y = binding.place % ROW * 40, -(binding.place // ROW) * 40
        for n, machine in enumerate(binding.machines):
            at = f"[{x + n % 4 * 8}, {y - n // 4 * 8}]"
            lines += ["[[twin]]", f'id = "{machine}"', f'interface = "{INTERFACE}"', f"at = {at}", ""]
    for binding in bindings:
        for point, feedback in binding.feedbacks():
            lines += ["[[feedback]]", f'point = "{point}"', f'feedback = "{feedback}"', "tolerance = 0.2", ""]
    return "\n".join(lines)


def _interface() -> dict[str, Any]:
    return {
        "@context": ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"],
        "@id": INTERFACE,
        "@type": "Interface",
        "displayName": "Machine",
        "contents": [_content(value) for value in VALUES],
    }


def _content(value: Value) -> dict[str, Any]:
    kind = "Property" if value.writable else "Telemetry"
    schema: Any = value.type
    if value.type == "enum":
        values = [{"name": name, "enumValue": code} for code, name in enumerate(MODES)]
        schema = {"@type": "Enum", "valueSchema": "integer", "enumValues": values}
    content: dict[str, Any] = {"@type": kind, "name": value.name, "schema": schema}
    if value.dtdl is not None:
        semantic, unit = value.dtdl
        content |= {"@type": [kind, semantic] if semantic else kind, "unit": unit}
    if value.writable:
        content["writable"] = True
    return content


def _cell(limit: float | None) -> str:
    return "" if limit is None else f"{limit:g}" if abs(limit) < 1e5 else str(int(limit))
