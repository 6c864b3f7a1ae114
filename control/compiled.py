"""Compiles what numba compiles, once, so that no start and no test has to: `python -m control.compiled`.

The machine code lies beside each file in `__pycache__`; a file that changes is compiled anew when it is imported.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("twin", "protocols", "sim")
ROOT = Path(__file__).parent.parent


def modules() -> Iterator[str]:
    """Those with compiled functions, by name."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "@njit(" in path.read_text(encoding="utf-8"):
                yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def main() -> None:
    begun = time.perf_counter()
    names = list(modules())
    for name in names:
        importlib.import_module(name)
    print(f"{len(names)} compiled files ready after {time.perf_counter() - begun:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
