"""Which backend answers while a kernel is being compiled, and what becomes of the compiler when a script ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sim.backend import choose, ready
from sim.kernel.compiler import Kernel
from sim.layout import Layout
from sim.layout_file import load

SCRIPT = """
from sim.backend import choose
from sim.layout import Layout
from sim.spec import Component, Var, at_start


class New(Component):
    n = Var(0)

    @at_start
    def begin(self) -> None:
        self.n = 5


plant = Layout()
plant.add(New, "N")
found = choose(plant)
print(found.name, found.waits)
"""


def test_a_script_that_ends_while_a_kernel_is_compiled_ends_well_and_leaves_the_kernel(tmp_path: Path) -> None:
    script, kernels = tmp_path / "script.py", tmp_path / "kernels"
    script.write_text(SCRIPT, encoding="utf-8")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(script)], env={**os.environ, "TWINLOOP_KERNELS": str(kernels), "PYTHONPATH": str(root)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "simpy True\n"
    assert list(kernels.glob("*.o"))


LAYOUT = """
from sim.layout import Layout
from sim.spec import Component, Var, at_start


class Newest(Component):
    n = Var(0)

    @at_start
    def begin(self) -> None:
        self.n = 7


def layout() -> Layout:
    plant = Layout()
    plant.add(Newest, "N")
    return plant
"""


def test_the_kernel_of_a_plants_own_components_is_compiled_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINLOOP_KERNELS", str(tmp_path / "kernels"))
    (tmp_path / "line.py").write_text(LAYOUT, encoding="utf-8")
    plant = load(tmp_path, "line.py").layout({})
    first = choose(plant)
    assert (first.name, first.waits) == ("simpy", True)
    found = until_ready(plant)
    assert found.cached, "what compiled it was not this process"


def test_a_kernel_that_no_other_process_can_make_is_made_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TWINLOOP_KERNELS", str(tmp_path / "kernels"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no_python"))
    (tmp_path / "line.py").write_text(LAYOUT.replace("Newest", "Newer"), encoding="utf-8")
    plant = load(tmp_path, "line.py").layout({})
    assert choose(plant).waits
    assert not until_ready(plant).cached
    assert "no process compiles the kernel" in caplog.text


def until_ready(plant: Layout) -> Kernel:
    """The kernel that somebody is making; the thread that waits for it has a limit of its own."""
    for thread in [t for t in threading.enumerate() if t.name == "compile"]:
        thread.join(120)
    found = ready(plant)
    assert found is not None
    return found
