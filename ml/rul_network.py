"""Remaining life by small networks whose answers are averaged; must not know devices, features' names or labels' cap.

Each sees statistics of windows of several lengths and, if asked to, the last samples themselves through convolutions. It
tells quantiles that never cross; their mean is the forecast.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ml.intervals import rising
from ml.training import Course

Array = NDArray[np.float64]
LEVELS = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)  # evenly, so that their mean is the mean
CHUNK = 4096  # rows at once when asked: 4096 x 30 x 32 floats stay within the cache's reach
STEEP = 1.0  # largest norm of a gradient
RISE = 0.2  # of a training
TOLD = 20  # steps between two words on progress: a tenth of a second


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a network.

    Attributes:
        statistics: inputs that are numbers on their own. window, columns: of the samples behind them; no window: 0.
        filters: of each convolution. width: of the two layers that join all. dropout: share of inputs left out in training.
    """

    statistics: int
    window: int
    columns: int
    filters: int = 16
    width: int = 64
    dropout: float = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """How a network is trained.

    Attributes:
        steps: however many rows there are, but not more than go through all rows `passes` times. rows: a step.
        rate: highest step size. decay: of weights.
    """

    steps: int
    passes: int
    rows: int
    rate: float
    decay: float


class Member(nn.Module):
    """One network: (B, F) -> (B, Q), life as a share of its cap."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        wide = shape.statistics
        if shape.window:
            self.first = nn.Conv1d(shape.columns, shape.filters, 5, stride=2)
            self.second = nn.Conv1d(shape.filters, shape.filters, 3, stride=2)
            wide += shape.filters * (((shape.window - 5) // 2 + 1 - 3) // 2 + 1)
        self.join = nn.Linear(wide, shape.width)
        self.deep = nn.Linear(shape.width, shape.width)
        self.head = nn.Linear(shape.width, len(LEVELS))
        self.drop = nn.Dropout(shape.dropout)
        with torch.no_grad():
            self.head.weight *= 0.3
            self.head.bias.fill_(-2.0)  # softplus of it: nine steps span the labels from 0 to 1
            self.head.bias[0] = 0.0

    def forward(self, inputs: Tensor) -> Tensor:
        told = inputs[:, : self.shape.statistics]  # (B, S)
        if self.shape.window:
            raw = inputs[:, self.shape.statistics :].reshape(-1, self.shape.window, self.shape.columns)  # (B, W, C)
            seen = torch.relu(self.first(raw.transpose(1, 2)))  # (B, H, W / 2)
            seen = torch.relu(self.second(seen))  # (B, H, W / 4)
            told = torch.cat([told, seen.flatten(1)], dim=1)  # (B, S + H W / 4)
        hidden = self.drop(torch.relu(self.join(self.drop(told))))  # (B, D)
        hidden = torch.relu(self.deep(hidden))  # (B, D)
        return rising(self.head(hidden))  # (B, Q)


class LifeNetwork:
    """Networks that answer together."""

    def __init__(self, shape: Shape, members: Sequence[Member]) -> None:
        self.shape, self.members = shape, tuple(members)

    def told(self, inputs: NDArray[np.floating[Any]]) -> Array:
        """Quantiles at LEVELS as a share of the cap, the members' mean. (N, F) -> (N, Q)."""
        rows = torch.from_numpy(np.ascontiguousarray(inputs, np.float32))
        with torch.inference_mode():
            parts = [torch.stack([m(part) for m in self.members]).mean(dim=0) for part in torch.split(rows, CHUNK)]
        found = torch.cat(parts) if parts else torch.empty(0, len(LEVELS))
        return found.double().numpy()

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        return {
            f"network.{k}.{name}": tensor.numpy()
            for k, member in enumerate(self.members)
            for name, tensor in member.state_dict().items()
        }

    @classmethod
    def from_tensors(cls, shape: Shape, members: int, tensors: Mapping[str, NDArray[Any]]) -> Self:
        made = []
        for k in range(members):
            member, lead = Member(shape), f"network.{k}."
            own = {n.removeprefix(lead): torch.tensor(t) for n, t in tensors.items() if n.startswith(lead)}
            member.load_state_dict(own)
            made.append(member.eval())
        return cls(shape, made)


def fit_member(
    inputs: NDArray[np.float32], share: NDArray[np.float32], shape: Shape, pace: Pace, seed: int, course: Course
) -> Member:
    """
    Args:
        inputs: shape (N, F), each of mean 0 and spread 1 or so. share: of the cap that was left, shape (N,).
    """
    torch.manual_seed(seed)
    member, chance = Member(shape), torch.Generator().manual_seed(seed)
    x, y = torch.from_numpy(inputs), torch.from_numpy(share)
    levels = torch.tensor(LEVELS)
    steps = max(1, min(pace.steps, pace.passes * len(x) // pace.rows))
    optimiser = torch.optim.AdamW(member.parameters(), lr=pace.rate, weight_decay=pace.decay)
    for step, batch in zip(range(steps), _batches(len(x), pace.rows, chance), strict=False):
        if step % TOLD == 0:
            course.at(step / steps, f"step {step} of {steps}")
        for group in optimiser.param_groups:
            group["lr"] = pace.rate * _warmth(step / steps)
        quantiles = member(x[batch])  # (B, Q)
        gap = y[batch, None] - quantiles  # (B, Q)
        pinball = torch.maximum(levels * gap, (levels - 1) * gap).mean()
        loss = pinball + functional.mse_loss(quantiles.mean(dim=1), y[batch])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(member.parameters(), STEEP)
        optimiser.step()
    return member.eval()


def _warmth(share: float) -> float:
    """Step size in the course of a training: it rises in a line, then falls as a cosine."""
    if share < RISE:
        return 0.04 + 0.96 * share / RISE
    return 0.5 * (1.0 + math.cos(math.pi * (share - RISE) / (1.0 - RISE)))


def _batches(count: int, rows: int, chance: torch.Generator) -> Iterator[Tensor]:
    """Places of rows, shuffled anew after each pass, without end; a rest smaller than a batch waits for the next pass."""
    rows = min(rows, count)
    while True:
        yield from torch.randperm(count, generator=chance)[: count // rows * rows].view(-1, rows)
