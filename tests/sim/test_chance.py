"""Chance against what others know of it: published words, scipy's distributions, independence of streams."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from scipy import stats

from sim.components.fluid import Demand
from sim.components.line import Machine, Sink, Source
from sim.kernel import chance, rules
from sim.kernel.assembly import Assembly, assemble
from sim.kernel.world import pack
from sim.layout import Layout, stream_name
from sim.spec import (
    Component,
    Constant,
    Distribution,
    Exponential,
    LogLogistic,
    LogNormal,
    Triangular,
    Uniform,
    Weibull,
)
from tests.sim.layouts import line10
from tests.sim.probe import compiled_functions

ONES = 0xFFFFFFFF
KNOWN_ANSWERS = [  # Random123's kat_vectors for philox4x32 of 10 rounds: zeros, ones, digits of pi
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
DISTRIBUTIONS: list[tuple[Distribution, stats.distributions.rv_frozen]] = [
    (Exponential(3.0), stats.expon(scale=3.0)),
    (Uniform(2.0, 5.0), stats.uniform(2.0, 3.0)),
    (Weibull(4.0, 1.7), stats.weibull_min(1.7, scale=4.0)),
    (Weibull(4.0, 0.6), stats.weibull_min(0.6, scale=4.0)),
    (LogLogistic(4.0, 3.0), stats.fisk(3.0, scale=4.0)),
    (LogNormal(5.0, 0.4), stats.lognorm(0.4, scale=5.0)),
    (Triangular(1.0, 2.0, 6.0), stats.triang(0.2, 1.0, 5.0)),
    (Triangular(1.0, 1.0, 6.0), stats.triang(0.0, 1.0, 5.0)),
    (Triangular(1.0, 6.0, 6.0), stats.triang(1.0, 1.0, 5.0)),
]
WORDS = [str(ours.numbers) + type(ours).__name__ for ours, _ in DISTRIBUTIONS]
EXCEEDED = [1e-12, 1e-6, 0.001, 0.05, 0.2, 0.4999, 0.5, 0.77, 0.95, 0.999, 1 - 1e-9]
of_each = pytest.mark.parametrize(("ours", "theirs"), DISTRIBUTIONS, ids=WORDS)


class Drawer(Component):
    """Holds one distribution of each kind; draws nothing by itself."""

    exponential, constant, uniform, weibull = Exponential(3.0), Constant(2.0), Uniform(2.0, 5.0), Weibull(4.0, 1.7)
    log_logistic, log_normal, triangular = LogLogistic(4.0, 3.0), LogNormal(5.0, 0.4), Triangular(1.0, 2.0, 6.0)


def numbers(chosen: Distribution) -> tuple[float, float, float]:
    a, b, c = (*chosen.numbers, 0.0, 0.0)[:3]
    return a, b, c


def drawer(seed: int = 11) -> Assembly:
    plant = Layout()
    plant.add(Drawer, "D")
    return assemble(plant, seed=seed)


PROBE = """
def words(given: NDArray[np.int64], found: NDArray[np.int64]) -> None:
    a, b, c, d = philox(given[0], given[1], given[2], given[3], given[4], given[5])
    found[0] = a
    found[1] = b
    found[2] = c
    found[3] = d

def uniforms(w: World, d: int, found: NDArray[np.float64]) -> None:
    for k in range(len(found)):
        found[k] = uniform(w, d)

def draws(w: World, d: int, at: int, found: NDArray[np.float64]) -> None:
    for k in range(len(found)):
        found[k] = draw(w, d, at)

def inverses(kind: int, a: float, b: float, c: float, x: float, found: NDArray[np.float64]) -> None:
    found[0] = inverse(kind, a, b, c, x)

def survivals(kind: int, a: float, b: float, c: float, x: float, found: NDArray[np.float64]) -> None:
    found[0] = survival(kind, a, b, c, x)

def remainders(kind: int, a: float, b: float, c: float, age: float, x: float, found: NDArray[np.float64]) -> None:
    found[0] = remaining(kind, a, b, c, age, x)
