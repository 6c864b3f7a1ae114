"""Which backend runs a layout, and why: the compiled kernel when it is ready, SimPy otherwise; must not know experiments."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from sim.apart import compile_apart
from sim.components.library import kernel_types
from sim.kernel.compiler import Kernel, constants_of, is_kept
from sim.kernel.ensemble import warm
from sim.kernel.translation import CannotCompile
from sim.layout import Layout
from sim.layout_record import importable
from sim.spec import ComponentType, Misspelt

KERNELS_MAX = 64  # sets of component types of one process; the oldest is loaded again from disk
COMPILED, INTERPRETED = "kernel", "simpy"
log = logging.getLogger("twinloop.kernel")


@dataclass(frozen=True, slots=True)
class Backend:
    """What runs the replications.

    Attributes:
        why: the reason when it is not the kernel.
        waits: the kernel is being compiled; `ready` tells when it is.
    """

    kernel: Kernel | None
    why: str = ""
    waits: bool = False

    @property
    def name(self) -> str:
        return INTERPRETED if self.kernel is None else COMPILED


Key = tuple[tuple[ComponentType, ...], str]
"""Types, and the numbers of their modules and classes, which are constants in a kernel."""

_ready: dict[Key, Kernel] = {}
_compiling: dict[Key, threading.Thread] = {}
_said: set[str] = set()
_LOCK = threading.Lock()


def _key(types: tuple[ComponentType, ...]) -> Key:
    return types, constants_of(types)


def choose(layout: Layout, want: str = "auto") -> Backend:
    """The backend for a layout.

    A kernel that was never compiled on this machine is compiled meanwhile, and SimPy answers: by a process of its own, or
    by a thread where another process would not find the components' classes.

    Args:
        want: `auto`; `kernel` waits for the compiler (some seconds for a new type); `simpy`.

    Raises:
        CannotCompile: a kernel was asked for and a component cannot be compiled.
    """
    if want not in ("auto", COMPILED, INTERPRETED):
        raise Misspelt(f"backend {want!r}", f"auto, {COMPILED} or {INTERPRETED}")
    if want == INTERPRETED:
        return Backend(None, "asked for")
    types = kernel_types(layout)
    found = _ready.get(_key(types))
    if found is not None:
        return Backend(found)
    try:
        kept = is_kept(types)
    except CannotCompile as reason:
        if want == COMPILED:
            raise
        _say_once(layout, f"{reason}")
        return Backend(None, f"{reason}")
    if want == COMPILED or kept:
        return Backend(_load(types))
    _compile_meanwhile(types, apart=not importable(layout))
    return Backend(None, "the kernel of these components was being compiled; SimPy answered meanwhile", True)


def interpreted(layout: Layout) -> str:
    """Why the kernel can never run it, with file, line and what to write instead; "" when it can."""
    try:
        is_kept(kernel_types(layout))
    except CannotCompile as reason:
        return f"{reason}"
    return ""


def _say_once(layout: Layout, reason: str) -> None:
    with _LOCK:
        known = reason in _said
        if len(_said) < KERNELS_MAX:
            _said.add(reason)
    if not known:
        log.warning("the kernel is not used for %s, SimPy runs it: %s", layout.name, reason)


def ready(layout: Layout) -> Kernel | None:
    """The kernel for a layout if it was compiled or loaded by now."""
    return _ready.get(_key(kernel_types(layout)))


def _load(types: tuple[ComponentType, ...]) -> Kernel:
    key = _key(types)
    made = warm(types)
    with _LOCK:
        while len(_ready) >= KERNELS_MAX:
            del _ready[next(iter(_ready))]
        _ready[key] = made
    return made


def _compile_meanwhile(types: tuple[ComponentType, ...], *, apart: bool) -> None:
    key = _key(types)

    def work() -> None:
        try:
            if apart:
                compile_apart(types)
            _load(types)
        finally:
            _compiling.pop(key, None)
        log.info("the kernel for %s is ready", ", ".join(kind.name for kind in types))

    with _LOCK:
        if key not in _compiling:
            # No daemon: a process that ends in the middle of LLVM crashes, so it waits the second or two.
            _compiling[key] = threading.Thread(target=work, name="compile")
            _compiling[key].start()
