"""Which backend answers while a kernel is being compiled, and what becomes of the compiler when a script ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
