"""The layout of the graph is made once for each graph, kept over restarts, and made anew when it is damaged."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from control import graph_layouts
from control.graph_layouts import LAYOUT_FILE, GraphLayouts
from tests.twin.test_graph_layout import plant
from twin.errors import LimitExceeded


def test_it_is_kept_until_the_graph_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    nested = graph_layouts.nested
    monkeypatch.setattr(graph_layouts, "nested", lambda p: (made.append(len(p.twins)), nested(p))[1])
    first = plant(3, [(0, "contains", 1)])
    layout = GraphLayouts(tmp_path).of(first)
    again = GraphLayouts(tmp_path)
    assert again.of(plant(3, [(0, "contains", 1)])) == layout and made == [3]
    assert len((again.of(plant(4, []))).boxes) == 4 and made == [3, 4]
    (tmp_path / LAYOUT_FILE).write_bytes(b"\x93half")
    assert GraphLayouts(tmp_path).of(first) == layout and made == [3, 4, 3]


def test_a_graph_that_no_page_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_layouts, "TWINS_MAX", 2)
    with pytest.raises(LimitExceeded, match="3 twins"):
        GraphLayouts(tmp_path).of(plant(3, []))


def test_on_a_full_disk_it_is_told_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert len((GraphLayouts(tmp_path).of(plant(3, []))).boxes) == 3
