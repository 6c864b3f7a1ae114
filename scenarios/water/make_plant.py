"""Writes the plant's files (plant.toml, points.csv, net3.inp) from WNTR's own Net3; must not know how they are loaded.

Run `python -m scenarios.water.make_plant [FOLDER]`; the same WNTR gives the same bytes.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
GENERATED = ("plant.toml", "points.csv", "net3.inp")
CSV_HEADER = "point,device,address,type,unit,scale,access,audit,low,high"
# The mains and the feeds of the tanks: the pipes that a water company would meter. 60 leaves the river, 101 the lake.
METERED_PIPES = ("20", "40", "50", "60", "101", "123", "173", "187", "193", "229", "315", "329")
PUMPS = ("10", "335")
LEVEL_MARGIN_M = 0.3  # what a level gauge may read past the tank's own limits
FLOW_MAX_L_S = 4000  # several times the largest flow of the network: past it a meter is broken
PRESSURE_LOW_KPA, PRESSURE_HIGH_KPA = -100, 2500  # from vacuum to the range of common transmitters


class PointRow(NamedTuple):
    """One line of points.csv."""

    point: str
    device: str
    address: str
    type: str
    unit: str
    scale: str = "1"
    access: str = "r"
    audit: str = "no"
    low: float | str = ""
    high: float | str = ""


class TwinRow(NamedTuple):
    """One [[twin]] of plant.toml."""

    id: str
    interface: str
    name: str
    at: tuple[float, float] | None


def main(folder: Path = HERE) -> None:
    """Write the generated files into the folder."""
    network = _net3()
    (folder / "net3.inp").write_text(_network_text(network), encoding="utf-8")
    (folder / "points.csv").write_text(_points_text(network), encoding="utf-8")
    (folder / "plant.toml").write_text(_plant_text(network), encoding="utf-8")


def _net3() -> Any:
    """WNTR's Net3 without its controls, so that commands act."""
    from wntr.library.model_library import ModelLibrary
    from wntr.network import WaterNetworkModel

    network = WaterNetworkModel(ModelLibrary().get_filepath("Net3"))
    for name in list(network.control_name_list):
        network.remove_control(name)
    network.options.quality.parameter = "NONE"
    network.options.time.duration = 7 * 86400
    return network


def _network_text(network: Any) -> str:
    """EPANET's input file in metres and litres per second, without the lines that name a time and a path."""
    from wntr.network import write_inpfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net3.inp"
        write_inpfile(network, str(path), units="LPS")
        lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line.rstrip() for line in lines if not line.startswith("; ")]
    text = "\n".join(kept) + "\n"
    return re.sub(r"(?m)^STATUS +YES$", "STATUS NO", text)


def node_twin(network: Any, node: str) -> str:
    """The twin id of an EPANET node."""
    return f"{network.get_node(node).node_type.lower()}_{node.lower()}"


def _midpoint(network: Any, link: str) -> tuple[float, float]:
    ends = (network.get_link(link).start_node.coordinates, network.get_link(link).end_node.coordinates)
    return round((ends[0][0] + ends[1][0]) / 2, 3), round((ends[0][1] + ends[1][1]) / 2, 3)


def _twins(network: Any) -> Iterator[TwinRow]:
    yield TwinRow("network", "Network", "Net3", None)
    # Beside its pump, so that the drawing shows both.
    x, y = _midpoint(network, "335")
    yield TwinRow("station", "PumpStation", "River pump station", (round(x + 0.8, 3), round(y + 0.8, 3)))
    for pump in PUMPS:
        yield TwinRow(f"pump_{pump}", "Pump", f"Pump {pump}", _midpoint(network, pump))
    for kind in ("tank", "reservoir", "junction"):
        for node in getattr(network, f"{kind}_name_list"):
            place = network.get_node(node).coordinates
            yield TwinRow(node_twin(network, node), kind.title(), f"{kind.title()} {node}", (place[0], place[1]))
    for pipe in METERED_PIPES:
        yield TwinRow(f"pipe_{pipe}", "Pipe", f"Pipe {pipe}", _midpoint(network, pipe))


