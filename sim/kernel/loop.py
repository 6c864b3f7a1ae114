"""One run from event to event: the compiled counterpart of SimPy's event loop, in the same restricted Python as the rules.

Order of what happens at one moment: what is queued, first in, first out; interventions; slots by their number. SimPy's
priorities in `sim.kernel.interpreter` are the same order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sim.kernel.chance import remaining
from sim.kernel.levels import catch_up, level, pass_crossing, settle_all, splash, threshold
from sim.kernel.rules import (
    HALTED,
    LOOK,
    STANDING_STILL,
    TOO_MANY_EVENTS,
    TRACE_BASE,
    assign,
    contest,
    draw,
    enqueue,
    enter,
    fail,
    gates,
    plan,
    recapacitate,
    resume,
    running,
    shift,
    signal,
    start,
    stop,
    touch,
    uniform,
)
from sim.kernel.world import LEVEL, NEVER, RESOURCE, World

SET_NUMBER, SET_STATE, SET_CAPACITY, SET_SIGNAL, SET_CEILING, SET_AMOUNT, COMMAND, EXPIRE = range(8)
"""Kinds of interventions; the last two run a handler, and let a timer fire."""
ADDED = 8  # on top of a kind that sets: added to what is there then
AMOUNT, NUMBER, COUNT, FIRST, SPENT, AREA, SHORT, SPILT, MODE, LENT, FLOW, USED = range(12)
"""Kinds of figures: of handlers how often and when first, of states the time in one, of amounts the integral."""
BELOW, AT_MOST, ABOVE, AT_LEAST = range(4)
"""Signs of limits."""
ROUNDING = 1e-9  # of a level: so far past a threshold that is still to come it is not past it
STILL_MAX = 100_000  # steps without time going on, 10 for each component of the largest layout: more is a loop

FLAG_EVERY = 1023  # and one: events between two looks at the flag, some 0.1 ms of the kernel


def raised(flag: NDArray[np.int64]) -> int:
    """A number that others write meanwhile."""
    return int(flag[0])


def note(w: World, c: int, h: int) -> None:
    """A handler runs: counted, and kept in the trace while that has room."""
    n = w.count_base[c] + h
    w.count[n] += 1
    if w.first[n] >= NEVER:
        w.first[n] = w.now
    if w.traced < len(w.trace_time):
        w.trace_time[w.traced] = w.now
        w.trace_what[w.traced] = c * TRACE_BASE + h
        w.traced += 1
    w.fault_handler = h


def redraw(w: World) -> None:
    """Remaining times of work whose age is known, drawn anew."""
    for k in range(len(w.age)):
        if w.age[k] >= 0.0:
            d = w.slot_draw[k]
            at = w.slot_draw_at[k]
            x = remaining(w.draw_kind[d], w.number[at], w.number[at + 1], w.number[at + 2], w.age[k], uniform(w, d))
            w.left[k] = x
            w.whole[k] = w.age[k] + x
            w.age[k] = -1.0
            plan(w, k, NEVER)
            resume(w, k)


def wind(w: World) -> None:
    """Let the tournament tell the earliest slot, whatever was written to `due`."""
    for j in range(w.calendar_size - 1, 0, -1):
        contest(w, j)


def begin(w: World, fresh: int) -> None:
    """Before the first event. `fresh` 1: from nothing; 2: from a state whose levels were set; 0: go on exactly."""
    wind(w)
    redraw(w)
    if fresh == 1:
        for k in range(len(w.slot_auto)):
            if w.slot_auto[k] == 1:
                start(w, k, draw(w, w.slot_draw[k], w.slot_draw_at[k]))
        for j in range(len(w.starts)):
            enqueue(w, w.starts[j])
    if fresh > 0:  # going on exactly keeps the predicted crossings and the statistics bit for bit
        for e in range(len(w.offered)):
            w.offered[e] = -w.capacity[e] * w.now
        settle_all(w)
    for c in range(len(w.queued)):
        if w.queued[c] == 0:
            w.queued[c] = 1
            enqueue(w, c * TRACE_BASE)


def present(w: World, kind: int, at: int) -> float:
    """What an intervention of that kind would set, as it is now."""
    if kind == SET_NUMBER:
        return w.number[at]
    if kind == SET_CAPACITY:
        return float(w.capacity[at])
    if kind == SET_CEILING:
        return w.ceiling[at]
    if w.entity_kind[at] == LEVEL:
        return level(w, at)
    return w.amount[at]


def intervene(w: World, kind: int, c: int, at: int, x: float) -> None:
    """What a scenario does; COMMAND and EXPIRE are the caller's."""
    if kind >= ADDED:
        kind -= ADDED
        x += present(w, kind, at)
    if kind == SET_NUMBER:
        assign(w, c, at, x)
        settle_all(w)
    elif kind == SET_STATE:
        enter(w, at, int(x))
        gates(w, c, at)
    elif kind == SET_CAPACITY:
        recapacitate(w, at, int(x))
    elif kind == SET_SIGNAL:
        signal(w, at, x)
    elif kind == SET_CEILING:
        w.ceiling[at] = x
        settle_all(w)
        touch(w, at)
    elif kind == SET_AMOUNT:
        if w.entity_kind[at] == LEVEL:
            splash(w, at, x - level(w, at))
        else:
            shift(w, at, x - w.amount[at])


