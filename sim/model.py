"""The [model] table of a plant, checked: which points read, set and start which network elements; must not run anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.epanet import QUANTITIES
from sim.epanet import network_ids as _network_ids
from twin.errors import BadRequest
from twin.plant import Plant, nearest
from twin.points import Point
from twin.units import UNITS as KNOWN_UNITS
from twin.units import conversion

INPUTS: Mapping[str, tuple[str, ...]] = {"node": ("level",), "link": ("status", "speed")}
"""What can be given to an element at the start; links take theirs at any time."""
# The network's own units, as symbols of twin.units.
UNITS: Mapping[str, str] = {
    "level": "m",
    "head": "m",
    "pressure": "mH2O",
    "flow": "L/s",
    "inflow": "L/s",
    "demand": "L/s",
    "power": "kW",
    "speed": "",
    "status": "",
}
STEP_MAX_S = 3600.0  # demand patterns change hourly in most networks; longer steps would miss them


@dataclass(frozen=True, slots=True)
class Channel:
    """One point's tie to the network: twin value = the element's quantity (or input) * factor."""

    point: str
    element: str
    id: str
    quantity: str
    factor: float
    sd: float = 0.0


@dataclass(frozen=True, slots=True)
class DemandBelief:
    """What is believed of the logarithm of the demand multiplier.

    Attributes:
        supply, storage: metered flows; total demand = sum of supply - sum of storage.
        level_sd: of the part that stays as it is.
        walk_sd: of the part that wanders, forgotten in `correlation_s`.
        measured_sd: of the multiplier measured from the metered flows.
    """

    supply: tuple[str, ...]
    storage: tuple[str, ...]
    level_sd: float
    walk_sd: float
    correlation_s: float
    measured_sd: float


@dataclass(frozen=True, slots=True)
class Model:
    """A plant's model, consistent with its points and its network file. Plain values: it travels to worker processes.

    Attributes:
        network: path of the EPANET input file.
        hash: SHA-256 over the table and the network file.
    """

    network: str
    hash: str
    clock: str
    step_s: int
    stale_after_s: float
    outputs: tuple[str, ...]
    energy: tuple[str, ...]
    demand: DemandBelief
    reads: Mapping[str, Channel]
    sets: Mapping[str, Channel]
    starts: Mapping[str, Channel]


def read_model(plant: Plant) -> Model:
    """The plant's model.

    Raises:
        BadRequest: the [model] table has mistakes; all of them are listed.
    """
    model, mistakes = parse_model(plant)
    if model is None:
        raise BadRequest(f"the model of {plant.id} has {len(mistakes)} mistake(s)\n" + "\n".join(mistakes))
    return model


def model_mistakes(plant: Plant) -> list[str]:
    """Every mistake of the [model] table of any kind, each naming the key and the fix."""
    if plant.model.get("kind") == "layout":
        from sim.layout_rows import parse_layout_model

        return parse_layout_model(plant)[1]
    return parse_model(plant)[1]


def parse_model(plant: Plant) -> tuple[Model | None, list[str]]:
    """The model and no mistakes, or None and every mistake."""
    sheet = _Sheet(plant, plant.model, [])
    kind = plant.model.get("kind")
    if kind != "epanet":
        return None, [f'model.kind is {kind!r}; write kind = "epanet" or "layout"']
    network = Path(plant.folder) / sheet.text("network", "model")
    known = _network_ids(network, sheet.mistakes)
    channels = _channels(sheet, known)
    if plant.clock is None:
        sheet.mistakes.append("plant.clock is missing; name the point that tells the plant's time")
    model = Model(
        network=str(network),
        hash=_hash(plant.model, network),
        clock=plant.clock or "",
        step_s=int(sheet.number("step_s", "model", plant.model, 1.0, STEP_MAX_S)),
        stale_after_s=sheet.number("stale_after_s", "model", plant.model, 0.1, 86_400.0),
        outputs=sheet.points("outputs", "model", plant.model, channels["reads"]),
        energy=sheet.names("energy", "model", plant.model),
        demand=_demand(sheet),
        reads=channels["reads"],
        sets=channels["sets"],
        starts=channels["start"],
    )
    for link in model.energy:
        if known and link not in known["link"]:
            sheet.mistakes.append(f"model.energy names link {link!r}; {_hint(link, known['link'])}")
    return (None, sheet.mistakes) if sheet.mistakes else (model, [])


@dataclass(slots=True)
class _Sheet:
    """The table as parsed and where its mistakes go."""

    plant: Plant
    table: Mapping[str, Any]
    mistakes: list[str] = field(default_factory=list)

    def text(self, key: str, place: str) -> str:
        value = self.table.get(key)
        if isinstance(value, str) and value:
            return value
        self.mistakes.append(f'{place}.{key} is {value!r}; write it as text: {key} = "…"')
        return ""

    def number(self, key: str, place: str, table: Mapping[str, Any], low: float, high: float) -> float:
        value = table.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        self.mistakes.append(f"{place}.{key} is {value!r}; write a number from {low:g} to {high:g}")
        return low

    def names(self, key: str, place: str, table: Mapping[str, Any]) -> tuple[str, ...]:
        value = table.get(key, [])
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            return tuple(value)
        self.mistakes.append(f'{place}.{key} is {value!r}; write a list of names: {key} = ["…"]')
        return ()

    def points(self, key: str, place: str, table: Mapping[str, Any], known: Mapping[str, Channel]) -> tuple[str, ...]:
        names = self.names(key, place, table)
        for name in names:
            if name not in known:
                self.mistakes.append(f"{place}.{key} names {name!r}, which no element reads; {_hint(name, known)}")
        return names


def twin_units(point: Point, quantity: str) -> float | None:
    """How many of the point's unit make one of the network's; None when they measure different things."""
    try:
        return conversion(KNOWN_UNITS[UNITS[quantity]], KNOWN_UNITS[point.unit])[0]
    except (ValueError, KeyError):
        return None


def _hint(name: str, known: Mapping[str, Any] | set[str]) -> str:
    return nearest(name, list(known)) or "add it or take it away"


def _demand(sheet: _Sheet) -> DemandBelief:
    table = sheet.table.get("demand")
    if not isinstance(table, dict):
        sheet.mistakes.append("model.demand is missing; add [model.demand] with supply, storage and the sds")
        table = {}
    place = "model.demand"
    known = sheet.plant.point_of_name
    for key in ("supply", "storage"):
        for name in sheet.names(key, place, table):
            if name not in known:
                sheet.mistakes.append(f"{place}.{key} names {name!r}, which is no point; {_hint(name, known)}")
            elif twin_units(known[name], "flow") is None:
                sheet.mistakes.append(f"{place}.{key} names {name!r}, which is no flow; take a point in L/s")
    return DemandBelief(
        supply=sheet.names("supply", place, table),
        storage=sheet.names("storage", place, table),
        level_sd=sheet.number("level_sd", place, table, 0.0, 1.0),
        walk_sd=sheet.number("walk_sd", place, table, 0.0, 1.0),
        correlation_s=sheet.number("correlation_s", place, table, 1.0, 1e7),
        measured_sd=sheet.number("measured_sd", place, table, 0.0, 1.0),
    )


def _channels(sheet: _Sheet, known: Mapping[str, set[str]]) -> dict[str, dict[str, Channel]]:
    """Per section (`reads`, `sets`, `start`) every point that a row ties to an element."""
    found: dict[str, dict[str, Channel]] = {"reads": {}, "sets": {}, "start": {}}
    rows = sheet.table.get("element", [])
    if not isinstance(rows, list) or not rows:
        sheet.mistakes.append("model.element is missing; add [[model.element]] rows with twins, element and reads")
        rows = []
    for number, row in enumerate(rows, 1):
        place = f"model.element {number}"
        if not isinstance(row, dict):
            sheet.mistakes.append(f"{place} is {row!r}; write it as [[model.element]]")
            continue
        element, pattern = row.get("element"), row.get("twins")
        if not isinstance(element, str) or element not in QUANTITIES:
            sheet.mistakes.append(f'{place}.element is {element!r}; write "node" or "link"')
            continue
        ids = _twin_ids(sheet.plant, pattern) if isinstance(pattern, str) else {}
        if not ids:
            sheet.mistakes.append(f'{place}.twins is {pattern!r}, which no twin is called; write "tank_*" or one id')
        for twin, starred in ids.items():
            _tie(sheet, place, row, twin, str(row.get("id", starred)), known, found)
    return found


def _twin_ids(plant: Plant, pattern: str) -> dict[str, str]:
    """Twin id -> what the star of the pattern stands for."""
    head, star, tail = pattern.partition("*")
    if not star:
        return {t.id: t.id for t in plant.twins if t.id == pattern}
    fits: Callable[[str], bool] = lambda t: t.startswith(head) and t.endswith(tail) and len(t) > len(head + tail)  # noqa: E731
    return {t.id: t.id[len(head) : len(t.id) - len(tail)] for t in plant.twins if fits(t.id)}


def _tie(
    sheet: _Sheet,
    place: str,
    row: Mapping[str, Any],
    twin: str,
    identity: str,
    known: Mapping[str, set[str]],
    found: dict[str, dict[str, Channel]],
) -> None:
    element = str(row["element"])
    if known and identity not in known[element]:
        hint = _hint(identity, known[element])
        sheet.mistakes.append(f"{place}: the network has no {element} {identity!r} for {twin}; {hint}")
        return
    for section, ties in found.items():
        allowed = QUANTITIES[element] if section == "reads" else INPUTS[element]
        for name, quantity in _entries(sheet, place, section, row.get(section, {})):
            point = sheet.plant.point_of_name.get(f"{twin}.{name}")
            if point is None:
                hint = _hint(f"{twin}.{name}", sheet.plant.point_of_name)
                sheet.mistakes.append(f"{place}.{section}: {twin}.{name} is no point; {hint}")
            elif quantity not in allowed:
                sheet.mistakes.append(f"{place}.{section}.{name} is {quantity!r}; one of {', '.join(allowed)}")
            elif section == "sets" and not point.writable:
                sheet.mistakes.append(f"{place}.sets: {point.name} is not writable; give it access rw")
            else:
                _add(sheet, place, ties, point, element, identity, quantity, row.get("sd", 0.0))


def _entries(sheet: _Sheet, place: str, section: str, table: object) -> list[tuple[str, str]]:
    """The entries property -> quantity of one section of a row."""
    if isinstance(table, dict) and all(isinstance(quantity, str) for quantity in table.values()):
        return list(table.items())
    sheet.mistakes.append(f'{place}.{section} is {table!r}; write {section} = {{ property = "quantity" }}')
    return []


def _add(
    sheet: _Sheet,
    place: str,
    ties: dict[str, Channel],
    point: Point,
    element: str,
    identity: str,
    quantity: str,
    sd: object,
) -> None:
    factor = twin_units(point, quantity)
    if factor is None:
        unit = UNITS[quantity]
        sheet.mistakes.append(f"{place}: {point.name} is in {point.unit!r}; {quantity} needs a unit like {unit!r}")
    elif not isinstance(sd, int | float) or isinstance(sd, bool) or not sd >= 0:
        sheet.mistakes.append(f"{place}.sd is {sd!r}; write a standard deviation in the points' unit")
    elif point.name in ties:
        sheet.mistakes.append(f"{place}: {point.name} is tied twice; remove one of the rows")
    else:
        ties[point.name] = Channel(point.name, element, identity, quantity, factor, float(sd))


def _hash(table: Mapping[str, Any], network: Path) -> str:
    digest = hashlib.sha256(json.dumps(table, sort_keys=True, default=str).encode())
    digest.update(network.read_bytes() if network.is_file() else b"")
    return digest.hexdigest()
