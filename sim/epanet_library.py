"""EPANET's own library, as wntr ships it, opened without importing wntr; must not know what a network is asked.

The import would take seconds and 100 MB: pandas, scipy and matplotlib, of which a fleet and a simulation's worker use nothing.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import platform
import sys
from pathlib import Path

from twin.errors import Unavailable

# Where wntr 1.3 and newer keep EPANET 2.2: (system, whether the processor is an ARM) -> below its folder.
FILES = {
    ("linux", False): "linux-x64/libepanet22.so",
    ("darwin", False): "darwin-x64/libepanet22.dylib",
    ("darwin", True): "darwin-arm/libepanet2.dylib",
    ("win32", False): "windows-x64/epanet22.dll",
}
HINT = "pip install 'twinloop[water]'"
TEXT_SIZE = 256  # EN_MAXMSG is 255 characters


@functools.cache
def library() -> ctypes.CDLL:
    """The library; one in a process, whose projects are independent of each other.

    Raises:
        Unavailable: wntr is not installed, or has none for this machine.
    """
    found = importlib.util.find_spec("wntr")
    if found is None or found.origin is None:
        raise Unavailable("EPANET needs wntr", HINT)
    kind = (sys.platform, platform.machine().lower() in ("arm64", "aarch64"))
    path = Path(found.origin).parent / "epanet" / "libepanet" / FILES.get(kind, "none")
    if not path.is_file():
        raise Unavailable(f"wntr has no EPANET 2.2 for {kind[0]} on {platform.machine()}: there is no {path}", HINT)
    return ctypes.CDLL(str(path))


def error_text(code: int) -> str:
    """What EPANET calls one of its error codes."""
    text = ctypes.create_string_buffer(TEXT_SIZE)
    library().EN_geterror(code, text, TEXT_SIZE - 1)
    return text.value.decode("latin-1").removeprefix(f"Error {code}: ") or "unknown error"
