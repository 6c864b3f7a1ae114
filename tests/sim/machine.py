"""Single functions of the rules as machine code, to be compared with the same functions in Python."""

from __future__ import annotations

import ast
import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.kernel.compiler import machine_code, rules_program
from sim.kernel.world import Packed

REST = """
def dispatch(w: World, c: int, h: int) -> None:
    pass

def philox_into(words: NDArray[np.int64], x0: int, x1: int, x2: int, x3: int, k0: int, k1: int) -> None:
    a, b, c, d = philox(x0, x1, x2, x3, k0, k1)
    words[0] = a
    words[1] = b
    words[2] = c
    words[3] = d
"""
KINDS = {"int": ctypes.c_int64, "float": ctypes.c_double, "bool": ctypes.c_bool, "none": None}


@lru_cache(maxsize=1)
def _program() -> tuple[Any, dict[str, Any]]:
    made = rules_program()
    for tree in ast.parse(REST).body:
        assert isinstance(tree, ast.FunctionDef)
        made.add(tree)
    for declared in made.functions.values():
        declared.ir.linkage = "external"
    return machine_code(made.text()), made.functions


def compiled(name: str) -> Callable[..., Any]:
    """The function `name` of the rules; a world is given as a Packed, an array as one of numpy."""
    engine, functions = _program()
    kinds: list[Any] = []
    for _, sort in functions[name].parameters:
        kinds += [ctypes.c_void_p] * 3 if sort == "world" else [ctypes.c_int64] * 3 if sort == "ints" else [KINDS[sort]]
    function = ctypes.CFUNCTYPE(KINDS[functions[name].returns], *kinds)(engine.get_function_address(name))
    return lambda *given: function(*(part for argument in given for part in _parts(argument)))


def _parts(argument: Any) -> list[Any]:
    if isinstance(argument, Packed):
        return [argument.plan.ctypes.data, argument.ints.ctypes.data, argument.floats.ctypes.data]
    return [argument.ctypes.data, len(argument), 1] if isinstance(argument, np.ndarray) else [argument]


def philox(*counter_and_key: int) -> tuple[int, ...]:
    """The four words, compiled."""
    words: NDArray[np.int64] = np.zeros(4, np.int64)
    compiled("philox_into")(words, *counter_and_key)
    return tuple(words.tolist())
