"""From a layout to the columns of its world at the start, and from names to places in them; must not run anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sim.kernel.levels import CEILING, FLOOR
from sim.kernel.rules import TRACE_BASE
from sim.kernel.source import watched
from sim.kernel.world import BUFFER, LEVEL, NEVER, RESOURCE, SIGNAL, World
from sim.layout import UNLIMITED, Layout, Placed, stream_name
from sim.spec import (
    Buffer,
    ComponentType,
    Distribution,
    Hazard,
    Level,
    Resource,
    Signal,
    State,
    Timer,
)

SCANNED_MAX = 96  # slots: with more, a tournament finds the next event faster than looking at all (measured: some 100)
WAITING_MIN = 8  # places in the queue of a resource, beyond those that its ports need
REQUESTS_EACH = 4  # requests that one component has open at a resource
KINDS: Mapping[type, int] = {Buffer: BUFFER, Resource: RESOURCE, Level: LEVEL, Signal: SIGNAL}


@dataclass(slots=True)
class Place:
    """Where a component's fields begin in the columns."""

    mode: int
    number: int
    draw: int
    slot: int
    port: int
    transfer: int
    count: int


@dataclass(slots=True)
class Assembly:
    """A layout's world at the start, and where its names lie.

    Attributes:
        places: of each component.
        first_saturation: the first of the slots for empty and full levels.
    """

    layout: Layout
    world: World
    places: list[Place] = field(default_factory=list)
    first_saturation: int = 0

    def mode(self, placed: Placed, state: State) -> int:
        return self.places[placed.number].mode + placed.type.at(state)

    def slot(self, placed: Placed, timer: Timer) -> int:
        return self.places[placed.number].slot + placed.type.at(timer)


def assemble(
    layout: Layout, *, seed: int = 0, trace: int = 0, types: Sequence[ComponentType] | None = None
) -> Assembly:
    """The world of a layout before its first event.

    Args:
        types: what the kernel was made for; the layout's own when None.
        seed: of every stream, 0 … 2^64 - 1.
        trace: entries of the trace to keep.
    """
    world = World()
    for name, where in World.__annotations__.items():
        setattr(world, name, 0 if where == "StateInt" else 0.0 if where == "StateFloat" else [])
    world.current = world.fault_component = -1
    world.seed_low, world.seed_high = seed & 0xFFFFFFFF, seed >> 32
    found = Assembly(layout, world)
    _entities(layout, world)
    kinds = layout.types if types is None else types
    for placed in layout.components:
        found.places.append(_component(world, placed, kinds.index(placed.type)))
    found.first_saturation = len(world.slot_component)
    _saturations(layout, world)
    _ties(found)
    _rooms(layout, world, trace)
    return found


def _entities(layout: Layout, w: World) -> None:
    waits = [0] * len(layout.entities)
    for placed in layout.components:
        for port in placed.type.ports:
            if port.to is Resource and placed.ports[port.name] >= 0:
                waits[placed.ports[port.name]] += REQUESTS_EACH
    for e, waiting in zip(layout.entities, waits, strict=True):
        w.entity_kind.append(KINDS[e.kind])
        w.amount.append(e.level)
        w.floor.append(e.floor)
        w.ceiling.append(e.capacity)
        w.capacity.append(int(e.capacity) if e.kind is Resource else 0)
        w.free.append(int(e.capacity) if e.kind is Resource else 0)
        w.share.append(1.0)
        for column in (w.rate, w.since, w.area, w.offered, w.unserved, w.spilling, w.short, w.spilt):
            column.append(0.0)
        for counts in (w.wait_head, w.wait_count, w.ring_head, w.settling):
            counts.append(0)
        w.ring_count.append(len(e.items))
        w.ring_base.append(len(w.ring))
        w.ring_size.append(e.size)
        w.ring.extend([*e.items, *[0.0] * (e.size - len(e.items))])
        w.hold_base.append(len(w.held))
        w.held.extend([0] * (len(layout.components) if e.kind is Resource else 0))
        w.wait_base.append(len(w.wait))
        w.wait_size.append(waiting + WAITING_MIN if e.kind is Resource else 0)
        w.wait.extend([0] * w.wait_size[-1])
    w.levels = [e.number for e in layout.entities if e.kind is Level]
    w.settle = [0] * (len(layout.entities) + 1)


def _component(w: World, placed: Placed, type_number: int) -> Place:
    kind, c = placed.type, placed.number
    place = Place(
        len(w.mode), len(w.number), len(w.draw_kind), len(w.slot_component), len(w.port), len(w.transfer_src), len(w.count)
    )  # fmt: skip
    w.type_of.append(type_number)
    for column, base in (
        (w.mode_base, place.mode), (w.number_base, place.number), (w.draw_base, place.draw),
        (w.slot_base, place.slot), (w.port_base, place.port), (w.transfer_base, place.transfer),
        (w.count_base, place.count),
    ):  # fmt: skip
        column.append(base)
    w.queued.append(0)
    _fields(w, placed)
    _slots(w, placed, place)
    for port in kind.ports:
        w.port.append(placed.ports[port.name])
        w.flow.append(0.0)
    for link in kind.transfers:
        w.transfer_src.append(placed.ports[link.src.name])
        w.transfer_dst.append(placed.ports[link.dst.name])
        w.wish.append(0.0)
    w.count.extend([0] * (len(kind.handlers) + 1))
    w.first.extend([NEVER] * (len(kind.handlers) + 1))
    w.starts.extend(c * TRACE_BASE + h.number for h in kind.of("start"))
    return place


