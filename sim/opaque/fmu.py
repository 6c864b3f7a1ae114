"""FMUs of FMI 2 and 3, co-simulation, through FMPy: the row and what can be said of one without running it.

An FMU is native code of others: it runs in this process with its rights, and a crash of it is a crash of this process.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sim.opaque.fmu_instance import FmuInstance, Slot
from sim.opaque.replay import Replayed
from sim.opaque.stepper import Stepper, Variables, Wanted
from twin.errors import BadRequest, TwinloopError, Unavailable

FMUS_MAX = 16  # unpacked at once in one process
NUMBERS = frozenset({"Real", "Integer", "Enumeration", "Boolean", "Float64", "Float32", "Int8", "UInt8", "Int16", "UInt16",
                     "Int32", "UInt32", "Int64", "UInt64"})  # fmt: skip
FIXED = ("constant", "fixed")
_ONE_AT_A_TIME = threading.Lock()  # FMPy changes the working directory while it loads a library


@dataclass(frozen=True, slots=True)
class Fmu:
    """An FMU for co-simulation.

    Attributes:
        path: of the .fmu file.
        parameters: values that differ from the file's, set before it begins.
        replay: fork by repeating its inputs, for an FMU that cannot save its state; it must do the same twice.
    """

    path: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    replay: bool = False

    @property
    def title(self) -> str:
        return f"the FMU {Path(self.path).name}"

    @property
    def exact(self) -> bool:
        """As it says itself: some can only be stepped evenly."""
        return _unpacked(self.path, _stamp(self.path)).exact

    @property
    def direct(self) -> bool:
        return False  # FMI 2 tells outputs of a slave after a step only

    def hash(self) -> str:
        told = repr(sorted(self.parameters.items())).encode()
        return hashlib.sha256(_unpacked(self.path, _stamp(self.path)).digest + told).hexdigest()

    def variables(self) -> Variables:
        slots = _unpacked(self.path, _stamp(self.path)).slots
        for name in self.parameters:
            if name not in slots or not slots[name].begins:
                raise BadRequest(f"{self.title} has no parameter {name!r}", f"one of {_some(slots)}")
        return Variables(
            frozenset(n for n, s in slots.items() if s.reads),
            frozenset(slots),
            frozenset(n for n, s in slots.items() if s.begins),
        )

    def open(self, wanted: Wanted, replication: int) -> Stepper:
        found = _unpacked(self.path, _stamp(self.path))
        found.check_platform(self.title)
        with _ONE_AT_A_TIME, fmpy_says(self.title):
            if found.description.coSimulation.canBeInstantiatedOnlyOncePerProcess and any(
                i.alive for i in found.instances
            ):
                raise Unavailable(
                    f"{self.title} can be instantiated once in a process, and is", "close the run that has it"
                )
            instance = FmuInstance(self.title, found.folder, found.description, found.slots, wanted, self.parameters)
            found.instances.add(instance)
        return Replayed(self.title, instance) if self.replay else instance


class Unpacked:
    """An FMU's folder, which lives as long as this, and its description."""

    def __init__(self, path: Path) -> None:
        fmpy = _fmpy()
        title = f"the FMU {path.name}"
        with fmpy_says(title):
            self.description: Any = fmpy.read_model_description(str(path))
            self.platforms: list[str] = fmpy.supported_platforms(str(path))
        if self.description.fmiMajorVersion not in (2, 3):
            raise BadRequest(f"{title} is of FMI {self.description.fmiVersion}", "export it for FMI 2 or 3")
        if self.description.coSimulation is None:
            raise BadRequest(f"{title} is for model exchange only", "export it for co-simulation, with its solver")
        self.slots = {
            v.name: _slot(v) for v in self.description.modelVariables if v.type in NUMBERS and not v.dimensions
        }
        self.exact = bool(self.description.coSimulation.canHandleVariableCommunicationStepSize)
        self.instances: weakref.WeakSet[FmuInstance] = weakref.WeakSet()
        self.digest = hashlib.sha256(path.read_bytes()).digest()
        self.folder = tempfile.TemporaryDirectory(prefix="twinloop-fmu-")
        with fmpy_says(title):
            fmpy.extract(str(path), self.folder.name)

    def check_platform(self, title: str) -> None:
        """Whether its library is for this machine.

        Raises:
            Unavailable: it is for others.
        """
        fmpy = _fmpy()
        part = fmpy.platform if self.description.fmiMajorVersion == 2 else fmpy.platform_tuple
        name = f"{self.description.coSimulation.modelIdentifier}{fmpy.sharedLibraryExtension}"
        if not (Path(self.folder.name) / "binaries" / part / name).is_file():
            has = ", ".join(self.platforms) or "no machine"
            raise Unavailable(f"{title} has binaries for {has}, this is {part}", f"export it with binaries for {part}")


def _slot(variable: Any) -> Slot:
    """What can be done with a variable."""
    begins = variable.causality in ("parameter", "input") or variable.initial in ("exact", "approx")
    begins = begins and variable.variability != "constant" and variable.causality != "independent"
    reads = variable.causality == "input" or (variable.causality == "parameter" and variable.variability == "tunable")
    return Slot(variable.type, variable.valueReference, reads, begins)


@lru_cache(maxsize=FMUS_MAX)
def _unpacked(path: str, stamp: tuple[int, int]) -> Unpacked:
    return Unpacked(Path(path))


def _stamp(path: str) -> tuple[int, int]:
    """Tells a changed file from the one that was unpacked."""
    try:
        found = Path(path).stat()
    except OSError as missing:
        raise BadRequest(f"there is no FMU {path}", "name a .fmu file") from missing
    return found.st_mtime_ns, found.st_size


def _fmpy() -> Any:
    try:
        import fmpy  # a quarter of a second: only processes with an FMU pay it
    except ModuleNotFoundError as missing:
        raise Unavailable(f"FMUs need {missing.name}", "pip install 'twinloop[fmi]'") from missing
    return fmpy


@contextmanager
def fmpy_says(title: str) -> Iterator[None]:
    """FMPy's complaints about a file as ours."""
    try:
        yield
    except TwinloopError:
        raise
    except Exception as wrong:  # FMPy raises nothing narrower
        raise BadRequest(f"{title} cannot be used: {wrong}", "check it with `fmpy validate`") from wrong


def _some(names: Mapping[str, Slot]) -> str:
    return ", ".join(sorted(n for n, s in names.items() if s.begins)[:12]) or "none"
