"""Compiled kernels: the rules, the handlers of a set of types and the loop as one program, compiled when it is first asked for.

Topology, numbers and names are data: only another set of component types is another program. Machine code is kept in a cache of
the user's, under the hash of the program and of the processor; a program from the cache is ready in milliseconds.
"""

from __future__ import annotations

import ast
import ctypes
import ctypes.util
import hashlib
import inspect
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from sim import halt
from sim.kernel import arithmetic, chance, expressions, levels, loop, mathematics, printer, program, rules, world
from sim.kernel.functions import own_function
from sim.kernel.printer import printed
from sim.kernel.program import LIBRARY, OWN, SYMBOL, Program
from sim.kernel.reach import numbers
from sim.kernel.syntax import parsed
from sim.kernel.translation import Translation, translate
from sim.kernel.world import Packed
from sim.spec import ComponentType

MODULES: tuple[ModuleType, ...] = (arithmetic, chance, rules, mathematics, levels, loop)
PRINTING: tuple[ModuleType, ...] = (program, expressions, printer)
SPEED = 2  # LLVM's optimisation level; 3 takes longer and gives nothing (measured)
EXPORTED = "replicate"
REPLICATE = """
def replicate(
    w: World, ints: NDArray[np.int64], floats: NDArray[np.float64], first: int, last: int, offset: int, fresh: int,
    horizon: float, events_max: int, at: NDArray[np.float64], what: NDArray[np.int64], value: NDArray[np.float64],
    grid: NDArray[np.float64], watched: NDArray[np.int64], wanted: NDArray[np.int64], samples: NDArray[np.float32],
    images: NDArray[np.float64], limits: NDArray[np.int64], bounds: NDArray[np.float64], extremes: NDArray[np.float64],
    passed: NDArray[np.float64], figures: NDArray[np.float64], faults: NDArray[np.int64], times: NDArray[np.float64],
    flag: NDArray[np.int64],
) -> int:
    events = 0
    for r in range(first, last):
        restore(w, ints, floats, r % len(ints))
        w.replication = offset + r
        begin(w, fresh)
        run(
            w, horizon, events_max, at, what, value, grid, watched, samples, images, limits, bounds, extremes, passed, r,
            flag,
        )
        finish(w)
        for j in range(len(wanted)):
            figures[r, j] = read(w, wanted[j, 0], wanted[j, 1], w.now)
        faults[r, 0] = w.fault
        faults[r, 1] = w.fault_at
        faults[r, 2] = w.fault_component
        faults[r, 3] = w.fault_handler
        times[r] = w.now
        events += w.events
        if w.fault != 0:
            break
    return events
"""
_ONE_AT_A_TIME = threading.Lock()  # LLVM's contexts are not for two threads


