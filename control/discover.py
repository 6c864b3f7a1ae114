"""One search of a device, from its endpoint to a plant folder: asks, compares, writes; decides nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from control import discover_edit as edit
from control import discover_said
from control.discover_difference import Bound, Difference, difference
from control.discover_draft import Growth
from control.discover_folder import PlantFolder, open_folder, write
from control.discover_merge import Edits, cells_of, merged
from control.discover_names import named, plain
from control.discover_said import Said
from protocols.catalog import PROTOCOLS
from protocols.discovery import Found, FoundValue, Path, without_password
from twin.errors import Conflict, NotFound
from twin.interface import kind_of
from twin.plant import Device, Plant
from twin.plantfile import PLANT_FILE

PLANT_ID_MAX = 64
NOTED_MAX = 3  # values of one thing whose equal notes stand one by one


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one search of one device found and did."""

    device: Device
    found: Found
    edits: Edits
    is_new: bool
    written: bool = False

    @property
    def difference(self) -> Difference:
        return self.edits.difference


@dataclass(slots=True)
class _Texts:
    """The plant's texts as they are to be."""

    target: PlantFolder
    made: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.made[name] if name in self.made else self.target.text(name)


def known(folder: FilePath, device: Device, is_named: bool, said: Mapping[str, Any]) -> Device:
    """The device as the plant in the folder has it already: its id where none was given, its user, its settings.

    Args:
        is_named: whether the device's id was given.
        said: settings that were given; they come before the plant's.

    Raises:
        BadPlant, Refused: the folder holds no sound plant.
    """
    plant = open_folder(folder).plant
    place = _place(device.endpoint)
    alike = (d for d in plant.devices if _place(d.endpoint) == place) if plant else iter(())
    there = plant.device_of_id.get(device.id) if plant and is_named else next(alike, None)
    if there is None or _place(there.endpoint) != place:
        return device
    endpoint = device.endpoint if "@" in device.endpoint else there.endpoint
    settings = {**there.settings, **{key: device.settings[key] for key in said}}
    return Device(there.id, there.protocol, endpoint, settings)


def compare(folder: FilePath, device: Device, found: Found, prune: bool) -> tuple[PlantFolder, Outcome]:
    """What the search means for the plant in the folder.

    Raises:
        Conflict: the plant has a device of this id that is another one.
        BadPlant, Refused: the folder holds no sound plant.
    """
    target = open_folder(folder)
    _check_same(target, device)
    before = _before(target, device.id)
    rows = _rows(target, device.id)
    change = difference(before, discover_said.said(found), rows, found.scope, found.complete, found.also)
    edits = merged(device.id, found, target.plant, before, rows, change, prune)
    is_new = target.plant is None or device.id not in target.plant.device_of_id
    return target, Outcome(device, found, edits, is_new)


def write_out(target: PlantFolder, outcome: Outcome) -> Outcome:
    """Write what the search means; nothing where it means nothing.

    Raises:
        NotFound: there would be nothing in a new plant.
        Refused: the plant would have mistakes; nothing was written.
    """
    if target.plant is None and not outcome.found.values:
        why = "; ".join(outcome.found.remarks) or "ask for more, or elsewhere"
        raise NotFound(f"{without_password(outcome.device.endpoint)} offers nothing that a point can carry", why)
    device, edits = outcome.device, outcome.edits
    texts = _Texts(target)
    _put_interfaces(texts, edits)
    texts.made[PLANT_FILE] = _plant_text(texts, outcome)
    sheet = edit.PointSheet.of(texts[target.sheet_file] or edit.new_sheet())
    texts.made[target.sheet_file] = sheet.edited(
        edits.cells, edits.removed, [cells_of(r, device.id) for r in edits.draft.rows], _remarks(target, outcome)
    )
    texts.made[target.said_file(device.id)] = discover_said.write(_said_now(target, outcome).values())
    changed = {name: text for name, text in texts.made.items() if text != target.text(name)}
    if changed:
        write(target, changed, without_password(device.endpoint) != device.endpoint)
    return replace(outcome, written=bool(changed))


def as_document(outcome: Outcome, folder: FilePath) -> dict[str, Any]:
    """The outcome for machines."""
    change, found = outcome.difference, outcome.found
    path = {v.address: "/".join(v.path) for v in found.values}
    point = {r.value.address: r.point for r in outcome.edits.draft.rows}
    return {
        "device": outcome.device.id,
        "protocol": outcome.device.protocol,
        "endpoint": without_password(outcome.device.endpoint),
        "folder": str(folder),
        "new": outcome.is_new,
        "written": outcome.written,
        "things": len(found.things),
        "values": len(found.values),
        "complete": found.complete,
        "added": [{"address": a, "path": path.get(a, ""), "point": point.get(a, "")} for a in change.added],
        "gone": [{"address": g.address, "path": g.path, "point": g.point} for g in change.gone],
        "changed": [
            {k: getattr(c, k) for k in ("address", "path", "point", "what", "before", "after", "kept")}
            for c in change.changed
        ],
        "left_out": list(change.left_out),
        "skipped": [{"address": s.address, "path": "/".join(s.path), "reason": s.reason} for s in found.skipped],
        "remarks": [*found.remarks, *outcome.edits.draft.remarks],
    }


# --- what the plant has ----------------------------------------------------------------------------------------------


