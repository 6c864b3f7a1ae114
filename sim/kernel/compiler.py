"""Compiled kernels: generated files in a cache, one for the rules, one a component type, one loop a set of types.

The text decides the file's name, a written file is never changed, and numba keeps its machine code beside it: an edited
component becomes another file, and no stale code can run. Topology, numbers and names are data: they compile nothing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import float64
from numba.core.errors import NumbaError

from sim.kernel import chance, levels, loop, rules, world
from sim.kernel.functions import ARITHMETIC, own_function
from sim.kernel.lowering import MEMORY, constants, functions, lowered
from sim.kernel.translation import CannotCompile, Translation, translate
from sim.spec import ComponentType

PLAIN = "njit(nogil=True, cache=True, error_model='numpy')"
HEAD = "import math\nimport numpy as np\nfrom numba import njit\nU64 = np.uint64\n"
_ONE_AT_A_TIME = threading.Lock()  # numba compiles under one lock anyway; two threads would make the same kernel twice

REPLICATE = """
def replicate(plan_, ints, floats, rows, first, last, offset, fresh, horizon, events_max, at, what, value, grid, watched,
              wanted, samples, figures, faults, times):
    own_plan = plan_.copy()
    own_ints = ints[0].copy()
    own_floats = floats[0].copy()
    w_plan = np.int64(own_plan.ctypes.data)
    w_ints = np.int64(own_ints.ctypes.data)
    w_floats = np.int64(own_floats.ctypes.data)
    events = 0
    for r in range(first, last):
        own_ints[:] = ints[r % rows]
        own_floats[:] = floats[r % rows]
        set_replication(w_plan, w_ints, w_floats, offset + r)
        begin(w_plan, w_ints, w_floats, fresh)
        run(w_plan, w_ints, w_floats, horizon, events_max, at, what, value, grid, watched, samples[r])
        finish(w_plan, w_ints, w_floats)
        events += conclude(w_plan, w_ints, w_floats, wanted, figures[r], faults[r], times, r)
    # Used here, so that they live until the last of their addresses was.
    keep(own_plan, own_ints, own_floats)
    return events
"""
CONCLUDE = """
def keep(plan_, ints, floats):
    return plan_[0] + ints[0] + floats[0]

def set_replication(w, r):
    w.replication = r

def conclude(w, wanted, figures, fault, times, r):
    for j in range(len(wanted)):
        figures[j] = read(w, wanted[j, 0], wanted[j, 1], w.now)
    fault[0] = w.fault
    fault[1] = w.fault_at
    fault[2] = w.fault_component
    fault[3] = w.fault_handler
    times[r] = w.now
    return w.events
"""


def cache_folder() -> Path:
    """Where generated kernels lie: TWINLOOP_KERNELS, or a folder of the user's cache."""
    chosen = os.environ.get("TWINLOOP_KERNELS")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twinloop" / "kernels"


@dataclass(frozen=True, slots=True)
class Kernel:
    """The compiled loop for a set of component types.

    Attributes:
        hash: of everything that was compiled.
        compile_s: what making it ready took; machine code from the cache counts too.
    """

    hash: str
    types: tuple[str, ...]
    module: ModuleType
    compile_s: float

    @property
    def replicate(self) -> Callable[..., int]:
        found: Callable[..., int] = self.module.replicate
        return found


def rules_text() -> str:
    """The rules, lowered."""
    parts = [HEAD, MEMORY]
    for module in (world, chance, rules, levels, loop):
        parts += constants(inspect.getsource(module))
    for module in (chance, rules, levels, loop):
        for function in functions(inspect.getsource(module)):
            if function.name == "run":
                continue  # it goes where the types are known
            parts.append(ast.unparse(lowered(function, PLAIN)))
    parts += [ast.unparse(lowered(f, PLAIN)) for f in functions(CONCLUDE)]
    return "\n".join(parts) + "\n"


def type_text(translation: Translation, rules_name: str) -> str:
    """A component type, lowered, with the user's own functions."""
    parts = [HEAD, f"from {rules_name} import *"]
    if translation.functions:
        parts.append(ARITHMETIC)
    parts += [own_function(name, function) for name, function in sorted(translation.functions.items())]
    parts += [ast.unparse(lowered(f, PLAIN)) for f in functions(translation.text)]
    return "\n".join(parts) + "\n"


def loop_text(steps: Sequence[tuple[str, str]], rules_name: str) -> str:
    """The loop and the dispatch to (module, function) of each type, in the order of their numbers."""
    parts = [HEAD, f"from {rules_name} import *"]
    parts += [f"from {module} import {name} as step_{number}" for number, (module, name) in enumerate(steps)]
    lines = ["def dispatch(w, c, h):", "    ty = w.type_of[c]"]
    for number in range(len(steps)):
        lines += [f"    {'elif' if number else 'if'} ty == {number}:", f"        step_{number}(w, c, h)"]
    parts.append(ast.unparse(lowered(functions("\n".join(lines))[0], PLAIN)))
    running = next(f for f in functions(inspect.getsource(loop)) if f.name == "run")
    parts.append(ast.unparse(lowered(running, PLAIN)))
    parts.append("@" + PLAIN + REPLICATE)
    return "\n".join(parts) + "\n"


def _compiled(made: Any, function: Callable[..., Any]) -> None:
    """Compile a user's function now, so that what numba cannot do is told here."""
    try:
        made.compile((float64,) * len(inspect.signature(function).parameters))
    except NumbaError as wrong:
        place = f"{inspect.getsourcefile(function)}:{function.__code__.co_firstlineno}"
        first = next((line for line in str(wrong).splitlines()[1:] if line.strip()), str(wrong))
        why = f"{place}: the function {function.__name__} cannot be compiled: {first.strip()}"
        raise CannotCompile(why, "compute with numbers, math and numpy only; it runs on the SimPy backend") from wrong


def _module(text: str, prefix: str) -> ModuleType:
    """The text as a module of its own, from a file whose name is its content's."""
    name = f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    found = sys.modules.get(name)
    if found is not None:
        return found
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        draft = folder / f"{name}.{os.getpid()}.{threading.get_ident()}"
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    try:
        spec.loader.exec_module(made)
    except BaseException:
        del sys.modules[name]
        raise
    return made


def kernel_of(types: Sequence[ComponentType]) -> Kernel:
    """The kernel for these types, in this order; what was not compiled before is compiled when it first runs.

    Raises:
        CannotCompile: a type cannot; the message says where and why.
    """
    begun = time.perf_counter()
    with _ONE_AT_A_TIME:
        shared = _module(rules_text(), "rules")
        steps = []
        for kind in types:
            name = f"step_{kind.name}"
            translation = translate(kind, name)
            module = _module(type_text(translation, shared.__name__), f"type_{kind.name}")
            for own, function in translation.functions.items():
                _compiled(getattr(module, f"user_{own}"), function)
            steps.append((module.__name__, name))
        made = _module(loop_text(steps, shared.__name__), "loop")
    return Kernel(made.__name__.rpartition("_")[2], tuple(k.name for k in types), made, time.perf_counter() - begun)
