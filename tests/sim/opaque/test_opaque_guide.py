"""Every block of docs/opaque.md runs as it is printed, and prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import linecache
import re
import shutil
from pathlib import Path

import pytest

from tests.sim.opaque.fmus import tank_fmu

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"```(python|text)\n(.*?)```", re.S)


def test_the_guide_runs_as_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move(tank_fmu(tmp_path, 2), tmp_path / "tank.fmu")
    shutil.copy(ROOT / "scenarios/water/net3.inp", tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "guide"}
    printed = ""
    for number, (kind, text) in enumerate(BLOCK.findall((ROOT / "docs/opaque.md").read_text())):
        if kind == "text":
            assert printed == text
            continue
        file = f"<opaque.md, block {number}>"
        linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(text, file, "exec"), names)
        printed = out.getvalue()
