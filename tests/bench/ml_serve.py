"""Milliseconds of a tick of 10,000 devices: a forecast with memory, one step, against the same GRU over windows."""

from __future__ import annotations

import os

# Before numpy: its products are small, and shared between threads they wait for each other on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ml.model_file import read, write
from ml.recurrent import Recurrent
from ml.serving import served
from tests.bench import line

DEVICES, COLUMNS, LOOKBACK, HORIZON, MEMORY = 10_000, 8, 64, 16, 32
AHEAD = (HORIZON,)
TICKS = 60
CHUNK = 500  # windows at once: all of them together take longer
BAR_MS, BAR_MB = 10.0, 350
Single = NDArray[np.float32]


def train(path: Path) -> None:
    """In a process of its own: a server that serves has not trained. One short pass: what it costs is not how good it is."""
    import torch

    from ml import forecast, recurrent_training
    from ml.forecast_model import LEVELS, model_of
    from ml.training import Course
    from ml.windows import windows
    from tests.ml.fleets import tanks

    torch.set_num_threads(1)
    recurrent_training.PASSES, recurrent_training.PASS_ROWS = 1, 6_000
    file = forecast.train(
        tanks(8, 600, gauges=COLUMNS - 2), forecast.ForecastOptions(LOOKBACK, HORIZON, network="none"), 1, Course()
    )
    model = model_of(file)
    runs = [model.scaler.scaled(r.values) for r in tanks(8, 600, 6, COLUMNS - 2).records]
    found = windows(runs[0], LOOKBACK, HORIZON)
    held = recurrent_training.Held(runs[:1], [found.origin], model.ridge.forecast(found.seen), found.ahead)
    recurrent = recurrent_training.fit(model.ridge, model.spread, LEVELS, runs[1:], held, MEMORY, 1, Course())
    write(path, replace(file, tensors=replace(model, recurrent=recurrent).tensors()))


def samples() -> Single:
    """Of tanks like those that it was trained on, each device at another moment: (T, N, C); a sample in 2,000 is missing."""
    from tests.ml.fleets import tanks

    rows = LOOKBACK + TICKS
    whole = np.stack([r.values for r in tanks(20, rows + DEVICES // 20, 9, COLUMNS - 2).records])  # (20, T', C)
    made = np.empty((rows, DEVICES, COLUMNS), np.float32)
    for n in range(DEVICES):
        made[:, n] = whole[n % 20, n // 20 : n // 20 + rows]
    made[np.random.default_rng(1).random(made.shape) < 0.0005] = np.nan
    return made


def ticks_ms(model: Path, given: Single, ahead: tuple[int, ...]) -> tuple[list[float], dict[str, object]]:
    """Of each tick once the windows are full, and what was told at the end."""
    follower = served(read(model), [f"d{n}" for n in range(DEVICES)], ahead)
    took, cpu, held = [], [], []
    for t, values in enumerate(given):
        sample, time_s = values.astype(np.float64), np.full(DEVICES, float(t))
        begun, begun_cpu = time.perf_counter(), time.process_time()
        told = follower.step(time_s, sample)
        took.append((time.perf_counter() - begun) * 1e3)
        cpu.append((time.process_time() - begun_cpu) * 1e3)
        assert told.settled is not None
        held.append(told.settled.held)
    found: dict[str, object] = {"points": len(follower.outputs), "sure": round(float(told.sure.mean()), 3),
             "cpu_ms": round(median(cpu[LOOKBACK:]), 2), "best_ms": round(min(took[LOOKBACK:]), 2),
             "held": round(float(np.nanmean(held)), 3)}  # fmt: skip
    return took[LOOKBACK:], found


def windows_ms(model: Path, given: Single) -> tuple[float, float]:
    """The GRU alone over the last LOOKBACK samples of each device, in torch: wall, CPU."""
    import torch

    own = Recurrent.from_tensors(read(model).tensors)
    gru = torch.nn.GRU(3 * COLUMNS, own.memory, batch_first=True)
    names = {"weight_ih_l0": own.taken, "weight_hh_l0": own.kept, "bias_ih_l0": own.bias[:, 0]}
    gru.load_state_dict({**gru.state_dict(), **{name: torch.from_numpy(np.array(w)) for name, w in names.items()}})
    window = np.nan_to_num(given[-LOOKBACK:].transpose(1, 0, 2)).astype(np.float32)
    inputs = torch.from_numpy(np.concatenate([window, window, window], axis=2))  # (N, L, 3 C)

    def ask() -> None:
        with torch.inference_mode():
            for part in torch.split(inputs, CHUNK):
                gru(part)

    torch.set_num_threads(1)  # as the numpy of the serving
    ask()
    took = [timed(ask) for _ in range(3)]
    return median(wall for wall, _ in took) * 1e3, median(cpu for _, cpu in took) * 1e3


def timed(work: Callable[[], None]) -> tuple[float, float]:
    begun, begun_cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - begun_cpu


def resident_mb() -> int:
    """The most that this process ever had."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 // 1_000_000 if found else 0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.safetensors"
        training = multiprocessing.get_context("spawn").Process(target=train, args=(model,))
        training.start()
        training.join()
        libraries, given = resident_mb(), samples()
        given_mb = given.nbytes // 1_000_000
        took, found = ticks_ms(model, given, AHEAD)
        most = resident_mb()
        two, _ = ticks_ms(model, given, (1, HORIZON))
        windows, windows_cpu = windows_ms(model, given)
    detail = {
        "p95_ms": round(float(np.quantile(took, 0.95)), 2), "bar_ms": BAR_MS, "resident_mb": most, "bar_mb": BAR_MB,
        "of_it_samples_mb": given_mb, "libraries_mb": libraries, "two_steps_ahead_ms": round(median(two), 2),
        "windows_cpu_ms": round(windows_cpu, 1),
        "devices": DEVICES, "columns": COLUMNS, "lookback": LOOKBACK, "memory": MEMORY, **found,
    }  # fmt: skip
    line("ml_serve", round(median(took), 2), "ms", round(windows, 1), detail)


if __name__ == "__main__":
    main()