def _check_same(target: PlantFolder, device: Device) -> None:
    there = target.plant.device_of_id.get(device.id) if target.plant else None
    if there is None:
        twins = target.plant.twin_of_id if target.plant else {}
        if device.id in twins:
            raise Conflict(f"{target.folder} has a twin {device.id!r}", "give the device another id with --device")
        return
    if there.protocol != device.protocol or _place(there.endpoint) != _place(device.endpoint):
        raise Conflict(
            f"device {device.id!r} of {target.folder} is {without_password(there.endpoint)}",
            "give --device another id, or mend the endpoint in plant.toml first",
        )


def _place(endpoint: str) -> str:
    """An endpoint without its user: people may have put one in."""
    scheme, _, rest = endpoint.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].rstrip('/')}"


def _before(target: PlantFolder, device: str) -> dict[str, Said]:
    name = target.said_file(device)
    text = target.text(name)
    return discover_said.read(text, str(target.folder / name)) if text else {}


def _rows(target: PlantFolder, device: str) -> dict[str, Bound]:
    """The plant's rows of a device, by address. Of two rows of one address the first counts."""
    if target.plant is None:
        return {}
    found: dict[str, Bound] = {}
    for point, line in edit.PointSheet.of(target.text(target.sheet_file)).rows.items():
        if line.cells.get("device") == device:
            found.setdefault(line.cells["address"], Bound(point, line.cells["address"], line.cells))
    return found


# --- what is written -------------------------------------------------------------------------------------------------


def _said_now(target: PlantFolder, outcome: Outcome) -> dict[str, Said]:
    """What the next search compares with: all that is there now, and what was not looked at or is not pruned yet."""
    now = discover_said.said(outcome.found)
    pruned = set(outcome.edits.removed)
    stays = {g.address for g in outcome.difference.gone if g.point and g.point not in pruned}
    if not outcome.found.complete or outcome.found.scope or outcome.found.also:
        lost = {g.address for g in outcome.difference.gone}
        stays |= {a for a in _before(target, outcome.device.id) if a not in lost}
    stays -= set(outcome.difference.moved or ())
    return {a: s for a, s in _before(target, outcome.device.id).items() if a in stays and a not in now} | now


def _put_interfaces(texts: _Texts, edits: Edits) -> None:
    folder, plant = texts.target.interfaces_folder, texts.target.plant
    taken = {p.stem for p in (texts.target.folder / folder).glob("*.json")}
    files = named(((i.id, kind_of(i.id)) for i in edits.draft.interfaces), taken)
    for interface in edits.draft.interfaces:
        texts.made[f"{folder}/{files[interface.id]}.json"] = edit.interface_text(interface)
    for identity in sorted({*edits.draft.growth, *edits.replaced, *edits.opened}):
        assert plant is not None
        name = plant.interfaces[identity].file
        growth = edits.draft.growth.get(identity, Growth())
        growth = replace(growth, writable=(*growth.writable, *edits.opened.get(identity, ())))
        texts.made[name] = edit.grown(texts[name], identity, growth, edits.replaced.get(identity, ()))


def _plant_text(texts: _Texts, outcome: Outcome) -> str:
    target, device, edits = texts.target, outcome.device, outcome.edits
    text = target.text(PLANT_FILE) or _head(target.folder)
    if target.plant is not None and edits.removed_twins:
        text = edit.without_tables(text, _doomed(target.plant, set(edits.removed_twins)))
    if not text.endswith("\n"):
        text += "\n"
    if outcome.is_new:
        settings = _settings(device)
        text += edit.toml_table(
            "device", {"id": device.id, "protocol": device.protocol, "endpoint": device.endpoint} | settings
        )
    for twin in edits.draft.twins:
        text += edit.toml_table("twin", {"id": twin.id, "interface": twin.interface, "name": twin.name})
    for source, part in edits.draft.contains:
        text += edit.toml_table("relationship", {"source": source, "name": "contains", "target": part})
    return text


def _head(folder: FilePath) -> str:
    name = plain(folder.resolve().name)[:PLANT_ID_MAX]
    return (
        "# Written by `twinloop discover`. Change what you like: a later search keeps it.\n"
        f"[plant]\nid = {edit.toml_text(name)}\nname = {edit.toml_text(folder.resolve().name)}\n"
    )


def _settings(device: Device) -> dict[str, Any]:
    """Those that are not the protocol's defaults."""
    defaults = PROTOCOLS[device.protocol].rules.settings
    return {k: v for k, v in device.settings.items() if v is not None and v != defaults[k].default}


def _doomed(plant: Plant, twins: set[str]) -> dict[str, set[int]]:
    """Indices of the tables of some twins and of their relationships."""
    links = {d.id for d in plant.devices}
    own = [t for t in plant.twins if t.id not in links]
    return {
        "twin": {i for i, t in enumerate(own) if t.id in twins},
        "relationship": {i for i, r in enumerate(plant.relationships) if {r.source, r.target} & twins},
    }


def _remarks(target: PlantFolder, outcome: Outcome) -> list[str]:
    """Comments for the sheet: what to know of values, and what no point can carry, where it was not said there before."""
    before = _before(target, outcome.device.id)
    noted: dict[tuple[Path, str], list[FoundValue]] = {}
    for value in outcome.found.values:
        if value.note and value.address not in before:
            noted.setdefault((value.thing, value.note), []).append(value)
    lines = []
    for (thing, note), values in noted.items():
        if len(values) > NOTED_MAX:
            lines.append(f"{'/'.join(thing)}, {len(values)} values: {note}")
        else:
            lines += [f"{'/'.join(v.path)}: {note}" for v in values]
    skipped = (s for s in outcome.found.skipped if s.address not in before)
    return [*lines, *(f"not read: {s.address} {'/'.join(s.path)}: {s.reason}" for s in skipped)]