"""


@cache
def kernel() -> dict[str, Callable[..., None]]:
    return compiled_functions(PROBE)


def one(name: str, *given: float) -> float:
    """What the compiled rule gives."""
    found = np.empty(1)
    kernel()[name](*given, found)
    return float(found[0])


def many(name: str, count: int, *given: object) -> list[float]:
    found = np.empty(count)
    kernel()[name](*given, found)
    values: list[float] = found.tolist()
    return values


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS, ids=["zeros", "ones", "pi"])
def test_philox_gives_the_published_words(
    counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]
) -> None:
    assert chance.philox(*counter, *key) == words
    found = np.empty(4, np.int64)
    kernel()["words"](np.array([*counter, *key], np.int64), found)
    assert tuple(found.tolist()) == words


def test_fifty_thousand_uniforms_are_the_same_compiled() -> None:
    assembly = drawer(seed=2**64 - 3)
    assembly.world.replication = 4_000_000_000
    packed = pack(assembly.world)
    ours = [rules.uniform(assembly.world, 3) for _ in range(50_000)]
    assert 0.0 < min(ours) < max(ours) < 1.0
    assert ours == many("uniforms", 50_000, packed, 3)


def test_draws_of_every_distribution_are_the_same_compiled() -> None:
    assembly = drawer()
    packed = pack(assembly.world)
    kind = assembly.layout.components[0].type
    for chosen in kind.chances:
        d, at = chosen.index, kind.draw_at(chosen)
        ours = [rules.draw(assembly.world, d, at) for _ in range(3000)]
        assert ours == many("draws", 3000, packed, d, at)


@of_each
def test_quantiles_are_those_of_scipy(ours: Distribution, theirs: stats.distributions.rv_frozen) -> None:
    for u in EXCEEDED:
        x = chance.inverse(ours.kind, *numbers(ours), u)
        assert x == pytest.approx(float(theirs.isf(u)), rel=1e-9)
        assert x == one("inverses", ours.kind, *numbers(ours), u)


@of_each
def test_survival_is_that_of_scipy_and_turns_quantiles_back(
    ours: Distribution, theirs: stats.distributions.rv_frozen
) -> None:
    for x in [0.0, 0.3, 1.0, 1.5, 2.0, 3.9, 5.0, 6.0, 9.0, 40.0]:
        alive = chance.survival(ours.kind, *numbers(ours), x)
        assert alive == pytest.approx(float(theirs.sf(x)), rel=1e-9, abs=1e-15)
        assert alive == one("survivals", ours.kind, *numbers(ours), x)
    for u in EXCEEDED:
        x = chance.inverse(ours.kind, *numbers(ours), u)
        assert chance.survival(ours.kind, *numbers(ours), x) == pytest.approx(u, rel=1e-6)


@of_each
@pytest.mark.parametrize("age", [0.0, 0.7, 2.5, 4.2])
def test_what_remains_is_conditional_on_the_age(
    ours: Distribution, theirs: stats.distributions.rv_frozen, age: float
) -> None:
    """P(more than x longer | age) = S(age + x) / S(age)."""
    for u in [0.001, 0.1, 0.5, 0.9, 0.999]:
        x = chance.remaining(ours.kind, *numbers(ours), age, u)
        assert x == pytest.approx(float(theirs.isf(u * theirs.sf(age))) - age, rel=1e-7, abs=1e-12)
        assert x == one("remainders", ours.kind, *numbers(ours), age, u)


def test_what_has_outlived_its_distribution_ends_at_once() -> None:
    for ours in (Uniform(2.0, 5.0), Triangular(1.0, 2.0, 6.0), Constant(4.0)):
        assert chance.remaining(ours.kind, *numbers(ours), 7.0, 0.5) == 0.0
    assert chance.remaining(Constant.kind, 4.0, 0.0, 0.0, 1.5, 0.5) == 2.5


@of_each
def test_draws_follow_their_distribution(ours: Distribution, theirs: stats.distributions.rv_frozen) -> None:
    assembly = drawer()
    uniforms = [rules.uniform(assembly.world, 0) for _ in range(20_000)]
    draws = [chance.inverse(ours.kind, *numbers(ours), u) for u in uniforms]
    assert stats.kstest(draws, theirs.cdf).pvalue > 0.001


@of_each
def test_redrawn_remainders_follow_the_conditional_distribution(
    ours: Distribution, theirs: stats.distributions.rv_frozen
) -> None:
    age = float(theirs.median())
    assembly = drawer()
    rest = [chance.remaining(ours.kind, *numbers(ours), age, rules.uniform(assembly.world, 1)) for _ in range(20_000)]
    alive = theirs.sf(age)
    assert stats.kstest(rest, lambda x: 1.0 - theirs.sf(age + np.asarray(x)) / alive).pvalue > 0.001


def test_the_normal_quantile_is_scipys_to_the_last_digits() -> None:
    for p in np.concatenate([np.logspace(-280, -1, 200), np.linspace(0.1, 0.9, 101), 1.0 - np.logspace(-12, -1, 50)]):
        assert chance.normal_quantile(float(p)) == pytest.approx(float(stats.norm.ppf(p)), rel=2e-14, abs=1e-15)


def test_extreme_uniforms_give_finite_times() -> None:
    smallest, largest = chance.unit(0, 0), chance.unit(ONES, ONES)
    assert 0.0 < smallest < largest < 1.0
    for ours, _ in DISTRIBUTIONS:
        for u in (smallest, largest):
            assert 0.0 <= chance.inverse(ours.kind, *numbers(ours), u) < math.inf


def draws_of(layout: Layout, component: str, purpose: str, count: int, replication: int = 0) -> list[float]:
    assembly = assemble(layout, seed=5)
    placed = layout.component(component)
    d = assembly.places[placed.number].draw + placed.type.fields[purpose].index
    assembly.world.replication = replication
    return [rules.uniform(assembly.world, d) for _ in range(count)]


def test_a_component_more_changes_no_draw_of_another() -> None:
    short, long = line10(machines=3), line10(machines=7)
    long.add(Demand, "town", tank=long.tank("T", 1.0, 2.0))
    reverse = Layout("reversed", "min")
    parts = [reverse.buffer(f"b{i}") for i in range(4)]
    for i in (2, 1, 0):
        reverse.add(Machine, f"M{i + 1}", inp=parts[i], out=parts[i + 1])
    for name in ("M1", "M2", "M3"):
        alone = draws_of(short, name, "cycle", 50)
        assert alone == draws_of(long, name, "cycle", 50) == draws_of(reverse, name, "cycle", 50)


def test_purposes_components_replications_and_seeds_are_streams_of_their_own() -> None:
    line = line10(machines=2)
    reference = draws_of(line, "M1", "cycle", 20_000)
    others = [
        draws_of(line, "M1", "mttf", 20_000), draws_of(line, "M2", "cycle", 20_000),
        draws_of(line, "M1", "cycle", 20_000, replication=1), reference[1:] + reference[:1],
    ]  # fmt: skip
    for other in others:
        assert abs(np.corrcoef(reference, other)[0, 1]) < 0.03  # four standard errors


def test_how_much_one_draws_does_not_move_the_others() -> None:
    """Streams are counted: 1,000 draws of the one leave the next of the other where it was."""
    plant = Layout()
    plant.add(Source, "source", out=plant.buffer("B"))
    plant.add(Sink, "sink", inp=plant.entity("B"))
    w = assemble(plant, seed=1).world
    for _ in range(1000):
        rules.uniform(w, 0)
    fresh = assemble(plant, seed=1).world
    assert rules.uniform(w, 1) == rules.uniform(fresh, 1)


def test_names_of_streams_do_not_collide_in_a_large_plant() -> None:
    names = {stream_name(f"M{i}", purpose) for i in range(10_000) for purpose in ("cycle", "mttf", "mttr")}
    assert len(names) == 30_000
