"""The running graph as callers read it: one twin with its values, a page of twins, ETags; must not change anything."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control.api import wire
from twin.columns import NEVER, Columns
from twin.errors import BadRequest
from twin.graphfile import plain_value
from twin.interface import kind_of
from twin.plant import Plant, Relationship, Twin
from twin.points import CHUNK, Point
from twin.quality import BAD_WAITING_FOR_INITIAL_DATA, is_good
from twin.quality import name as quality_name

TWINS_MAX = 1_000  # of one page
RELATIONSHIPS_MAX = 1_000  # of one twin in one answer, each way
UNKNOWN = BAD_WAITING_FOR_INITIAL_DATA
"""What a kept value is before it was ever said, and again once it is removed."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Empty is any."""

    interface: str = ""
    kind: str = ""

    def fits(self, twin: Twin) -> bool:
        return self.interface in ("", twin.interface) and self.kind in ("", kind_of(twin.interface))


def prepare(plant: Plant) -> None:
    """Make what pages and records look things up in."""
    _ = plant.twin_of_id, plant.twin_ids, plant.relationships_from, plant.relationships_to, plant.device_of_id


def page(plant: Plant, wanted: Filter, limit: int, cursor: str) -> wire.TwinPage:
    """Twins in order of id, after the cursor's. Twins that come or go meanwhile move no other.

    Raises:
        BadRequest: no cursor of this filter.
    """
    ids = plant.twin_ids
    found: list[wire.TwinRow] = []
    for identity in ids[bisect_right(ids, _after(wanted, cursor)) :] if cursor else ids:
        twin = plant.twin_of_id[identity]
        if wanted.fits(twin):
            if len(found) == limit:
                return wire.TwinPage(found, _cursor(wanted, found[-1].id))
            found.append(_row(plant, twin))
    return wire.TwinPage(found, None)


def _cursor(wanted: Filter, last: str) -> str:
    text = json.dumps([wanted.interface, wanted.kind, last], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _after(wanted: Filter, cursor: str) -> str:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        interface, kind, last = json.loads(text)
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise BadRequest(f"cursor {cursor[:80]!r}", "give `next` of the page before") from None
    if Filter(interface, kind) != wanted or not isinstance(last, str):
        raise BadRequest("the cursor belongs to another filter", "start without a cursor")
    return last


def _row(plant: Plant, twin: Twin) -> wire.TwinRow:
    at = None if twin.at is None else list(twin.at)
    return wire.TwinRow(twin.id, twin.interface, kind_of(twin.interface), twin.name, at, origin(plant, twin.id))


def origin(plant: Plant, twin_id: str) -> str:
    return "api" if twin_id in plant.added.twins else "plant"


def record(plant: Plant, columns: Columns, desired: Mapping[int, float], twin_id: str) -> wire.TwinRecord:
    """One twin as it is now.

    Raises:
        NotFound: no twin has that id.
    """
    twin = plant.twin(twin_id)
    points = {p.property: p for p in points_of(plant, twin_id)}
    interface = plant.interfaces.get(twin.interface)
    fields = interface.fields if interface is not None else {}
    names = [*fields, *(n for n in points if n not in fields)]
    out, into = plant.relationships_from.get(twin_id, ()), plant.relationships_to.get(twin_id, ())
    row = _row(plant, twin)
    return wire.TwinRecord(
        row.id, row.interface, row.kind, row.name, row.at, row.origin,
        {n: _value(plant, columns, desired, points.get(n), fields[n].kind if n in fields else "Telemetry",
                   fields[n].unit if n in fields else "") for n in names},
        [_relationship(plant, r) for r in out[:RELATIONSHIPS_MAX]],
        [_relationship(plant, r) for r in into[:RELATIONSHIPS_MAX]],
        len(out) > RELATIONSHIPS_MAX or len(into) > RELATIONSHIPS_MAX,
        etag(plant, columns, twin_id),
    )  # fmt: skip


def _relationship(plant: Plant, r: Relationship) -> wire.TwinRelationship:
    return wire.TwinRelationship(r.source, r.name, r.target, "api" if r in plant.added.relationships else "plant")


def _value(
    plant: Plant, columns: Columns, desired: Mapping[int, float], point: Point | None, kind: str, unit: str
) -> wire.TwinProperty:
    if point is None:  # declared, and nothing reports it: it gets a point when a value is first kept
        return wire.TwinProperty(
            None, None, unit, quality_name(UNKNOWN), False, None, 0, None, False, kind == "Property"
        )
    i = point.id
    quality, source = int(columns.quality[i]), int(columns.source_time[i])
    return wire.TwinProperty(
        value_of(point, columns), columns.text.get(i) or None, point.unit, quality_name(quality), is_good(quality),
        None if source == NEVER else source / 1e6, int(columns.revision[i]), desired.get(i), point.writable,
        kind == "Property" and is_kept(plant, point),
    )  # fmt: skip


def value_of(point: Point, columns: Columns) -> Any:
    """As JSON has it, and as a patch takes it; None when nothing is known."""
    if int(columns.quality[point.id]) == UNKNOWN:
        return None
    return plain_value(point, float(columns.value[point.id]), columns.text.get(point.id))


def is_kept(plant: Plant, point: Point) -> bool:
    return point.device == "" and point.twin not in plant.device_of_id


def points_of(plant: Plant, twin_id: str) -> list[Point]:
    return plant.points.some(plant.points.where("twin", twin_id))


def etag(plant: Plant, columns: Columns, twin_id: str) -> str:
    """Of all that callers can change: what the twin is, where it leads, when its kept values were said.

    Source times and not revisions, which start anew with the server: a tag never comes back for another state. What
    devices report is left out.

    Raises:
        NotFound: no twin has that id.
    """
    twin = plant.twin(twin_id)
    out = sorted((r.name, r.target) for r in plant.relationships_from.get(twin_id, ()))
    kept = sorted(
        (p.property, int(columns.source_time[p.id]))
        for p in points_of(plant, twin_id)
        if is_kept(plant, p) and columns.source_time[p.id] != NEVER
    )
    text = json.dumps([twin.id, twin.interface, twin.name, twin.at, out, kept])
    return f'"{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"'


def values(plant: Plant, columns: Columns) -> dict[str, Any]:
    """Point name -> value as JSON has it, of all points that have one."""
    return {p.name: v for p in _read_points(plant, columns) if (v := value_of(p, columns)) is not None}


def _read_points(plant: Plant, columns: Columns) -> Iterator[Point]:
    known: NDArray[np.intp] = np.flatnonzero((columns.quality != UNKNOWN) & ~plant.points.retired[: len(columns)])
    for start in range(0, len(known), CHUNK):
        yield from plant.points.some(known[start : start + CHUNK].astype(np.int32))
