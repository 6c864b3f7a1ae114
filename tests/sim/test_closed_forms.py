"""Whole plants against what can be worked out exactly: queues in closed form, lines as Markov chains, Little's law."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.components.line import Conveyor, Machine, Sink, Source
from sim.layout import Layout
from sim.spec import Constant, Distribution, Exponential, LogNormal, Triangular, Uniform, Weibull
from tests.sim.ensembles import assert_holds, figures, interval
from tests.sim.layouts import line10

ALWAYS_UP = Exponential(1e15)
ARRIVALS = 0.8  # a minute
State = tuple[int, ...]


# --- queues ----------------------------------------------------------------------------------------------------------


def queue(servers: int, service: Distribution) -> Layout:
    """Customers at random, one line, so many servers, nobody leaves."""
    plant = Layout("queue", "min")
    waiting, served = plant.buffer("waiting"), plant.buffer("served")
    plant.add(Source, "door", out=waiting, between=Exponential(1 / ARRIVALS))
    for i in range(servers):
        plant.add(Machine, f"S{i + 1}", inp=waiting, out=served, cycle=service, mttf=ALWAYS_UP)
    return plant


def erlang_c(servers: int, load: float) -> float:
    """Probability that one who comes must wait (Erlang 1917)."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize("servers", [1, 2, 5])
def test_a_queue_with_servers_waits_as_erlang_says(servers: int) -> None:
    mean_service = servers / 1.0
    load = ARRIVALS * mean_service
    found = figures(queue(servers, Exponential(mean_service)), ["waiting.mean", "served", "S1.work.busy"], 50_000.0, 40)
    waiting = erlang_c(servers, load) * load / (servers - load)
    assert_holds(found[:, 0], waiting, within=0.06)
    assert_holds(found[:, 1], ARRIVALS * 50_000.0, within=0.005)
    if servers == 1:
        assert waiting == pytest.approx(3.2)  # rho^2 / (1 - rho): a wait of 4.0 by Little's law
        assert_holds(found[:, 2], 0.8, within=0.005)


@pytest.mark.parametrize(
    ("service", "second_moment"),
    [
        (Constant(1.0), 1.0),
        (Uniform(0.5, 1.5), 1.0 + 1 / 12),
        (Weibull(1 / math.gamma(1 + 1 / 0.8), 0.8), math.gamma(1 + 2 / 0.8) / math.gamma(1 + 1 / 0.8) ** 2),
        (LogNormal(math.exp(-0.32), 0.8), math.exp(0.64)),
        (Triangular(0.2, 0.8, 2.0), 1.0 + (0.04 + 0.64 + 4.0 - 0.16 - 0.4 - 1.6) / 18),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Distribution) else "",
)
def test_a_queue_with_any_service_waits_as_pollaczek_and_khinchine_say(
    service: Distribution, second_moment: float
) -> None:
    """Each service takes 1 minute in the mean."""
    found = figures(queue(1, service), ["waiting.mean", "S1.work.busy"], 50_000.0, 40)
    assert_holds(found[:, 0], ARRIVALS**2 * second_moment / (2 * (1 - ARRIVALS)), within=0.06)
    assert_holds(found[:, 1], ARRIVALS, within=0.005)


# --- lines as Markov chains ------------------------------------------------------------------------------------------


def stationary(begin: State, moves: Callable[[State], Iterable[tuple[float, State]]]) -> dict[State, float]:
    """Probabilities of a chain with those rates, solved exactly."""
    number: dict[State, int] = {begin: 0}
    reached = [begin]
    rates: list[tuple[int, int, float]] = []
    for state in reached:  # grows while it is walked
        for rate, after in moves(state):
            if after not in number:
                number[after] = len(number)
                reached.append(after)
            rates.append((number[state], number[after], rate))
    generator = np.zeros((len(number), len(number)))
    for i, j, rate in rates:
        generator[i, j] += rate
        generator[i, i] -= rate
    balance = generator.T.copy()
    balance[0] = 1.0  # one equation follows from the others; the sum is 1
    found = np.linalg.solve(balance, np.eye(len(number))[0])
    return dict(zip(reached, found.tolist(), strict=True))


def two_machines(capacity: int, mttf: float = math.inf, mttr: float = 8.0, crew: int = 2) -> dict[str, float]:
    """Exact figures of two machines with cycles of 1 minute, a buffer, and a crew that repairs first come first served.

    A state is (n, first down, second down, who waits for the crew). n counts what the first gave on and the second did
    not finish, from 0 to capacity + 2: at capacity + 2 the first is blocked, at 0 the second is idle.
    """

    def moves(state: State) -> Iterable[tuple[float, State]]:
        n, down1, down2, waiting = state
        if not down1 and n < capacity + 2:
            yield 1.0, (n + 1, down1, down2, waiting)
        if not down2 and n > 0:
            yield 1.0, (n - 1, down1, down2, waiting)
        if math.isinf(mttf):
            return
        down = down1 + down2
        for machine, is_down in ((1, down1), (2, down2)):
            after = (1, down2) if machine == 1 else (down1, 1)
            if not is_down:
                yield 1 / mttf, (n, *after, machine if down >= crew else 0)
            elif machine != waiting:
                yield 1 / mttr, (n, 0 if machine == 1 else down1, 0 if machine == 2 else down2, 0)

    chances = stationary((0, 0, 0, 0), moves)
    return {
        "B.mean": sum(p * min(max(n - 1, 0), capacity) for (n, _, _, _), p in chances.items()),
        "rate": sum(p for (n, _, d2, _), p in chances.items() if n > 0 and not d2),
        "M1.work.blocked": sum(p for (n, _, _, _), p in chances.items() if n == capacity + 2),
        "M2.work.idle": sum(p for (n, _, _, _), p in chances.items() if n == 0),
        "M2.health.down": sum(p for (_, _, d2, _), p in chances.items() if d2),
        "crew.busy": sum(p * (d1 + d2 - (w > 0)) for (_, d1, d2, w), p in chances.items()),
    }


