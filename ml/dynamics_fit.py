"""Parameters of dynamics by Levenberg and Marquardt on free runs; must not know physics, records or options.

All parameters are tried at once: a free run of P + 1 variants is one batch, so a Jacobian costs about what ten runs do.
Few parameters and a long memory are what gradient steps are slow at (measured: docs/dynamics.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ml.dynamics_runs import Batch
from ml.training import Course
from twin.dynamics import Step, run

NUDGE = 1e-5  # of a parameter: differences of it hold five digits of a slope
TRIED = (-2, -1, 0, 1, 2, 3)  # powers of ten around the last damping, tried side by side
DAMPING_MAX = 1e8
GAIN_MIN = 1e-5  # relative: less is the end


@dataclass(frozen=True, slots=True)
class Start:
    """Where a fit begins.

    Attributes:
        parameters: (P,). states: of each run, (G, S + L). free: states that are fitted, too.
        held: penalty on how far those states move, (F,). penalty: on how far parameters move, (P,).
    """

    parameters: Tensor
    states: Tensor
    free: tuple[int, ...]
    held: Tensor
    penalty: Tensor


@dataclass(frozen=True, slots=True)
class Fitted:
    """
    Attributes:
        loss: sum of squares, penalty and all.
    """

    parameters: Tensor
    states: Tensor
    loss: float


def fit(step: Step, start: Start, batch: Batch, rounds: int, course: Course, fixed: Sequence[int] = ()) -> Fitted:
    """The least squares of free runs of all of the batch, in spreads of each output.

    Args:
        fixed: parameters that stay.
    """
    chosen = torch.tensor([k for k in range(len(start.parameters)) if k not in set(fixed)], dtype=torch.long)
    problem = _Problem(step, start, batch, chosen)
    x = problem.first()
    loss = float(problem.loss(x[None])[0])
    damping = 1e-2
    for turn in range(rounds):
        course.at(turn / rounds, f"round {turn + 1} of {rounds}, {loss:.4g}")
        a, g = problem.normal(x)
        curved = torch.diag(a).clamp(min=1e-9)
        dampings = [damping * 10.0**k for k in TRIED]
        tried = torch.stack([x - torch.linalg.solve(a + torch.diag(d * curved), g) for d in dampings])
        losses = torch.nan_to_num(problem.loss(tried), nan=torch.inf)
        best = int(losses.argmin())
        if not float(losses[best]) < loss:
            damping = dampings[-1] * 10.0
            if damping > DAMPING_MAX:
                break
            continue
        gain = 1.0 - float(losses[best]) / loss
        x, loss, damping = tried[best], float(losses[best]), max(dampings[best], 1e-9)
        if gain < GAIN_MIN:
            break
    parameters, states = problem.apart(x[None])
    return Fitted(parameters[0], states[0], loss)


class _Problem:
    """Unknowns x: the chosen parameters, then the free states of each run."""

    def __init__(self, step: Step, start: Start, batch: Batch, chosen: Tensor) -> None:
        self.step, self.start, self.batch, self.chosen = step, start, batch, chosen
        self.free = torch.tensor(start.free, dtype=torch.long)
        self.known = torch.isfinite(batch.outputs)
        self.runs = len(batch.inputs)
        self.truth = torch.nan_to_num(batch.outputs)
        weight = start.penalty[chosen]
        self.weight = torch.cat([weight, start.held.repeat(self.runs)])
        self.prior = self.first()

    def first(self) -> Tensor:
        return torch.cat([self.start.parameters[self.chosen], self.start.states[:, self.free].reshape(-1)])

    def apart(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(V, X) -> parameters (V, P), states (V, G, S + L)."""
        p = self.start.parameters.repeat(len(x), 1)
        p[:, self.chosen] = x[:, : len(self.chosen)]
        states = self.start.states.repeat(len(x), 1, 1)
        if len(self.free):
            states[..., self.free] = x[:, len(self.chosen) :].reshape(len(x), self.runs, -1)
        return p, states

    def residual(self, p: Tensor, states: Tensor) -> Tensor:
        """(V, G, T, O), 0 where nothing is known."""
        told, _ = run(self.step, p, states, self.batch.inputs)
        return torch.where(self.known, (told - self.truth) / self.step.scales.spread, 0.0)

    def loss(self, x: Tensor) -> Tensor:
        """(V, X) -> (V,)."""
        squares = (self.residual(*self.apart(x)) ** 2).flatten(1).sum(dim=1)
        return squares + ((x - self.prior) ** 2 * self.weight).sum(dim=1)

    def normal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of the normal equations: matrix (X, X) and gradient (X,). A free state moves its own run only."""
        own, free = len(self.chosen), len(self.free)
        p, states = self.apart(x[None].repeat(1 + own + free, 1))
        rows = torch.arange(own)
        p[1 + rows, self.chosen] += NUDGE
        for k in range(free):
            states[1 + own + k, :, self.free[k]] += NUDGE
        found = self.residual(p, states)  # (1 + own + free, G, T, O)
        slopes = ((found[1:] - found[:1]) / NUDGE).flatten(2)  # (own + free, G, T O)
        jacobian = torch.zeros(own + self.runs * free, *slopes.shape[1:], dtype=torch.float64)
        jacobian[:own] = slopes[:own]
        for g in range(self.runs):
            jacobian[own + g * free : own + (g + 1) * free, g] = slopes[own:, g]
        flat = jacobian.flatten(1)
        a = flat @ flat.T + torch.diag(self.weight)
        return a, flat @ found[0].flatten() + self.weight * (x - self.prior)
