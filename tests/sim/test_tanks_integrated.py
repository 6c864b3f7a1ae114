"""Tanks against integrations that know no events: small steps with the same draws, and scipy's solvers; and mass is kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.stats import expon

from sim.components.fluid import Demand, Heater, Pipe, Pump, Valve
from sim.kernel import rules
from sim.kernel.assembly import assemble
from sim.kernel.interpreter import Interpreter
from sim.layout import Layout
from sim.spec import Constant, Exponential, Level, Uniform
from tests.sim.ensembles import figures, trajectories
from tests.sim.layouts import random_plant

HORIZON = 480.0
REPLICATIONS = 8
SEED = 21
DRAWS = 400  # of each stream, more than a run takes
STREAMS = (("well", "size"), ("leak", "size"), ("town", "size"), ("P1", "mttf"), ("P2", "mttf"), ("P1", "mttr"),
           ("P2", "mttr"))  # fmt: skip
SIZES = ((2.0, 4.5), (0.2, 1.6), (1.0, 6.0))


def scarce() -> Layout:
    """A well that gives too little: two pumps in a row and a valve beside them, tanks that run empty and full."""
    plant = Layout("scarce", "min")
    crew = plant.resource("crew", 1)
    one, two, three = plant.tank("T1", 40.0, 60.0), plant.tank("T2", 30.0, 50.0), plant.tank("T3", 20.0, 34.0)
    plant.add(Demand, "well", tank=one, size=Uniform(*SIZES[0]), sign=1.0)
    plant.add(Demand, "leak", tank=two, size=Uniform(*SIZES[1]), hold=Constant(7.0))
    plant.add(Demand, "town", tank=three, size=Uniform(*SIZES[2]))
    times = {"mttf": Exponential(30.0), "mttr": Exponential(15.0)}
    plant.add(Pump, "P1", src=one, dst=two, crew=crew, rate=6.0, low=10.0, high=45.0, **times)
    plant.add(Pump, "P2", src=two, dst=three, crew=crew, rate=5.0, low=8.0, high=36.0, **times)
    plant.add(Valve, "V", src=one, dst=three, rate=1.0, position="open")
    return plant


def uniforms(layout: Layout, replication: int) -> NDArray[np.float64]:
    """The streams as numbers, shape (streams, draws): the chance of that replication, exceeded with probability u."""
    assembly = assemble(layout, seed=SEED)
    assembly.world.replication = replication
    found = np.empty((len(STREAMS), DRAWS))
    for row, (component, purpose) in enumerate(STREAMS):
        placed = layout.component(component)
        d = assembly.places[placed.number].draw + placed.type.fields[purpose].index
        found[row] = [rules.uniform(assembly.world, d) for _ in range(DRAWS)]
    return found


def draws(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """The streams as sizes and times, by scipy and by hand."""
    found = np.empty_like(u)
    for row, (low, high) in enumerate(SIZES):
        found[row] = high - (high - low) * u[row]
    found[3:5], found[5:7] = expon.isf(u[3:5], scale=30.0), expon.isf(u[5:7], scale=15.0)
    return found


@njit(cache=False)
def integrated(step_min, per_sample, samples, draw):  # type: ignore[no-untyped-def]
    """Levels (samples, 3) and what was short and spilt (3, 2): everything is looked at anew every step."""
    levels, total = np.empty((samples, 3)), np.zeros((3, 2))
    x, full = np.array([40.0, 30.0, 20.0]), np.array([60.0, 50.0, 34.0])
    rate, low, high = np.array([6.0, 5.0]), np.array([10.0, 8.0]), np.array([45.0, 36.0])
    hold = np.array([15.0, 7.0, 15.0])
    used = np.zeros(7, np.int64)
    demand, until = np.zeros(3), np.zeros(3)
    called, healthy, ran = np.zeros(2), np.ones(2), np.zeros(2)
    life, repaired = np.empty(2), np.full(2, np.inf)
    for i in range(2):
        life[i] = draw[3 + i, 0]
        used[3 + i] = 1
    mended, waiting = -1, -1  # who holds the only repairer, who waits
    for n in range((samples - 1) * per_sample + 1):
        t = n * step_min
        if n % per_sample == 0:
            levels[n // per_sample] = x
        for j in range(3):
            if t >= until[j] - step_min / 2:
                demand[j] = draw[j, used[j]]
                used[j] += 1
                until[j] += hold[j]
        for i in range(2):
            if x[i + 1] <= low[i]:
                called[i] = 1
            if x[i + 1] >= high[i]:
                called[i] = 0
            if healthy[i] == 1 and called[i] == 1 and ran[i] >= life[i]:
                healthy[i] = 0
                ran[i] = 0.0
                if mended < 0:
                    mended = i
                    repaired[i] = t + draw[5 + i, used[5 + i]]
                    used[5 + i] += 1
                else:
                    waiting = i
            if t >= repaired[i]:
                healthy[i] = 1
                repaired[i] = np.inf
                life[i] = draw[3 + i, used[3 + i]]
                used[3 + i] += 1
                mended = -1
                if waiting >= 0:
                    mended = waiting
                    repaired[waiting] = t + draw[5 + waiting, used[5 + waiting]]
                    used[5 + waiting] += 1
                    waiting = -1
        on = called * healthy
        ran += on * step_min
        # From the well down: what an empty tank gets it gives on, shared alike by all that ask.
        bring = np.array([demand[0], 0.0, 0.0])
        wish = np.array([0.0, demand[1], demand[2]])
        for k in range(3):
            asked = wish[k]
            if k < 2:
                asked += on[k] * rate[k]
            if k == 0:
                asked += 1.0  # the valve
            share = 1.0
            if x[k] + (bring[k] - asked) * step_min < 0.0:
                share = max(0.0, (x[k] / step_min + bring[k]) / asked)
                total[k, 0] += wish[k] * (1.0 - share) * step_min
            x[k] = max(0.0, x[k] + (bring[k] - asked * share) * step_min)
            if x[k] > full[k]:
                total[k, 1] += x[k] - full[k]
                x[k] = full[k]
            if k < 2:
                bring[k + 1] += on[k] * rate[k] * share
            if k == 0:
                bring[2] += 1.0 * share
    return levels, total


def test_tanks_follow_a_fine_integration_and_come_closer_with_its_step() -> None:
    """Shortage, overflow and shares of an empty tank; pumps with hysteresis, wear and one repairer."""
    plant, grid = scarce(), np.linspace(0.0, HORIZON, 97)
    ours = trajectories(plant, ["T1", "T2", "T3"], grid, REPLICATIONS, seed=SEED)
    totals = figures(
        plant, ["T1.spilt", "T2.short", "T2.spilt", "T3.short", "T3.spilt"], HORIZON, REPLICATIONS, seed=SEED
    )
    assert ours.min() == 0.0
    assert (ours.max(axis=(0, 1)) == [60.0, 50.0, 34.0]).sum() >= 2
    assert (totals > 1.0).any(axis=0).sum() >= 4  # it is as scarce, and as full, as the test says
    errors = {}
    for step_min in (0.02, 0.004, 0.0008):
        worst = []
        for replication in range(REPLICATIONS):
            levels, total = integrated(step_min, round(5.0 / step_min), len(grid), draws(uniforms(plant, replication)))
            theirs = total[[0, 1, 1, 2, 2], [1, 0, 1, 0, 1]]
            worst.append((np.abs(levels - ours[replication]).max(), np.abs(theirs - totals[replication]).max()))
        errors[step_min] = np.median(np.array(worst), axis=0)
    assert (errors[0.0008] < 0.1).all(), errors
    assert (errors[0.004] < 0.35 * errors[0.02]).all(), errors
    assert (errors[0.0008] < 0.35 * errors[0.004]).all(), errors


# --- what is nonlinear -----------------------------------------------------------------------------------------------


def pipe_error(step: float) -> float:
    """Largest difference of two tanks' heights from scipy's, over an hour."""
    plant = Layout("pipe", "min")
    one, two = plant.tank("A", 9.0, 20.0), plant.tank("B", 1.0, 20.0)
    plant.add(Pipe, "L", src=one, dst=two, coefficient=0.4, step=Constant(step))
    plant.add(Demand, "town", tank=two, size=Constant(0.3), hold=Constant(100.0))
    plant.add(Demand, "well", tank=one, size=Constant(0.2), hold=Constant(100.0), sign=1.0)
    grid = np.linspace(0.0, 60.0, 61)
    ours = trajectories(plant, ["A", "B"], grid, 1)[0]

    def slopes(_: float, x: NDArray[np.float64]) -> list[float]:
        flow = 0.4 * math.copysign(math.sqrt(abs(x[0] - x[1])), x[0] - x[1])
        return [0.2 - flow, flow - 0.3]

    exact = solve_ivp(slopes, (0.0, 60.0), [9.0, 1.0], t_eval=grid, rtol=1e-10, atol=1e-12).y.T
    return float(np.abs(ours - exact).max())


def heater_error(step: float) -> float:
    """Largest difference of a temperature that only rises from scipy's, over an hour."""
    plant = Layout("heater", "min")
    plant.add(
        Heater,
        "H",
        temperature=plant.level("T", 20.0),
        step=Constant(step),
        power=3.0,
        low=200.0,
        high=300.0,
        heat="on",
    )
    grid = np.linspace(0.0, 60.0, 61)
    ours = trajectories(plant, ["T"], grid, 1)[0, :, 0]
    exact = solve_ivp(
        lambda _, x: [3.0 - 0.05 * (x[0] - 20.0)], (0.0, 60.0), [20.0], t_eval=grid, rtol=1e-10, atol=1e-12
    )
    return float(np.abs(ours - exact.y[0]).max())


