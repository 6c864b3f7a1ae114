"""A small network for what a linear forecast leaves; bounded, so that it cannot run away where it was never trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ml.training import Course, seeded

EPOCHS_MAX = 60
PATIENCE = 8  # epochs without gain on the devices held out
BATCH = 64
RATE, DECAY = 1e-2, 1e-3
HELD = 0.2
SQUASH = 3.0  # spreads; beyond, inputs say little more
Array = NDArray[np.float64]
Weights = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True)
class Network:
    """One hidden layer of tanh.

    Attributes:
        inner: shape (K, H). bias: shape (H,). outer: shape (H, C).
    """

    inner: NDArray[np.float32]
    bias: NDArray[np.float32]
    outer: NDArray[np.float32]

    def forecast(self, inputs: Array) -> Array:
        """(N, K) -> (N, C)."""
        squashed = np.tanh(inputs.astype(np.float32) / SQUASH)  # (N, K)
        hidden = np.tanh(squashed @ self.inner + self.bias)  # (N, H)
        told: Array = (hidden @ self.outer).astype(np.float64)
        return told

    @classmethod
    def fit(
        cls, inputs: Array, targets: Array, devices: NDArray[np.intp], hidden: int, seed: int, course: Course
    ) -> Self:
        """Stopped when devices that were held out (of one device: its last rows) no longer gain.

        Args:
            inputs: shape (N, K). targets: shape (N, C), NaN where missing. devices: shape (N,).
        """
        rng = seeded(seed)
        held = _held(devices, rng)
        x = torch.tanh(torch.tensor(inputs, dtype=torch.float32) / SQUASH)  # (N, K)
        y = torch.tensor(targets, dtype=torch.float32)  # (N, C)
        net = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, y.shape[1], bias=False)
        )
        torch.nn.init.zeros_(net[2].weight)  # type: ignore[arg-type]  # it begins as nothing
        made = _trained(net, (x[~held], y[~held]), (x[held], y[held]), rng, course)
        return cls(made[0].T.copy(), made[1], made[2].T.copy())

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        return {"network.inner": self.inner, "network.bias": self.bias, "network.outer": self.outer}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self | None:
        if "network.inner" not in tensors:
            return None
        return cls(tensors["network.inner"], tensors["network.bias"], tensors["network.outer"])


def _held(devices: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.bool_]:
    names = np.unique(devices)
    if len(names) < 2:
        return np.arange(len(devices)) >= round(len(devices) * (1 - HELD))
    out = rng.permutation(names)[: max(1, round(HELD * len(names)))]
    return np.isin(devices, out)


def _trained(
    net: torch.nn.Module, shown: tuple[torch.Tensor, torch.Tensor], held: tuple[torch.Tensor, torch.Tensor],
    rng: np.random.Generator, course: Course,
) -> Weights:  # fmt: skip
    """The weights of the epoch that was best on what was held out."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    best, kept, since = _loss(net, *held), _weights(net), 0
    for epoch in range(EPOCHS_MAX):
        course.at(epoch / EPOCHS_MAX, f"epoch {epoch + 1}, held-out loss {best:.4g}")
        for rows in np.array_split(rng.permutation(len(shown[0])), max(1, len(shown[0]) // BATCH)):
            optimiser.zero_grad()
            _huber(net(shown[0][rows]), shown[1][rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        found = _loss(net, *held)
        since = since + 1
        if found < best:
            best, kept, since = found, _weights(net), 0
        if since >= PATIENCE:
            break
    return kept


def _huber(told: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    known = torch.isfinite(truth)
    return torch.nn.functional.huber_loss(told[known], truth[known])


def _loss(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return float(_huber(net(x), y))


def _weights(net: torch.nn.Module) -> Weights:
    return tuple(p.detach().numpy().copy() for p in net.parameters())
