"""Which faults befall which devices and when: kinds, schedules from a seed or a sheet; pure, acts on nothing."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from twin.errors import BadRequest
from twin.nearest import nearest
from twin.plant import Plant
from twin.quality import BAD_DEVICE_FAILURE, BAD_SENSOR_FAILURE

FAULTS_MAX = 10_000  # of one schedule: five a minute for a day and more, each a waiting task of the fleet
SPAN_UNBOUNDED = 100.0  # span of a point without a range, in its unit: as wide as percent


class Kind(StrEnum):
    """What goes wrong; KINDS says how."""

    DROP = "drop"
    DELAY = "delay"
    STALL = "stall"
    HALF_OPEN = "half_open"
    GARBAGE = "garbage"
    RESTART = "restart"
    LOSE = "lose"
    REFUSE_WRITES = "refuse_writes"
    FREEZE = "freeze"
    DRIFT = "drift"
    SPIKE = "spike"
    BAD_QUALITY = "bad_quality"


class Scope(StrEnum):
    """Where a fault acts: on the cable in front of a device, on the device as a whole, on what its points read."""

    CABLE = "cable"
    DEVICE = "device"
    POINTS = "points"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of a fault. A seeded schedule draws it from `drawn`, evenly; `low` … `high` is what is allowed."""

    default: float
    low: float
    high: float
    drawn: tuple[float, ...]
    help: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of fault is.

    Attributes:
        lasts_s: shortest and longest duration that a seeded schedule draws.
    """

    scope: Scope
    lasts_s: tuple[float, float]
    help: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


_SHARES = (0.2, 0.5, 1.0)

KINDS: Mapping[Kind, Rule] = {
    Kind.DROP: Rule(Scope.CABLE, (0.5, 20.0), "connections are reset, and new ones too"),
    Kind.DELAY: Rule(
        Scope.CABLE, (5.0, 60.0), "everything that passes takes longer, in order, both ways",
        {
            "latency_s": Parameter(0.2, 0.0, 60.0, (0.02, 0.1, 0.3), "seconds that a piece takes longer"),
            "jitter_s": Parameter(0.0, 0.0, 60.0, (0.0, 0.05, 0.2), "up to so many more, by chance"),
        },
    ),
    Kind.STALL: Rule(Scope.CABLE, (0.5, 15.0), "nothing passes and nothing is lost: at the end all of it comes late"),
    Kind.HALF_OPEN: Rule(
        Scope.CABLE, (1.0, 20.0), "connections stay open, what is sent vanishes; connections that lost something are "
        "reset at the end",
    ),
    Kind.GARBAGE: Rule(
        Scope.CABLE, (1.0, 15.0), "what the device says arrives as random bytes; connections that were hit are reset "
        "at the end",
        {"share": Parameter(0.5, 0.0, 1.0, _SHARES, "of the pieces that are hit")},
    ),
    Kind.RESTART: Rule(Scope.DEVICE, (0.5, 15.0), "the device stops, and starts again at the end on the same port"),
    Kind.LOSE: Rule(
        Scope.DEVICE, (2.0, 20.0), "the device does not learn its new values, or its messages are lost",
        {"share": Parameter(1.0, 0.0, 1.0, _SHARES, "of the publications that are lost")},
    ),
    Kind.REFUSE_WRITES: Rule(Scope.DEVICE, (5.0, 60.0), "the device refuses what it is told"),
    Kind.FREEZE: Rule(
        Scope.POINTS, (5.0, 60.0), "the value stays what it was",
        {"clock": Parameter(1.0, 0.0, 1.0, (0.0, 1.0), "1: the source time goes on; 0: it stops too")},
    ),
    Kind.DRIFT: Rule(
        Scope.POINTS, (10.0, 60.0), "the value moves away from the truth",
        {"spans_per_s": Parameter(0.001, -10.0, 10.0, (-0.01, -0.001, 0.001, 0.01), "of the point's range, a second")},
    ),
    Kind.SPIKE: Rule(
        Scope.POINTS, (2.0, 20.0), "single values are far off, up or down",
        {
            "spans": Parameter(0.5, 0.0, 1e6, (0.2, 0.5, 2.0), "of the point's range"),
            "share": Parameter(0.2, 0.0, 1.0, _SHARES, "of the values that are hit"),
        },
    ),
    Kind.BAD_QUALITY: Rule(
        Scope.POINTS, (2.0, 30.0), "the device says that it does not trust the value",
        {
            "code": Parameter(
                BAD_SENSOR_FAILURE, 0, 2**32 - 1, (BAD_SENSOR_FAILURE, BAD_DEVICE_FAILURE, 0x40900000),
                "status code of OPC UA",
            )
        },
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One trouble of one device.

    Attributes:
        start_s, end_s: seconds after the fleet is ready.
        points: names; empty for all of the device. Only faults of points have them.
        parameters: every one that the kind has.
    """

    start_s: float
    end_s: float
    kind: Kind
    device: str
    points: tuple[str, ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __getitem__(self, parameter: str) -> float:
        return self.parameters[parameter]

    def words(self) -> dict[str, Any]:
        """For a line of JSON."""
        return {
            "kind": self.kind.value, "device": self.device, "points": list(self.points), **self.parameters,
            "start_s": round(self.start_s, 3), "end_s": round(self.end_s, 3),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schedule:
    """Faults in the order of their starts."""

    faults: tuple[Fault, ...]

    @property
    def end_s(self) -> float:
        return max((f.end_s for f in self.faults), default=0.0)

    def compressed(self, factor: float) -> Schedule:
        """The same faults in a `factor`-th of the time."""
        return Schedule(
            tuple(
                Fault(f.start_s / factor, f.end_s / factor, f.kind, f.device, f.points, f.parameters)
                for f in self.faults
            )
        )

    @classmethod
    def of(cls, faults: Iterable[Fault]) -> Schedule:
        """In order, checked.

        Raises:
            BadRequest: too many; or one device has the same kind of fault twice at a time.
        """
        ordered = sorted(faults, key=lambda f: (f.start_s, f.end_s, f.device, f.kind))
        if len(ordered) > FAULTS_MAX:
            raise BadRequest(f"{len(ordered)} faults; {FAULTS_MAX} are the limit", "a shorter run, or a lower rate")
        last: dict[tuple[str, Kind], Fault] = {}
        for fault in ordered:
            before = last.get((fault.device, fault.kind))
            if before is not None and before.end_s > fault.start_s:
                raise BadRequest(
                    f"two faults {fault.kind} of {fault.device} at {fault.start_s:g} s",
                    "end one before the next begins",
                )
            last[fault.device, fault.kind] = fault
        return cls(tuple(ordered))


def seeded(
    plant: Plant, seed: int, per_minute: float, duration_s: float, kinds: Sequence[Kind] = tuple(Kind)
) -> Schedule:
    """Faults that begin by chance, so many a minute on average, on all devices alike; all are over by `duration_s`.

    The same seed on the same plant gives the same faults.

    Raises:
        BadRequest: more faults than a schedule holds, or none that could be.
    """
    if per_minute <= 0 or duration_s <= 0 or not plant.devices or not kinds:
        raise BadRequest(f"{per_minute:g} faults a minute for {duration_s:g} s", "take more than 0")
    if per_minute * duration_s / 60 > FAULTS_MAX:
        raise BadRequest(f"more than {FAULTS_MAX} faults", "a shorter run, or a lower rate")
    chance = random.Random(seed)
    faults: list[Fault] = []
    busy_until: dict[tuple[str, Kind], float] = {}
    start_s = 0.0
    while (start_s := start_s + chance.expovariate(per_minute / 60)) < duration_s:
        device, kind = chance.choice(plant.devices).id, chance.choice(kinds)
        end_s = min(start_s + chance.uniform(*KINDS[kind].lasts_s), duration_s)
        parameters = {name: chance.choice(p.drawn) for name, p in KINDS[kind].parameters.items()}
        points = _some_points(plant, device, chance) if KINDS[kind].scope is Scope.POINTS else ()
        if busy_until.get((device, kind), 0.0) <= start_s:
            busy_until[device, kind] = end_s
            faults.append(Fault(start_s, end_s, kind, device, points, parameters))
    return Schedule.of(faults)


def _some_points(plant: Plant, device: str, chance: random.Random) -> tuple[str, ...]:
    """Half the time all of the device, else one to five of them."""
    ids = plant.points.where("device", device)
    if not len(ids) or chance.random() < 0.5:
        return ()
    chosen = chance.sample(range(len(ids)), min(len(ids), chance.randint(1, 5)))
    return tuple(plant.points[int(ids[i])].name for i in sorted(chosen))


COLUMNS = ("start_s", "end_s", "kind", "device", "points", "parameters")


def read_sheet(text: str, plant: Plant) -> Schedule:
    """A schedule from CSV with the columns of COLUMNS: points are names separated by blanks, empty for all of the
    device; parameters are `name=number`, separated by blanks, the rest have their defaults.

    Raises:
        BadRequest: every mistake, with its line.
    """
    rows = csv.DictReader(text.splitlines())
    missing = set(COLUMNS[:4]) - set(rows.fieldnames or ())
    unknown = set(rows.fieldnames or ()) - set(COLUMNS)
    if missing or unknown:
        raise BadRequest(f"line 1: the columns are {', '.join(rows.fieldnames or ())}", f"write {','.join(COLUMNS)}")
    faults, mistakes = list[Fault](), list[str]()
    for row in rows:
        try:
            faults.append(_fault(row, plant))
        except ValueError as mistake:
            mistakes.append(f"line {rows.line_num}: {mistake}")
    if mistakes:
        raise BadRequest("; ".join(mistakes[:20]), "see the table of faults in docs/fleet.md")
    return Schedule.of(faults)


def _fault(row: Mapping[str, str | None], plant: Plant) -> Fault:
    """
    Raises:
        ValueError: what is wrong with the row, and the fix.
    """
    said = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if said["kind"] not in tuple(Kind):
        raise ValueError(f"kind {said['kind']!r}; {nearest(said['kind'], tuple(Kind)) or 'one of ' + ', '.join(Kind)}")
    kind = Kind(said["kind"])
    if said["device"] not in plant.device_of_id:
        raise ValueError(f"no device {said['device']!r}; {nearest(said['device'], plant.device_of_id)}")
    start_s, end_s = _number("start_s", said["start_s"]), _number("end_s", said["end_s"])
    if not 0 <= start_s < end_s < math.inf:
        raise ValueError(f"from {start_s:g} s to {end_s:g} s; start_s is 0 or more, end_s after it")
    points = tuple(said["points"].split())
    if points and KINDS[kind].scope is not Scope.POINTS:
        raise ValueError(f"{kind} is a fault of a whole device; leave points empty")
    for name in points:
        found = plant.point_of_name.get(name)
        if found is None or found.device != said["device"]:
            raise ValueError(f"{said['device']} has no point {name!r}")
    return Fault(start_s, end_s, kind, said["device"], points, _parameters(kind, said["parameters"].split()))


def _parameters(kind: Kind, words: Sequence[str]) -> dict[str, float]:
    known = KINDS[kind].parameters
    found = {name: p.default for name, p in known.items()}
    for word in words:
        name, _, text = word.partition("=")
        if name not in known:
            raise ValueError(f"{kind} has no parameter {name!r}; it has {', '.join(known) or 'none'}")
        number = _number(name, text)
        if not known[name].low <= number <= known[name].high:
            raise ValueError(f"{name} = {number:g} is outside {known[name].low:g} … {known[name].high:g}")
        found[name] = number
    return found


def _number(name: str, text: str) -> float:
    """Decimal, or hexadecimal as status codes are written."""
    try:
        return float(int(text, 16)) if text.lower().startswith("0x") else float(text)
    except ValueError:
        raise ValueError(f"{name} = {text!r} is no number") from None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a cable does at one moment: all faults that act on it now, together."""

    dropped: bool = False
    stalled: bool = False
    silent: bool = False
    garbage: float = 0.0
    latency_s: float = 0.0
    jitter_s: float = 0.0


NO_TROUBLE = Trouble()


def trouble(acting: Iterable[Fault]) -> Trouble:
    """Several delays add up; of shares the largest counts."""
    faults = tuple(acting)
    kinds = {f.kind for f in faults}
    delays = [f for f in faults if f.kind is Kind.DELAY]
    return Trouble(
        dropped=Kind.DROP in kinds,
        stalled=Kind.STALL in kinds,
        silent=Kind.HALF_OPEN in kinds,
        garbage=max((f["share"] for f in faults if f.kind is Kind.GARBAGE), default=0.0),
        latency_s=sum(f["latency_s"] for f in delays),
        jitter_s=sum(f["jitter_s"] for f in delays),
    )
