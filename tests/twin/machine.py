"""A small plant with every kind of value: enums, structures, components, written in DTDL v2 and v3."""

from __future__ import annotations

import json
from pathlib import Path

from tests.twin.plants import RULES
from twin.plant import Plant
from twin.plantfile import load_plant

QUANTITIES = ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"]
DRIVE = {
    "@context": "dtmi:dtdl:context;2",
    "@id": "dtmi:test:Drive;1",
    "@type": "Interface",
    "contents": [
        {
            "@type": ["Property", "AngularVelocity"],
            "name": "speed",
            "schema": "double",
            "unit": "revolutionPerMinute",
        },
        {"@type": "Telemetry", "name": "starts", "schema": "integer"},
    ],
}
MODE = {
    "@type": "Enum",
    "valueSchema": "integer",
    "enumValues": [{"name": "off", "enumValue": 0}, {"name": "auto", "enumValue": 4}],
}
SERVICE = {
    "@type": "Object",
    "fields": [
        {"name": "on", "schema": "date"},
        {"name": "hours", "schema": {"@type": "Array", "elementSchema": "double"}},
    ],
}
PUMP = {
    "@context": QUANTITIES,
    "@id": "dtmi:test:Pump;1",
    "@type": "Interface",
    "displayName": "Pump",
    "contents": [
        {"@type": "Property", "name": "mode", "schema": MODE, "writable": True},
        {"@type": "Property", "name": "service", "schema": SERVICE},
        {"@type": "Property", "name": "installed", "schema": "date"},
        {"@type": "Component", "name": "drive", "schema": "dtmi:test:Drive;1"},
        {
            "@type": "Relationship",
            "name": "feeds",
            "target": "dtmi:test:Vessel;1",
            "maxMultiplicity": 1,
            "properties": [{"@type": "Property", "name": "share", "schema": "double"}],
        },
    ],
}
VESSEL = {
    "@context": QUANTITIES,
    "@id": "dtmi:test:Vessel;1",
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "name", "schema": "string"},
        {"@type": ["Property", "Length"], "name": "height", "schema": "double", "unit": "metre"},
        {"@type": "Telemetry", "name": "full", "schema": "boolean"},
    ],
}
PLANT = """
[plant]
id = "machine"

[[device]]
id = "plc"
protocol = "wire"
endpoint = "wire://here"

[[twin]]
id = "pump"
interface = "dtmi:test:Pump;1"
name = "Feed pump"
at = [1, 2]

[[twin]]
id = "tank"
interface = "dtmi:test:Vessel;1"
name = "Day tank"

[[relationship]]
source = "pump"
name = "feeds"
target = "tank"
"""
POINTS = """point,device,address,type,unit,scale,access,audit,low,high,deadband
pump.mode,plc,a1,enum,,,rw,no,,,
pump.service,plc,a2,object,,,r,no,,,
pump.installed,plc,a3,string,,,r,no,,,
pump.drive.speed,plc,a4,double,rps,,r,no,0,3000,1%
pump.drive.starts,plc,a5,integer,,,r,no,,,
tank.height,plc,a6,double,cm,1,r,no,,,0.01
tank.full,plc,a7,boolean,,,r,no,,,
"""


def write_machine(folder: Path, plant: str = PLANT, points: str = POINTS) -> Path:
    (folder / "interfaces").mkdir(exist_ok=True)
    (folder / "interfaces/pump.json").write_text(json.dumps([PUMP, DRIVE], indent=1))
    (folder / "interfaces/vessel.json").write_text(json.dumps(VESSEL, indent=1))
    (folder / "plant.toml").write_text(plant)
    (folder / "points.csv").write_text(points)
    return folder


def machine(folder: Path) -> Plant:
    return load_plant(write_machine(folder), RULES)
