"""What an experiment needs of a model: blocks of replications for all scenarios; must not know how they are run or judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.scenario import Limit, Scenario

SAMPLE_SLACK = 1e-9  # of a step: the horizon is a sample time when it is a whole number of steps, up to rounding


class Where(StrEnum):
    """What runs the replications of a job."""

    THREADS = "threads"  # it holds no interpreter lock
    PROCESSES = "processes"
    HERE = "here"  # in the caller's thread: it can neither share an interpreter nor travel


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a job starts and what runs it.

    Attributes:
        plant: id of the plant, or name of the layout.
        taken_at: when the snapshot was taken, ns since 1970 UTC; 0 for a start that is no plant's.
        clock_s: the plant's own time.
        state_hash, model_hash, kernel_hash: SHA-256; the last is empty where nothing is compiled.
        backend, why: what runs it, and the reason when that is not the fastest there is.
        base: what brings the start back, for a replay; plain values.
        time_s: seconds in the unit of times among the figures.
    """

    plant: str
    taken_at: int
    clock_s: float
    state_hash: str
    model_hash: str
    backend: str
    why: str = ""
    kernel_hash: str = ""
    base: Mapping[str, Any] = field(default_factory=dict)
    time_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Block:
    """Replications `first` … `first + R - 1`.

    Attributes:
        samples: shape (S, R, T, P): scenario, replication, time, output.
        figures: shape (S, R, F), the job's figures.
        multiplier: the demand multiplier measured at the start, None where there is none.
        backend: what ran them; several, joined by +, when another took over.
        extremes: the least and the most of each output at any moment, shape (S, R, P, 2); None where only samples tell.
        passed: seconds after the start when each of the job's limits was first passed, inf never, shape (S, R, L); None
            where only samples tell.
    """

    first: int
    samples: NDArray[np.float64] | NDArray[np.float32]
    figures: NDArray[np.float64]
    multiplier: float | None = None
    backend: str = ""
    extremes: NDArray[np.float64] | None = None
    passed: NDArray[np.float64] | None = None

    @property
    def replications(self) -> int:
        return int(self.samples.shape[1])


class Job(Protocol):
    """Everything that replications need. Plain values where it runs in processes: it travels to them."""

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """The baseline first."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """What is sampled."""

    @property
    def figures(self) -> tuple[str, ...]:
        """What is read at the horizon."""

    @property
    def limits(self) -> tuple[Limit, ...] | None:
        """Whose first passing its blocks tell; None when they are samples only, which tell it of any limit."""

    @property
    def horizon_s(self) -> float: ...

    @property
    def sample_every_s(self) -> float: ...

    @property
    def seed(self) -> int: ...

    @property
    def where(self) -> Where: ...

    @property
    def origin(self) -> Origin: ...

    def unit(self, name: str) -> str:
        """Symbol of the unit of an output or figure, "" when it has none."""

    def asking(self, scenarios: Sequence[Scenario]) -> Job:
        """The same replications of these scenarios."""

    def faster(self) -> Job:
        """The same replications on something faster that has become ready; itself when there is nothing."""

    def drafts(self, scenario: Scenario) -> Sequence[tuple[str, float] | None]:
        """For each intervention the plant's point and the value that it is a command to; None when it is none."""

    def block(self, first: int, count: int) -> Block:
        """Replications `first` … `first + count - 1` of every scenario, each with the same chance in all scenarios."""


def sample_times_s(job: Job) -> NDArray[np.float64]:
    """Sample times after the start, shape (T,), the start included."""
    return times_s(job.horizon_s, job.sample_every_s)


def times_s(horizon_s: float, every_s: float) -> NDArray[np.float64]:
    """0, every_s, 2 every_s … up to the horizon."""
    return np.arange(int(horizon_s / every_s + SAMPLE_SLACK) + 1, dtype=np.float64) * np.float64(every_s)


def join(blocks: Iterable[Block]) -> Block:
    """One block of all, in order."""
    ordered = sorted(blocks, key=lambda b: b.first)
    samples = np.concatenate([b.samples for b in ordered], axis=1)
    figures = np.concatenate([b.figures for b in ordered], axis=1)
    backends = dict.fromkeys(name for b in ordered for name in b.backend.split("+"))
    return Block(
        ordered[0].first, samples, figures, ordered[0].multiplier, "+".join(backends),
        _joined([b.extremes for b in ordered]), _joined([b.passed for b in ordered]),
    )  # fmt: skip


def _joined(parts: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known, axis=1) if len(known) == len(parts) else None
