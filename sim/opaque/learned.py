"""A dynamics model that `twinloop train dynamics` wrote, as a part of a layout; must not know how it was trained.

class Tanks(Stepped):
    model = learned("tanks.safetensors")
    step = Constant(4.0)
    pump, level = Port(Signal), Port(Signal)
    ties = Ties(reads={"u": pump}, writes={"y": level}, begins={"y": level})
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from sim.opaque.network import ROWS, Network
from sim.opaque.stepper import Stepper, Wanted
from twin.errors import BadRequest, NotFound

if TYPE_CHECKING:
    import torch

MANIFEST, TASK = "twinloop", "dynamics"  # as ml writes them


@dataclass(frozen=True)
class Loaded:
    """Makes the function of a file, (rows, states + inputs) -> (rows, states).

    Attributes:
        digest: SHA-256 of the file as it was named: another one in its place is another model.
    """

    path: str
    digest: str

    def __call__(self) -> Function:
        return Function(Path(self.path), self.digest)


@dataclass(frozen=True)
class Learned(Network):
    """A network whose file says all of it. Its states that nothing begins are as if the plant stood still."""

    @property
    def title(self) -> str:
        return f"the learned model {Path(self._made.path).name}"

    @property
    def told(self) -> str:
        return f"learned {self._made.digest}"

    @property
    def _made(self) -> Loaded:
        assert isinstance(self.build, Loaded)
        return self.build

    @property
    def unknown(self) -> float:
        return math.nan

    def open(self, wanted: Wanted, replication: int) -> Stepper:
        missing = [name for name in self.inputs if name not in wanted.reads]
        if missing:
            raise BadRequest(
                f"nothing gives {', '.join(missing)} to {self.title}", "tie all that it reads: Ties(reads={…})"
            )
        return super().open(wanted, replication)


class Function:
    """Its step and how it begins, on blocks of float32; computed in float64, as it was trained."""

    def __init__(self, path: Path, digest: str) -> None:
        from twin.dynamics import Dynamics

        if _digest(path) != digest:
            raise BadRequest(f"{path.name} was changed since this layout was loaded", "load the layout again")
        self._dynamics = Dynamics.of(*_read(path))
        self._states = len(self._dynamics.states)

    def __call__(self, block: torch.Tensor) -> torch.Tensor:
        wide = block.double()
        return self._dynamics.next(wide[:, : self._states], wide[:, self._states :])

    def begun(self, block: torch.Tensor) -> torch.Tensor:
        """The same states with what is not known (NaN) filled in."""
        wide = block.double()
        return self._dynamics.begun(wide[:, : self._states], wide[:, self._states :])


def learned(path: str | Path, rows: int = ROWS) -> Learned:
    """The model in a file, in steps of its own length; `rows` replications in one call.

    Its variables: what it reads and writes by the names of the columns that it was trained on; states that are not
    measured (`above y`, say); and `doubt`, which is 1 from the first input outside what was seen on.

    Raises:
        NotFound: there is no such file. BadRequest: it is no model of dynamics.
    """
    from twin.dynamics import Dynamics  # torch: seconds that only layouts with such a part pay

    place = Path(path).resolve()
    dynamics = Dynamics.of(*_read(place))
    form = dynamics.step.form
    made = Loaded(str(place), _digest(place))
    return Learned(made, dynamics.states, form.inputs, rows=rows, step_s=form.step_s)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Settings and tensors."""
    if not path.is_file():
        raise NotFound(f"no model file {path}")
    hint = "name a file that twinloop train dynamics wrote"
    try:
        with safe_open(path, framework="numpy") as file:
            told = json.loads((file.metadata() or {}).get(MANIFEST, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise BadRequest(f"{path.name} is no model: {error}", hint) from None
    if told.get("task") != TASK:
        raise BadRequest(f"{path.name} is no model of dynamics, but of {told.get('task') or 'nothing'}", hint)
    return told["settings"], tensors
