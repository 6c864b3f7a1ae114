"""Learned dynamics as a part of a layout: a torch function of state and inputs, called once a step for many replications.

x[t + step] = f([x[t], u[t]]), shape (rows, states + inputs) -> (rows, states). Every call has the same number of rows, and
a replication always has the same one: what it gets does not depend on how many others run beside it.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.opaque.stepper import StepFailed, Stepper, Variables, Wanted

if TYPE_CHECKING:
    import torch

ROWS = 64  # a call of 64 rows costs twice one of a single row (measured: 55 and 25 µs, docs/opaque.md)
FUNCTIONS_MAX = 8  # built at once in one process
STEP_OFF = 1e-6  # relative: times are sums of steps
Call = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Network:
    """A function made of tensors.

    Attributes:
        build: makes it: a module-level function that loads weights (safetensors, TorchScript; never pickle). A module is
            put into evaluation mode.
        states: names of what it carries on from step to step; each can be written and begun with.
        inputs: names of what it reads.
        files: whose content makes the model; they go into its hash.
        rows: replications in one call.
        start: of states that a layout does not begin; 0 else.
        step_s: seconds of the step that it learned; 0: not known, and then not looked at.
    """

    build: Callable[[], Callable[[torch.Tensor], torch.Tensor]]
    states: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    rows: int = ROWS
    start: Mapping[str, float] = field(default_factory=dict, hash=False)
    step_s: float = 0.0

    @property
    def title(self) -> str:
        return f"the network {self.build.__name__}"

    @property
    def told(self) -> str:
        """Which function it is, for the hash."""
        return f"{self.build.__module__}:{self.build.__qualname__}"

    @property
    def exact(self) -> bool:
        return False  # it learned one step

    @property
    def direct(self) -> bool:
        return False

    def hash(self) -> str:
        told = f"{self.told} {self.states} {self.inputs} {self.rows}"
        digest = hashlib.sha256(f"{told} {sorted(self.start.items())}".encode())
        for path in self.files:
            digest.update(Path(path).read_bytes())
        return digest.hexdigest()

    def variables(self) -> Variables:
        return Variables(frozenset(self.inputs), frozenset(self.states), frozenset(self.states))

    @property
    def unknown(self) -> float:
        """Of a state with which nothing begins and for which `start` says nothing; NaN: the function's `begun` fills it."""
        return 0.0

    def open(self, wanted: Wanted, replication: int) -> Stepper:
        return Member(self, wanted, replication)


