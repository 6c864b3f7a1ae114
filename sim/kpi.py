"""Figures of a replication by their name: read at the horizon, or made of a trajectory; pure.

parts   crew.utilisation   energy_kwh   what the job reads at the horizon
T1.level.min .max                       the least and the most of T1.level at any moment
T1.level.mean .final                    of its sampled trajectory
first(T1.level<3)                       when the limit was first passed; the horizon where it was not

A job that knows only samples, as that of a water network, tells all of them by its samples.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.job import Block, Job, sample_times_s
from sim.scenario import Limit, parse_limit
from twin.errors import BadRequest
from twin.nearest import nearest

OF_TRAJECTORY: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "final": lambda s: s[:, -1],
    "min": lambda s: s.min(axis=1),
    "max": lambda s: s.max(axis=1),
    "mean": lambda s: s.mean(axis=1),
}
EXTREMES = ("min", "max")  # in the order of a block's `extremes`
USUAL = ("final", "min")  # what is told of an output when nobody asks for figures
_FIRST = re.compile(r"first\((.+)\)")


@dataclass(frozen=True, slots=True)
class Needed:
    """What must be read and sampled so that some figures can be told."""

    figures: tuple[str, ...]
    outputs: tuple[str, ...]


def needed(kpis: Iterable[str], figures: Iterable[str], outputs: Sequence[str]) -> Needed:
    """
    Args:
        figures: what can be read at the horizon.
        outputs: what can be sampled.

    Raises:
        BadRequest: a figure that cannot be told.
    """
    readable, sampled = set(figures), set(outputs)
    read: dict[str, None] = {}
    follow: dict[str, None] = {}
    for kpi in kpis:
        if kpi in readable:
            read[kpi] = None
            continue
        source = _limit(kpi).point if _FIRST.fullmatch(kpi) else kpi.rpartition(".")[0]
        known = _FIRST.fullmatch(kpi) is not None or kpi.rpartition(".")[2] in OF_TRAJECTORY
        if not known or source not in sampled:
            if kpi in sampled:  # a point has many values until the horizon: which of them is asked
                raise BadRequest(
                    f"{kpi} alone is no figure", "write " + " or ".join(f"{kpi}.{f}" for f in OF_TRAJECTORY)
                )
            choices = [*readable, *(f"{o}.{f}" for o in outputs for f in OF_TRAJECTORY)]
            raise BadRequest(f"no figure is called {kpi!r}", nearest(kpi, choices) or _for_example(choices))
        follow[source] = None
    return Needed(tuple(read), tuple(follow))


def usual(outputs: Sequence[str], figures: Sequence[str]) -> tuple[str, ...]:
    """The figures that are told when nobody asks for some."""
    return (*(f"{name}.{function}" for name in outputs for function in USUAL), *figures)


def values(job: Job, block: Block, scenario: int, kpi: str) -> NDArray[np.float64]:
    """One number per replication, shape (R,)."""
    if kpi in job.figures:
        found: NDArray[np.float64] = block.figures[scenario, :, job.figures.index(kpi)]
        return found
    if _FIRST.fullmatch(kpi):
        return np.minimum(passed_s(job, block, scenario, _limit(kpi)), job.horizon_s) / job.origin.time_s
    name, _, function = kpi.rpartition(".")
    if block.extremes is not None and function in EXTREMES:
        return block.extremes[scenario, :, job.outputs.index(name), EXTREMES.index(function)]
    return OF_TRAJECTORY[function](_samples(job, block, scenario, name))


def passed_s(job: Job, block: Block, scenario: int, limit: Limit) -> NDArray[np.float64]:
    """Seconds after the start when each replication first passed the limit, inf never, shape (R,): the moment itself, or the
    first sample that shows it where the job knows only samples."""
    if job.limits is not None and block.passed is not None:
        return block.passed[scenario, :, job.limits.index(limit)]
    shown = limit.passed(_samples(job, block, scenario, limit.point))  # (R, T)
    return np.where(shown.any(axis=1), sample_times_s(job)[shown.argmax(axis=1)], np.inf)


def limits_of(kpis: Iterable[str]) -> tuple[Limit, ...]:
    """The limits inside `first(…)` figures."""
    return tuple(_limit(kpi) for kpi in kpis if _FIRST.fullmatch(kpi))


def _samples(job: Job, block: Block, scenario: int, output: str) -> NDArray[np.float64]:
    samples: NDArray[np.float64] = block.samples[scenario, :, :, job.outputs.index(output)].astype(np.float64)
    return samples


def _limit(kpi: str) -> Limit:
    match = _FIRST.fullmatch(kpi)
    assert match is not None
    return parse_limit(match[1])


def _for_example(names: Sequence[str]) -> str:
    return f"for example {', '.join(names[:5])}" if names else "there is none"