def _fields(w: World, placed: Placed) -> None:
    for state in placed.type.states:
        value = placed.values.get(state.name, state.values[0])
        w.mode.append(state.values.index(str(value)))
        w.entered.append(0.0)
        w.spent_base.append(len(w.spent))
        w.spent.extend([0.0] * len(state.values))
    for number in placed.type.numbers:
        w.number.append(float(placed.values.get(number.name, number.value)))  # type: ignore[arg-type]
    for chance in placed.type.chances:
        given = placed.values.get(chance.name, chance)
        assert isinstance(given, Distribution)
        w.number.extend(given.law[1:])
        w.draw_kind.append(given.kind)
        low, high = stream_name(placed.name, chance.name)
        w.draw_name_low.append(low)
        w.draw_name_high.append(high)
        w.drawn.append(0)
        w.spare.append(-1.0)


def _slots(w: World, placed: Placed, place: Place) -> None:
    kind = placed.type
    for timer in kind.timers:
        gate, chance, handler = timer.gate, timer.chance, kind.timed(timer)
        values = () if gate is None else tuple(kind.states[kind.at(gate.state)].values.index(v) for v in gate.values)
        _slot(w, placed.number, handler.number if handler else 0)
        w.slot_gate[-1] = place.mode + kind.at(gate.state) if gate else -1
        w.slot_mask[-1] = sum(1 << v for v in values)
        w.slot_speed[-1] = place.number + kind.at(timer.speed) if timer.speed else -1
        w.slot_draw[-1] = place.draw + kind.at(chance) if chance else -1
        w.slot_draw_at[-1] = place.number + kind.draw_at(kind.chances[kind.at(chance)]) if chance else -1
        w.slot_auto[-1] = int(isinstance(timer, Hazard))
    for crossing in kind.crossings:
        port, number = crossing.trigger.field, crossing.trigger.threshold
        assert port is not None
        assert number is not None
        _slot(w, placed.number, crossing.number)
        w.slot_level[-1] = placed.ports[port.name]
        w.slot_threshold[-1] = place.number + kind.at(number)
        w.slot_sign[-1] = crossing.trigger.direction
        w.armed[-1] = 1


def _slot(w: World, component: int, handler: int) -> None:
    w.slot_component.append(component)
    w.slot_handler.append(handler)
    for column in (w.slot_gate, w.slot_speed, w.slot_draw, w.slot_draw_at, w.slot_level):
        column.append(-1)
    for column in (w.slot_mask, w.slot_threshold, w.slot_sign, w.slot_auto, w.armed):
        column.append(0)
    w.due.append(NEVER)
    w.left.append(-1.0)
    w.whole.append(0.0)
    w.age.append(-1.0)


def _saturations(layout: Layout, w: World) -> None:
    """Slots for empty and full; not armed: a tank that begins empty is empty without an event."""
    for e in layout.entities:
        if e.kind is Level:
            for limit, sign, bound in ((FLOOR, -1, e.floor), (CEILING, 1, e.capacity)):
                if abs(bound) < UNLIMITED:
                    _slot(w, -1, 0)
                    w.slot_level[-1], w.slot_threshold[-1], w.slot_sign[-1] = e.number, limit, sign


def _ties(found: Assembly) -> None:
    """Who watches, feeds, empties and crosses what."""
    w, layout = found.world, found.layout
    count = len(layout.entities)
    watching: list[list[int]] = [[] for _ in range(count)]
    given: list[list[int]] = [[] for _ in range(count)]
    for placed, place in zip(layout.components, found.places, strict=True):
        seen = watched(placed.type)
        for port in placed.type.ports:
            e = placed.ports[port.name]
            if e >= 0 and port.to is Level:
                given[e].append(place.port + port.index)
            if e >= 0 and port.name in seen and placed.number not in watching[e]:
                watching[e].append(placed.number)
    w.watch_from, w.watchers = _rows(watching)
    w.given_from, w.given = _rows(given)
    w.out_from, w.outs = _rows(_grouped(w.transfer_src, count))
    w.in_from, w.ins = _rows(_grouped(w.transfer_dst, count))
    w.cross_from, w.crossers = _rows(_grouped(w.slot_level, count))
    w.slot_base.append(found.first_saturation)  # so that slot_base[c + 1] ends each component's slots


def _grouped(column: Sequence[int], count: int) -> list[list[int]]:
    groups: list[list[int]] = [[] for _ in range(count)]
    for index, e in enumerate(column):
        if e >= 0:
            groups[e].append(index)
    return groups


def _rows(groups: Iterable[Sequence[int]]) -> tuple[list[int], list[int]]:
    starts: list[int] = [0]
    flat: list[int] = []
    for group in groups:
        flat.extend(group)
        starts.append(len(flat))
    return starts, flat


def _rooms(layout: Layout, w: World, trace: int) -> None:
    """Queues and the calendar, as large as this plant needs."""
    room = 64
    while room < 4 * (len(layout.components) + len(w.port)):
        room *= 2
    w.queue = [0] * room
    slots = len(w.due)
    if slots > SCANNED_MAX:
        leaves = 1
        while leaves < slots:
            leaves *= 2
        w.calendar_size = leaves
        w.winner = [-1] * leaves + [k if k < slots else -1 for k in range(leaves)]
    w.trace_time = [0.0] * trace
    w.trace_what = [0] * trace
