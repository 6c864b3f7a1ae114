"""The guide of components: its examples print what it says, its tables leave nothing out."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from sim import spec
from sim.component_type import component_type
from sim.components.library import SHIPPED
from sim.kernel.faults import WORDS
from sim.kernel.rules import RULES_MAX, TURNS_MAX
from sim.kernel.subset import CALLS, MATH, READS, WRITES
from sim.layout import Layout
from sim.spec import Component, Distribution, Items, Transfer

GUIDE = (Path(__file__).parents[2] / "docs" / "components.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n((?:(?!```).*\n)*)```\n\n```text\n((?:(?!```).*\n)*)```", GUIDE, re.MULTILINE)


def row(cls: type[Component]) -> str:
    """What the table of shipped components says of one."""
    kind = component_type(cls)
    ports = [
        f"`{p.name}` {p.to.__name__}{' (optional)' if p.optional else ''}" for p in kind.ports if type(p) is not Items
    ]
    queues = [f"`{p.name}` {p.size} numbers" for p in kind.ports if isinstance(p, Items)]
    numbers = [f"`{n.name}` {n.value:g}" for n in kind.numbers]
    times = [f"`{c.name}` {type(c).__name__}({', '.join(f'{x:g}' for x in c.numbers)})" for c in kind.chances]
    states = [f"`{s.name}` {' '.join(s.values)}" for s in kind.states]
    commands = [f"`{h.name}`" for h in kind.of("command")]
    cells = ([*ports, *queues], numbers, times, states, commands)
    return f"| `{kind.name}` | {' | '.join(', '.join(cell) or '–' for cell in cells)} |"


@pytest.mark.parametrize("number", range(6))
def test_an_example_prints_what_the_guide_says(number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = EXAMPLES[number]
    path = tmp_path / f"example_{number + 1}.py"
    path.write_text(code, encoding="utf-8")
    runpy.run_path(str(path), run_name=f"example_{number + 1}")
    assert capsys.readouterr().out == printed


def test_the_guide_has_six_examples_with_their_output() -> None:
    assert len(EXAMPLES) == 6


@pytest.mark.parametrize("cls", SHIPPED, ids=lambda cls: cls.__name__)
def test_every_shipped_component_stands_in_the_guide_with_all_that_can_be_set(cls: type[Component]) -> None:
    assert row(cls) in GUIDE


def test_every_distribution_is_explained_with_its_parameters() -> None:
    for cls in Distribution.__subclasses__():
        assert f"| `{cls.__name__}({', '.join(cls.keys)})` |" in GUIDE


def test_every_word_of_the_specification_is_explained() -> None:
    words = [name for name, value in vars(spec).items() if isinstance(value, type) and issubclass(value, spec.Field)]
    words += [t.__name__ for t in spec.SHARED]
    words += ["@on", "@when", "@crosses", "@at_start", "@command", "@process"]
    missing = [w for w in words if w not in ("Field", "Distribution", "Number") and f"`{w}" not in GUIDE]
    assert not missing


def test_every_operation_of_a_field_is_explained() -> None:
    asked = {(sort, name) for table in (READS, WRITES) for sort, name in table} | {(s, n) for s, n, _ in CALLS}
    for sort, name in sorted(asked, key=str):
        assert sort is not None
        word = sort.__name__
        rows = [line for line in GUIDE.splitlines() if line.startswith(f"| `{word}`")]
        assert rows, word
        assert any(f"`{name}" in line for line in rows), f"{word}.{name}"


def test_every_function_of_math_that_compiles_is_named() -> None:
    assert all(re.search(rf"\b{name}\b", GUIDE) for name in MATH)


def test_everything_that_stops_a_run_stands_in_the_guide() -> None:
    for words, hint in WORDS.values():
        assert f"| {re.sub('[{}]', '', words)} | {hint} |" in GUIDE
    assert f"{RULES_MAX}" in GUIDE
    assert f"{TURNS_MAX}" in GUIDE


def test_everything_shared_that_a_layout_can_make_is_named() -> None:
    for maker in ("buffer", "resource", "tank", "level", "signal"):
        assert hasattr(Layout, maker)
        assert f".{maker}(" in GUIDE
    assert Transfer.__name__ in GUIDE
