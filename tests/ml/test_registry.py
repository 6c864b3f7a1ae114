"""The registry: every promotion is durable, a crash costs at most an unfinished line, what was changed is not believed."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.contest import Verdict
from ml.model_file import ModelFile
from ml.registry import RECORD, Registry, trail
from ml.stages import Contest, Stage, Watch
from ml.training import Course
from tests.ml.stand_in import StandInOptions, a_walk, train
from twin.errors import BadRequest, Conflict, NotFound, Refused

WON = Verdict(0.2, 0.1, 0.01, 9, True, "it beats the champion")


def a_model(seed: int = 1, parent: str = "") -> ModelFile:
    made = train(a_walk(2, 20), StandInOptions(), seed, Course())
    return replace(made, manifest=replace(made.manifest, parent=parent))


def two(folder: Path) -> tuple[Registry, str, str]:
    """A champion and a trained challenger."""
    registry = Registry(folder)
    first = registry.add(a_model(1), "", "ann", "first", 10)
    registry.promote(first.model, None, "ann", "the plain one", 11)
    second = registry.add(a_model(2, first.model), "", "ann", "a try", 12)
    return registry, first.model, second.model


def contest(champion: str) -> Contest:
    return Contest(WON, champion, "e" * 64)


def test_a_model_is_kept_found_and_promoted_with_who_when_and_why(tmp_path: Path) -> None:
    registry, first, second = two(tmp_path)
    assert registry.champion("forecast").model == first and registry.champion("rul") is None  # type: ignore[union-attr]
    for k in range(3):
        registry.promote(second[:8], contest(first), "bob", f"step {k}", 20 + k, share=0.25)
    assert registry.champion("forecast").model == second  # type: ignore[union-attr]
    last = registry.record()[-1]
    assert (last.by, last.why, last.time_ns, last.contest) == ("bob", "step 2", 22, contest(first))
    assert [m.stage for m in last.moves] == [Stage.LIVE, Stage.RETIRED]
    assert registry.lineage(second) == (first,) and registry.read(second).hash == second
    assert [p.n for p in trail(registry.record(), second)] == [2, 3, 4, 5]
    registry.roll_back(second, "carl", "worse", 30)
    assert Registry(tmp_path).champion("forecast").model == first  # type: ignore[union-attr]


def test_adding_a_model_twice_changes_nothing_and_another_scope_is_refused(tmp_path: Path) -> None:
    registry, first, _ = two(tmp_path)
    before = (tmp_path / RECORD).read_bytes()
    assert registry.add(a_model(1), "", "eve", "again", 99).stage is Stage.LIVE
    assert (tmp_path / RECORD).read_bytes() == before
    with pytest.raises(Conflict, match="one scope"):
        registry.add(a_model(1), "pumps", "eve", "again", 99)
    with pytest.raises(NotFound):
        registry.find("ffff")
    with pytest.raises(NotFound):
        registry.find(first[:3])


def test_a_refused_promotion_leaves_no_line(tmp_path: Path) -> None:
    registry, first, second = two(tmp_path)
    before = (tmp_path / RECORD).read_bytes()
    with pytest.raises(Refused):
        registry.promote(second, None, "bob", "please", 20)
    with pytest.raises(Refused):
        registry.promote(second, Contest(replace(WON, better=False), first, "d"), "bob", "please", 20)
    with pytest.raises(BadRequest, match="reason"):
        registry.promote(second, contest(first), "bob", "w" * 3000, 20)
    assert (tmp_path / RECORD).read_bytes() == before


@pytest.mark.parametrize("cut", [1, 20, 90, 200])
def test_a_torn_tail_is_cut_off_and_the_record_goes_on(tmp_path: Path, cut: int) -> None:
    registry, first, second = two(tmp_path)
    whole = (tmp_path / RECORD).read_bytes()
    (tmp_path / RECORD).write_bytes(whole + whole.splitlines()[-1][:cut])
    assert len(registry.record()) == 3  # readers look past it
    registry.promote(second, contest(first), "bob", "on", 20)
    assert (tmp_path / RECORD).read_bytes().startswith(whole) and len(registry.record()) == 4


def test_a_changed_removed_or_swapped_line_is_found(tmp_path: Path) -> None:
    registry, _, _ = two(tmp_path)
    path = tmp_path / RECORD
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for wrong in (
        whole.replace(b"ann", b"eve", 1),
        b"".join(lines[1:]),
        lines[1] + lines[0] + lines[2],
        whole + b"x\n",
    ):
        path.write_bytes(wrong)
        with pytest.raises(BadRequest, match=r"record\.jsonl, line"):
            registry.record()
        with pytest.raises(BadRequest):
            registry.add(a_model(9), "", "eve", "", 9)


def test_pickles_and_changed_models_are_neither_read_nor_promoted(tmp_path: Path) -> None:
    registry, first, second = two(tmp_path)
    file = registry.path(second)
    good = file.read_bytes()
    file.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(BadRequest, match="pickle"):
        registry.promote(second, contest(first), "bob", "", 20)
    bad = bytearray(good)
    bad[-1] ^= 1
    file.write_bytes(bad)
    with pytest.raises(BadRequest, match="changed"):
        registry.promote(second, contest(first), "bob", "", 20)
    file.write_bytes(registry.path(first).read_bytes())
    with pytest.raises(BadRequest, match="holds model"):
        registry.read(second)


def test_a_live_model_that_does_worse_is_rolled_back_without_a_person(tmp_path: Path) -> None:
    registry, first, second = two(tmp_path)
    for k in range(3):
        registry.promote(second, contest(first), "bob", "better", 20 + k)
    rng, watch, made = np.random.default_rng(3), Watch(), None
    for pair in range(200):
        base = float(rng.exponential())
        watch = watch.after(base, 1.6 * base * float(rng.lognormal(0, 0.3)))
        made = registry.settle(second, watch, 100 + pair)
        if made is not None:
            break
    assert made is not None and made.by == "twinloop" and "live score below" in made.why
    assert 5 < watch.pairs < 100 and registry.champion("forecast").model == first  # type: ignore[union-attr]


WRITER = """
import sys
from pathlib import Path
from ml.registry import Registry
from tests.ml.test_registry import contest, two
registry, first, second = two(Path(sys.argv[1]))
print("ready", flush=True)
n = 100
while True:
    registry.promote(second, contest(registry.champion("forecast").model), "bob", "on", n)
    if registry.find(second).stage == "live":
        registry.roll_back(second, "bob", "back", n + 1)
        from tests.ml.test_registry import a_model
        first = registry.champion("forecast").model
        second = registry.add(a_model(n), "", "bob", "next", n + 2).model
    print(len(registry.record()), flush=True)
    n += 3
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        for _ in range(25):
            told = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
    told = int(rest[-1]) if rest else told
    registry = Registry(tmp_path)
    assert len(registry.record()) >= told
    assert registry.champion("forecast") is not None
    registry.add(a_model(5), "", "ann", "after the crash", 10**6)
    assert [p.n for p in registry.record()] == list(range(len(registry.record())))
