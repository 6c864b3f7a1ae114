"""Three sites that are unlike each other, and a federation of them in one process: what the sockets do, without sockets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml.federated import Plan, Training
from ml.federated_site import Site
from ml.forecast import ForecastOptions
from ml.model_file import ModelFile
from ml.records import DataSet, Record
from ml.training import Course

OPTIONS = ForecastOptions(lookback=24, horizon=6)
COLUMNS, UNITS = ("level", "flow"), ("m", "m3/h")
SIZE, OFFSET = (1.0, 4.0, 0.4, 2.0), (0.0, 30.0, 5.0, 10.0)
USE, REFILL = (0.03, 0.06, 0.09, 0.05), (0.20, 0.14, 0.17, 0.25)  # of the tank, a row


def a_site(n: int, rows: int = 1_000, devices: int = 1, seed: int = 1) -> DataSet:
    """Tanks of one site: a pump refills each from low to high, people use it up, now more and now less.

    One law everywhere; sites differ in size, in level, and in how fast tanks are emptied and filled.
    """
    rng, records = np.random.default_rng([seed, n]), []
    for k in range(devices):
        level, flow = np.zeros(rows), np.zeros(rows)
        now, on, busy = rng.uniform(0.3, 0.7), 0.0, 0.0
        for t in range(rows):
            busy = 0.95 * busy + rng.normal(0, 0.12)
            on = 1.0 if now < 0.2 else 0.0 if now > 0.8 else on
            use = USE[n] * np.exp(busy)
            now += on * (REFILL[n] + USE[n]) - use
            level[t], flow[t] = now, on * (REFILL[n] + USE[n])
        noise = rng.normal(0, 0.005, (rows, 2))
        values = np.column_stack([SIZE[n] * level + OFFSET[n] + k, 50 * SIZE[n] * flow])
        records.append(Record(f"tank_{n}{k}", np.arange(rows, dtype=float), values + SIZE[n] * noise))
    return DataSet(COLUMNS, tuple(records), UNITS)


def federated(plan: Plan, sites: Mapping[str, Site], seed: int = 0) -> tuple[ModelFile, Training]:
    """All steps, unmasked."""
    training, chance = Training(plan), np.random.default_rng(seed)
    while not training.done:
        step = training.step()
        parts = {name: site.part(step, len(sites), chance, Course()) for name, site in sites.items()}
        training.take(sum(numbers for numbers, _ in parts.values()), {name: loss for name, (_, loss) in parts.items()})
    return training.result(list(sites)), training
