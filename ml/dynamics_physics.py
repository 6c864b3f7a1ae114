"""The champions of dynamics: a physics by name, fitted without a network; must not know members, margins or options.

Linear: ridge in closed form, one step ahead. Two tanks: least squares of free runs, from several first guesses.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.dynamics_fit import Fitted, Start, fit
from ml.dynamics_runs import Batch, Stretch, cut
from ml.training import Course
from twin.dynamics import PHYSICS, Form, Scales, Step, regressors, run
from twin.errors import BadRequest

CONSTANTS = (4.0, 12.0, 36.0, 108.0)  # steps: guesses of how long a tank takes
OFFSETS = (0.0, 0.3, 0.6)  # guesses of the input at which a pump begins, shares of its mean
GUESSES, ROUNDS = 2, 25
RIM, CAUGHT = 1.2, 0.5  # guesses: of the largest level seen, a share
NOISE = 0.01  # of an output, in spreads; a first state is taken to be known to one spread, so it counts this little


def start_of(step: Step, parameters: Tensor, batch: Batch, penalty: Tensor) -> Start:
    """Each run from what is measured at its first row, the rest as if at rest."""
    form = step.form
    size = len(form.states) + (form.latent if form.width else 0)
    x = torch.full((1, len(batch.inputs), size), torch.nan, dtype=torch.float64)
    x[0, :, : len(form.outputs)] = batch.outputs[:, 0]
    states = step.settled(parameters[None], x, batch.inputs[None, :, 0])[0]  # (G, S + L)
    free = PHYSICS[form.physics].free(form)
    doubt = step.scales.spread.repeat(max(1, len(free)))[: len(free)]
    return Start(parameters, states, free, (NOISE / doubt) ** 2, penalty)


def fit_physics(
    form: Form, scales: Scales, runs: Sequence[Stretch], horizon: int, penalty: float, course: Course
) -> Tensor:
    """Its parameters, (P,).

    Args:
        horizon: rows of a free run. penalty: of a ridge, relative to the rows.
    """
    bare = replace(form, width=0, latent=0)
    if form.physics == "linear":
        return fit_linear(bare, scales, runs, penalty)
    return fit_tanks(bare, scales, Batch.of(cut(runs, horizon, 2)), course)


def fit_tanks(form: Form, scales: Scales, batch: Batch, course: Course) -> Tensor:
    """All guesses run once, the best of them go on to be fitted."""
    step = Step(form, scales)
    guesses = torch.stack([_guess(scales, *some) for some in itertools.product(CONSTANTS, CONSTANTS, OFFSETS)])
    states = torch.stack([start_of(step, guess, batch, guess).states for guess in guesses])
    with torch.inference_mode():
        told, _ = run(step, guesses, states, batch.inputs)  # (V, G, T, 1)
    losses = ((told - batch.outputs) ** 2).nanmean(dim=(1, 2, 3))
    found: list[Fitted] = []
    for k, place in enumerate(losses.argsort()[:GUESSES]):
        near = torch.full_like(guesses[place], NOISE**2)
        start = start_of(step, guesses[place], batch, near)
        found.append(fit(step, start, batch, ROUNDS, course.part(k / GUESSES, (k + 1) / GUESSES)))
    return min(found, key=lambda f: f.loss).parameters


def _guess(scales: Scales, upper: float, lower: float, share: float) -> Tensor:
    """Tanks of these time constants at the mean level; the pump begins at that share of its mean input."""
    level, drive = float(scales.mean[0]), float(scales.input_mean[0])
    if level <= 0 or float(scales.low[0]) < -float(scales.spread[0]) * 3:
        raise BadRequest(
            f"a mean level of {level:.3g}", "two_tanks takes levels above 0: shift them, or physics=linear"
        )
    out_upper, out_lower = (math.log(2.0 * math.sqrt(level) / c) for c in (upper, lower))  # of dx/dt = -k sqrt(x)
    offset = share * drive
    moved = max(abs(drive - offset), 1e-3 * float(scales.input_spread[0]))
    pump = out_upper + math.log(math.sqrt(level) / moved)
    rim = RIM * float(scales.high[0])
    return torch.tensor([out_upper, out_lower, out_lower, pump, offset, rim, CAUGHT], dtype=torch.float64)


def fit_linear(form: Form, scales: Scales, runs: Sequence[Stretch], penalty: float) -> Tensor:
    """Ridge of the next outputs on the last outputs and inputs, in spreads."""
    lags, outputs = form.lags, len(form.outputs)
    seen, told = [], []
    for each in runs:
        rows = np.arange(lags - 1, len(each) - 1)
        if not len(rows):
            continue
        states = torch.from_numpy(lagged(each, lags, rows))
        seen.append(regressors(form, scales, states, torch.from_numpy(each.inputs[rows])))
        told.append((torch.from_numpy(each.outputs[rows + 1]) - scales.mean) / scales.spread)
    if not seen:
        raise BadRequest("no stretch is longer than the lags", "fewer lags, or longer records")
    x, y = torch.cat(seen), torch.cat(told)
    whole = torch.isfinite(x).all(dim=1) & torch.isfinite(y).all(dim=1)
    x = torch.cat([x[whole], torch.ones(int(whole.sum()), 1, dtype=torch.float64)], dim=1)
    shrink = penalty * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    shrink[-1, -1] = 0.0
    weights = torch.linalg.solve(x.T @ x + shrink, x.T @ y[whole])  # (F + 1, O)
    assert weights.shape[1] == outputs
    found: Tensor = weights.flatten()
    return found


def lagged(stretch: Stretch, lags: int, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """States of a linear model at these rows, (N, S)."""
    outputs = [stretch.outputs[rows - k] for k in range(lags)]
    inputs = [stretch.inputs[rows - k] for k in range(1, lags)]
    return np.concatenate([*outputs, *inputs], axis=1)
