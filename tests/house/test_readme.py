"""The README's tour runs as written, on a demonstration started as a user would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from control.demo import Child
from tests.plant.site import live, until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_readme_names_only_files_that_exist() -> None:
    named = re.findall(r"\]\(([\w./-]+)\)", README)
    assert [n for n in named if not (ROOT / n).exists()] == []


@pytest.mark.timeout(300)
def test_every_block_of_the_tour_works_as_written(tmp_path: Path) -> None:
    from control.client import Client
    from control.demo import fleet_words, server_words

    assert len(BLOCKS) >= 5
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "160"}
    data = tmp_path / "var" / "demo"
    with (tmp_path / "messages.log").open("w") as messages, Child(fleet_words(60, 1), messages) as fleet:
        endpoints = fleet.first_line()["endpoints"]
        with Child(server_words(data, 0, endpoints), messages) as server:
            server.first_line()
            client = Client(data)
            until(lambda: live(client), lambda found: found[0] == found[1])
            until(lambda: client.get("/audit", last=1)["checkpointed"], lambda size: size > 5)
            said = ""
            for block in BLOCKS:
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True,
                    timeout=100, check=False,
                )  # fmt: skip
                print(block, done.stdout, done.stderr)
                said += done.stderr
                assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
            assert "parsec" in done.stderr
            assert "interlock bypass" in said
            assert "refused, as it should be" in done.stdout
