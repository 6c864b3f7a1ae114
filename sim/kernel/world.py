"""A plant in simulation as columns: what never changes (the plan) and what does (the state); must hold no rule.

The annotations are the table: each names where a column lies when it is packed. Packed, a state is two arrays, so a fork
is two copies and a snapshot is two arrays. The rules of `sim.kernel.rules` read and write `w.column[index]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

PlanInts: TypeAlias = list[int]
PlanFloats: TypeAlias = list[float]
StateInts: TypeAlias = list[int]
StateFloats: TypeAlias = list[float]
StateInt: TypeAlias = int
StateFloat: TypeAlias = float

NEVER = 1e300
"""A moment that does not come; finite, so that differences stay numbers."""
BUFFER, RESOURCE, LEVEL, SIGNAL = range(4)
"""What an entity is."""


class World:
    """One replication's columns, as Python lists: what the rules work on outside the kernel."""

    def __init__(self) -> None:
        self.opaque: Mapping[str, object] = {}  # component -> what it saved of its state outside the columns

    # --- the plan: components (index c)
    type_of: PlanInts
    mode_base: PlanInts  # first of the component's states among all
    number_base: PlanInts  # first of its numbers: params, vars, then parameters of its distributions
    draw_base: PlanInts
    slot_base: PlanInts
    port_base: PlanInts
    transfer_base: PlanInts
    count_base: PlanInts  # first of its handlers among all
    # --- slots: timers, then crossings, of each component; then empty and full of each bounded level (index k)
    slot_component: PlanInts
    slot_handler: PlanInts  # what it runs; 0 nothing but the rules
    slot_gate: PlanInts  # the state it waits for, -1 none
    slot_mask: PlanInts  # one bit for each value of that state in which it goes on
    slot_speed: PlanInts  # the number that is its speed, -1 none
    slot_draw: PlanInts  # its distribution, -1 none
    slot_draw_at: PlanInts  # the first parameter of that
    slot_level: PlanInts  # of a crossing: the level, -1 for timers
    slot_threshold: PlanInts  # of a crossing: the number; FLOOR or CEILING for a level's own limits
    slot_sign: PlanInts  # +1 up, -1 down
    slot_auto: PlanInts  # 1 for a hazard: it starts by itself
    # --- ports and what they lead to (entity e)
    port: PlanInts  # -1: not connected
    entity_kind: PlanInts  # BUFFER, …
    watch_from: PlanInts  # e -> components whose rules look at it
    watchers: PlanInts
    given_from: PlanInts  # e -> ports that contribute to it
    given: PlanInts
    out_from: PlanInts  # e -> transfers out of it
    outs: PlanInts
    in_from: PlanInts  # e -> transfers into it
    ins: PlanInts
    cross_from: PlanInts  # e -> slots of its crossings
    crossers: PlanInts
    levels: PlanInts
    ring_base: PlanInts  # e -> first place of its queue of numbers
    ring_size: PlanInts
    wait_base: PlanInts  # e -> first place of those who wait for it
    wait_size: PlanInts
    hold_base: PlanInts  # resource -> first of its components' loans
    transfer_src: PlanInts
    transfer_dst: PlanInts
    # --- chance and statistics
    starts: PlanInts  # items: what runs at the start of a run
    draw_kind: PlanInts
    draw_name_low: PlanInts  # two words of the stream's name
    draw_name_high: PlanInts
    spent_base: PlanInts  # state -> first of its times spent
    # --- the state: scalars
    now: StateFloat
    seed_low: StateInt
    seed_high: StateInt
    replication: StateInt
    current: StateInt  # the component whose handler runs, -1 none
    head: StateInt  # of the queue of those to look at
    tail: StateInt
    settle_head: StateInt  # of the queue of levels to balance
    settle_tail: StateInt
    events: StateInt
    still: StateInt  # events since time last went on
    fault: StateInt  # 0, or what went wrong (sim.kernel.faults)
    fault_at: StateInt  # index of what it concerns
    fault_component: StateInt
    fault_handler: StateInt
    calendar_size: StateInt  # leaves of the tournament over `due`; 0: scanned
    traced: StateInt  # entries of the trace so far
    # --- the state: columns
    mode: StateInts
    entered: StateFloats  # when the state took its value
    spent: StateFloats  # time in each value of each state
    number: StateFloats
    due: StateFloats  # when the slot fires
    left: StateFloats  # work left while it stands still, -1 otherwise
    whole: StateFloats  # all the work of its last start
    age: StateFloats  # work done before this run began, -1: nothing to draw anew
    winner: StateInts  # the tournament: the earliest slot below each node
    armed: StateInts  # crossings: 1 approaching, 2 found beyond it, 0 passed
    amount: StateFloats  # parts, content or value
    floor: StateFloats
    ceiling: StateFloats
    rate: StateFloats
    since: StateFloats  # the moment of which `amount` tells
    area: StateFloats  # integral of the amount over time
    offered: StateFloats  # integral of a resource's units over time, less units * now
    unserved: StateFloats  # of the rates: what an empty level owes now
    spilling: StateFloats
    short: StateFloats  # what was owed, summed
    spilt: StateFloats
    share: StateFloats  # of what is asked, an empty level gives so much
    flow: StateFloats  # port -> contribution
    wish: StateFloats  # transfer -> wanted rate
    capacity: StateInts
    free: StateInts
    held: StateInts  # hold_base[e] + c -> units of resource e that component c has
    wait_head: StateInts
    wait_count: StateInts
    wait: StateInts
    ring_head: StateInts
    ring_count: StateInts
    ring: StateFloats
    drawn: StateInts
    spare: StateFloats  # the second uniform of a block, -1 none
    queued: StateInts
    queue: StateInts
    settling: StateInts
    settle: StateInts
    count: StateInts  # handler -> times it ran
    first: StateFloats  # handler -> when it first ran
    trace_time: StateFloats  # as long as entries are wanted
    trace_what: StateInts  # component * TRACE_BASE + handler; -1 - kind of an intervention


