"""A failure counts unless it is one of a few and does not come again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ONCE = """
from pathlib import Path
import pytest
@pytest.mark.parametrize("k", range({count}))
def test_first_time_only(k):
    seen = Path(__file__).with_name(f"seen-{{k}}")
    again = seen.exists()
    seen.touch()
    assert again
"""


def run(folder: Path, text: str, files: int) -> subprocess.CompletedProcess[str]:
    tests = [folder / str(n) / f"test_it_{n}.py" for n in range(files)]
    for test in tests:
        test.parent.mkdir()
        test.write_text(text)
    told = [sys.executable, "-m", "tests.again", "-p", "no:cacheprovider", *map(str, tests)]
    return subprocess.run(told, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("text", "files", "status", "unsteady"),
    [
        ("def test_it(): pass", 1, 0, 0),
        ("def test_it(): assert False", 1, 1, 0),
        (ONCE.format(count=4), 3, 0, 12),
        (ONCE.format(count=1), 4, 1, 0),  # more than a few
        ("import nothing_of_this_name", 1, 2, 0),
    ],
)
def test_what_fails_once_is_named_and_what_fails_twice_fails(
    tmp_path: Path, text: str, files: int, status: int, unsteady: int
) -> None:
    ran = run(tmp_path, text, files)
    assert ran.returncode == status, ran.stdout
    assert ran.stdout.count("UNSTEADY ") == unsteady
