"""The one form in which every trained model is served to a fleet, one step per new sample; pure: no clock, no files.

```python
model = served(file, devices, ahead=(1, 6))
told = model.step(time_s, values)      # (N,), (N, C): one new sample of each device
told = model.step(time_s, values, at)  # or of the devices at these places; the others rest
```

A gap in time counts as what it is: where a model knows the step of its samples, each one that did not come counts as one
in which nothing was measured, up to `reach`; after a longer silence the device begins anew. A model that knows no step (it
learnt from samples at irregular times) takes each sample as the one after the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from ml.model_file import ModelFile
from ml.told import Follower, Kind, Output, Settled, Told
from twin.errors import BadRequest

__all__ = ["FOLLOWERS", "Kind", "Output", "Served", "Settled", "Told", "served"]
Array = NDArray[np.float64]
Places = NDArray[np.intp]

FOLLOWERS: Mapping[
    str, tuple[str, str]
] = {  # module and class: of torch, which some of them need, only where asked for
    "forecast": ("ml.forecast_following", "ForecastFollower"),
    "anomaly": ("ml.anomaly_following", "WatchFollower"),
    "rul": ("ml.life_following", "LifeFollower"),
}


class Served:
    """A model with what it remembers of a fleet.

    Attributes:
        devices: names, in the order of the rows.
        columns, units: of what `step` takes, in order; units are "" where the training knew none.
        outputs: of what it tells, in order.
        reach: samples that fill its memory: after a restart as many are stepped through from history.
        step_s: between samples, as in training; 0: not known.
    """

    def __init__(self, file: ModelFile, devices: Sequence[str], follower: Follower) -> None:
        self.devices, self.columns = tuple(devices), file.manifest.columns
        self.units = file.manifest.units or ("",) * len(self.columns)
        self.outputs, self.reach = follower.outputs, follower.reach
        self.step_s = float(file.manifest.settings.get("step_s", 0.0))
        self._follower = follower
        self._time_s = np.full(len(self.devices), np.nan)

    def step(self, time_s: Array, values: Array, at: Places | None = None) -> Told:
        """One new sample of each device, or of the devices `at`, none of them twice.

        Args:
            time_s: shape (N,). values: shape (N, C), NaN where nothing good was measured.

        Raises:
            BadRequest: other shapes, or a time does not rise; nothing was taken then.
        """
        at = np.arange(len(self.devices)) if at is None else at
        if time_s.shape != at.shape or values.shape != (len(at), len(self.columns)):
            raise BadRequest(
                f"times {time_s.shape} and values {values.shape} of {len(at)} devices", f"columns {self.columns}"
            )
        back = time_s <= self._time_s[at]
        if back.any():
            where = int(np.flatnonzero(back)[0])
            raise BadRequest(
                f"{self.devices[at[where]]}: {time_s[where]} s does not rise", "give samples in order, each once"
            )
        self._catch_up(time_s, at)
        self._time_s[at] = time_s
        return self._follower.step(time_s, values, at)

    def forget(self, at: Places) -> None:
        """These begin anew: a device was exchanged or repaired."""
        self._time_s[at] = np.nan
        self._follower.forget(at)

    def why(self, row: NDArray[np.int16]) -> str:
        """A row of `Told.why` in words."""
        return ", ".join(self.columns[k] for k in row if k >= 0)

    def _catch_up(self, time_s: Array, at: Places) -> None:
        """Samples that should have come since the last one."""
        if not self.step_s:
            return
        gone = np.nan_to_num(np.rint((time_s - self._time_s[at]) / self.step_s) - 1.0)  # 0 before the first
        if not (gone > 0).any():
            return
        self._follower.forget(at[gone >= self.reach])
        gone = np.where(gone >= self.reach, 0, gone).astype(np.intp)
        for k in range(1, int(gone.max()) + 1):
            some = at[gone >= k]
            nothing = np.full((len(some), len(self.columns)), np.nan)
            self._follower.step(self._time_s[some] + k * self.step_s, nothing, some)


def served(file: ModelFile, devices: Sequence[str], ahead: Sequence[int] = ()) -> Served:
    """
    Args:
        ahead: samples ahead of which a forecast is told, rising; none: the first and the last of its horizon.

    Raises:
        BadRequest: no such task, or steps that the model does not tell.
    """
    if file.manifest.task not in FOLLOWERS:
        raise BadRequest(f"a model for {file.manifest.task} follows no devices", f"one of {', '.join(FOLLOWERS)}")
    if ahead and file.manifest.task != "forecast":
        raise BadRequest(f"a model for {file.manifest.task} tells of now", "leave the steps ahead out")
    module, name = FOLLOWERS[file.manifest.task]
    follower: Follower = getattr(import_module(module), name)(file, devices, ahead)
    return Served(file, devices, follower)
