"""C programs for Modbus tests, compiled on the spot: a server and a client of libmodbus, and a bare fast server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
START_S = 10.0


@cache
def compiled(name: str) -> Path:
    """The program of that source file.

    Raises:
        FileNotFoundError: there is no C compiler or no libmodbus.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("no C compiler; install gcc")
    made = Path(tempfile.mkdtemp(prefix="modbus-peer-")) / name
    source = FOLDER / f"{name}.c"
    library = ["-I/usr/include/modbus", "-lmodbus"] if "modbus.h" in source.read_text() else []
    done = subprocess.run(
        [compiler, "-O2", "-Wall", "-Wextra", "-o", str(made), str(source), *library],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and "modbus.h" in done.stderr:
        raise FileNotFoundError("no libmodbus; install libmodbus-dev")
    assert done.returncode == 0, done.stderr
    return made


def program(name: str) -> Path:
    """`compiled`, for tests: without the tools they are skipped, but not in CI."""
    try:
        return compiled(name)
    except FileNotFoundError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


@contextmanager
def serving(path: Path, *arguments: str) -> Iterator[int]:
    """The server runs while the block does; gives the port that it printed."""
    process = subprocess.Popen([str(path), *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait(START_S)
        if process.stdout is not None:
            process.stdout.close()
