"""Python's parser, for one thread at a time; must not know what is parsed.

Before 3.11.8 CPython counts the depth of a tree for all threads together (python/cpython#106905): when the collector of
garbage calls Python in between, as prometheus_client asks of it, and another thread parses too, one of both ends with
SystemError. A kernel is compiled beside everything else.
"""

from __future__ import annotations

import ast
import inspect
import threading
from types import CodeType

_ONE_AT_A_TIME = threading.RLock()  # what the collector calls may come here again


def parsed(text: str) -> ast.Module:
    """The tree of a text.

    Raises:
        SyntaxError: it is no Python.
    """
    with _ONE_AT_A_TIME:
        return ast.parse(text)


def compiled(tree: ast.Module, file: str) -> CodeType:
    """The code of a tree, which says that it stands in that file."""
    with _ONE_AT_A_TIME:
        return compile(tree, file, "exec", dont_inherit=True)


def loaded(target: ast.expr) -> ast.expr:
    """What is assigned to, as an expression that reads it."""
    with _ONE_AT_A_TIME:
        return ast.parse(ast.unparse(target), mode="eval").body


def class_text(cls: type) -> str:
    """The source of a class, which Python looks for with its parser.

    Raises:
        OSError, TypeError: none is kept.
    """
    with _ONE_AT_A_TIME:
        return inspect.getsource(cls)
