"""What numba compiles is compiled before it is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from control import compiled


def test_the_hot_loops_are_among_what_is_compiled() -> None:
    assert {
        "twin.scatter",
        "ledger.machine",
        "protocols.scan",
        "protocols.opcua.binary",
        "protocols.mqtt.frames",
    } <= set(compiled.modules())


def test_only_a_cold_start_says_that_it_compiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    compiled.load()
    compiled.prepare(said.append)
    assert said == []
    (tmp_path / "twin").mkdir()
    (tmp_path / "twin" / "loop.py").write_text("@njit(...)\n")
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    monkeypatch.setattr(compiled, "load", lambda: said.append("compiled") or 1)
    compiled.prepare(said.append)
    assert len(said) == 2 and said[1] == "compiled"
