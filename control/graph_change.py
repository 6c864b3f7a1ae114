"""What an edit of the running graph comes to: the next plant, readings of kept values, and the change in words; pure.

Must not know disks, the event loop or HTTP.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from control.graph_view import UNKNOWN, is_kept, points_of, value_of
from protocols.believe import Unbelievable, twin_value
from twin.columns import NEVER, Columns
from twin.edit import AddTwin, ChangeTwin, Edit, KeepPoint, kept_point, tried
from twin.errors import BadRequest, Flaw, NotFound, Refused, TwinloopError, flawed
from twin.nearest import nearest
from twin.patch import merged
from twin.plant import Plant, Twin
from twin.points import Point
from twin.quality import GOOD
from twin.readings import Readings

MEMBERS = ("id", "interface", "name", "at", "properties")
NAME_MAX = 200  # characters: what fits a label


@dataclass(frozen=True, slots=True)
class Change:
    """Edits, and values to keep after them.

    Attributes:
        values: point name -> value as JSON has it; None: not known any more.
        path: where the values stood, "" where their place is their name.
    """

    edits: tuple[Edit, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True, slots=True)
class Worked:
    """The next plant (the same object where the graph stays), values for it, and every change as one line."""

    plant: Plant
    points: Sequence[Point]
    values: Sequence[tuple[float, str | None] | None]
    retired: Sequence[int]
    lines: Sequence[str]

    @property
    def digest(self) -> str:
        """SHA-256 of the lines, each with a line feed."""
        return hashlib.sha256("".join(f"{line}\n" for line in self.lines).encode()).hexdigest()


def place(said: Any, path: str = "at") -> tuple[float, float] | None:
    """
    Raises:
        BadRequest: neither null nor two finite numbers.
    """
    if said is None:
        return None
    if isinstance(said, list) and len(said) == 2 and all(type(c) in (int, float) and math.isfinite(c) for c in said):
        return float(said[0]), float(said[1])
    raise BadRequest(f"{path} = {str(said)[:80]}", "give two numbers, [x, y], or null")


def label(said: Any, default: str) -> str:
    """
    Raises:
        BadRequest: neither null nor a text that fits a label.
    """
    if said is None:
        return default
    if isinstance(said, str) and 0 < len(said) <= NAME_MAX:
        return said
    raise BadRequest(f"name {str(said)[:80]!r}", f"give a text of 1 … {NAME_MAX} characters, or null")


def patched(plant: Plant, columns: Columns, twin_id: str, patch: Any) -> Change:
    """What a JSON merge patch of a twin's document changes.

    Raises:
        NotFound: no such twin. BadRequest, Refused: it cannot be patched so.
    """
    twin = plant.twin(twin_id)
    if not isinstance(patch, dict):
        raise BadRequest("the patch is not an object", 'send {"name": …, "at": [x, y], "properties": {…}}')
    for key in patch:
        if key not in MEMBERS:
            raise BadRequest(f"a twin has no member {key[:80]!r}", nearest(key, MEMBERS) or "see docs/graph.md")
    for key, stays in (("id", twin.id), ("interface", twin.interface)):
        if patch.get(key, stays) != stays:
            raise Refused(f"the {key} of {twin_id} stays", "delete the twin and create it anew")
    properties = patch.get("properties", {})
    if not isinstance(properties, dict):
        raise BadRequest("properties is not an object", 'send {"properties": {"serial": "X1", "note": null}}')
    after = replace(
        twin,
        name=label(patch["name"], twin.id) if "name" in patch else twin.name,
        at=place(patch["at"]) if "at" in patch else twin.at,
    )
    nested = any(isinstance(v, dict) for v in properties.values())
    now = {p.property: value_of(p, columns) for p in points_of(plant, twin_id)} if nested else {}
    then = merged(now, properties)
    values = {f"{twin_id}.{name}": then.get(name) for name in properties}
    return Change((ChangeTwin(after),) if after != twin else (), values, "properties")


def worked_out(plant: Plant, change: Change) -> Worked:
    """
    Raises:
        BadGraph, or the kind of the only flaw.
    """
    fresh = {e.twin.id for e in change.edits if isinstance(e, AddTwin)}
    missing = [
        KeepPoint(name.partition(".")[0], name.partition(".")[2], _path(change, name))
        for name, value in change.values.items()
        if value is not None and name.split(".", 1)[0] not in fresh and plant.points.id_of(name) is None
    ]
    edits = (*change.edits, *missing)
    after, wrong = tried(plant, edits) if edits else (plant, ())
    flaws, told = list(wrong), {f.path for f in wrong}
    if after.added == plant.added and after.points is plant.points and after.twins == plant.twins:
        after = plant  # what was asked for is so already
    new = _new_ids(plant, after)
    points: list[Point] = []
    values: list[tuple[float, str | None] | None] = []
    for name, value in change.values.items():
        if _path(change, name) in told:
            continue
        try:
            point = _keepable(after, new, name)
            if point is not None:
                values.append(None if value is None else twin_value(point, value))
                points.append(point)
        except TwinloopError as error:
            flaws.append(Flaw(_path(change, name), error.message, error.hint, type(error)))
        except Unbelievable as error:
            flaws.append(Flaw(_path(change, name), error.detail, f"see the Interface of {name.split('.', 1)[0]}"))
    if flaws:
        raise flawed(flaws)
    gone = np.flatnonzero(after.points.retired[: plant.points.size] & ~plant.points.retired)
    lines = [*_described(plant, after), *(f"= {p.name} {_shown(v)}" for p, v in zip(points, values, strict=True))]
    return Worked(after, points, values, gone.tolist(), lines)


def _path(change: Change, name: str) -> str:
    return f"{change.path}.{name.split('.', 1)[1]}" if change.path else name


def _new_ids(before: Plant, after: Plant) -> dict[str, int]:
    """Point name -> id, of the points that are more."""
    old = before.points.size
    names = after.points.column("name").slice(old).to_pylist() if after.points.size > old else []
    return {name: old + n for n, name in enumerate(names)}


def _keepable(plant: Plant, new: Mapping[str, int], name: str) -> Point | None:
    """The point whose value people keep; None where there is no point yet, so that nothing is known of it.

    Raises:
        NotFound, Refused: no such Property, or a device reports it.
    """
    twin_id, property_name = name.split(".", 1)
    twin = plant.twin(twin_id)
    interface = plant.interfaces.get(twin.interface)
    of = interface.fields.get(property_name) if interface is not None else None
    if interface is None or of is None:
        if twin_id in plant.device_of_id:
            raise Refused(f"{twin_id} is a link, whose state Twinloop itself reports", "nobody writes it")
        fields = interface.fields if interface is not None else {}
        inside = [n for n in fields if n.startswith(f"{property_name}.")]
        fix = f"write {' or '.join(inside[:3])}" if inside else nearest(property_name, fields) or "see its Interface"
        raise NotFound(f"{twin_id} has no Property {property_name!r}", fix)
    point = kept_point(twin_id, of, new[name]) if name in new else plant.point_of_name.get(name)
    if point is not None and not is_kept(plant, point):
        fix = "commands change it: POST /api/v1/commands" if point.writable else "only its device changes it"
        raise Refused(f"{name} is reported by device {point.device}", fix)
    if of.kind == "Telemetry":
        raise Refused(
            f"{name} is Telemetry, and no device reports it", "bind it in points.csv; only Properties are kept"
        )
    return point


def readings_of(work: Worked, columns: Columns, now: int) -> Readings:
    """Of the values as said now, and of the points that end as no longer known.

    A reading is always later than what is held: two edits may fall into one instant of the clock.
    """
    size = len(columns)
    rows: list[tuple[int, float, int, int]] = []
    text: dict[int, str] = {}
    ended = [(i, None, -1) for i in work.retired]
    said = [(p.id, v, 0) for p, v in zip(work.points, work.values, strict=True)]
    for identity, value, lead in (*ended, *said):
        held = int(columns.source_time[identity]) if identity < size else NEVER
        if value is None and (held == NEVER or int(columns.quality[identity]) == UNKNOWN):
            continue
        if value is None or value[1] is not None:
            texts = identity < size and identity in columns.text
            if value is not None or texts:
                text[len(rows)] = "" if value is None else value[1] or ""
        number = math.nan if value is None else value[0]
        rows.append((identity, number, UNKNOWN if value is None else GOOD, max(now + lead, held + 1)))
    columns_of = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    return Readings.of(
        np.array(columns_of[0], np.int32), np.array(columns_of[1], np.float64), now,
        np.array(columns_of[2], np.uint32), np.array(columns_of[3], np.int64), text,
    )  # fmt: skip


def _described(before: Plant, after: Plant) -> Iterator[str]:
    """One line a change of the graph: `+` comes, `-` goes, `~` changes."""
    if before is after:
        return
    for identity in sorted(after.added.interfaces - before.added.interfaces):
        yield f"+ interface {identity}"
    for identity in sorted(before.added.twins - after.added.twins):
        yield f"- twin {identity}"
    for identity in sorted(after.added.twins):
        twin, old = after.twin_of_id[identity], before.twin_of_id.get(identity)
        if old is None:
            yield f"+ twin {identity} {twin.interface}"
        elif old != twin:
            yield f"~ twin {identity} {_of(old)} → {_of(twin)}"
    for sign, some in (
        ("-", before.added.relationships - after.added.relationships),
        ("+", after.added.relationships - before.added.relationships),
    ):
        yield from sorted(f"{sign} relationship {r.source} {r.name} {r.target}" for r in some)
    yield from (f"+ kept {name}" for name in sorted(after.added.kept - before.added.kept))


def _of(twin: Twin) -> str:
    return json.dumps({"interface": twin.interface, "name": twin.name, "at": twin.at}, ensure_ascii=False)


def _shown(value: tuple[float, str | None] | None) -> str:
    if value is None:
        return "unknown"
    number, text = value
    return f"{number:g}" if text is None else json.dumps(text, ensure_ascii=False)
