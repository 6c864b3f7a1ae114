"""What many tests of the command line share."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from control import cli

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line: (exit code, stdout, stderr)."""

    def told(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["twinloop", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return told
