"""Runs pytest; the few files with failures are run once more with nothing beside them, and the failures named.

Two busy cores make a wait longer than a test allows, and that is no fault of the product; a fault of it fails twice.
A file is run whole, for its tests may build on one another. What failed once only is printed as UNSTEADY, to be mended.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FEW = 3  # files of a whole suite; more is not chance


class Failed:
    """Collects the ids of what failed, in the process that the workers report to."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self.root = Path()

    def pytest_configure(self, config: pytest.Config) -> None:
        self.root = config.rootpath

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.ids[report.nodeid] = None


def run(arguments: list[str]) -> int:
    """The exit status: that of the first run, unless it only had a few failures and all of them pass on their own."""
    failed = Failed()
    status = int(pytest.main(arguments, plugins=[failed]))
    files = {name.split("::")[0]: None for name in failed.ids}
    if status != pytest.ExitCode.TESTS_FAILED or not 0 < len(files) <= FEW:
        return status
    print(f"\n{len(failed.ids)} failed beside others; once more on their own: {', '.join(files)}", flush=True)
    status = subprocess.run([sys.executable, "-m", "pytest", *files], cwd=failed.root, check=False).returncode
    if status == pytest.ExitCode.OK:
        print(*(f"UNSTEADY {name}" for name in failed.ids), sep="\n", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
