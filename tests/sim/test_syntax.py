"""Handlers are parsed on one thread while a kernel is compiled on another."""

from __future__ import annotations

import ast
import gc
import inspect
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from sim.kernel import rules
from sim.kernel.syntax import class_text, loaded, parsed
from sim.kernel.world import World

COLLECT_EVERY = 50  # objects: often enough that a tree is never built without the collector


def test_threads_that_parse_while_the_collector_lets_them_alternate_all_get_their_trees() -> None:
    text, before = inspect.getsource(rules), gc.get_threshold()
    turns = threading.Barrier(3)

    def alternate(*_: object) -> None:
        time.sleep(0.0002)  # gives the interpreter away, as Python code of the collector may

    def work() -> int:
        turns.wait(10)
        return sum(len(parsed(text).body) for _ in range(4)) + len(class_text(World))

    gc.callbacks.append(alternate)
    gc.set_threshold(COLLECT_EVERY)
    try:
        with ThreadPoolExecutor(3) as threads:
            found = {f.result() for f in [threads.submit(work) for _ in range(3)]}
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(alternate)
    assert found == {4 * len(ast.parse(text).body) + len(inspect.getsource(World))}


def test_what_is_assigned_to_can_be_read() -> None:
    [statement] = parsed("w.amount[e] += 1.0").body
    assert isinstance(statement, ast.AugAssign)
    assert ast.dump(loaded(statement.target)) == ast.dump(ast.parse("w.amount[e]", mode="eval").body)
