"""How the memory of a forecast is trained: through time, in pieces, with the state carried from piece to piece.

Truncated back-propagation: Williams and Peng, Neural Computation 2 (1990). Runs are cut anew for each pass, so that it
also learns to begin with nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ml.recurrent import FAR, STRETCH, Recurrent, states
from ml.ridge import Ridge
from ml.training import Course, seeded
from ml.windows import filled, windows

RUN = 384  # samples that a state is carried through in training
PIECE = 64  # samples that are learnt through at once
LANES = 16  # runs beside each other
NUMBERS_MAX = 1_000_000  # forecast at once: with quantiles and gradients some 100 MB
PASS_ROWS = 20_000  # samples of a pass, drawn anew for each
PASSES, PATIENCE = 60, 8  # without gain on what is held out
RATE, DECAY, DROPPED = 2e-3, 1e-2, 0.2
KNOTS = 8  # steps ahead, ever farther apart, between which corrections run straight: single steps would learn noise
STEEP = 1.0  # largest norm of a gradient
Array = NDArray[np.float64]
Single = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Held:
    """What is held out to choose by.

    Attributes:
        runs: records, scaled, each (T, C). rows: of each, the places forecast from.
        mean: the ridge's forecasts from there, (N, H, C), and what came, of all runs one below the other.
    """

    runs: Sequence[Array]
    rows: Sequence[NDArray[np.intp]]
    mean: Array
    ahead: Array


class _Net(nn.Module):
    hats: Tensor

    def __init__(self, columns: int, horizon: int, memory: int) -> None:
        super().__init__()
        self.gru = nn.GRU(3 * columns, memory, batch_first=True)
        self.drop = nn.Dropout(DROPPED)
        self.register_buffer("hats", torch.from_numpy(hats(horizon)))  # (H, K)
        self.correction = nn.Linear(memory, self.hats.shape[1] * columns)
        self.stretch = nn.Linear(memory, self.hats.shape[1] * columns * 2)
        for layer in (self.correction, self.stretch):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, inputs: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """(B, P, 3 C), (1, B, M) -> correction (B, P, H, C), stretch (B, P, H, C, 2), memory."""
        seen, memory = self.gru(inputs, memory)  # (B, P, M)
        seen = self.drop(seen)
        knots = self.hats.shape[1]
        correction = self.correction(seen).unflatten(2, (knots, -1))  # (B, P, K, C)
        stretch = self.stretch(seen).unflatten(2, (knots, -1, 2))  # (B, P, K, C, 2)
        ahead = torch.einsum("hk,bpkc->bphc", self.hats, correction)
        return ahead, torch.einsum("hk,bpkcs->bphcs", self.hats, stretch), memory


def hats(horizon: int) -> Single:
    """Weights of the knots at each step ahead, (H, K): they rise and fall in straight lines and add up to 1."""
    knots = np.unique(np.round(np.geomspace(1, horizon, min(KNOTS, horizon))))
    each = np.eye(len(knots))
    steps = np.arange(1, horizon + 1)
    return np.stack([np.interp(steps, knots, row) for row in each], axis=1).astype(np.float32)


def fit(
    ridge: Ridge, around: Array, levels: Sequence[float], runs: Sequence[Array], held: Held, memory: int, seed: int,
    course: Course,
) -> Recurrent:  # fmt: skip
    """From the ridge on, until nothing is gained on what is held out any more.

    Args:
        around: the ridge's errors, quantiles (H, C, Q). runs: records to learn from, scaled, each (T, C).

    Raises:
        Cancelled: between two pieces.
    """
    chance = seeded(seed)
    side = np.sign(np.array(levels) - 0.5)
    around = side * np.maximum(side * around, 0.0)  # stretched by whatever factors they cannot cross
    horizon, columns, _ = around.shape
    net = _Net(columns, horizon, memory)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    kept, best = _shrunk(_plain(net, around), held, levels)
    idle = 0
    for number in range(PASSES):
        net.train()
        for done, batch in enumerate(_batches(runs, ridge, chance)):
            if done % 5 == 0:
                course.at(number / PASSES, f"pass {number + 1}, held-out loss {best:.4f}")
            _learn(net, optimiser, batch, torch.from_numpy(around.astype(np.float32)), torch.tensor(levels))
        found, now = _shrunk(_plain(net, around), held, levels)
        idle = 0 if now < best else idle + 1
        if now < best:
            best, kept = now, found
        if idle >= PATIENCE:
            break
    return kept


@dataclass(frozen=True, slots=True)
class _Piece:
    """inputs (B, P, 3 C); the ridge's forecasts and what came, (B, P, H, C), NaN where not known."""

    inputs: Single
    mean: Single
    ahead: Single


def _learn(
    net: _Net, optimiser: torch.optim.Optimizer, pieces: Iterator[_Piece], around: Tensor, levels: Tensor
) -> None:
    """One batch of runs, piece by piece."""
    state: Tensor | None = None
    for piece in pieces:
        correction, stretch, state = net(torch.from_numpy(piece.inputs), state)
        state = state.detach()
        mean, ahead = torch.from_numpy(piece.mean), torch.from_numpy(piece.ahead)
        known = torch.isfinite(mean) & torch.isfinite(ahead)
        if not known.any():
            continue
        plain = torch.where(known, mean, 0.0)
        told = plain + correction
        truth = torch.where(known, ahead, told.detach())
        factor = stretch.clamp(-STRETCH, STRETCH).exp()  # (B, P, H, C, 2)
        sides = [0 if k < len(levels) / 2 else 1 for k in range(len(levels))]
        gap = (truth - told.detach())[..., None] - factor[..., sides] * around  # (B, P, H, C, Q)
        pinball = torch.maximum(levels * gap, (levels - 1) * gap).mean(dim=-1)
        loss = (((truth - told) ** 2 + pinball) * known).sum() / known.sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(net.parameters(), STEEP)
        optimiser.step()


