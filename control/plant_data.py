"""A plant's history as records of devices: each twin a device, its points columns, on one grid of moments.

Asks in SQL as `twinloop query` does, so a running server and a stopped one's files answer alike. Must not know models.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control import offline
from ml.records import DataSet, Record
from twin.errors import BadRequest, LimitExceeded, NotFound, WrongUnit
from twin.nearest import nearest

CELLS_AT_ONCE = 200_000  # values in one answer: a few MB, far below what an answer may hold
CELLS_MAX = 400_000_000  # 3 GB of numbers
POINTS_MAX = 100_000  # rows of one answer
SILENT_STEPS = 10  # steps without one reading from the whole plant: nobody listened
SILENT_LEAST_S = 60.0
NS = 1e9
Ask = Callable[[str], dict[str, Any]]
Told = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a plant is wanted.

    Attributes:
        twins: pattern of their names, such as `pump_*`.
        interface: only twins of this type: its whole identifier, or its name (`Pump`); "" for any.
        columns: properties; empty for every number that all those twins have.
        every_s: step of the grid. start_ns, end_ns: its ends; 0 for all there is.
    """

    twins: str
    interface: str
    columns: tuple[str, ...]
    every_s: float
    start_ns: int = 0
    end_ns: int = 0


def read(data: Path, asked: Asked, told: Told) -> DataSet:
    """Of each step the newest reading before it, NaN where that was not good, or while nobody listened to the plant.

    Raises:
        NotFound: no such twins. BadRequest: twins of several types, no common column, an empty time.
        LimitExceeded: more values than fit in memory. Unavailable: no server, and no history.
    """

    def ask(sql: str) -> dict[str, Any]:
        return offline.ask(data, sql, POINTS_MAX)

    points, known = _points(ask, asked)
    twins = {twin: None for twin, _ in points.values()}
    columns = _columns(points, list(twins), asked)
    units = _one_unit(points, known, columns)
    wanted = {name: place for name, place in points.items() if place[1] in columns}
    grid = _grid(ask, list(wanted), asked)
    values = {twin: np.full((len(grid), len(columns)), np.nan) for twin in twins}
    for (twin, column), held in zip(
        wanted.values(), series(ask, list(wanted), grid, asked.every_s, told).T, strict=True
    ):
        values[twin][:, columns.index(column)] = held
    names = tuple(columns)
    records = tuple(Record(twin, grid / NS, each) for twin, each in values.items())
    return DataSet(names, records, tuple(units.get(n, "") for n in names))


