"""From what changed to what is to be written: three sides become edits of a plant; pure, must not know files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from control.discover_difference import ROW_ASPECTS, Bound, Change, Difference
from control.discover_draft import Draft, Known, Row, draft, interface_field, range_in
from control.discover_names import named
from control.discover_said import Said, number
from protocols.discovery import Found, FoundValue, Path, path_text
from twin.graph import PART_OF
from twin.interface import Field
from twin.plant import Plant
from twin.units import UNITS

SHARED = "kept: other points of the Interface have the same property; change them together by hand"


@dataclass(frozen=True, slots=True)
class Edits:
    """What is to be written into the plant of one device.

    Attributes:
        cells: of points.csv, by point and column.
        removed: points whose rows go; twins that go with them.
        replaced: Properties to declare anew, by Interface.
    """

    difference: Difference
    draft: Draft
    cells: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    removed_twins: tuple[str, ...] = ()
    replaced: Mapping[str, tuple[Field, ...]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.draft.rows or self.cells or self.removed or self.replaced)


def merged(
    device: str,
    found: Found,
    plant: Plant | None,
    before: Mapping[str, Said],
    rows: Mapping[str, Bound],
    change: Difference,
    prune: bool,
) -> Edits:
    """The edits that a difference asks for.

    Args:
        before, rows: what the device said last and the plant's rows of it, by address.
    """
    values = {v.address: v for v in found.values}
    known = _known(device, found, plant, before, rows)
    wanted = [values[a] for a in change.added if a in values]
    made = draft(device, found, wanted, known)
    changed, cells, replaced = _applied(change.changed, values, plant, rows)
    removed = tuple(g.point for g in change.gone if g.point) if prune else ()
    return Edits(
        replace(change, changed=tuple(changed)),
        made,
        cells,
        removed,
        _left_empty(plant, removed) if plant is not None else (),
        replaced,
    )


# --- what the plant knows --------------------------------------------------------------------------------------------


def _known(
    device: str, found: Found, plant: Plant | None, before: Mapping[str, Said], rows: Mapping[str, Bound]
) -> Known:
    if plant is None:
        return Known()
    links = {d.id for d in plant.devices}
    twins = {t.id: t.interface for t in plant.twins if t.id not in links}
    return Known(
        twins=twins,
        twin_of=_twin_of(found, plant, before, rows, twins),
        interfaces=plant.interfaces,
        contains=frozenset((r.source, r.target) for r in plant.relationships if r.name in PART_OF),
        points=frozenset(p for p in plant.point_of_name),
        taken=frozenset((*twins, *links)),
    )


def _twin_of(
    found: Found, plant: Plant, before: Mapping[str, Said], rows: Mapping[str, Bound], twins: Mapping[str, str]
) -> dict[Path, str]:
    """The twin of each thing: where its points are, else what contains its parts, else what its name would give."""
    thing_of = {v.address: v.thing for v in found.values} | {a: s.thing_path for a, s in before.items()}
    votes: dict[Path, Counter[str]] = {}
    for address, row in rows.items():
        twin = row.point.partition(".")[0]
        if address in thing_of and twin in twins:
            votes.setdefault(thing_of[address], Counter())[twin] += 1
    twin_of = {path: count.most_common(1)[0][0] for path, count in votes.items()}
    paths = sorted({t.path for t in found.things} | set(votes), key=len, reverse=True)
    whole = {r.target: r.source for r in plant.relationships if r.name in PART_OF}
    for path in paths:  # the deepest first, so that names given by people are followed upwards
        inner = twin_of.get(path)
        around = path[:-1]
        if inner is not None and around and around not in twin_of and whole.get(inner) in twins:
            twin_of[around] = whole[inner]
    if before:
        ids = named((path_text(p), "_".join(p)) for p in paths if p)
        used = set(twin_of.values())
        for path in paths:
            name = ids.get(path_text(path), "")
            if path not in twin_of and name in twins and name not in used:
                twin_of[path] = name
    return twin_of


def _left_empty(plant: Plant, removed: Sequence[str]) -> tuple[str, ...]:
    """Twins that lose their last point, and those that then contain nothing; what else is tied to a twin keeps it."""
    gone = set(removed)
    points: Counter[str] = Counter(p.twin for p in plant.points if p.name not in gone)
    touched = {name.partition(".")[0] for name in removed}
    tied = {end for r in plant.relationships if r.name not in PART_OF for end in (r.source, r.target)}
    parts = {(r.source, r.target) for r in plant.relationships if r.name in PART_OF}
    empty: set[str] = set()
    while touched:
        now = {t for t in touched if not points[t] and t not in tied and not any(s == t for s, _ in parts)}
        empty |= now
        touched = {source for source, target in parts if target in now}
        parts = {(s, t) for s, t in parts if t not in now}
    return tuple(sorted(empty))


# --- what the device changed -----------------------------------------------------------------------------------------


def _applied(
    changes: Sequence[Change], values: Mapping[str, FoundValue], plant: Plant | None, rows: Mapping[str, Bound]
) -> tuple[list[Change], dict[str, dict[str, str]], dict[str, tuple[Field, ...]]]:
    """The changes with what became of them, the cells they change, and the Properties that must be declared anew."""
    cells: dict[str, dict[str, str]] = {}
    fields: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        if not change.point or change.kept or plant is None:
            continue
        if change.what == "address":
            cells.setdefault(change.point, {})["address"] = change.after
        elif change.what in ("type", "values") or (change.what == "unit" and _other_dimension(change)):
            point = plant.point(change.point)
            interface = plant.twin(point.twin).interface
            fields.setdefault((interface, point.property), []).append(change)
        elif change.what in ROW_ASPECTS:
            cells.setdefault(change.point, {})[change.what] = change.after
    replaced: dict[str, tuple[Field, ...]] = {}
    kept: set[Change] = set()
    for (interface, name), asked in fields.items():
        assert plant is not None
        if _all_agree(plant, interface, name, asked, values):
            value = values[asked[0].address]
            there = plant.interfaces[interface].fields[name]
            made = interface_field(name, value.schema, value.unit, there.writable or value.writable, there.words)
            replaced[interface] = (*replaced.get(interface, ()), made)
            for change in asked:
                if change.what in ROW_ASPECTS:
                    cells.setdefault(change.point, {})[change.what] = change.after
        else:
            kept |= set(asked)
    for name, changed in cells.items():
        _convert_range(name, changed, values, plant, rows)
    return [replace(c, kept=SHARED) if c in kept else c for c in changes], cells, replaced


def _other_dimension(change: Change) -> bool:
    return UNITS[change.before].dimension != UNITS[change.after].dimension


def _all_agree(
    plant: Plant, interface: str, name: str, asked: Sequence[Change], values: Mapping[str, FoundValue]
) -> bool:
    """Whether a Property may be declared anew: it is the Interface's own, and every point of it changes alike."""
    declared = plant.interfaces[interface]
    if name not in declared.own or any(interface in i.extends for i in plant.interfaces.values()):
        return False
    bound = {
        p.name for t in plant.twins if t.interface == interface for p in plant.points if p.name == f"{t.id}.{name}"
    }
    found = {(values[c.address].schema, values[c.address].unit) for c in asked}
    return bound == {c.point for c in asked} and len(found) == 1


def _convert_range(
    point: str,
    changed: dict[str, str],
    values: Mapping[str, FoundValue],
    plant: Plant | None,
    rows: Mapping[str, Bound],
) -> None:
    """Ranges stand in the Interface's unit, the device's in its own."""
    value = next((values[a] for a, r in rows.items() if r.point == point and a in values), None)
    if plant is None or value is None or not {"low", "high"} & changed.keys():
        return
    low, high = range_in(value, plant.point(point).unit)
    for what, bound in (("low", low), ("high", high)):
        if what in changed:
            changed[what] = number(bound)


def cells_of(row: Row, device: str) -> dict[str, str]:
    """A new row of points.csv."""
    value = row.value
    return {
        "point": row.point, "device": device, "address": value.address, "type": value.type, "unit": row.unit,
        "scale": number(value.scale, 1.0), "access": row.access, "audit": "", "low": number(row.low),
        "high": number(row.high),
    }  # fmt: skip