@pytest.mark.parametrize("error", [pipe_error, heater_error])
def test_the_error_of_a_stepped_flow_shrinks_in_proportion_to_its_step(error) -> None:  # type: ignore[no-untyped-def]
    coarse, fine, finest = error(1.0), error(0.25), error(0.0625)
    assert finest < 0.05
    assert 3.0 < coarse / fine < 5.5
    assert 3.0 < fine / finest < 5.5


def test_a_thermostat_heats_as_long_as_its_equation_says() -> None:
    """Between 58 and 62 °C: how long it heats and cools follows from the exponential."""
    plant = Layout("thermostat", "min")
    plant.add(Heater, "H", temperature=plant.level("T", 60.0), step=Constant(0.002), power=4.0)
    heats = math.log((4.0 / 0.05 - 38.0) / (4.0 / 0.05 - 42.0)) / 0.05
    cools = math.log(42.0 / 38.0) / 0.05
    found = figures(plant, ["H.heat.on", "T.mean"], 2000.0, 1)[0]
    assert found[0] == pytest.approx(heats / (heats + cools), rel=0.01)
    assert 59.9 < found[1] < 60.1


# --- mass ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_no_plant_makes_or_loses_anything(seed: int) -> None:
    """Of each tank: what came in, less what went out, was spilt or not delivered, is what it holds more."""
    plant = random_plant(seed)
    run = Interpreter(assemble(plant, seed=seed))
    w = run.world
    begun = list(w.amount)
    moved = np.zeros(len(w.amount))
    while w.now < 300.0:
        run.run(w.now)
        until = min(run.env.peek(), 300.0)
        for e in w.levels:
            given = sum(w.flow[w.given[j]] for j in range(w.given_from[e], w.given_from[e + 1]))
            out = sum(w.wish[w.outs[j]] for j in range(w.out_from[e], w.out_from[e + 1])) * w.share[e]
            ins = [w.ins[j] for j in range(w.in_from[e], w.in_from[e + 1])]
            moved[e] += (given + sum(w.wish[j] * w.share[w.transfer_src[j]] for j in ins) - out) * (until - w.now)
        run.run(until)
    for e in plant.entities:
        if e.kind is Level:
            level = w.amount[e.number] + w.rate[e.number] * (w.now - w.since[e.number])
            short = w.short[e.number] + w.unserved[e.number] * (w.now - w.since[e.number])
            spilt = w.spilt[e.number] + w.spilling[e.number] * (w.now - w.since[e.number])
            assert level - begun[e.number] == pytest.approx(moved[e.number] + short - spilt, rel=1e-9, abs=1e-9)
            assert e.floor <= level <= e.capacity
