"""One look ahead: a plant simulated from its snapshot, on a thread; must not know turns, alarms or who waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from control.lookahead import Forecast, forecast_of, packed, sample_every_s, seed_of
from control.lookahead_ground import Ground, ground
from control.lookahead_rival import Paces
from control.sight import held, values
from sim.experiment import conclude, replicate
from sim.job import Where
from sim.plant_model import noise, read_plant_model, start_points
from sim.question import check
from sim.runner import Runner
from sim.scenario import Limit
from sim.whatif import Now, job_of, question
from twin.columns import Snapshot
from twin.errors import TwinloopError, Unavailable
from twin.lookahead import Lookahead
from twin.plant import Plant

HELD_MAX = 500  # settable points watched for commands that the forecast knew nothing of


@dataclass(frozen=True, slots=True)
class Made:
    """A forecast, what it stands on, and whether threads made it."""

    forecast: Forecast
    ground: Ground
    on_threads: bool


class Look:
    """Used from one thread at a time."""

    def __init__(self, asked: Lookahead, limits: tuple[Limit, ...], runner: Runner, new_id: Callable[[], str]) -> None:
        self._asked, self._limits, self._runner, self._new_id = asked, limits, runner, new_id
        self._paces = Paces(asked.counters, asked.horizon_s)
        self._settable: tuple[Plant, list[str]] | None = None

    def make(self, plant: Plant, snapshot: Snapshot, cancel: threading.Event) -> Made:
        """Blocks for its whole time.

        Raises:
            Cancelled: `cancel` was set. Refused, BadRequest, LimitExceeded: the plant cannot be simulated as it is.
            Unavailable: the simulation failed.
        """
        asked, identity = self._asked, self._new_id()
        begun = time.perf_counter()
        ahead = question(limits=self._limits, replications=asked.replications)
        job = job_of(
            Now(plant, snapshot), (), ahead, horizon=asked.horizon_s, every=sample_every_s(asked.horizon_s),
            seed=seed_of(identity),
        )  # fmt: skip
        check(job, ahead)
        try:
            block, stopped = replicate(job, ahead, self._runner, cancel=cancel)
        except TwinloopError as error:  # the state was known: it is a component, or a worker, that failed
            raise Unavailable(f"a replication failed: {error.message}", error.hint) from error
        result = replace(conclude(job, ahead, block, stopped), wall_s=time.perf_counter() - begun)
        drawn = {name: packed(block.samples[0, :, :, p]) for p, name in enumerate(job.outputs)}
        started = values(plant, list(result.units), snapshot)
        told = held(plant, self._held_names(plant), snapshot)
        model = read_plant_model(plant)
        made = forecast_of(identity, result, told, started, noise(model), drawn)
        if not plant.clock:  # it lives in our time
            made = replace(made, clock_s=made.made_at / 1e9)
        made = replace(made, paces=self._paces.look(made.clock_s, started))
        stands_on = ground(plant, start_points(plant, model), model.stale_after_s, told)
        return Made(made, stands_on, job.faster().where is Where.THREADS)

    def _held_names(self, plant: Plant) -> list[str]:
        """Settable points, at most HELD_MAX: looked up once for each edit of the plant."""
        if self._settable is None or self._settable[0] is not plant:
            current = plant.points.current
            rows = np.flatnonzero(current.flagged("writable"))[:HELD_MAX]
            self._settable = plant, current.take(rows).words("name")
        return self._settable[1]
