"""Loads a plant's own layout file: Python code of the plant's folder, run with our rights; must not look into it."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from sim.layout import Layout
from twin.errors import BadRequest, TwinloopError
from twin.nearest import nearest

MAKES = "layout"  # the function that a layout file defines
SHOWS = "shows"  # one that it may define: what its instruments show, for simulated devices
BROKEN = (
    TwinloopError, SyntaxError, ImportError, NameError, AttributeError, TypeError, ValueError, LookupError,
    ArithmeticError, RuntimeError, AssertionError, OSError, SystemExit,
)  # fmt: skip
"""What people's code raises when it is wrong."""

_FILES: dict[str, Path] = {}  # module -> the layout file that it is


@dataclass(frozen=True, slots=True)
class LayoutFile:
    """A layout file, loaded.

    Attributes:
        hash: SHA-256 of its text.
    """

    path: Path
    hash: str
    module: ModuleType

    @property
    def make(self) -> Callable[..., Layout]:
        made: Callable[..., Layout] = getattr(self.module, MAKES)
        return made

    def layout(self, parameters: Mapping[str, float]) -> Layout:
        """What it describes.

        Raises:
            BadRequest: a parameter that it does not take, or it fails; the message names file and line.
        """
        known = inspect.signature(self.make).parameters
        for name in parameters:
            if name not in known:
                raise BadRequest(
                    f"{self.path.name} takes no parameter {name!r}", nearest(name, known) or ", ".join(known)
                )
        try:
            made = self.make(**parameters)
        except BROKEN as wrong:
            raise _said(self.path, wrong) from wrong
        if not isinstance(made, Layout):
            raise BadRequest(f"{self.path.name}: {MAKES}() returns {made!r}", "return a sim.layout.Layout")
        return made


def load(folder: Path, name: str) -> LayoutFile:
    """The layout file of that name in a plant's folder; one text is loaded once in a process.

    Raises:
        BadRequest: it is not there, lies outside the folder, or fails; the message names file and line.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BadRequest(f"{name!r} is not in the plant's folder", "put the layout beside plant.toml")
    if not path.is_file():
        raise BadRequest(f"there is no file {path}", 'write it, or name another: layout = "line.py"')
    text = path.read_bytes()
    digest = hashlib.sha256(text).hexdigest()
    # Named by path and text, so that what changed is another module and its components are other types.
    known = f"layout_{path.stem}_{hashlib.sha256(bytes(path) + text).hexdigest()[:16]}"
    module = sys.modules.get(known) or _loaded(path, known, text)
    if not callable(getattr(module, MAKES, None)):
        raise BadRequest(f"{path.name} defines no function {MAKES}", f"def {MAKES}() -> Layout")
    return LayoutFile(path, digest, module)


def files_of(layout: Layout) -> tuple[str, ...]:
    """The layout files that hold the classes of its components: modules that no other process finds by their name."""
    modules = {kind.cls.__module__ for kind in layout.types}
    return tuple(sorted(str(_FILES[name]) for name in modules if name in _FILES))


class _Text(SourceFileLoader):
    """Runs the text that was read. Bytecode of another text of the same second and length would be taken for its own."""

    def __init__(self, name: str, path: Path, text: bytes) -> None:
        super().__init__(name, str(path))
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self._text, self.path)
        return code


def _loaded(path: Path, known: str, text: bytes) -> ModuleType:
    spec = importlib.util.spec_from_file_location(known, path, loader=_Text(known, path, text))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _FILES[known] = path
    sys.modules[known] = module  # before it runs: components look their own text up there
    try:
        spec.loader.exec_module(module)
    except BROKEN as wrong:
        del sys.modules[known]
        raise _said(path, wrong) from wrong
    return module


def _said(path: Path, wrong: BaseException) -> BadRequest:
    """The failure with the last line of the file that led to it."""
    line: Any = getattr(wrong, "lineno", None) if isinstance(wrong, SyntaxError) else None
    trace = wrong.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    place = f"{path.name}:{line}" if line else path.name
    return BadRequest(f"{place}: {type(wrong).__name__}: {wrong}", "mend the layout file")
