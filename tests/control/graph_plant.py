"""A plant folder with Properties that no device reports, on a device that nobody serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TANK, VALVE, SITE, BALL = (f"dtmi:test:{name};1" for name in ("Tank", "Valve", "Site", "BallValve"))
PLANT = f"""
[plant]
id = "depot"

[[device]]
id = "plc"
protocol = "modbus"
endpoint = "modbus://127.0.0.1:9/1"

[[twin]]
id = "site"
interface = "{SITE}"

[[twin]]
id = "tank_1"
interface = "{TANK}"
at = [1, 2]

[[twin]]
id = "tank_2"
interface = "{TANK}"
at = [2, 2]

[[relationship]]
source = "tank_1"
name = "feeds"
target = "tank_2"
"""
POINTS = """point,device,address,type,unit,scale,access,audit
tank_1.level,plc,holding:0,double,m,,r,no
tank_1.inlet,plc,coil:0,boolean,,,rw,no
tank_2.level,plc,holding:1,double,m,,r,no
"""


def interface(identity: str, contents: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    head = {"@context": "dtmi:dtdl:context;3", "@id": identity, "@type": "Interface"}
    return {**head, "contents": contents, **more}


def prop(name: str, schema: Any = "string", **more: Any) -> dict[str, Any]:
    return {"@type": "Property", "name": name, "schema": schema, **more}


def text(name: str) -> dict[str, str]:
    return {"name": name, "schema": "string"}


INTERFACES = (
    interface(SITE, [{"@type": "Relationship", "name": "contains"}, prop("owner")]),
    interface(
        TANK,
        [
            {"@type": ["Telemetry", "Length"], "name": "level", "schema": "double", "unit": "metre"},
            {"@type": "Telemetry", "name": "spare", "schema": "double"},
            prop("inlet", "boolean", writable=True),
            prop("serial"),
            prop("volume", "double"),
            prop("tags", {"@type": "Map", "mapKey": text("k"), "mapValue": text("v")}),
            {"@type": "Relationship", "name": "feeds", "target": TANK, "maxMultiplicity": 2},
            {"@type": "Relationship", "name": "contains"},
        ],
    ),
    interface(VALVE, [prop("serial"), prop("turns", "integer"), {"@type": "Relationship", "name": "guards", "target": TANK}]),
    interface(BALL, [prop("seat")], extends=VALVE),
)  # fmt: skip


def write(folder: Path, plant: str = PLANT) -> Path:
    (folder / "interfaces").mkdir(parents=True, exist_ok=True)
    for said in INTERFACES:
        (folder / "interfaces" / f"{said['@id'].split(':')[-1].split(';')[0]}.json").write_text(json.dumps(said))
    (folder / "plant.toml").write_text(plant)
    (folder / "points.csv").write_text(POINTS)
    return folder
