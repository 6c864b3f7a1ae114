"""The network's forecast: a linear form that starts as the ridge, a GRU that corrects it, and quantiles around both.

Source of the linear part: Zeng et al., "Are transformers effective for time series forecasting?", AAAI 2023.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ml.forecast_model import LEVELS
from ml.intervals import rising
from ml.ridge import Ridge
from ml.training import Course, seeded
from ml.windows import Windows, filled

PATCH = 8  # values that the GRU takes at a time: an hour's window of seconds stays below 500 steps
HIDDEN = 48
BATCH = 1_024  # windows of one column
EPOCH_WINDOWS = 40_000  # of one column, drawn anew for each epoch: some seconds on one core
EPOCHS = 12
PATIENCE = 3  # epochs without gain on what is held out
RATE, DECAY = 2e-3, 1e-3
DRIFT = 40  # times slower the linear part learns
Array = NDArray[np.float64]


class Forecaster(nn.Module):
    """Mean and quantiles of the next H values of one column, of its last L; columns share all but a bias.

    Args:
        weights: of the ridge, shape (C, L + 1, H).
    """

    def __init__(self, weights: Tensor, levels: Sequence[float] = LEVELS, hidden: int = HIDDEN) -> None:
        super().__init__()
        columns, rows, horizon = weights.shape
        self.lookback, self.horizon, self.levels = rows - 1, horizon, tuple(levels)
        self.linear = nn.Parameter(weights[:, :-1].clone())  # (C, L, H)
        self.bias = nn.Parameter(weights[:, -1].clone())  # (C, H)
        self.embedding = nn.Embedding(columns, 4)
        self.gru = nn.GRU(PATCH + 4, hidden, batch_first=True)
        self.correction = nn.Linear(hidden, horizon)
        self.spread = nn.Linear(hidden, horizon * len(levels))
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def forward(self, seen: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L), (B,) -> mean (B, H), quantiles (B, H, Q)."""
        newest = seen[:, -1:]
        x = seen - newest  # (B, L)
        size = x.std(dim=1, keepdim=True) + 1e-3  # (B, 1)
        patches = nn.functional.pad(x / size, ((-self.lookback) % PATCH, 0)).reshape(len(x), -1, PATCH)  # (B, P, PATCH)
        which = self.embedding(column)[:, None].expand(-1, patches.shape[1], -1)  # (B, P, 4)
        _, h = self.gru(torch.cat([patches, which], dim=2))  # (1, B, hidden)
        linear = torch.empty(len(x), self.horizon)
        for each in range(len(self.bias)):
            rows = column == each
            linear[rows] = x[rows] @ self.linear[each] + self.bias[each]
        mean = newest + linear + size * self.correction(h[0])  # (B, H)
        apart = rising(self.spread(h[0]).reshape(len(x), self.horizon, -1))  # (B, H, Q)
        return mean, mean.detach()[..., None] + size[..., None] * apart

    def forecast(self, seen: Array) -> tuple[Array, Array]:
        """(N, L, C) -> mean (N, H, C), quantiles (N, H, C, Q); NaN for a column of which a window holds nothing."""
        count, _, columns = seen.shape
        mean, quantiles = (
            np.empty((count, self.horizon, columns)),
            np.empty((count, self.horizon, columns, len(self.levels))),
        )
        self.eval()
        with torch.no_grad():
            for c in range(columns):
                for begin in range(0, count, 4 * BATCH):
                    rows = slice(begin, begin + 4 * BATCH)
                    x = torch.from_numpy(filled(seen[rows, :, c : c + 1])[:, :, 0].astype(np.float32))  # (B, L)
                    told = self(x, torch.full((len(x),), c))
                    mean[rows, :, c], quantiles[rows, :, c] = told[0].numpy(), told[1].numpy()
        return mean, quantiles

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        return {f"net.{name}": value.numpy() for name, value in self.state_dict().items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], levels: Sequence[float]) -> Self:
        state = {name[4:]: torch.from_numpy(value) for name, value in tensors.items() if name.startswith("net.")}
        columns, lookback, horizon = state["linear"].shape
        made = cls(torch.zeros(columns, lookback + 1, horizon), levels, state["correction.weight"].shape[1])
        made.load_state_dict(state)
        return made


