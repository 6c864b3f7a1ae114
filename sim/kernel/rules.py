"""The rules of chance, parts, loans, timers and states, written once: run beside SimPy, and compiled into every kernel.

`w` is a world; here `w.column[index]`, plain numbers and calls of each other are all there is, so that
`sim.kernel.printer` can print the text for LLVM. A wrong number sets `w.fault`, and the run stops.
"""

from __future__ import annotations

from sim.kernel.chance import inverse, philox, unit
from sim.kernel.world import NEVER, World
from sim.spec import UNITS_MAX

LOOK = 0  # the handler "look at your rules"
TRACE_BASE = 1 << 16
RULES_MAX = 1000  # rules that one component fires at one moment: more is a loop

# Faults: what the number in `w.fault` says (sim.kernel.faults has the words).
NEGATIVE_TIME = 1
OVERTAKEN = 2
OVERFILLED = 3
QUEUE_FULL = 4
WAIT_FULL = 5
RULES_WITHOUT_END = 6
STANDING_STILL = 7
FLOWS_UNSETTLED = 8
BAD_NUMBER = 9
NEGATIVE_RATE = 10
TOO_MANY_EVENTS = 11
RELEASED_TWICE = 12
NEGATIVE_SPEED = 13
NEGATIVE_AMOUNT = 14
UNCONNECTED = 15
NUMBERS_ONLY = 16
TURNS_WITHOUT_END = 17
NOT_HELD = 18
HALTED = 19  # somebody wants no more of it
BROKEN_UNITS = 20

LARGEST = 1.7976931348623157e308
TURNS_MAX = 1000  # turns of a loop in a handler: it runs at every event


def fail(w: World, fault: int, at: int) -> None:
    """The first fault is kept."""
    if w.fault == 0:
        w.fault = fault
        w.fault_at = at


def checked(w: World, x: float) -> float:
    """A number that a handler computed."""
    if not -LARGEST <= x <= LARGEST:
        fail(w, BAD_NUMBER, 0)
        return 0.0
    return x


def turns(w: World, n: float) -> int:
    """How often a loop of a handler turns."""
    if not n <= TURNS_MAX:
        fail(w, TURNS_WITHOUT_END, 0)
        return 0
    if n < 1.0:
        return 0
    return int(n)


def tied(w: World, p: int) -> bool:
    """Whether an optional port leads somewhere; a fault when it does not, and is used."""
    if w.port[p] < 0:
        fail(w, UNCONNECTED, p)
        return False
    return True


def divided(w: World, x: float, y: float) -> float:
    """x / y; a fault when y is 0."""
    if y == 0.0:
        fail(w, BAD_NUMBER, 0)
        return 0.0
    return x / y


def floored(w: World, x: float, y: float) -> float:
    """x // y; a fault when y is 0."""
    if y == 0.0:
        fail(w, BAD_NUMBER, 0)
        return 0.0
    return x // y


def modulo(w: World, x: float, y: float) -> float:
    """x % y; a fault when y is 0."""
    if y == 0.0:
        fail(w, BAD_NUMBER, 0)
        return 0.0
    return x % y


# --- chance ----------------------------------------------------------------------------------------------------------


def uniform(w: World, d: int) -> float:
    """The next uniform of a stream: its place depends on seed, name, replication and count only."""
    n = w.drawn[d]
    w.drawn[d] = n + 1
    if n & 1 and w.spare[d] >= 0.0:
        return w.spare[d]
    x0, x1, x2, x3 = philox(n >> 1, w.draw_name_low[d], w.replication, w.draw_name_high[d], w.seed_low, w.seed_high)
    second = unit(x2, x3)
    if n & 1:
        return second
    w.spare[d] = second
    return unit(x0, x1)


def draw(w: World, d: int, at: int) -> float:
    """A draw of distribution `d`, whose parameters begin at number `at`."""
    return inverse(w.draw_kind[d], w.number[at], w.number[at + 1], w.number[at + 2], uniform(w, d))


# --- looking and waiting ---------------------------------------------------------------------------------------------


def enqueue(w: World, item: int) -> None:
    """To be done at this moment, first in, first out: component * TRACE_BASE + handler."""
    if w.tail - w.head >= len(w.queue):
        fail(w, QUEUE_FULL, 0)
    else:
        w.queue[w.tail & (len(w.queue) - 1)] = item
        w.tail += 1