def _batches(runs: Sequence[Array], ridge: Ridge, chance: np.random.Generator) -> Iterator[Iterator[_Piece]]:
    """Records cut into runs from random rows on, LANES of them at a time, PASS_ROWS in all: short records again and again."""
    cuts: list[tuple[int, int]] = []
    while len(cuts) * RUN < PASS_ROWS:
        for k, run in enumerate(runs):
            first = int(chance.integers(0, min(RUN, max(1, len(run) - RUN))))
            cuts += [(k, row) for row in range(first, len(run) - PIECE, RUN)] or [(k, 0)]
    order = chance.permutation(len(cuts))[: max(1, PASS_ROWS // RUN)]
    columns, _, horizon = ridge.weights.shape
    lanes = int(np.clip(NUMBERS_MAX // (PIECE * horizon * columns), 1, LANES))
    for begin in range(0, len(order), lanes):
        yield _pieces(runs, ridge, [cuts[k] for k in order[begin : begin + lanes]])


def _pieces(runs: Sequence[Array], ridge: Ridge, cuts: Sequence[tuple[int, int]]) -> Iterator[_Piece]:
    lookback, horizon = ridge.lookback, ridge.weights.shape[2]
    columns = runs[0].shape[1]
    last = np.full((len(cuts), columns), np.nan)
    for offset in range(0, RUN, PIECE):
        rows = [runs[k][row + offset : row + offset + PIECE] for k, row in cuts]
        values = np.full((len(cuts), PIECE, columns), np.nan)
        mean = np.full((len(cuts), PIECE, horizon, columns), np.nan, np.float32)
        ahead = mean.copy()
        for b, ((k, row), some) in enumerate(zip(cuts, rows, strict=True)):
            values[b, : len(some)] = some
            first = row + offset - lookback + 1  # of the window of this piece's first sample
            found = windows(runs[k][max(0, first) : row + offset + PIECE + horizon], lookback, horizon)
            places = slice(max(0, -first), max(0, -first) + len(found.seen))
            if len(found.seen):
                mean[b, places], ahead[b, places] = ridge.forecast(found.seen), found.ahead
        inputs, last = _inputs(values, last)
        yield _Piece(inputs, mean, ahead)


def _inputs(values: Array, last: Array) -> tuple[Single, Array]:
    """As `Cell.step` makes them, of whole pieces: (B, P, C), (B, C) -> (B, P, 3 C), and the last known values."""
    held = filled_from(values, last)  # (B, P + 1, C)
    change = values - held[:, :-1]
    known = np.isfinite(values)
    parts = [np.clip(values, -FAR, FAR), np.clip(change, -FAR, FAR), known.astype(np.float64)]
    return np.nan_to_num(np.concatenate(parts, axis=2)).astype(np.float32), held[:, -1]


def filled_from(values: Array, last: Array) -> Array:
    """What was last known before and after each sample, NaN before anything was. (B, P, C), (B, C) -> (B, P + 1, C)."""
    whole = np.concatenate([last[:, None], values], axis=1)
    begun = np.maximum.accumulate(np.isfinite(whole), axis=1)
    return np.where(begun, filled(whole), np.nan)


def _plain(net: _Net, around: Array) -> Recurrent:
    """The network as it is served."""
    horizon, columns, _ = around.shape
    state = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    size = net.gru.hidden_size
    first, second = state["gru.bias_ih_l0"][:, None], state["gru.bias_hh_l0"][:, None]
    bias = first.copy()
    bias[: 2 * size] += second[: 2 * size]
    heads = [
        state["hats"]
        @ np.concatenate([state[f"{name}.weight"], state[f"{name}.bias"][:, None]], axis=1).reshape(
            state["hats"].shape[1], -1
        )
        for name in ("correction", "stretch")
    ]
    return Recurrent(
        state["gru.weight_ih_l0"], state["gru.weight_hh_l0"], bias, second[2 * size :].copy(),
        heads[0].reshape(horizon, columns, size + 1), heads[1].reshape(horizon, columns, 2, size + 1), around,
    )  # fmt: skip


def _shrunk(model: Recurrent, held: Held, levels: Sequence[float]) -> tuple[Recurrent, float]:
    """The model with as much of its corrections as serves what is held out, and its mean squared error and quantile loss."""
    memory = states(model, held.runs, held.rows)
    mean, quantiles = model.corrected(held.mean, memory)
    known = np.isfinite(held.ahead) & np.isfinite(mean)
    if not known.any():
        return model, np.inf
    more, left = (mean - held.mean)[known], (held.ahead - held.mean)[known]
    power = float(more @ more)
    share = float(np.clip(more @ left / power, 0.0, 1.0)) if power > 0 else 1.0
    told = held.mean + share * (mean - held.mean)
    gap = (held.ahead - told)[..., None] - (quantiles - mean[..., None])
    pinball = np.maximum(np.array(levels) * gap, (np.array(levels) - 1) * gap).mean(axis=-1)
    loss = float(((held.ahead - told) ** 2 + pinball)[known].mean())
    return replace(model, correction=np.float32(share) * model.correction), loss
