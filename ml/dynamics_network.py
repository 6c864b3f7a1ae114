"""A network that corrects a physics, learned from free runs of rising length; must not know folds, members or options.

It begins as the physics: what it adds is 0. Physics and network are then fitted together; the penalty holds both near to
where they began, so that what the data do not tell stays physics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ml.dynamics_fit import fit
from ml.dynamics_physics import start_of
from ml.dynamics_runs import Batch, Stretch, cut
from ml.training import Course
from twin.dynamics import STAY, Step
from twin.errors import BadRequest

RISING = (0.25, 1.0)  # shares of the horizon
SHARES = (0.3, 0.7)  # of the rounds
PARAMETERS_MAX = 2_000  # a Jacobian of more takes minutes


def correction(
    step: Step, plain: Tensor, runs: Sequence[Stretch], horizon: int, penalty: float, rounds: int,
    chance: np.random.Generator, course: Course,
) -> Tensor:  # fmt: skip
    """Parameters of physics and network, (P,).

    Args:
        plain: of the physics. penalty: on how far any of them moves, in squared spreads of the outputs.

    Raises:
        BadRequest: more than PARAMETERS_MAX of them.
    """
    count = len(plain) + step.form.weights
    if count > PARAMETERS_MAX:
        raise BadRequest(
            f"{count} parameters of {len(step.form.states)} states",
            f"{PARAMETERS_MAX} at most: fewer lags, or less width",
        )
    first = torch.cat([plain, _drawn(step, chance)])
    weight = torch.full_like(first, penalty)
    found = first
    begun = 0.0
    for share, part in zip(RISING, SHARES, strict=True):
        batch = Batch.of(cut(runs, max(8, round(share * horizon)), 4))
        start = start_of(step, found, batch, weight)
        found = fit(step, start, batch, max(1, round(part * rounds)), course.part(begun, begun + part)).parameters
        begun += part
    return found


def _drawn(step: Step, chance: np.random.Generator) -> Tensor:
    """Weights of a network that adds nothing yet, (W,)."""
    form = step.form
    first, bias, last, stay = (chance.normal(size=shape) for shape in form.layers)
    first *= 1.5 / np.sqrt(first.shape[0])
    last[:, : form.corrected] = 0.0
    last[:, form.corrected :] *= 1.0 / np.sqrt(max(1, form.width))
    stay[:] = STAY
    return torch.from_numpy(np.concatenate([w.ravel() for w in (first, bias, last, stay)]))