def touch(w: World, e: int) -> None:
    """Those whose rules watch `e` will look, but for the one that changed it."""
    for j in range(w.watch_from[e], w.watch_from[e + 1]):
        c = w.watchers[j]
        if c != w.current and w.queued[c] == 0:
            w.queued[c] = 1
            enqueue(w, c * TRACE_BASE)


def shift(w: World, e: int, n: float) -> None:
    """Add `n` to a buffer, or take -n."""
    w.area[e] += w.amount[e] * (w.now - w.since[e])
    w.since[e] = w.now
    x = w.amount[e] + n
    if x < 0.0:
        fail(w, OVERTAKEN, e)
    elif x <= w.ceiling[e] or n < 0.0:  # a ceiling that came down lets parts out
        w.amount[e] = x
    elif x > w.ceiling[e]:
        fail(w, OVERFILLED, e)
    else:
        fail(w, BAD_NUMBER, e)
    touch(w, e)


def put(w: World, e: int, n: float) -> None:
    """Add so many parts to a buffer."""
    if w.ring_size[e] > 0:
        fail(w, NUMBERS_ONLY, e)
    elif n < 0.0:
        fail(w, NEGATIVE_AMOUNT, e)
    else:
        shift(w, e, n)


def take(w: World, e: int, n: float) -> None:
    """Take so many parts from a buffer."""
    if w.ring_size[e] > 0:
        fail(w, NUMBERS_ONLY, e)
    elif n < 0.0:
        fail(w, NEGATIVE_AMOUNT, e)
    else:
        shift(w, e, -n)


def push(w: World, e: int, x: float) -> None:
    """A number at the end of a queue."""
    if w.ring_count[e] >= w.ring_size[e]:
        fail(w, OVERFILLED, e)
    else:
        w.ring[w.ring_base[e] + (w.ring_head[e] + w.ring_count[e]) % w.ring_size[e]] = checked(w, x)
        w.ring_count[e] += 1
        shift(w, e, 1.0)


def pop(w: World, e: int) -> float:
    """The number at the front of a queue."""
    if w.ring_count[e] <= 0:
        fail(w, OVERTAKEN, e)
        return 0.0
    x = w.ring[w.ring_base[e] + w.ring_head[e]]
    w.ring_head[e] = (w.ring_head[e] + 1) % w.ring_size[e]
    w.ring_count[e] -= 1
    shift(w, e, -1.0)
    return x


def front(w: World, e: int) -> float:
    """The number at the front, which stays."""
    if w.ring_count[e] <= 0:
        fail(w, OVERTAKEN, e)
        return 0.0
    return w.ring[w.ring_base[e] + w.ring_head[e]]


def signal(w: World, e: int, x: float) -> None:
    """Set a signal; those who watch it look."""
    w.area[e] += w.amount[e] * (w.now - w.since[e])
    w.since[e] = w.now
    w.amount[e] = x
    touch(w, e)


