"""Learned dynamics, one step forward: a physics by name, a small network that corrects it; must not know files or training.

What is trained in ml/ and what runs as a part of a layout in sim/ is this one function. Shapes: V variants of the
parameters, G rows for each, S states, L latent ones, I inputs, O outputs; all float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PARTS = 2  # Euler steps within a step: tanks of ten steps' time constant move by a tenth in one
SLIGHT = 1e-6  # of a spread: where a square root still has a slope
SLACK = 0.02  # of an input's range: what lies within is as it was seen
DOUBT = "doubt"  # a state: 1 from the first input outside what was seen on, for the way back is not known either
STAY = 2.2  # logit of what a latent state keeps in a step: nine tenths


@dataclass(frozen=True, slots=True)
class Form:
    """What is told from what.

    Attributes:
        physics: row of PHYSICS. inputs, outputs: names, in order. step_s: of one step.
        lags: steps that a linear model looks back, 1 or more; 1 for others.
        width: of the network's hidden layer, 0: no network. latent: states of its own.
    """

    physics: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    step_s: float
    lags: int = 1
    width: int = 0
    latent: int = 0

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states that are not latent; the outputs come first."""
        return PHYSICS[self.physics].states(self)

    @property
    def corrected(self) -> int:
        """So many of the first states are corrected."""
        return PHYSICS[self.physics].corrected(self)

    @property
    def parameters(self) -> int:
        """Of the physics; those of the network come behind them."""
        return PHYSICS[self.physics].parameters(self)

    @property
    def weights(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.layers) if self.width else 0

    @property
    def layers(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the network: from what is seen, its bias, to what is told, and what latent states keep."""
        seen, told = len(self.states) + len(self.inputs) + self.latent, self.corrected + self.latent
        return (seen, self.width), (1, self.width), (self.width, told), (1, self.latent)

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Form:
        return cls(**{**told, "inputs": tuple(told["inputs"]), "outputs": tuple(told["outputs"])})


@dataclass(frozen=True, slots=True)
class Scales:
    """Sizes of things, from the data that were learned from.

    Attributes:
        low, high: within which an output stays, (O,): where its sensor or its vessel ends, or well outside what was seen.
        mean, spread: of each output, (O,). input_mean, input_spread: (I,).
        limit: of a correction in one step, (O,).
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    spread: Tensor
    input_mean: Tensor
    input_spread: Tensor
    limit: Tensor

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {f"scales.{name}": getattr(self, name).numpy() for name in self.__slots__}

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[Any]]) -> Scales:
        return cls(**{name: torch.from_numpy(np.array(tensors[f"scales.{name}"])) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Physics:
    """A structure that dynamics may have.

    Attributes:
        states: their names, outputs first. corrected, parameters: how many.
        step: (form, scales, parameters (V, 1, P), states (V, G, S), inputs (V or 1, G, I), corrections (V, G, corrected))
            -> states (V, G, S).
        settled: fills states that are not known (NaN) as if nothing had moved.
        free: states whose beginning no measurement tells for sure.
    """

    states: Callable[[Form], tuple[str, ...]]
    corrected: Callable[[Form], int]
    parameters: Callable[[Form], int]
    step: Callable[[Form, Scales, Tensor, Tensor, Tensor, Tensor], Tensor]
    settled: Callable[[Form, Scales, Tensor, Tensor, Tensor], Tensor]
    free: Callable[[Form], tuple[int, ...]]


# --- two tanks, one above the other ---------------------------------------------------------------------------------------

TANKS = ("out_of_upper", "into_lower", "out_of_lower", "pump", "pump_offset", "rim", "caught")


def _tanks(form: Form, scales: Scales, p: Tensor, x: Tensor, inputs: Tensor, more: Tensor) -> Tensor:
    """Torricelli's law in both tanks; a pump with an offset; the upper one runs over its rim, and the lower catches a share.

    Levels are as the sensor of the lower tank shows them; the first four parameters are logarithms, flows per step.
    Source of the form: Schoukens and Noël, "Three benchmarks addressing open challenges in nonlinear system
    identification", IFAC 2017, equations 6-8; overflow as they describe it.
    """
    lower, upper = x[..., 0], x[..., 1]  # (V, G)
    out_upper, into_lower, out_lower, pump = torch.exp(p[..., :4]).unbind(-1)  # (V, 1)
    least = SLIGHT * scales.spread[0]
    flow = pump * torch.clamp(inputs[..., 0] - p[..., 4], min=0.0)  # (V, G)
    for _ in range(PARTS):
        speed = torch.sqrt(torch.clamp(upper, min=least))
        upper = upper + (flow - out_upper * speed + more[..., 1]) / PARTS
        over = torch.clamp(upper - p[..., 5], min=0.0)
        upper = torch.clamp(upper - over, min=0.0)
        rise = into_lower * speed - out_lower * torch.sqrt(torch.clamp(lower, min=least)) + more[..., 0]
        lower = torch.clamp(lower + rise / PARTS + p[..., 6] * over, scales.low[0], scales.high[0])
    return torch.stack([lower, upper], dim=-1)  # (V, G, 2)


def _tanks_settled(form: Form, scales: Scales, p: Tensor, x: Tensor, inputs: Tensor) -> Tensor:
    lower = torch.where(torch.isnan(x[..., 0]), scales.mean[0], x[..., 0])  # (V, G)
    still = lower * torch.exp(2.0 * (p[..., 2] - p[..., 1]))  # as much runs in as out
    upper = torch.where(torch.isnan(x[..., 1]), torch.minimum(still, torch.clamp(p[..., 5], min=0.0)), x[..., 1])
    return torch.stack([lower, upper], dim=-1)


# --- linear, of the last outputs and inputs -------------------------------------------------------------------------------


def _lagged(form: Form) -> tuple[str, ...]:
    back = range(1, form.lags)
    return (*form.outputs, *(f"{n}@{k}" for names in (form.outputs, form.inputs) for k in back for n in names))


def regressors(form: Form, scales: Scales, x: Tensor, inputs: Tensor) -> Tensor:
    """States and inputs, each over its spread: (…, S), (…, I) -> (…, S + I)."""
    outputs = len(form.outputs) * form.lags
    y = (x[..., :outputs] - scales.mean.repeat(form.lags)) / scales.spread.repeat(form.lags)
    before = form.lags - 1
    u = (x[..., outputs:] - scales.input_mean.repeat(before)) / scales.input_spread.repeat(before)
    now = (inputs - scales.input_mean) / scales.input_spread
    return torch.cat([y, u, now.expand(*x.shape[:-1], -1)], dim=-1)


def _linear(form: Form, scales: Scales, p: Tensor, x: Tensor, inputs: Tensor, more: Tensor) -> Tensor:
    """y[t+1] = A [y[t] … y[t-lags+1], u[t] … u[t-lags+1]] + b, in spreads; (A, b) are the parameters, row by row."""
    count = len(form.outputs)
    seen = regressors(form, scales, x, inputs)  # (V, G, F)
    weights = p[:, 0].reshape(len(p), -1, count)  # (V, F + 1, O)
    told = torch.baddbmm(weights[:, -1:], seen.expand(len(p), -1, -1), weights[:, :-1])  # (V, G, O)
    y = torch.clamp(told * scales.spread + scales.mean + more, scales.low, scales.high)
    edge, wide = count * form.lags, len(form.inputs)
    if form.lags == 1:
        return y
    now = inputs.expand(*y.shape[:-1], -1)
    return torch.cat([y, x[..., : edge - count], now, x[..., edge : x.shape[-1] - wide]], dim=-1)


def _linear_settled(form: Form, scales: Scales, p: Tensor, x: Tensor, inputs: Tensor) -> Tensor:
    newest = torch.where(torch.isnan(x[..., : len(form.outputs)]), scales.mean, x[..., : len(form.outputs)])
    now = inputs.expand(*x.shape[:-1], -1)
    still = torch.cat([newest.repeat(1, 1, form.lags), now.repeat(1, 1, form.lags - 1)], dim=-1)
    return torch.where(torch.isnan(x), still, x)


PHYSICS: Mapping[str, Physics] = {
    "two_tanks": Physics(
        lambda form: (form.outputs[0], f"above {form.outputs[0]}"), lambda form: 2, lambda form: len(TANKS), _tanks,
        _tanks_settled, lambda form: (0, 1),
    ),
    "linear": Physics(
        _lagged, lambda form: len(form.outputs),
        lambda form: len(form.outputs) * (form.lags * (len(form.outputs) + len(form.inputs)) + 1), _linear,
        _linear_settled, lambda form: (),
    ),
}  # fmt: skip


# --- one step -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """From one state to the next, for any parameters."""

    form: Form
    scales: Scales

    def __call__(self, p: Tensor, x: Tensor, inputs: Tensor) -> Tensor:
        """Parameters (V, P), states (V, G, S + L), inputs (V or 1, G, I) -> states (V, G, S + L)."""
        form, row = self.form, PHYSICS[self.form.physics]
        states = len(form.states)
        known, latent = x[..., :states], x[..., states:]
        first = p[:, None, : form.parameters]  # (V, 1, P)
        if not form.width:
            none = x.new_zeros(*x.shape[:2], form.corrected)
            return row.step(form, self.scales, first, known, inputs, none)
        more, latent = self._corrected(p[:, form.parameters :], known, latent, inputs)
        return torch.cat([row.step(form, self.scales, first, known, inputs, more), latent], dim=-1)

    def settled(self, p: Tensor, x: Tensor, inputs: Tensor) -> Tensor:
        """The same states with what is not known (NaN) as if all had stood still."""
        form, row = self.form, PHYSICS[self.form.physics]
        states = len(form.states)
        known = row.settled(form, self.scales, p[:, None, : form.parameters], x[..., :states], inputs)
        return torch.cat([known, torch.nan_to_num(x[..., states:])], dim=-1)

    def _corrected(self, weights: Tensor, known: Tensor, latent: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What the network adds to the first states in this step, (V, G, corrected), and its latent states."""
        form, scales = self.form, self.scales
        parts = torch.split(weights, [int(np.prod(shape)) for shape in form.layers], dim=1)
        first, bias, last, stay = (
            w.reshape(len(w), *shape) for w, shape in zip(parts, form.layers, strict=True)
        )  # (V, F, H), (V, 1, H), (V, H, O), (V, 1, L)
        seen = torch.cat([self._scaled(known, inputs), latent], dim=-1)  # (V, G, F)
        told = torch.bmm(torch.tanh(torch.baddbmm(bias, seen, first)), last)  # (V, G, corrected + L)
        limit = scales.limit.repeat(form.corrected // len(scales.limit))
        more = limit * torch.tanh(told[..., : form.corrected])
        keep = torch.sigmoid(stay)
        return more, keep * latent + (1.0 - keep) * torch.tanh(told[..., form.corrected :])

    def _scaled(self, known: Tensor, inputs: Tensor) -> Tensor:
        """(V, G, S + I)."""
        form, scales = self.form, self.scales
        if form.physics == "linear":
            return regressors(form, scales, known, inputs)
        times = known.shape[-1] // len(form.outputs)
        y = (known - scales.mean.repeat(times)) / scales.spread.repeat(times)
        now = (inputs - scales.input_mean) / scales.input_spread
        return torch.cat([y, now.expand(*known.shape[:-1], -1)], dim=-1)


@dataclass(frozen=True, slots=True)
class Dynamics:
    """Trained dynamics: members that run beside each other; what they tell is their mean.

    Attributes:
        parameters: of each member, (M, P).
        seen: smallest and largest of each input in training, (2, I). memory: measured rows that a run begins with.
    """

    step: Step
    parameters: Tensor
    seen: Tensor
    memory: int

    @property
    def each(self) -> int:
        """States of one member."""
        return len(self.step.form.states) + (self.step.form.latent if self.step.form.width else 0)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of all that is carried on: the mean states, whether they are in doubt, the states of each member."""
        form = self.step.form
        members = (f"member {m + 1} state {k + 1}" for m in range(len(self.parameters)) for k in range(self.each))
        return (*form.states, DOUBT, *members)

    def begun(self, states: Tensor, inputs: Tensor) -> Tensor:
        """(G, all states), (G, I) -> (G, all states): what is not known (NaN) as the mean states say, or as if at rest."""
        x = self._members(states)  # (M, G, each)
        named = len(self.step.form.states)
        mean = states[None, :, :named].expand(len(x), -1, -1)
        x = torch.cat([torch.where(torch.isnan(x[..., :named]), mean, x[..., :named]), x[..., named:]], dim=-1)
        return self._joined(self.step.settled(self.parameters, x, inputs[None]), torch.nan_to_num(states[:, named]))

    def next(self, states: Tensor, inputs: Tensor) -> Tensor:
        """(G, all states), (G, I) -> (G, all states)."""
        x = self.step(self.parameters, self._members(states), inputs[None])
        before = states[:, len(self.step.form.states)]
        doubt = torch.where(self.strange(inputs), torch.ones_like(before), before)
        return self._joined(x, doubt)

    def strange(self, inputs: Tensor) -> Tensor:
        """Whether one of them lies outside what was seen, (…, I) -> (…)."""
        room = SLACK * (self.seen[1] - self.seen[0])
        return ~((inputs >= self.seen[0] - room) & (inputs <= self.seen[1] + room)).all(dim=-1)

    def _members(self, states: Tensor) -> Tensor:
        after = len(self.step.form.states) + 1
        return states[:, after:].reshape(len(states), len(self.parameters), self.each).transpose(0, 1)

    def _joined(self, x: Tensor, doubt: Tensor) -> Tensor:
        mean = x[..., : len(self.step.form.states)].mean(dim=0)  # (G, S)
        return torch.cat([mean, doubt[:, None], x.transpose(0, 1).reshape(x.shape[1], -1)], dim=-1)

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {**self.step.scales.tensors(), "parameters": self.parameters.numpy(), "seen.inputs": self.seen.numpy()}

    @classmethod
    def of(cls, settings: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Dynamics:
        """From the settings and the tensors of a model's file."""
        step = Step(Form.of(settings["form"]), Scales.of(tensors))
        parameters, seen = (torch.from_numpy(np.array(tensors[n])) for n in ("parameters", "seen.inputs"))
        return cls(step, parameters, seen, int(settings["lookback"]))


def run(step: Step, p: Tensor, x: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """A free run: outputs at each moment, and the state at the last one.

    Args:
        p: (V, P). x: at the first moment, (V, G, S + L). inputs: at every moment, (G, T, I); the last ones act no more.

    Returns:
        (V, G, T, O), (V, G, S + L).
    """
    count = len(step.form.outputs)
    told = [x[..., :count]]
    for t in range(inputs.shape[1] - 1):
        x = step(p, x, inputs[None, :, t])
        told.append(x[..., :count])
    return torch.stack(told, dim=2), x