def expire(w: World, k: int) -> int:
    """A timer that runs, or stands still at its gate, fires now: its handler. Of one that was not started, LOOK."""
    if not running(w, k):
        return LOOK
    stop(w, k)
    return w.slot_handler[k]


def earliest(w: World) -> int:
    """The slot that fires next, the first of those at one moment; -1 none."""
    if w.calendar_size > 0:
        return w.winner[1]
    k = -1
    when = NEVER
    for j in range(len(w.due)):
        if w.due[j] < when:
            when = w.due[j]
            k = j
    return k


def finish(w: World) -> None:
    """Let every statistic tell of now."""
    for e in range(len(w.amount)):
        if w.entity_kind[e] == LEVEL:
            catch_up(w, e)
        elif w.entity_kind[e] == RESOURCE:
            w.area[e] += (w.capacity[e] - w.free[e]) * (w.now - w.since[e])
        else:
            w.area[e] += w.amount[e] * (w.now - w.since[e])
        w.since[e] = w.now
    for i in range(len(w.mode)):
        w.spent[w.spent_base[i] + w.mode[i]] += w.now - w.entered[i]
        w.entered[i] = w.now


def read(w: World, kind: int, at: int, when: float) -> float:
    """A figure at a moment not before the last event."""
    if kind == AMOUNT:
        if w.entity_kind[at] == LEVEL:
            return w.amount[at] + w.rate[at] * (when - w.since[at])
        return w.amount[at]
    if kind == NUMBER:
        return w.number[at]
    if kind == COUNT:
        return float(w.count[at])
    if kind == FIRST:
        return w.first[at]
    if kind == SPENT:
        return w.spent[at]
    if kind == AREA:
        return w.area[at]
    if kind == SHORT:
        return w.short[at] + w.unserved[at] * (when - w.since[at])
    if kind == SPILT:
        return w.spilt[at] + w.spilling[at] * (when - w.since[at])
    if kind == MODE:
        return float(w.mode[at])
    if kind == LENT:
        return float(w.capacity[at] - w.free[at])
    if kind == USED:
        offered = w.offered[at] + w.capacity[at] * when
        return w.area[at] / offered if offered > 0.0 else 0.0
    return w.wish[at] * w.share[w.transfer_src[at]]


def held(w: World, e: int, when: float) -> float:
    """A level at a moment up to the next event. Rounding never takes it past a threshold whose crossing is still to come."""
    x = w.amount[e] + w.rate[e] * (when - w.since[e])
    for j in range(w.cross_from[e], w.cross_from[e + 1]):
        k = w.crossers[j]
        if w.armed[k] == 1:
            limit = threshold(w, k, e)
            beyond = (x - limit) * w.slot_sign[k]
            if beyond > 0.0 and beyond <= ROUNDING * (abs(w.amount[e]) + abs(limit)):
                x = limit
    return x


def told(w: World, kind: int, at: int, when: float, images: NDArray[np.float64], p: int) -> float:
    """A figure at a moment up to the next event, as its image tells it."""
    if kind == MODE:
        return float(images[p, w.mode[at]])
    if kind == AMOUNT and w.entity_kind[at] == LEVEL:
        return held(w, at, when) * float(images[p, 0])
    return read(w, kind, at, when) * float(images[p, 0])


def passes(x: float, sign: int, bound: float) -> bool:
    """Whether a value passes a limit."""
    if sign == BELOW:
        return x < bound
    if sign == AT_MOST:
        return x <= bound
    if sign == ABOVE:
        return x > bound
    return x >= bound