SCALAR = ("StateInt", "StateFloat")
PLACES: Mapping[str, str] = {
    "PlanInts": "plan_ints",
    "StateInts": "ints",
    "StateInt": "ints",
    "StateFloats": "floats",
    "StateFloat": "floats",
}


@dataclass(frozen=True, slots=True)
class Column:
    """Where a column lies packed.

    Attributes:
        place: `plan_ints`, `ints` or `floats`.
        slot: of an array, which word of the plan's head tells its offset; of a scalar, its offset.
    """

    name: str
    place: str
    scalar: bool
    slot: int


def _columns() -> dict[str, Column]:
    found, arrays, scalars = {}, 0, {"ints": 0, "floats": 0}
    for name, where in World.__annotations__.items():
        place, scalar = PLACES[where], where in SCALAR
        if scalar:
            slot, scalars[place] = scalars[place], scalars[place] + 1
        else:
            slot, arrays = 2 * arrays, arrays + 1
        found[name] = Column(name, place, scalar, slot)
    return found


COLUMNS: Mapping[str, Column] = _columns()
HEAD = 2 * sum(not c.scalar for c in COLUMNS.values())
"""Words at the front of the plan: offset and length of each array column."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A world as three arrays.

    Attributes:
        plan: int64, shape (p,): the same for every replication.
        ints, floats: shape (i,) int64 and (f,) float64: the state.
        opaque: what opaque components saved of theirs, by name; the kernel has none.
    """

    plan: NDArray[np.int64]
    ints: NDArray[np.int64]
    floats: NDArray[np.float64]
    opaque: Mapping[str, object] = field(default_factory=dict)

    def copy(self) -> Packed:
        """Another state of the same plan."""
        return Packed(self.plan, self.ints.copy(), self.floats.copy(), self.opaque)

    def column(self, name: str) -> NDArray[np.int64] | NDArray[np.float64]:
        """A view of one column; of a scalar, of length 1."""
        column = COLUMNS[name]
        place: NDArray[np.int64] | NDArray[np.float64] = getattr(self, PLACE_FIELDS[column.place])
        if column.scalar:
            return place[column.slot : column.slot + 1]
        offset, length = self.plan[column.slot], self.plan[column.slot + 1]
        return place[offset : offset + length]


PLACE_FIELDS: Mapping[str, str] = {"plan_ints": "plan", "ints": "ints", "floats": "floats"}


def pack(world: World) -> Packed:
    """The world as arrays."""
    head = [0] * HEAD
    places: dict[str, list[float]] = {"plan_ints": [], "ints": [], "floats": []}
    for column in COLUMNS.values():
        if column.scalar:
            places[column.place].append(getattr(world, column.name))
    for column in COLUMNS.values():
        if not column.scalar:
            values, into = getattr(world, column.name), places[column.place]
            head[column.slot] = len(into) + (HEAD if column.place == "plan_ints" else 0)
            head[column.slot + 1] = len(values)
            into.extend(values)
    plan = np.array([*head, *places["plan_ints"]], np.int64)
    return Packed(plan, np.array(places["ints"], np.int64), np.array(places["floats"], np.float64), world.opaque)


def unpack(packed: Packed) -> World:
    """The arrays as lists again; nothing is shared."""
    world = World()
    world.opaque = packed.opaque
    for column in COLUMNS.values():
        values = packed.column(column.name).tolist()
        setattr(world, column.name, values[0] if column.scalar else values)
    return world
