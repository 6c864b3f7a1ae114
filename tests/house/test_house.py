"""The house itself: arrows point down, files stay small, what is generated is up to date, what is offered is documented."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from control import errors as table
from ledger import errors as ledger_errors
from twin import errors as twin_errors

ROOT = Path(__file__).parents[2]
FOLDERS = {"twin", "ledger", "protocols", "sim", "ml", "scenarios", "control"}
MAY_IMPORT = {
    "twin": set(),
    "ledger": set(),
    "protocols": {"twin"},
    "sim": {"twin"},
    "ml": {"twin"},
    "scenarios": {"twin", "protocols", "sim"},
    "control": FOLDERS,
}
SCRIPTS = {ROOT / "scenarios/water/rest_pump.py"}
"""Run by a person against a running server: its clients, and nobody imports them."""
CLIENT = "control.live_client"
LINES_MAX = 600
TOP_LEVEL = FOLDERS | {
    "tests", "docs", "pyproject.toml", "constraints.txt", "README.md", "Makefile", "CHANGELOG.md", "LICENSE"
}  # fmt: skip


GENERATED = ROOT / "control/console/src/wire.ts"


def tracked(*patterns: str) -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def imported(path: Path) -> set[str]:
    """Folders of ours that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found & FOLDERS


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_imports_point_down_only(folder: str) -> None:
    wrong = {
        str(path.relative_to(ROOT)): sorted(imported(path) - MAY_IMPORT[folder] - {folder})
        for path in {*(ROOT / folder).rglob("*.py")} - SCRIPTS
        if "node_modules" not in path.parts and imported(path) - MAY_IMPORT[folder] - {folder}
    }
    assert wrong == {}


def test_scripts_know_nothing_of_the_server_but_its_client() -> None:
    for path in SCRIPTS:
        lines = re.findall(r"^from (control[\w.]*) import", path.read_text(), re.MULTILINE)
        assert lines == [CLIENT] and "import control" not in path.read_text()
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in FOLDERS:
            assert [p for p in (ROOT / folder).rglob("*.py") if module in p.read_text() and p not in SCRIPTS] == []


def test_no_product_file_imports_tests() -> None:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(r"^\s*(from|import) tests\b", path.read_text(), re.MULTILINE), path


def test_no_file_is_too_long_to_be_one_thing() -> None:
    long = {
        str(p.relative_to(ROOT)): n
        for p in tracked("*.py", "*.ts", "*.svelte", "*.css", "*.vy")
        if (n := len(p.read_text().splitlines())) > LINES_MAX and p != GENERATED
    }
    assert long == {}


def test_every_python_file_says_what_it_is() -> None:
    silent = [
        str(p.relative_to(ROOT))
        for p in tracked("*.py")
        if p.stat().st_size and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert silent == []


def test_no_file_is_named_after_nothing() -> None:
    vague = re.compile(r"(^|_)(utils?|helpers?|common|misc|manager|base)(_|\.|$)")
    assert [str(p.relative_to(ROOT)) for p in tracked("*.py", "*.ts", "*.svelte") if vague.search(p.stem.lower())] == []


def test_nothing_else_lies_at_the_top() -> None:
    tops = {p.relative_to(ROOT).parts[0] for p in tracked()}
    assert {t for t in tops if not t.startswith(".")} - TOP_LEVEL == set()


def test_the_consoles_types_are_those_of_the_server() -> None:
    from control.api.wire_types import typescript

    assert (ROOT / "control/console/src/wire.ts").read_text() == typescript(), "run python -m control.api.wire_types"


def test_the_command_line_is_documented_as_it_is(tmp_path: Path) -> None:
    made = tmp_path / "cli.md"
    subprocess.run(
        [sys.executable, "-m", "typer", "control.cli", "utils", "docs", "--name", "twinloop", "--output", str(made)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    assert (ROOT / "docs/cli.md").read_text() == made.read_text(), "run make docs"


def test_every_setting_and_every_route_is_documented() -> None:
    from control.api.routes import ROUTES
    from control.api.verbs import VERB_OF_NAME
    from protocols.catalog import PROTOCOLS
    from protocols.faces import FACES

    plant, wire = (ROOT / "docs/plant.md").read_text(), (ROOT / "docs/wire.md").read_text()
    assert [s for e in PROTOCOLS.values() for s in e.rules.settings if f"`{s}`" not in plant] == []
    northbound = (ROOT / "docs/northbound.md").read_text()
    assert [s for e in FACES.values() for s in e.rules.settings if f"`{s}`" not in northbound] == []
    assert [r.path for r in ROUTES if r.path not in wire] == []
    assert [v for v in VERB_OF_NAME if f"`{v}`" not in wire] == []


def test_every_error_type_has_its_codes_and_no_code_means_two_things() -> None:
    ours = [e for _, e in inspect.getmembers(twin_errors, inspect.isclass) if issubclass(e, twin_errors.TwinloopError)]
    assert [e.__name__ for e in ours if e not in table.CODES] == []
    assert all(table.CODES[e].code == e.code for e in ours)
    theirs = [e for _, e in inspect.getmembers(ledger_errors, inspect.isclass) if issubclass(e, Exception)]
    assert all(table.codes(e("x")) is not table.INTERNAL for e in theirs)
    assert all(
        c.exit in range(1, 8) and (c.ws == 0 or c.ws >= 1000) and 400 <= c.http < 600 for c in table.CODES.values()
    )
    by_code: dict[str, set[tuple[int, int]]] = {}
    for row in table.CODES.values():
        by_code.setdefault(row.code, set()).add((row.http, row.exit))
    assert all(len(meanings) == 1 for meanings in by_code.values())


def test_the_verifier_runs_with_nothing_but_its_folder(tmp_path: Path) -> None:
    """A stranger's machine: the ledger folder alone, and a Python that knows only cryptography."""
    import shutil

    shutil.copytree(ROOT / "ledger", tmp_path / "ledger")
    script = "import ledger.verify, ledger.bundle, ledger.__main__ as m, sys; print([m.__file__, *sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    file, *modules = ast.literal_eval(done.stdout)
    assert Path(file).is_relative_to(tmp_path)
    loaded = {m.split(".")[0] for m in modules}
    assert not {"twin", "control", "protocols", "eth_tester", "eth", "web3", "numpy"} & loaded
