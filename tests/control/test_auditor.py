"""Transitions on their way to the ledger."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from control.auditor import Auditor


def record(identity: str, steps: int, final: bool) -> Any:
    return SimpleNamespace(id=identity, steps=tuple(range(steps)), final=final)


def test_each_step_is_handed_over_once_however_often_its_record_is_kept() -> None:
    auditor = Auditor(cast(Any, None), cast(Any, None))
    auditor.take([record("a", 1, False), record("b", 2, True)])  # b began and ended in one commit
    auditor.take([record("a", 3, True), record("b", 2, True)])
    auditor.take([record("a", 3, True)])
    assert [(one.id, n) for one, n in auditor._waiting] == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2)]
