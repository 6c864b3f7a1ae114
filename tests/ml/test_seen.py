"""What a model was trained on is recognised, also in part, and strangers are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.model_file import ModelFile
from ml.records import DataSet, split_time
from ml.seen import RUN, SIZE, marked, shared
from ml.training import Course
from tests.ml.stand_in import StandInOptions, a_walk, train


def trained(data: DataSet) -> ModelFile:
    made = train(data, StandInOptions(), 1, Course())
    return replace(made, tensors={**made.tensors, **marked(made, data)})


@pytest.mark.parametrize("rows", [50, 4000])
def test_the_training_data_are_recognised_whatever_their_order_and_names(rows: int) -> None:
    data = a_walk(3, rows)
    model = trained(data)
    assert shared(model, data) == 1.0
    other = replace(data, records=tuple(replace(r, device=f"x{k}") for k, r in enumerate(reversed(data.records))))
    assert shared(model, other) == 1.0
    assert shared(model, a_walk(3, rows, seed=9)) == 0.0
    assert len(model.tensors["seen.runs"]) == min(SIZE, 3 * (rows - RUN + 1))


def test_a_part_that_was_trained_on_is_measured() -> None:
    early, late = split_time(a_walk(10, 4000), 0.5)
    assert shared(trained(early), late) == 0.0
    both = replace(early, records=early.records[:5] + late.records)
    assert shared(trained(early), both) == pytest.approx(1 / 3, abs=0.06)


def test_rows_without_values_and_zeros_of_both_signs_are_no_trace() -> None:
    data = a_walk(2, 50)
    for record in data.records:
        record.values[:20] = np.nan
        record.values[20:30] = -0.0
    model = trained(data)
    assert shared(model, data) == 1.0
    empty = replace(data, records=tuple(replace(r, values=np.full_like(r.values, np.nan)) for r in data.records))
    assert shared(model, empty) == 0.0
    model = replace(model, tensors={})
    assert shared(model, data) == 0.0


def test_coarse_readings_that_repeat_by_chance_are_no_trace() -> None:
    def coarse(seed: int) -> DataSet:
        chance = np.random.default_rng(seed)
        records = (replace(r, values=np.round(chance.normal(50, 3, (400, 1)), 1)) for r in a_walk(6, 400).records)
        return DataSet(("flow",), tuple(records), ("m3/h",))

    model = trained(coarse(1))
    assert shared(model, coarse(1)) == 1.0
    assert shared(model, coarse(2)) == 0.0


def test_readings_that_stand_still_are_no_trace() -> None:
    data = a_walk(2, 100)
    still = replace(data, records=tuple(replace(r, values=np.full_like(r.values, 7.0)) for r in data.records))
    assert shared(trained(still), still) == 0.0