def cache_folder() -> Path:
    """Where machine code lies: TWINLOOP_KERNELS, or a folder of the user's cache. It may be deleted at any time."""
    chosen = os.environ.get("TWINLOOP_KERNELS")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twinloop" / "kernels"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A compiled program for a set of component types.

    Attributes:
        hash: of the program.
        cached: whether its machine code came from the cache.
        ready_s: what making it took.
    """

    hash: str
    types: tuple[ComponentType, ...]
    cached: bool
    ready_s: float
    _engine: Any
    _function: Callable[..., int]

    def replicate(
        self, state: Packed, ints: NDArray[np.int64], floats: NDArray[np.float64], numbers: Sequence[float],
        arrays: Sequence[NDArray[Any]],
    ) -> int:  # fmt: skip
        """Run `replicate` of the program without the interpreter's lock; `state` is its working room.

        It stops at the first replication with a fault, and when the flag of this thread is raised.
        """
        given: list[Any] = [a.ctypes.data for a in (state.plan, state.ints, state.floats)]
        for array in (ints, floats):
            given += _described(array)
        given += numbers
        for array in (*arrays, halt.current()):
            given += _described(array)
        return self._function(*given)


def _described(array: NDArray[Any]) -> list[int]:
    """Address, length and width; of more than two dimensions the first are one."""
    length, width = (array.size // max(1, array.shape[-1]), array.shape[-1]) if array.ndim > 1 else (len(array), 1)
    return [array.ctypes.data, length, width]


def kernel_of(types: Sequence[ComponentType]) -> Kernel:
    """The kernel for these types, in this order: of this process, from the cache, or compiled now.

    Raises:
        CannotCompile: a type cannot; the message says where and why.
    """
    with _ONE_AT_A_TIME:
        return _kernel(tuple(types), constants_of(types))


def constants_of(types: Sequence[ComponentType]) -> str:
    """The numbers that the types' functions find outside their classes' text: they are constants of the kernel."""
    return repr([sorted(found.items()) for kind in types if (found := numbers(kind))])


def is_kept(types: Sequence[ComponentType]) -> bool:
    """Whether the cache holds machine code for these types: then a kernel is ready in milliseconds.

    Raises:
        CannotCompile: a type cannot.
    """
    return (cache_folder() / f"{_digest(_translated(types))}.o").is_file()


def _translated(types: Sequence[ComponentType]) -> list[Translation]:
    return [translate(kind, f"step_{number}_{kind.name}") for number, kind in enumerate(types)]


@lru_cache(maxsize=64)  # sets of types of one process
def _kernel(types: tuple[ComponentType, ...], _constants: str) -> Kernel:
    begun = time.perf_counter()
    translations = _translated(types)
    digest = _digest(translations)
    engine, cached = _compiled(translations, digest)
    kinds: list[Any] = [ctypes.c_void_p] * 3
    array = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    kinds += array * 2 + [ctypes.c_int64] * 4 + [ctypes.c_double, ctypes.c_int64] + array * 16
    function = ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(engine.get_function_address(OWN + EXPORTED))
    return Kernel(digest[:16], types, cached, time.perf_counter() - begun, engine, function)


def _digest(translations: Sequence[Translation]) -> str:
    """Of all that the machine code depends on: the rules, the printer, the types, LLVM and the processor."""
    found = hashlib.sha256()
    for module in (world, *PRINTING, *MODULES):
        found.update(_source(module).encode())
    for translation in translations:
        found.update(translation.text.encode())
        for name, function in sorted(translation.functions.items()):
            found.update(ast.unparse(own_function(name, function)).encode())
    found.update(f"{REPLICATE}{SPEED}{_processor()}{llvm.llvm_version_info}".encode())
    return found.hexdigest()


def program_of(translations: Sequence[Translation]) -> str:
    """The program of these types, in the order of their numbers, in LLVM's language."""
    made = Program(_constants())
    for module in MODULES:
        for function in _functions(_source(module)):
            made.add(function)
    dispatch = ["def dispatch(w: World, c: int, h: int) -> None:", "    ty = w.type_of[c]"]
    for number, translation in enumerate(translations):
        _add_type(made, translation)
        dispatch += [f"    {'elif' if number else 'if'} ty == {number}:", f"        {translation.name}(w, c, h)"]
    if not translations:
        dispatch.append("    pass")
    made.add(_functions("\n".join(dispatch))[0])
    made.add(_functions(REPLICATE)[0], exported=True)
    return printed(made)


def _add_type(made: Program, translation: Translation) -> None:
    """A type's function, and the user's own that it calls, which see the numbers of their module only."""
    for name, function in translation.functions.items():
        if name not in made.functions:
            made.add(own_function(name, function))
    made.add(_functions(translation.text)[0])


@cache
def _source(module: ModuleType) -> str:
    return inspect.getsource(module)


def _functions(text: str) -> list[ast.FunctionDef]:
    return [node for node in parsed(text).body if isinstance(node, ast.FunctionDef)]


@cache
def _constants() -> dict[str, float]:
    """Numbers that the rules name in capitals."""
    found: dict[str, float] = {}
    for module in (world, *MODULES):
        found |= {n: v for n, v in vars(module).items() if n.isupper() and isinstance(v, int | float)}
    return found


# --- machine code ----------------------------------------------------------------------------------------------------


@cache
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


@cache
def _processor() -> str:
    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()} {llvm.get_default_triple()}"


@cache
def _library() -> None:
    """Tell LLVM where Python's own mathematics is."""
    name = ctypes.util.find_library("m") or ctypes.util.find_library("ucrtbase")
    mathematics = ctypes.CDLL(name)
    for function in LIBRARY:
        address = ctypes.cast(getattr(mathematics, function), ctypes.c_void_p).value
        llvm.add_symbol(SYMBOL + function, address)


def _compiled(translations: Sequence[Translation], digest: str) -> tuple[Any, bool]:
    """The program ready to run, and whether its machine code was there already."""
    machine = _target().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=SPEED
    )
    _library()
    path = cache_folder() / f"{digest}.o"
    kept = path.read_bytes() if path.is_file() else None
    module = llvm.parse_assembly(program_of(translations) if kept is None else "")
    if kept is None:
        module.verify()
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(SPEED))
        builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    if kept is None:
        engine.set_object_cache(lambda _, data: _keep(path, data))
        engine.finalize_object()
    else:
        engine.add_object_file(llvm.ObjectFileRef.from_data(kept))
        engine.finalize_object()
    return engine, kept is not None


def _keep(path: Path, data: bytes) -> None:
    """By rename: another process sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    draft.write_bytes(data)
    draft.replace(path)