def _relationships(network: Any) -> Iterator[tuple[str, str, str]]:
    for twin in _twins(network):
        if twin.id not in ("network", "pump_335"):
            yield "network", "contains", twin.id
    yield "station", "contains", "pump_335"
    yield "station", "suction", "junction_60"
    yield "station", "discharge", "junction_61"
    for name, pipe in network.pipes():
        start, end = node_twin(network, pipe.start_node_name), node_twin(network, pipe.end_node_name)
        yield start, "pipe", end
        if name in METERED_PIPES:
            yield f"pipe_{name}", "leaves", start
            yield f"pipe_{name}", "reaches", end
    for name, pump in network.pumps():
        yield f"pump_{name}", "suction", node_twin(network, pump.start_node_name)
        yield f"pump_{name}", "discharge", node_twin(network, pump.end_node_name)


def _points(network: Any) -> Iterator[PointRow]:
    yield from _scada_points(network)
    yield from _plc_points()
    for node in network.junction_name_list:
        twin = node_twin(network, node)
        yield _pressure(f"{twin}.pressure", "pressures", f"net3/{twin}#/value", "kPa")


def _scada_points(network: Any) -> Iterator[PointRow]:
    yield PointRow("network.clock", "scada", "ns=2;s=network.clock", "double", "s", low=0)
    for name, tank in network.tanks():
        level, high = f"tank_{name}.level", round(tank.max_level + LEVEL_MARGIN_M, 2)
        yield PointRow(level, "scada", f"ns=2;s={level}", "double", "m", low=-LEVEL_MARGIN_M, high=high)
        yield _flow(f"tank_{name}.inflow", "scada", f"ns=2;s=tank_{name}.inflow", "L/s")
    for name in METERED_PIPES:
        yield _flow(f"pipe_{name}.flow", "scada", f"ns=2;s=pipe_{name}.flow", "L/s")


def _plc_points() -> Iterator[PointRow]:
    for at, name in enumerate(PUMPS):
        pump = f"pump_{name}"
        yield _command(f"{pump}.status", f"coil:{at}")
        yield PointRow(f"{pump}.running", "plc", f"discrete:{at}", "boolean", "", audit="yes")
        speed = PointRow(f"{pump}.speed", "plc", f"holding:{at}:uint16", "double", "%", scale="0.1", low=0, high=120)
        yield speed._replace(access="rw", audit="yes")
        yield _flow(f"{pump}.flow", "plc", f"input:{2 * at}:float32", "m3/h")
    yield _command("station.bypass", "coil:2")
    yield PointRow("station.bypass_open", "plc", "discrete:2", "boolean", "", audit="yes")
    yield _pressure("station.suction_pressure", "plc", "input:4:float32", "bar")
    yield _pressure("station.discharge_pressure", "plc", "input:6:float32", "bar")
    yield _flow("station.flow", "plc", "input:8:float32", "m3/h")


def _flow(point: str, device: str, address: str, unit: str) -> PointRow:
    return PointRow(point, device, address, "double", unit, low=-FLOW_MAX_L_S, high=FLOW_MAX_L_S)


def _pressure(point: str, device: str, address: str, unit: str) -> PointRow:
    return PointRow(point, device, address, "double", unit, low=PRESSURE_LOW_KPA, high=PRESSURE_HIGH_KPA)


def _command(point: str, address: str) -> PointRow:
    return PointRow(point, "plc", address, "boolean", "", access="rw", audit="yes")


def _points_text(network: Any) -> str:
    return CSV_HEADER + "\n" + "".join(",".join(map(str, row)) + "\n" for row in _points(network))


def _plant_text(network: Any) -> str:
    parts = [(HERE / "plant_head.toml").read_text(encoding="utf-8")]
    parts += [_table("twin", _twin_keys(twin)) for twin in _twins(network)]
    for source, name, target in _relationships(network):
        parts.append(_table("relationship", {"source": source, "name": name, "target": target}))
    return "\n".join(parts)


def _twin_keys(twin: TwinRow) -> dict[str, object]:
    keys: dict[str, object] = {"id": twin.id, "interface": f"dtmi:twinloop:water:{twin.interface};1", "name": twin.name}
    return keys if twin.at is None else {**keys, "at": twin.at}


def _table(name: str, keys: Mapping[str, object]) -> str:
    """One TOML array-of-tables entry; values are text or pairs of numbers."""
    lines = [f"[[{name}]]"]
    for key, value in keys.items():
        lines.append(f'{key} = "{value}"' if isinstance(value, str) else f"{key} = [{value[0]}, {value[1]}]")  # type: ignore[index]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