@lru_cache(maxsize=FUNCTIONS_MAX)
def _built(model: Network) -> tuple[Call, Call | None]:
    """The function on arrays, and, if it has one, that which fills unknown first states: (rows, …) -> (rows, states)."""
    import torch  # seconds: only processes with a network pay them

    made: Any = model.build()
    if isinstance(made, torch.nn.Module):
        made = made.eval()

    def on_arrays(function: Any) -> Call:
        def call(block: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.inference_mode(), _one_thread(torch):
                out: Any = function(torch.from_numpy(block))  # (rows, states)
            answer = np.asarray(out.to("cpu", torch.float32).numpy())
            if answer.shape != (len(block), len(model.states)):
                raise StepFailed(f"it gave the shape {answer.shape}", f"give ({len(block)}, {len(model.states)})")
            return answer

        return call

    return on_arrays(made), on_arrays(made.begun) if hasattr(made, "begun") else None


@contextmanager
def _one_thread(torch: Any) -> Iterator[None]:
    """Replications fill the cores; with more threads small products are slower, and their last bits may differ."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Batch:
    """Rows of replications that step together: the first that needs its answer asks for all who have given their inputs.

    Used by one thread.
    """

    def __init__(self, model: Network) -> None:
        self._call, self._begun = _built(model)
        width = len(model.states)
        self._block = np.zeros((model.rows, width + len(model.inputs)), np.float32)
        self._answers = np.zeros((model.rows, width), np.float32)
        self._waiting: set[int] = set()
        self.taken: set[int] = set()
        self.calls = 0

    def give(self, row: int, state: NDArray[np.float32], inputs: NDArray[np.float32]) -> None:
        """What a replication's next step begins with."""
        self._block[row] = np.concatenate([state, inputs])
        self._waiting.add(row)

    def begun(self, state: NDArray[np.float32], inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """A first state without what is not known."""
        if self._begun is None or not np.isnan(state).any():
            return state
        found: NDArray[np.float32] = self._begun(np.concatenate([state, inputs])[None])[0]
        return found

    def answer(self, row: int) -> NDArray[np.float32]:
        """Its state after the step."""
        if row in self._waiting:
            answers = self._call(self._block)
            self.calls += 1
            rows = sorted(self._waiting)
            self._answers[rows] = answers[rows]
            self._waiting.clear()
        state: NDArray[np.float32] = self._answers[row].copy()
        return state


_BATCHES: dict[tuple[Any, ...], list[weakref.ref[Batch]]] = {}
_LOCK = threading.Lock()


def batch_of(model: Network, replication: int) -> Batch:
    """A batch of this thread in which the replication's row is free."""
    row, place = replication % model.rows, (model, replication // model.rows, threading.get_ident())
    with _LOCK:
        kept = [(ref, batch) for ref in _BATCHES.get(place, ()) if (batch := ref()) is not None]
        found = next((batch for _, batch in kept if row not in batch.taken), None)
        if found is None:
            found = Batch(model)
            kept.append((weakref.ref(found), found))
        found.taken.add(row)
        _BATCHES[place] = [ref for ref, _ in kept]
        for other in [p for p, refs in _BATCHES.items() if all(ref() is None for ref in refs)]:
            del _BATCHES[other]
    return found


class Member:
    """One replication's row."""

    def __init__(self, model: Network, wanted: Wanted, replication: int) -> None:
        self._model = model
        self._row = replication % model.rows
        self._batch: Batch | None = batch_of(model, replication)
        self._reads = [model.inputs.index(name) for name in wanted.reads]
        self._writes = [model.states.index(name) for name in wanted.writes]
        self._begins = [model.states.index(name) for name in wanted.begins]
        self._state = self._first()
        self._inputs = np.zeros(len(model.inputs), np.float32)
        self._at_s = 0.0

    def begin(self, at_s: float, starts: Sequence[float]) -> None:
        self._state = self._first()
        self._state[self._begins] = starts
        self._at_s = at_s

    def hold(self, inputs: Sequence[float]) -> None:
        assert self._batch is not None
        self._inputs[self._reads] = inputs
        self._state = self._batch.begun(self._state, self._inputs)
        self._give()

    def advance(self, to_s: float) -> None:
        if to_s > self._at_s:
            learned, passed = self._model.step_s, to_s - self._at_s
            if learned and abs(passed - learned) > STEP_OFF * max(abs(to_s), learned):
                raise StepFailed(
                    f"it learned steps of {learned:g} s, and this is one of {passed:g} s", "step = Constant(…)"
                )
            assert self._batch is not None
            self._state = self._batch.answer(self._row)
            self._at_s = to_s
            self._give()

    def outputs(self) -> Sequence[float]:
        return [float(x) for x in self._state[self._writes]]

    def _first(self) -> NDArray[np.float32]:
        model = self._model
        return np.array([model.start.get(name, model.unknown) for name in model.states], np.float32)

    def save(self) -> bytes:
        return np.concatenate([[self._at_s], self._state, self._inputs]).tobytes()

    def restore(self, saved: bytes) -> None:
        numbers = np.frombuffer(saved)
        width = len(self._model.states)
        self._at_s = float(numbers[0])
        self._state = numbers[1 : 1 + width].astype(np.float32)
        self._inputs = numbers[1 + width :].astype(np.float32)
        self._give()

    def close(self) -> None:
        if self._batch is not None:
            self._batch.taken.discard(self._row)
            self._batch = None

    def _give(self) -> None:
        assert self._batch is not None
        self._batch.give(self._row, self._state, self._inputs)
