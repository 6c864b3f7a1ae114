"""The pool of simulation workers: none outlives the process that uses it, and a dead worker is not the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from sim.engine import WaterJob
from sim.model import Model
from sim.runner import Runner
from sim.scenario import BASELINE, Scenario
from sim.start import start_state
from sim.whatif import compare
from tests.sim.layouts import line10
from twin.columns import Snapshot
from twin.errors import Unavailable
from twin.plant import Plant

PARENT = """
import os, sys, time
from sim.runner import Runner

if __name__ == "__main__":
    runner = Runner(2)
    runner.warm()
    print(*runner.worker_pids(), flush=True)
    time.sleep(600)
"""
GONE_S = 10.0  # several times the workers' own polling
ROOT = Path(__file__).parents[2]


def await_end(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still live after GONE_S."""
    _, alive = psutil.wait_procs(processes, timeout=GONE_S)
    return [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_a_killed_server(end: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment, text=True) as server:
        assert server.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in server.stdout.readline().split()]
        family = psutil.Process(server.pid).children(recursive=True)
        assert len(workers) == 2 and all(w in family for w in workers)
        server.send_signal(end)
        server.wait(GONE_S)
    assert await_end(family) == []


def test_the_process_that_asks_never_loads_epanet() -> None:
    code = "import sys, sim.experiment, sim.runner, sim.model; sys.exit('wntr' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_closing_the_runner_ends_its_workers() -> None:
    runner = Runner(2)
    runner.warm()
    workers = [psutil.Process(pid) for pid in runner.worker_pids()]
    runner.close()
    assert await_end(workers) == []


def test_a_worker_that_dies_is_said_and_replaced(plant: Plant, model: Model, morning: Snapshot) -> None:
    job = WaterJob(model, start_state(plant, model, morning), (BASELINE,), model.outputs, 7 * 86_400.0, 3600.0, seed=1)
    runner = Runner(1)
    try:
        with pytest.raises(Unavailable, match="worker died"):
            for _ in runner.run(job, 0, 400):
                os.kill(runner.worker_pids()[0], signal.SIGKILL)
        blocks = list(runner.run(job, 0, 4))
        assert sum(b.samples.shape[1] for b in blocks) == 4
    finally:
        runner.close()


def test_the_first_answer_comes_quickly_from_a_warm_pool(plant: Plant, model: Model, morning: Snapshot) -> None:
    job = WaterJob(model, start_state(plant, model, morning), (BASELINE,), model.outputs, 4 * 3600.0, 600.0, seed=1)
    runner = Runner(2)
    try:
        runner.warm()
        begun = time.perf_counter()
        assert sum(b.samples.shape[1] for b in runner.run(job, 0, 128)) == 128
        assert time.perf_counter() - begun < 10  # 0.4 s measured on two free cores; a loaded machine may take longer
    finally:
        runner.close()


def test_replications_on_a_cluster_are_the_same_as_here() -> None:
    if not os.environ.get("CI"):
        pytest.importorskip("distributed", reason="the extra scale is not installed")
    from distributed import Client, LocalCluster

    option = Scenario("crew +1").add("crew.capacity", 1)
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        far = Runner(2, client.get_executor())
        ask: dict[str, Any] = {"horizon": "1h", "kpis": ["parts"], "replications": 12, "backend": "simpy"}
        there = compare(line10(machines=3), [option], **ask, runner=far)
        far.close()
    here = compare(line10(machines=3), [option], **ask, runner=Runner(0))
    assert there.outcomes == here.outcomes and there.backend == "simpy"