def series(ask: Ask, points: Sequence[str], grid: NDArray[np.int64], every_s: float, told: Told) -> NDArray[np.float64]:
    """Of each point the newest reading by each moment of a grid in ns, NaN where it was not good or nobody listened.

    Shape (len(grid), len(points)).

    Raises:
        LimitExceeded: more values than fit in memory.
    """
    if len(grid) * len(points) > CELLS_MAX:
        raise LimitExceeded(
            f"{len(grid)} steps of {len(points)} points", "a coarser --every, fewer --columns, or --from"
        )
    place = {name: k for k, name in enumerate(points)}
    values = np.full((len(grid), len(points)), np.nan)
    step = max(1, CELLS_AT_ONCE // len(points))
    for first in range(0, len(grid), step):
        told(first / len(grid), "reading history")
        part = grid[first : first + step]
        for name, held in _held(ask, points, part):
            values[first : first + len(part), place[name]] = held
    _leave_silence(ask, grid, every_s, values)
    return values


def _points(ask: Ask, asked: Asked) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """(twin, property) of each point's name, and its unit."""
    found = ask("SELECT name, twin, property, unit, device FROM points ORDER BY name")
    by_devices = any(device for *_, device in found["rows"])  # a stopped server's files do not know them
    chosen = {
        name: (twin, prop)
        for name, twin, prop, _, device in found["rows"]
        if prop and fnmatch.fnmatchcase(twin, asked.twins) and (device or not by_devices or prop in asked.columns)
    }
    twins = {twin for twin, _ in chosen.values()}
    types = _types(ask, asked) if twins else {}
    if asked.interface:
        chosen = {n: p for n, p in chosen.items() if p[0] in types and _is(types[p[0]], asked.interface)}
        if not chosen and types:
            known = sorted({_short(kind) for kind in types.values()})
            raise NotFound(f"no twin of type {asked.interface!r}", nearest(asked.interface, known) or ", ".join(known))
    elif len({types[t] for t in twins if t in types}) > 1:
        several = sorted({_short(types[t]) for t in twins if t in types})
        raise BadRequest(f"twins of {len(several)} types: {', '.join(several[:9])}", "name one by --type, or --twins")
    if not chosen:
        raise NotFound(f"no twin {asked.twins!r} with points in the history", "see `twinloop twin list`")
    return chosen, {name: unit or "" for name, _, _, unit, _ in found["rows"] if name in chosen}


def _one_unit(points: dict[str, tuple[str, str]], units: dict[str, str], columns: Sequence[str]) -> dict[str, str]:
    """The unit of each column.

    Raises:
        WrongUnit: twins have it in several.
    """
    found: dict[str, tuple[str, str]] = {}
    for name, (twin, prop) in points.items():
        unit = units[name]
        if prop not in columns or not unit:
            continue
        other, known = found.setdefault(prop, (twin, unit))
        if known != unit:
            raise WrongUnit(
                f"{prop} is in {known} of {other}, in {unit} of {twin}", "narrow --twins, or leave it out by --columns"
            )
    return {prop: unit for prop, (_, unit) in found.items()}


def _types(ask: Ask, asked: Asked) -> dict[str, str]:
    """Interface of each twin; a stopped server's files do not know it."""
    try:
        return dict(ask("SELECT id, interface FROM twins")["rows"])
    except BadRequest:
        if asked.interface:
            raise BadRequest(f"--type {asked.interface} needs a running server", "or name twins by --twins") from None
        return {}


def _short(interface: str) -> str:
    return interface.rpartition(":")[2].partition(";")[0]


def _is(interface: str, asked: str) -> bool:
    return asked in (interface, _short(interface))


def _columns(points: dict[str, tuple[str, str]], twins: list[str], asked: Asked) -> list[str]:
    there = set(points.values())
    props = list(dict.fromkeys(prop for _, prop in points.values()))
    for name in asked.columns:
        if name not in props:
            raise BadRequest(f"no point {name!r} of these twins", nearest(name, props) or ", ".join(props[:20]))
    common = [p for p in props if all((twin, p) in there for twin in twins)]
    columns = list(asked.columns) or common
    if not columns:
        raise BadRequest(f"{len(twins)} twins have no point in common", "narrow --twins or --type, or give --columns")
    return columns


def _grid(ask: Ask, points: Sequence[str], asked: Asked) -> NDArray[np.int64]:
    """Moments in nanoseconds."""
    sql = f"SELECT epoch_ns(min(source_time)), epoch_ns(max(source_time)) FROM history WHERE point IN ({_list(points)})"
    first, last = ask(sql)["rows"][0]
    if first is None:
        raise BadRequest("these points have no history", "let the server run for a while")
    if asked.every_s <= 0:
        raise BadRequest(f"a grid of {asked.every_s:g} s", "such as --every 10s")
    every = int(asked.every_s * NS)
    start = asked.start_ns or math.ceil(first / every) * every
    end = min(asked.end_ns or last, last)
    if end < start:
        raise BadRequest("no history in that time", f"there is from {_moment(first)} to {_moment(last)}")
    return np.arange(start, end + 1, every, dtype=np.int64)


def _held(ask: Ask, points: Sequence[str], grid: NDArray[np.int64]) -> list[tuple[str, NDArray[np.float64]]]:
    """Of each point the value at each moment: the newest reading by then, if it was good.

    The newest one of each step in SQL, which a hash does in one pass (an ASOF join of 4,000 moments takes 20 times as
    long), what stands from step to step here.
    """
    at, step = "CASE WHEN noticed THEN received_time ELSE source_time END", _step(grid)
    sql = f"""
        WITH said AS (SELECT point, epoch_ns({at}) AS t,
            CASE WHEN quality >> 30 = 0 AND value IS NOT NULL THEN value ELSE 'nan'::DOUBLE END AS value FROM history
          WHERE point IN ({_list(points)}) AND {at} <= make_timestamp_ns({grid[-1]})),
        newest AS (SELECT point, CASE WHEN t > {grid[0]} THEN (t - {grid[0]} + {step - 1}) // {step} ELSE 0 END AS step,
            arg_max(value, t) AS value
          FROM said GROUP BY 1, 2)
        SELECT point, list(step ORDER BY step), list(CASE WHEN isnan(value) THEN NULL ELSE value END ORDER BY step)
        FROM newest GROUP BY point
    """
    return [(name, _standing(steps, values, len(grid))) for name, steps, values in ask(sql)["rows"]]


def _standing(steps: Sequence[int], values: Sequence[float | None], count: int) -> NDArray[np.float64]:
    """What stands at each of `count` steps when each value stands until the next."""
    known = np.array([math.nan, *values], np.float64)  # before the first: nothing
    found: NDArray[np.float64] = known[np.searchsorted(steps, np.arange(count), side="right")]
    return found


def _leave_silence(ask: Ask, grid: NDArray[np.int64], every_s: float, values: NDArray[np.float64]) -> None:
    """History keeps changes, so a value stands until the next; but not while the server was off."""
    longest = max(SILENT_LEAST_S, SILENT_STEPS * every_s)
    sql = f"""
        WITH heard AS (SELECT DISTINCT received_time AS t FROM history),
        gaps AS (SELECT epoch_ns(lag(t) OVER (ORDER BY t)) AS a, epoch_ns(t) AS b FROM heard)
        SELECT a, b FROM gaps WHERE b - a > {int(longest * NS)} ORDER BY a
    """
    for first, last in ask(sql)["rows"]:
        off = (grid > first + longest * NS) & (grid < last)
        values[off] = np.nan


def _step(grid: NDArray[np.int64]) -> int:
    return int(grid[1] - grid[0]) if len(grid) > 1 else 1


def _list(names: Sequence[str]) -> str:
    return ", ".join("'" + name.replace("'", "''") + "'" for name in names)


def _moment(ns: int) -> str:
    return datetime.fromtimestamp(ns / NS, UTC).isoformat(" ", "seconds")
