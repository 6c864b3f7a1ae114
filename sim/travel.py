"""How component types reach other processes: as their class, and with the plant's own layout file that defines it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin.errors import BadRequest

if TYPE_CHECKING:
    from sim.spec import Component, ComponentType

OWN_FILE = "layout_"  # modules of layout files are called so, see sim.layout_file


def packed(kind: ComponentType) -> tuple[Any, ...]:
    """What pickle keeps of a type."""
    from sim.kernel.reach import numbers

    module = kind.cls.__module__
    if not is_own_file(module):
        return arrived, (kind.cls, numbers(kind))
    return unpacked, (module, kind.cls.__qualname__, str(sys.modules[module].__file__), numbers(kind))


def arrived(cls: type[Component], numbers: Mapping[tuple[str, str], Any]) -> ComponentType:
    """The type of a class, whose module may have had other numbers where it came from."""
    from sim.component_type import component_type
    from sim.kernel.reach import put_back

    put_back(numbers)
    return component_type(cls)


def unpacked(module: str, name: str, file: str, numbers: Mapping[tuple[str, str], Any]) -> ComponentType:
    """The type again; its layout file is loaded when this process has not.

    Raises:
        BadRequest: the file is another one by now.
    """
    from sim.layout_file import load

    if module not in sys.modules and load(Path(file).parent, Path(file).name).module.__name__ != module:
        raise BadRequest(f"{file} was changed meanwhile", "ask again")
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part)
    return arrived(found, numbers)


def is_own_file(module: str) -> bool:
    """Whether a module is a plant's own layout file."""
    return module.startswith(OWN_FILE) and not is_found(module)


def is_found(module: str) -> bool:
    """Whether another process finds the module by its name."""
    return module != "__main__" and PathFinder.find_spec(module.partition(".")[0]) is not None