def two_machine_line(capacity: int, mttf: Distribution, crew: int = 2) -> Layout:
    line = Layout("two", "min")
    supply, between, parts = line.buffer("supply", level=1e15), line.buffer("B", capacity), line.buffer("parts")
    people = line.resource("crew", crew)
    line.add(Machine, "M1", inp=supply, out=between, crew=people, mttf=mttf)
    line.add(Machine, "M2", inp=between, out=parts, crew=people, mttf=mttf)
    return line


CHECKED = ["parts", "B.mean", "M1.work.blocked", "M2.work.idle"]


@pytest.mark.parametrize(("capacity", "rate"), [(1, 0.75), (10, 12 / 13)])
def test_a_reliable_two_machine_line_is_its_markov_chain(capacity: int, rate: float) -> None:
    exact = two_machines(capacity)
    assert exact["rate"] == pytest.approx(rate)  # (C + 2) / (C + 3)
    found = figures(two_machine_line(capacity, ALWAYS_UP), CHECKED, 50_000.0, 40)
    assert_holds(found[:, 0] / 50_000.0, rate, within=0.003)
    for column, name in enumerate(CHECKED[1:], 1):
        assert_holds(found[:, column], exact[name], within=0.03)


def test_an_unreliable_two_machine_line_is_its_markov_chain() -> None:
    exact = two_machines(10, mttf=60.0)
    assert exact["rate"] == pytest.approx(0.76009, abs=5e-6)
    found = figures(two_machine_line(10, Exponential(60.0)), [*CHECKED, "M2.health.down"], 50_000.0, 40)
    assert_holds(found[:, 0] / 50_000.0, exact["rate"], within=0.004)
    for column, name in enumerate([*CHECKED[1:], "M2.health.down"], 1):
        assert_holds(found[:, column], exact[name], within=0.03)


def test_a_crew_of_one_is_as_busy_as_its_markov_chain_says() -> None:
    """Both machines share one repairer, who has a queue: down times grow, and utilisation is theirs."""
    exact = two_machines(10, mttf=20.0, mttr=8.0, crew=1)
    wanted = ["parts", "B.mean", "M2.health.down", "crew.utilisation"]
    found = figures(two_machine_line(10, Exponential(20.0), crew=1), wanted, 50_000.0, 40)
    assert_holds(found[:, 0] / 50_000.0, exact["rate"], within=0.006)
    assert_holds(found[:, 1], exact["B.mean"], within=0.03)
    assert_holds(found[:, 2], exact["M2.health.down"], within=0.02)
    assert_holds(found[:, 3], exact["crew.busy"], within=0.02)


def three_stations(capacity: int) -> float:
    """Exact rate of three reliable machines in a row; one that is blocked keeps its part in its own place."""

    def moves(state: State) -> Iterable[tuple[float, State]]:
        a, b = state  # what each gave on, or would, and the next did not finish
        if a < capacity + 2 - (b == capacity + 2):
            yield 1.0, (a + 1, b)
        if a > 0 and b < capacity + 2:
            yield 1.0, (a - 1, b + 1)
        if b > 0:
            yield 1.0, (a, b - 1)

    return sum(p for (_, b), p in stationary((0, 0), moves).items() if b > 0)


def test_three_stations_block_each_other_as_hunt_says() -> None:
    assert three_stations(0) == pytest.approx(22 / 39)  # Hunt 1956
    line = Layout("hunt", "min")
    buffers = [line.buffer("supply", level=1e15), line.buffer("B1", 1), line.buffer("B2", 1), line.buffer("parts")]
    for i in range(3):
        line.add(Machine, f"M{i + 1}", inp=buffers[i], out=buffers[i + 1], mttf=ALWAYS_UP)
    found = figures(line, ["parts"], 50_000.0, 40)
    assert_holds(found[:, 0] / 50_000.0, three_stations(1), within=0.004)


# --- LINE10, Little's law --------------------------------------------------------------------------------------------


def test_line10_makes_as_many_parts_as_it_always_did() -> None:
    """237.17 ± 0.39 and 237.68 of two other programs, 20,000 and 1,000 replications."""
    found = figures(line10(), ["parts"], 480.0, 5_000)[:, 0]
    low, high = interval(found, 0.95)
    assert 236.5 <= found.mean() <= 237.8
    assert low < 237.17 + 0.39
    assert high > 237.17 - 0.39


def test_what_rides_on_a_conveyor_is_its_rate_times_its_time() -> None:
    """Little's law: a belt with room enough holds rate x transit."""
    plant = Layout("belt", "min")
    begin, end = plant.buffer("begin"), plant.buffer("end")
    plant.add(Source, "source", out=begin, between=Exponential(1.0))
    plant.add(Conveyor, "C", inp=begin, out=end, transit=Constant(12.0), places=200.0)
    plant.add(Sink, "sink", inp=end)
    found = figures(plant, ["C.belt.mean", "sink.taken"], 20_000.0, 40)
    difference: NDArray[np.float64] = found[:, 0] - 12.0 * found[:, 1] / 20_000.0
    assert abs(difference).max() < 0.02  # what rides at the end has not arrived: 12 parts of 20,000
    assert_holds(found[:, 0], 12.0, within=0.01)
