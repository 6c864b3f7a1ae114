"""The rules of what flows: rates, thresholds, empty and full levels; in the same restricted Python as `sim.kernel.rules`."""

from __future__ import annotations

from sim.kernel.rules import FLOWS_UNSETTLED, NEGATIVE_AMOUNT, NEGATIVE_RATE, OVERTAKEN, checked, fail, plan
from sim.kernel.world import NEVER, World

FLOOR = -1  # thresholds that are a level's own limits
CEILING = -2
BALANCES_MAX = 4096  # of levels that wait for each other at one moment
SETTLED = 1e-12  # smaller changes of a share are rounding


def level(w: World, e: int) -> float:
    """What a level holds now."""
    return w.amount[e] + w.rate[e] * (w.now - w.since[e])


def catch_up(w: World, e: int) -> None:
    """Let the level's amount tell of now."""
    passed = w.now - w.since[e]
    if passed > 0.0:
        w.area[e] += (w.amount[e] + 0.5 * w.rate[e] * passed) * passed
        w.amount[e] += w.rate[e] * passed
        w.short[e] += w.unserved[e] * passed
        w.spilt[e] += w.spilling[e] * passed
    w.since[e] = w.now


def threshold(w: World, k: int, e: int) -> float:
    """Where the crossing is."""
    at = w.slot_threshold[k]
    if at == FLOOR:
        return w.floor[e]
    if at == CEILING:
        return w.ceiling[e]
    return w.number[at]


def predict(w: World, e: int) -> None:
    """When the level, at its rate, crosses its thresholds. One found beyond fires at once and moves nothing."""
    x = w.amount[e]
    r = w.rate[e]
    for j in range(w.cross_from[e], w.cross_from[e + 1]):
        k = w.crossers[j]
        gap = threshold(w, k, e) - x
        if gap * w.slot_sign[k] > 0.0:
            w.armed[k] = 1
            if r * w.slot_sign[k] > 0.0:
                plan(w, k, w.now + gap / r)
            else:
                plan(w, k, NEVER)
        elif w.armed[k] > 0:
            w.armed[k] = 2
            plan(w, k, w.now)
        else:
            plan(w, k, NEVER)


def balance(w: World, e: int) -> None:
    """Rate of a level from all that flows. An empty one gives what comes in, shared alike; a full one spills."""
    catch_up(w, e)
    inflow = 0.0
    owed = 0.0
    for j in range(w.given_from[e], w.given_from[e + 1]):
        q = w.flow[w.given[j]]
        if q > 0.0:
            inflow += q
        else:
            owed -= q
    outflow = owed
    for j in range(w.in_from[e], w.in_from[e + 1]):
        inflow += w.wish[w.ins[j]] * w.share[w.transfer_src[w.ins[j]]]
    for j in range(w.out_from[e], w.out_from[e + 1]):
        outflow += w.wish[w.outs[j]]
    share = 1.0
    unserved = 0.0
    spilling = 0.0
    rate = inflow - outflow
    if rate < 0.0 and w.amount[e] <= w.floor[e]:
        share = inflow / outflow
        unserved = owed * (1.0 - share)
        rate = 0.0
    elif rate > 0.0 and w.amount[e] >= w.ceiling[e]:
        spilling = rate
        rate = 0.0
    w.rate[e] = rate
    w.unserved[e] = unserved
    w.spilling[e] = spilling
    change = share - w.share[e]
    if change > SETTLED or change < -SETTLED or (change != 0.0 and (share == 1.0 or share == 0.0)):
        w.share[e] = share
        for j in range(w.out_from[e], w.out_from[e + 1]):
            unsettle(w, w.transfer_dst[w.outs[j]])
    predict(w, e)


def unsettle(w: World, e: int) -> None:
    """The level will be balanced."""
    if w.settling[e] == 0:
        w.settling[e] = 1
        w.settle[w.settle_tail % len(w.settle)] = e
        w.settle_tail += 1


def settle(w: World, e: int) -> None:
    """Balance a level, and those downstream whose inflow that changes."""
    unsettle(w, e)
    n = 0
    while w.settle_head != w.settle_tail:
        e = w.settle[w.settle_head % len(w.settle)]
        w.settle_head += 1
        w.settling[e] = 0
        balance(w, e)
        n += 1
        if n > BALANCES_MAX:
            fail(w, FLOWS_UNSETTLED, e)
            w.settle_head = w.settle_tail


def give(w: World, p: int, q: float) -> None:
    """What a port contributes to its level from now on; negative: it takes."""
    w.flow[p] = checked(w, q)
    settle(w, w.port[p])


def pour(w: World, e: int, x: float) -> None:
    """Add to a level at once."""
    if x < 0.0:
        fail(w, NEGATIVE_AMOUNT, e)
    else:
        splash(w, e, x)


def drain(w: World, e: int, x: float) -> None:
    """Take from a level at once."""
    if x < 0.0:
        fail(w, NEGATIVE_AMOUNT, e)
    else:
        splash(w, e, -x)


def splash(w: World, e: int, x: float) -> None:
    """Add to a level at once, or take -x; what does not fit is spilt."""
    catch_up(w, e)
    if w.amount[e] + x < w.floor[e]:
        fail(w, OVERTAKEN, e)
    else:
        w.amount[e] += checked(w, x)
        if w.amount[e] > w.ceiling[e]:
            w.spilt[e] += w.amount[e] - w.ceiling[e]
            w.amount[e] = w.ceiling[e]
    settle(w, e)


def transfer(w: World, x: int, q: float) -> None:
    """What should flow through a transfer from now on."""
    if q < 0.0:
        fail(w, NEGATIVE_RATE, x)
    else:
        w.wish[x] = checked(w, q)
        settle(w, w.transfer_src[x])
        settle(w, w.transfer_dst[x])


def settle_all(w: World) -> None:
    """After thresholds or limits changed."""
    for j in range(len(w.levels)):
        settle(w, w.levels[j])


def pass_crossing(w: World, k: int) -> None:
    """The level stands exactly at the threshold it reaches."""
    e = w.slot_level[k]
    if w.armed[k] == 1:
        x = threshold(w, k, e)
        catch_up(w, e)
        w.amount[e] = x
    w.armed[k] = 0
    settle(w, e)
