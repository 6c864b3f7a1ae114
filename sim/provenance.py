"""From which state, by which model and with which chance an answer came, and on what; must not know what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim.job import Job
from sim.versions import versions


@dataclass(frozen=True, slots=True)
class Provenance:
    """The fields are those of `sim.result.Result` with the same names."""

    plant: str
    taken_at: int
    clock_s: float
    state_hash: str
    model_hash: str
    kernel_hash: str
    backend: str
    why: str
    seed: int
    horizon_s: float
    wall_s: float
    versions: Mapping[str, str]


def provenance(job: Job, backend: str, wall_s: float) -> Provenance:
    """
    Args:
        backend: what ran the replications, as their blocks say.
    """
    origin = job.origin
    return Provenance(
        origin.plant, origin.taken_at, origin.clock_s, origin.state_hash, origin.model_hash,
        job.faster().origin.kernel_hash, backend, origin.why, job.seed, job.horizon_s, wall_s, versions(),
    )  # fmt: skip
