"""A small plant folder that is right, and ways to spoil it: for the loader's tests."""

from __future__ import annotations

import json
from pathlib import Path

from twin.rules import ProtocolRules, Setting

PLANT = """
[plant]
id = "tiny"
clock = "site.clock"

[[device]]
id = "plc"
protocol = "wire"
endpoint = "wire://here"
poll_s = 0.5

[[twin]]
id = "site"
interface = "dtmi:test:Site;1"

[[twin]]
id = "tank"
interface = "dtmi:test:Tank;1"
at = [1, 2]

[[relationship]]
source = "site"
name = "contains"
target = "tank"

[[feedback]]
point = "tank.valve"
feedback = "tank.valve_open"
"""
POINTS = """point,device,address,type,unit,scale,access,audit,low,high
site.clock,plc,a0,double,s,,r,no,,
tank.level,plc,a1,double,cm,1,r,no,0,10
tank.valve,plc,a2,boolean,,,rw,yes,,
tank.valve_open,plc,a3,boolean,,,r,no,,
"""


def interface(name: str, contents: list[dict[str, object]], **more: object) -> str:
    head = {"@context": "dtmi:dtdl:context;3", "@id": f"dtmi:test:{name};1", "@type": "Interface"}
    return json.dumps({**head, "contents": contents, **more}, indent=1)


SITE = interface(
    "Site",
    [
        {"@type": "Telemetry", "name": "clock", "schema": "double", "unit": "second"},
        {"@type": "Relationship", "name": "contains"},
    ],
)
TANK = interface(
    "Tank",
    [
        {"@type": ["Telemetry", "Length"], "name": "level", "schema": "double", "unit": "metre"},
        {"@type": "Property", "name": "valve", "schema": "boolean", "writable": True},
        {"@type": "Telemetry", "name": "valve_open", "schema": "boolean"},
        {"@type": "Relationship", "name": "contains"},
        {"@type": "Relationship", "name": "feeds", "target": "dtmi:test:Tank;1"},
    ],
)


def _endpoint(text: str) -> None:
    if not text.startswith("wire://"):
        raise ValueError("write it as wire://host")


def _address(text: str, kind: str, writable: bool) -> None:
    if not text.startswith("a"):
        raise ValueError("write it as a<number>")


RULES = {"wire": ProtocolRules({"poll_s": Setting(float, 1.0, "seconds between polls", 0.1, 60)}, _endpoint, _address)}


def write(folder: Path, plant: str = PLANT, points: str = POINTS, **interfaces: str) -> Path:
    """A plant folder; `Tank="…"` replaces or adds an Interface file."""
    (folder / "interfaces").mkdir(exist_ok=True)
    for name, text in {"Site": SITE, "Tank": TANK, **interfaces}.items():
        (folder / "interfaces" / f"{name}.json").write_text(text)
    (folder / "plant.toml").write_text(plant)
    (folder / "points.csv").write_text(points)
    return folder