def observe(
    w: World,
    end: float,
    watched: NDArray[np.int64],
    images: NDArray[np.float64],
    limits: NDArray[np.int64],
    bounds: NDArray[np.float64],
    extremes: NDArray[np.float64],
    passed: NDArray[np.float64],
    row: int,
) -> None:
    """What is watched, from now to a moment up to which nothing happens: levels move evenly, all else stays.

    Cutting the time into more pieces changes no bit: a level's readings rise or fall from piece to piece, and when it passes
    a limit is reckoned from its last change.

    Args:
        images, limits, bounds: as `sim.kernel.watch.Watch`.
        extremes, passed: as `sim.kernel.watch.Seen`, (r * p, 2) and (r, l); `row` is the replication's.
    """
    for p in range(len(images)):
        kind = watched[p, 0]
        at = watched[p, 1]
        n = row * len(images) + p
        x = told(w, kind, at, w.now, images, p)
        extremes[n, 0] = min(extremes[n, 0], x)
        extremes[n, 1] = max(extremes[n, 1], x)
        if kind == AMOUNT and w.entity_kind[at] == LEVEL:
            x = told(w, kind, at, end, images, p)
            extremes[n, 0] = min(extremes[n, 0], x)
            extremes[n, 1] = max(extremes[n, 1], x)
    for j in range(len(limits)):
        if passed[row, j] >= NEVER:
            p = limits[j, 0]
            kind = watched[p, 0]
            at = watched[p, 1]
            if passes(told(w, kind, at, w.now, images, p), limits[j, 1], bounds[j]):
                passed[row, j] = w.now
            elif passes(told(w, kind, at, end, images, p), limits[j, 1], bounds[j]):  # only a level is another by then
                passed[row, j] = w.since[at] + (bounds[j] / images[p, 0] - w.amount[at]) / w.rate[at]


def run(
    w: World,
    dispatch: Callable[[World, int, int], None],
    horizon: float,
    events_max: int,
    at: NDArray[np.float64],
    what: NDArray[np.int64],
    value: NDArray[np.float64],
    grid: NDArray[np.float64],
    watched: NDArray[np.int64],
    samples: NDArray[np.float32],
    images: NDArray[np.float64],
    limits: NDArray[np.int64],
    bounds: NDArray[np.float64],
    extremes: NDArray[np.float64],
    passed: NDArray[np.float64],
    row: int,
    flag: NDArray[np.int64],
) -> None:
    """Everything up to and including the horizon.

    Args:
        dispatch: runs a handler of a component, then its rules; in the kernel it is the generated one.
        at, what, value: interventions in order: times (i,); kind, component, index (i, 3); values (i,).
        grid, watched: sample times (t,); kind and index (p, 2) as `read` takes them.
        samples: (r * t, p); filled for the replication `row`.
        images, limits, bounds, extremes, passed: as `observe` takes them.
        flag: (1,), seen every so many events; not 0 stops the run.
    """
    i = 0
    g = 0
    while w.fault == 0:
        if w.head != w.tail:
            item = w.queue[w.head & (len(w.queue) - 1)]
            w.head += 1
            c = item // TRACE_BASE
            h = item & (TRACE_BASE - 1)
            w.fault_component = c
            w.fault_handler = h
        else:
            k = earliest(w)
            t = NEVER
            if k >= 0:
                t = w.due[k]
            intervenes = i < len(at) and at[i] <= t
            if intervenes:
                t = at[i]
            while g < len(grid) and grid[g] <= t:
                for p in range(len(watched)):
                    samples[row * len(grid) + g, p] = read(w, watched[p, 0], watched[p, 1], grid[g])
                g += 1
            if len(images) > 0 and w.now < t and w.now < horizon:
                observe(w, min(t, horizon), watched, images, limits, bounds, extremes, passed, row)
            if t > horizon:
                break
            if t > w.now:
                w.still = 0
            w.now = t
            w.events += 1
            if w.events > events_max:
                fail(w, TOO_MANY_EVENTS, events_max)
            if w.events & FLAG_EVERY == 0 and raised(flag) != 0:
                fail(w, HALTED, 0)
            if intervenes:
                c = what[i, 1]
                h = LOOK
                w.fault_component = -1
                w.fault_handler = what[i, 0]
                if w.traced < len(w.trace_time):
                    w.trace_time[w.traced] = t
                    w.trace_what[w.traced] = -1 - what[i, 0]
                    w.traced += 1
                if what[i, 0] == COMMAND:
                    h = what[i, 2]
                elif what[i, 0] == EXPIRE:
                    h = expire(w, what[i, 2])
                else:
                    intervene(w, what[i, 0], c, what[i, 2], value[i])
                i += 1
                if w.fault == 0:  # what follows is the component's own
                    w.fault_component = c
                    w.fault_handler = h
            else:
                c = w.slot_component[k]
                h = w.slot_handler[k]
                w.fault_component = c
                w.fault_handler = h
                plan(w, k, NEVER)
                if w.slot_level[k] >= 0:
                    pass_crossing(w, k)
        w.still += 1
        if w.still > STILL_MAX:
            fail(w, STANDING_STILL, 0)
        if c >= 0 and w.fault == 0:
            dispatch(w, c, h)
    if w.fault == 0:
        w.now = horizon
