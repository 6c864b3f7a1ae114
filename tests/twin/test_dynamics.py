"""One step of dynamics, against its own equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from twin.dynamics import PHYSICS, Dynamics, Form, Scales, Step, run

NAN = math.nan


def numbers(*rows: float) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def scales(outputs: int, inputs: int, low: float = -9.0, high: float = 9.0) -> Scales:
    ones, more = torch.ones(outputs, dtype=torch.float64), torch.ones(inputs, dtype=torch.float64)
    return Scales(low * ones, high * ones, 0.5 * ones, 2.0 * ones, 0.0 * more, more, 0.1 * ones)


TANKS = Step(Form("two_tanks", ("u",), ("y",), 4.0), scales(1, 1, 0.0, 10.0))
P = numbers(math.log(0.3), math.log(0.25), math.log(0.3), math.log(0.25), 0.5, 9.0, 0.5)[None]


def test_tanks_at_rest_stay_and_what_is_not_known_begins_at_rest() -> None:
    drive = numbers(2.9)
    upper = (0.25 * 2.4 / 0.3) ** 2
    lower = (0.25 * math.sqrt(upper) / 0.3) ** 2
    x = TANKS.settled(P, numbers(lower, NAN)[None, None], drive[None, None])
    assert x[0, 0].tolist() == pytest.approx([lower, upper])
    assert TANKS(P, x, drive[None, None])[0, 0].tolist() == pytest.approx([lower, upper])


def test_a_tank_runs_over_its_rim_and_a_full_one_is_full() -> None:
    over = TANKS(P, numbers(5.0, 9.0)[None, None], numbers(20.0)[None, None])[0, 0]
    assert over[1] == 9.0 and over[0] > 5.5
    full = TANKS(P, numbers(10.0, 9.0)[None, None], numbers(20.0)[None, None])[0, 0]
    assert full[0] == 10.0
    empty = TANKS(P, numbers(0.0, 0.0)[None, None], numbers(0.0)[None, None])[0, 0]
    assert empty.tolist() == pytest.approx([0.0, 0.0], abs=1e-3)


def test_a_linear_step_is_the_sum_that_it_says() -> None:
    step = Step(Form("linear", ("u",), ("a", "b"), 1.0, lags=2), scales(2, 1))
    assert step.form.states == ("a", "b", "a@1", "b@1", "u@1") and step.form.parameters == 14
    rng = np.random.default_rng(1)
    p, x, u = rng.normal(size=14) * 0.2, rng.normal(size=5), rng.normal(size=1)
    seen = np.concatenate([(x[:4] - 0.5) / 2.0, x[4:], u, [1.0]])
    told = step(*(torch.from_numpy(v) for v in (p[None], x[None, None], u[None, None])))[0, 0].numpy()
    assert told[:2] == pytest.approx(seen @ p.reshape(7, 2) * 2.0 + 0.5)
    assert told[2:].tolist() == [x[0], x[1], u[0]]


def test_a_network_adds_no_more_than_its_limit_and_none_of_it_leaves_the_bounds() -> None:
    form = Form("linear", ("u",), ("y",), 1.0, width=3, latent=2)
    step = Step(form, scales(1, 1, -1.0, 1.0))
    rng = np.random.default_rng(2)
    plain = torch.zeros(1, form.parameters, dtype=torch.float64)
    p = torch.cat([plain, 50.0 * torch.from_numpy(rng.normal(size=(1, form.weights)))], dim=1)
    x = torch.from_numpy(rng.normal(size=(1, 40, 3)))
    told = step(p, x, torch.from_numpy(rng.normal(size=(1, 40, 1))))
    moved = told[..., 0] - 0.5  # without a weight the linear form tells the mean
    assert moved.abs().max() <= 0.1 + 1e-12 and moved.abs().max() > 0.09
    assert told[..., 1:].abs().max() < x[..., 1:].abs().max() + 1.0
    free, _ = run(step, p, x, 1000.0 * torch.ones(40, 50, 1, dtype=torch.float64))
    assert free.shape == (1, 40, 50, 1) and (free[:, :, 1:] <= 1.0).all() and (free[:, :, 1:] >= -1.0).all()


def test_members_run_beside_each_other_and_their_mean_is_told() -> None:
    other = P + numbers(0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0)
    dynamics = Dynamics(TANKS, torch.cat([P, other]), numbers(0.0, 4.0)[:, None], 3)
    assert dynamics.states[:3] == ("y", "above y", "doubt") and len(dynamics.states) == 7
    state = dynamics.begun(torch.cat([numbers(5.0), numbers(NAN).repeat(6)])[None], numbers(2.0)[None])
    assert state[0, 0] == 5.0 and state[0, 2] == 0.0 and state[0, 3] == state[0, 5] == 5.0
    doubts = []
    for drive in (2.0, 7.0, 2.0, 2.0, 2.0, 2.0):
        alone = [
            TANKS(p[None], state[None, :, k : k + 2], numbers(drive)[None, None]) for p, k in ((P[0], 3), (other[0], 5))
        ]
        state = dynamics.next(state, numbers(drive)[None])
        assert state[0, :2].tolist() == pytest.approx(torch.stack(alone).mean(dim=0)[0, 0].tolist())
        doubts.append(float(state[0, 2]))
    assert doubts == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_every_physics_says_as_many_numbers_as_it_takes() -> None:
    for name in PHYSICS:
        form = Form(name, ("u",), ("y",), 1.0, lags=3 if name == "linear" else 1)
        step = Step(form, scales(1, 1))
        p, x = (
            torch.zeros(2, form.parameters, dtype=torch.float64),
            torch.ones(1, 4, len(form.states), dtype=torch.float64),
        )
        assert step(p, x.expand(2, -1, -1), torch.ones(1, 4, 1, dtype=torch.float64)).shape == (2, 4, len(form.states))