def fit(ridge: Ridge, learnt: Sequence[Windows], held: Sequence[Windows], seed: int, course: Course) -> Forecaster:
    """From the ridge on, until nothing is gained on what is held out any more.

    Raises:
        Cancelled: between two batches.
    """
    chance = seeded(seed)
    model = Forecaster(torch.from_numpy(ridge.weights.astype(np.float32)))
    # The linear part is at its optimum already: it may only drift.
    linear: list[nn.Parameter] = [model.linear, model.bias]
    rest = [p for name, p in model.named_parameters() if name not in ("linear", "bias")]
    groups: list[dict[str, Any]] = [{"params": linear, "lr": RATE / DRIFT}, {"params": rest}]
    optimiser = torch.optim.AdamW(groups, lr=RATE, weight_decay=DECAY)
    levels = torch.tensor(model.levels)
    best, kept, idle = _loss(model, held, levels), copy.deepcopy(model.state_dict()), 0
    for epoch in range(EPOCHS):
        model.train()
        for done, (seen, column, ahead) in enumerate(_batches(learnt, chance)):
            if done % 10 == 0:
                course.at(epoch / EPOCHS, f"epoch {epoch + 1}, held-out loss {best:.4f}")
            mean, quantiles = model(seen, column)
            optimiser.zero_grad()
            _of(mean, quantiles, ahead, levels).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        now = _loss(model, held, levels)
        idle = 0 if now < best else idle + 1
        if now < best:
            best, kept = now, copy.deepcopy(model.state_dict())
        if idle >= PATIENCE:
            break
    model.load_state_dict(kept)
    return model


def _of(mean: Tensor, quantiles: Tensor, ahead: Tensor, levels: Tensor) -> Tensor:
    """Squared error of the mean and quantile loss, what is not known left out."""
    known = torch.isfinite(ahead)
    truth = torch.where(known, ahead, mean.detach())
    gap = truth[..., None] - quantiles  # (B, H, Q)
    pinball = torch.maximum(levels * gap, (levels - 1) * gap).mean(dim=-1)
    return (((truth - mean) ** 2 + pinball) * known).sum() / known.sum().clamp(min=1)


def _batches(parts: Sequence[Windows], chance: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """All windows of all columns once, mixed: (B, L), (B,), (B, H)."""
    columns = parts[0].seen.shape[2]
    sizes = np.array([len(p.seen) for p in parts])
    drawn = chance.permutation(int(sizes.sum()) * columns)[:EPOCH_WINDOWS]
    window, column = np.divmod(drawn, columns)
    ends = sizes.cumsum()
    part = np.searchsorted(ends, window, side="right")
    row = window - (ends - sizes)[part]
    for begin in range(0, len(drawn), BATCH):
        rows = slice(begin, begin + BATCH)
        seen, ahead = _taken(parts, part[rows], row[rows], column[rows])
        usable = np.isfinite(seen[:, -1])
        if usable.any():
            c = torch.from_numpy(column[rows][usable])
            yield torch.from_numpy(seen[usable]), c, torch.from_numpy(ahead[usable])


def _taken(
    parts: Sequence[Windows], part: NDArray[np.intp], row: NDArray[np.intp], column: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Windows by part, row and column: (B, L), (B, H)."""
    seen = np.empty((len(part), parts[0].seen.shape[1]), np.float32)
    ahead = np.empty((len(part), parts[0].ahead.shape[1]), np.float32)
    for k in np.unique(part):
        here = np.flatnonzero(part == k)
        seen[here] = parts[k].seen[row[here], :, column[here]]
        ahead[here] = parts[k].ahead[row[here], :, column[here]]
    return filled(seen[:, :, None])[:, :, 0].astype(np.float32), ahead


def _loss(model: Forecaster, held: Sequence[Windows], levels: Tensor) -> float:
    """Mean squared error and quantile loss on every window."""
    total, count = 0.0, 0
    for part in held:
        mean, quantiles = model.forecast(part.seen)
        known = np.isfinite(part.ahead) & np.isfinite(mean)
        gap = part.ahead[..., None] - quantiles
        pinball = np.maximum(np.array(model.levels) * gap, (np.array(model.levels) - 1) * gap).mean(axis=-1)
        total += float((((part.ahead - mean) ** 2 + pinball) * known)[known].sum())
        count += int(known.sum())
    return total / max(1, count)


def further(model: Forecaster, learnt: Sequence[Windows], steps: int, seed: int, course: Course) -> None:
    """So many steps more from where it is, without a look at what is held out: what a site does in a federated round.

    Raises:
        Cancelled: between two batches.
    """
    chance, levels, done = seeded(seed), torch.tensor(model.levels), 0
    linear: list[nn.Parameter] = [model.linear, model.bias]
    rest = [p for name, p in model.named_parameters() if name not in ("linear", "bias")]
    groups: list[dict[str, Any]] = [{"params": linear, "lr": RATE / DRIFT}, {"params": rest}]
    optimiser = torch.optim.AdamW(groups, lr=RATE, weight_decay=DECAY)
    model.train()
    while done < steps:
        before = done
        for seen, column, ahead in itertools.islice(_batches(learnt, chance), steps - done):
            course.at(done / steps, f"step {done + 1} of {steps}")
            optimiser.zero_grad()
            mean, quantiles = model(seen, column)
            _of(mean, quantiles, ahead, levels).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            done += 1
        if done == before:  # no window has a newest value: nothing to learn from
            return


def loss(model: Forecaster, held: Sequence[Windows]) -> float:
    """Mean squared error and quantile loss on every window."""
    return _loss(model, held, torch.tensor(model.levels))
