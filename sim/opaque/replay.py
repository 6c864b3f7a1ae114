"""Saving by repeating: for a model that cannot tell its state, all that was asked of it, to be asked again of a new one.

Exact when the model does the same twice, which is checked; what it costs grows with the time that has passed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgpack

from sim.opaque.stepper import Running, StepFailed
from twin.errors import Refused

HOLD, ADVANCE, OUTPUTS = 0.0, 1.0, 2.0
ASKED_MAX = 200_000  # questions kept: two years of hours, 20 MB; more is a run that nobody wants to repeat


class Replayed:
    """A stepper whose state is its history."""

    def __init__(self, title: str, inner: Running) -> None:
        self._title, self._inner = title, inner
        self._asked: list[tuple[float, ...]] = []
        self._outputs: list[float] = []

    def begin(self, at_s: float, starts: Sequence[float]) -> None:
        self._asked = [(at_s, *starts)]
        self._inner.begin(at_s, starts)

    def hold(self, inputs: Sequence[float]) -> None:
        self._keep(HOLD, *inputs)
        self._inner.hold(inputs)

    def advance(self, to_s: float) -> None:
        self._keep(ADVANCE, to_s)
        self._inner.advance(to_s)

    def outputs(self) -> Sequence[float]:
        self._keep(
            OUTPUTS
        )  # a question too may leave its trace in a model: an iteration begun where the last one ended
        self._outputs = list(self._inner.outputs())
        return self._outputs

    def save(self) -> bytes:
        if len(self._asked) > ASKED_MAX:
            raise Refused(f"{self._title} ran for more than {ASKED_MAX} steps: too long to repeat", "fork it earlier")
        saved: bytes = msgpack.packb([self._asked, self._outputs])
        return saved

    def restore(self, saved: bytes) -> None:
        asked, outputs = msgpack.unpackb(saved)
        (at_s, *starts), *rest = asked
        self.begin(at_s, starts)
        for what, *numbers in rest:
            if what == ADVANCE:
                self.advance(numbers[0])
            elif what == HOLD:
                self.hold(numbers)
            else:
                self.outputs()
        if self._outputs != outputs:
            raise StepFailed(f"does not do the same twice ({outputs} became {self._outputs})", "it cannot be forked")

    def close(self) -> None:
        self._inner.close()

    def _keep(self, *asked: float) -> None:
        if len(self._asked) <= ASKED_MAX:
            self._asked.append(asked)
