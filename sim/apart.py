"""Compiles a kernel in a process of its own, into the cache of kernels; must not know who asked for it.

Printing a program for LLVM is a second of Python: in a thread it takes the interpreter's lock from everybody else for 5 ms
at a time, over and over.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

from sim.spec import ComponentType

APART_S = 120.0  # a set of ten types takes two seconds on a free core; after that somebody else has the machine
log = logging.getLogger("twinloop.kernel")


def compile_apart(types: tuple[ComponentType, ...]) -> None:
    """Blocks until the cache holds machine code for these types, which another process finds by their names.

    A process that fails leaves the cache as it is and says so in the log: the caller compiles here instead.
    """
    path = os.pathsep.join(p or str(Path.cwd()) for p in sys.path)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sim.apart"], input=pickle.dumps(types), env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=APART_S, check=False,
            start_new_session=True,  # Ctrl-C is for who asked; machine code that is half done is done in a second
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired, pickle.PicklingError) as error:
        log.warning("no process compiles the kernel: %s", error)
        return
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        log.warning("the process that compiles the kernel ended with %d: %s", done.returncode, said[-1:] or "")


def main() -> None:
    from sim.kernel.compiler import kernel_of

    kernel_of(pickle.load(sys.stdin.buffer))


if __name__ == "__main__":
    main()