def lend(w: World, e: int) -> None:
    """Give free units to those who wait, first come, first served."""
    w.area[e] += (w.capacity[e] - w.free[e]) * (w.now - w.since[e])
    w.since[e] = w.now
    while w.free[e] > 0 and w.wait_count[e] > 0:
        w.free[e] -= 1
        item = w.wait[w.wait_base[e] + w.wait_head[e]]
        w.held[w.hold_base[e] + item // TRACE_BASE] += 1
        enqueue(w, item)
        w.wait_head[e] = (w.wait_head[e] + 1) % w.wait_size[e]
        w.wait_count[e] -= 1
    touch(w, e)


def request(w: World, e: int, item: int) -> None:
    """Wait for a unit; `item` is what to do with it."""
    if w.wait_count[e] >= w.wait_size[e]:
        fail(w, WAIT_FULL, e)
    else:
        w.wait[w.wait_base[e] + (w.wait_head[e] + w.wait_count[e]) % w.wait_size[e]] = item
        w.wait_count[e] += 1
        lend(w, e)


def release(w: World, e: int) -> None:
    """Give a unit back, which whoever's handler runs must have; of SimPy's own processes nobody knows who they are."""
    if w.current >= 0:
        h = w.hold_base[e] + w.current
        if w.held[h] <= 0:
            fail(w, NOT_HELD, e)
        else:
            w.held[h] -= 1
    w.area[e] += (w.capacity[e] - w.free[e]) * (w.now - w.since[e])
    w.since[e] = w.now
    w.free[e] += 1
    if w.free[e] > w.capacity[e]:
        fail(w, RELEASED_TWICE, e)
    lend(w, e)


def recapacitate(w: World, e: int, capacity: int) -> None:
    """Another number of units; lent ones stay lent."""
    w.area[e] += (w.capacity[e] - w.free[e]) * (w.now - w.since[e])
    w.since[e] = w.now
    w.offered[e] -= (capacity - w.capacity[e]) * w.now
    w.free[e] += capacity - w.capacity[e]
    w.capacity[e] = capacity
    lend(w, e)


def staff(w: World, e: int, x: float) -> None:
    """As many units as a component says."""
    if not 0.0 <= x <= UNITS_MAX or float(int(x)) != x:
        fail(w, BROKEN_UNITS, e)
    else:
        recapacitate(w, e, int(x))


# --- timers and states -----------------------------------------------------------------------------------------------


def contest(w: World, j: int) -> None:
    """The earlier of the two slots below a node of the tournament goes on; of two at one moment the first."""
    a = w.winner[2 * j]
    b = w.winner[2 * j + 1]
    if b < 0 or (a >= 0 and w.due[a] <= w.due[b]):
        w.winner[j] = a
    else:
        w.winner[j] = b


def plan(w: World, k: int, when: float) -> None:
    """Slot `k` fires at that moment; with many slots the winners above it are looked at again."""
    w.due[k] = when
    n = w.calendar_size
    if n > 0:
        j = (k + n) >> 1
        while j > 0:
            contest(w, j)
            j >>= 1


def speed(w: World, k: int) -> float:
    """Work done in a unit of time while the gate is open."""
    at = w.slot_speed[k]
    if at < 0:
        return 1.0
    if w.number[at] < 0.0:
        fail(w, NEGATIVE_SPEED, k)
        return 0.0
    return w.number[at]


def is_open(w: World, k: int) -> bool:
    """Whether the timer's gate lets it go on."""
    g = w.slot_gate[k]
    return g < 0 or ((w.slot_mask[k] >> w.mode[g]) & 1) != 0


def resume(w: World, k: int) -> None:
    """Go on with what is left."""
    if w.left[k] >= 0.0 and is_open(w, k):
        s = speed(w, k)
        if s > 0.0:
            x = w.left[k]
            w.left[k] = -1.0
            plan(w, k, w.now + x / s)


def hold(w: World, k: int) -> None:
    """Stop, and keep what is left."""
    if w.due[k] < NEVER:
        w.left[k] = (w.due[k] - w.now) * speed(w, k)
        plan(w, k, NEVER)


def start(w: World, k: int, x: float) -> None:
    """Start the timer with so much work."""
    if not 0.0 <= x < NEVER:
        fail(w, NEGATIVE_TIME, k)
    else:
        w.whole[k] = x
        if w.slot_gate[k] < 0 and w.slot_speed[k] < 0:
            plan(w, k, w.now + x)
        else:
            w.left[k] = x
            plan(w, k, NEVER)
            resume(w, k)


def stop(w: World, k: int) -> None:
    """Forget it."""
    w.left[k] = -1.0
    plan(w, k, NEVER)


def running(w: World, k: int) -> bool:
    """Whether it was started and has not fired."""
    return w.due[k] < NEVER or w.left[k] >= 0.0


def enter(w: World, i: int, value: int) -> None:
    """Put a state into one of its values; its gates are the caller's."""
    w.spent[w.spent_base[i] + w.mode[i]] += w.now - w.entered[i]
    w.entered[i] = w.now
    w.mode[i] = value


def gates(w: World, c: int, i: int) -> None:
    """Hold or go on with the timers of `c` that wait for state `i`."""
    for k in range(w.slot_base[c], w.slot_base[c + 1]):
        if w.slot_gate[k] == i:
            if is_open(w, k):
                resume(w, k)
            else:
                hold(w, k)


def assign(w: World, c: int, at: int, x: float) -> None:
    """Give a number of `c` another value; timers that run at it change their speed."""
    for k in range(w.slot_base[c], w.slot_base[c + 1]):
        if w.slot_speed[k] == at:
            hold(w, k)
    w.number[at] = x
    for k in range(w.slot_base[c], w.slot_base[c + 1]):
        if w.slot_speed[k] == at:
            resume(w, k)
