"""Functions in the rules' restricted Python, compiled beside the rules, so that tests can ask the compiled rules alone."""

from __future__ import annotations

import ast
import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from sim.kernel import compiler
from sim.kernel.printer import printed
from sim.kernel.program import OWN, Program
from sim.kernel.world import Packed

KINDS: Mapping[str, list[Any]] = {
    "int": [ctypes.c_int64], "float": [ctypes.c_double], "World": [ctypes.c_void_p] * 3,
    "NDArray[np.float64]": [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64],
    "NDArray[np.int64]": [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64],
}  # fmt: skip


def compiled_functions(text: str) -> dict[str, Callable[..., None]]:
    """The functions of the text, each of which gives nothing back and fills arrays; worlds are given packed."""
    made = Program(compiler._constants())
    for module in compiler.MODULES:
        for function in compiler._functions(compiler._source(module)):
            if function.name != "run":
                made.add(function)
    asked = compiler._functions(text)
    for function in asked:
        made.add(function, exported=True)
    machine = compiler._target().create_target_machine(opt=2)
    compiler._library()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(printed(made)), machine)
    engine.finalize_object()
    return {f.name: _callable(engine, f.name, [KINDS[s] for _, s in made_parameters(f)]) for f in asked}


def made_parameters(function: Any) -> list[tuple[str, str]]:
    """Names and sorts of the arguments."""
    return [(a.arg, ast.unparse(a.annotation)) for a in function.args.args]


def _callable(engine: Any, name: str, kinds: list[list[Any]]) -> Callable[..., None]:
    native = ctypes.CFUNCTYPE(None, *[k for kind in kinds for k in kind])(engine.get_function_address(OWN + name))

    def call(*given: Any) -> None:
        flat: list[Any] = []
        for each in given:
            if isinstance(each, Packed):
                flat += [a.ctypes.data for a in (each.plan, each.ints, each.floats)]
            elif isinstance(each, np.ndarray):
                flat += [each.ctypes.data, len(each), 1]
            else:
                flat.append(each)
        native(*flat)

    call.engine = engine  # type: ignore[attr-defined]  # it holds the machine code
    return call
