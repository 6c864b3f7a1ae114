"""Compiles what numba compiles, once, so that no start and no test has to: `python -m control.compiled`.

The machine code lies beside each file in `__pycache__`; a file that changes is compiled anew when it is imported. The
simulation's kernel for the shipped components is made, too; it lies in the cache of kernels (docs/components.md).
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twin.plant import Plant

FOLDERS = ("twin", "ledger", "protocols", "sim")
ROOT = Path(__file__).parent.parent


def modules() -> Iterator[str]:
    """Those with compiled functions, by name."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "@njit(" in path.read_text(encoding="utf-8"):
                yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def is_cold() -> bool:
    """Whether the next import compiles, as far as one can tell: no machine code lies beside one of the files."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return False
    paths = (ROOT / Path(*name.split(".")).with_suffix(".py") for name in modules())
    return not all(any((path.parent / "__pycache__").glob(f"{path.stem}.*.nbi")) for path in paths)


def prepare(say: Callable[[str], None]) -> None:
    """Compile what is not compiled yet, and say so: it takes a while."""
    if is_cold():
        say("compiling, once: this takes some 20 s …")
        load()


def load() -> int:
    """Import all of them; how many there are."""
    names = list(modules())
    for name in names:
        importlib.import_module(name)
    return len(names)


def load_kernel() -> None:
    """Make the kernel of the shipped components; a server that needs none never imports it."""
    from sim.components.library import LIBRARY
    from sim.kernel.ensemble import warm

    warm(LIBRARY)


def begin_kernel(plant: Plant) -> None:
    """Load the kernel of a plant's own components, or have it compiled meanwhile: the first what-if soon finds it.

    What the model has wrong the what-ifs say.
    """
    if plant.model.get("kind") != "layout":
        return
    from sim.backend import choose
    from sim.layout_rows import parse_layout_model

    model, _ = parse_layout_model(plant)
    if model is not None:
        choose(model.layout)


def main() -> None:
    begun = time.perf_counter()
    count = load()
    load_kernel()
    print(f"{count} compiled files ready after {time.perf_counter() - begun:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
