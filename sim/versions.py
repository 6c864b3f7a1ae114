"""Versions of what computes a result: another one may round otherwise; must not know experiments."""

from __future__ import annotations

import platform
import sys
from functools import lru_cache
from importlib import metadata

PACKAGES = ("twinloop", "numpy", "llvmlite", "simpy", "wntr")


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Of Python, the machine and the packages that are there."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "os": sys.platform}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
