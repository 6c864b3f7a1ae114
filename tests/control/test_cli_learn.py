"""`twinloop train`, `evaluate` and `models`, with a stand-in for every task's own code: words in, files and lines out."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from control import learning
from control.learning import Task
from control.places import LEDGER, MODELS
from ledger.entry import decode
from ledger.log import Log
from ml import model_file
from ml.edge import Edge
from ml.records import DataSet, Record
from ml.training import Course
from tests.control.conftest import Run
from tests.control.test_model_audit import a_ledger
from tests.control.test_plant_data import a_history, pumps
from tests.ml import stand_in
from tests.ml.stand_in import a_walk
from twin.errors import WrongUnit


def network(model: model_file.ModelFile) -> Edge | None:
    """As if the last value were told by a network."""
    if model.manifest.kind != "last":
        return None
    torch.manual_seed(model.manifest.seed)
    layers = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.Tanh(), torch.nn.Linear(256, 8)).eval()
    return Edge(layers, np.random.default_rng(1).normal(size=(16, 64)).astype(np.float32), "64 numbers", "8 numbers")


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(
        learning.TASKS["forecast"], module=stand_in.__name__, options="StandInOptions", trained=learning._train,
        evaluated=learning._evaluate, losses=lambda models, given: [stand_in.losses(m, given.data) for m in models],
        network=network, takes=(), learnt=lambda data, options: data,
    )  # fmt: skip
    monkeypatch.setattr(learning, "TASKS", {**learning.TASKS, "forecast": row})


def a_file(path: Path, data: DataSet) -> Path:
    lines = ["when,pump," + ",".join(data.columns)]
    for record in data.records:
        lines += [
            f"{t:g},{record.device}," + ",".join(map(repr, row))
            for t, row in zip(record.time_s.tolist(), record.values.tolist(), strict=True)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


ROLES = ("--time", "when", "--device", "pump")


def test_a_model_is_trained_on_a_file_with_all_that_serving_needs(tmp_path: Path, run: Run) -> None:
    file = a_file(tmp_path / "walks.csv", a_walk())
    out = tmp_path / "m.safetensors"
    code, said, _ = run("train", "forecast", file, *ROLES, "--set", "kind=last", "--seed", 3, "--out", out, "--json")
    told = json.loads(said)
    assert (
        code == 0 and told["columns"] == ["flow", "heat"] and told["seed"] == 3 and told["settings"]["kind"] == "last"
    )
    kept = model_file.read(out)
    assert kept.hash == told["model"] and {"drift.quantiles", "seen.runs"} <= set(kept.tensors)
    code, said, _ = run("train", "forecast", file, *ROLES, "--columns", "heat", "--out", out)
    assert code == 0 and "1 columns" in said and model_file.read(out).manifest.columns == ("heat",)


def test_mistakes_are_named_with_the_fix_and_the_right_exit_code(tmp_path: Path, run: Run) -> None:
    file = a_file(tmp_path / "walks.csv", a_walk())
    out = ("--out", tmp_path / "m")
    for words, code, said in (
        (("train", "forcast", file, *out), 4, "forecast"),
        (("train", "forecast", tmp_path / "no.csv", *out), 4, "no file"),
        (("train", "forecast", file, "--set", "horzon=3", *out), 2, "horizon"),
        (("train", "forecast", file, "--set", "horizon=much", *out), 2, "not of type int"),
        (("train", "forecast", file, "--set", "horizon", *out), 2, "name=value"),
        (("train", "forecast", file, "--columns", "flw", *out), 2, "did you mean flow"),
        (("train", "forecast", file, "--columns", "pump", *out), 2, "no number"),
        (("train", "forecast", file, "--label", "heat", *out), 2, "no use for --label"),
        (("train", "forecast", file), 2, "--out FILE"),
        (("train", "forecast", file, *out, "--registry", tmp_path), 2, "one of them"),
        (("evaluate", "forecast", file, "--seeds", "many"), 2, "how many"),
        (("train", "forecast", "--data", tmp_path, "--time", "when"), 2, "are of files"),
    ):
        found, _, err = run(*words)
        assert found == code and said in err, (words, found, err)
    short = a_file(tmp_path / "short.csv", a_walk(1, 5))
    code, _, err = run("train", "forecast", short, *ROLES, *out)
    assert code == 2 and "too few" in err and not (tmp_path / "m").exists()


def test_ctrl_c_cancels_and_leaves_nothing(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = stand_in.train

    def interrupted(*words: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return real(*words)

    monkeypatch.setattr(stand_in, "train", interrupted)
    before = signal.getsignal(signal.SIGINT)
    file = a_file(tmp_path / "walks.csv", a_walk())
    code, out, err = run("train", "forecast", file, *ROLES, "--registry", tmp_path / "models")
    assert code == 130 and out == "" and "cancelled" in err
    assert not (tmp_path / "models").exists() and signal.getsignal(signal.SIGINT) is before


def test_an_evaluation_says_its_protocol_its_floor_and_every_seed(tmp_path: Path, run: Run) -> None:
    file = a_file(tmp_path / "walks.csv", a_walk())
    raw, page = tmp_path / "raw.json", tmp_path / "report.html"
    words = ("evaluate", "forecast", file, *ROLES, "--set", "kind=last", "--seeds", "7,8,9")
    code, out, err = run(*words, "--out", raw, "--report", page)
    assert code == 0 and "all rows, one step ahead" in out and "floor: mean" in out and "wrote" in err
    kept = json.loads(raw.read_text())
    assert [s["seed"] for s in kept["seeds"]] == [7, 8, 9] and len(kept["seeds"][0]["raw"]["told"]) == 8 * 199
    assert page.read_text().count("<svg") == 7
    code, out, _ = run(*words, "--json")
    assert code == 0 and json.loads(out)["figures"]["mse"].keys() == {"mean", "sd"}


def test_the_options_of_a_task_can_be_asked_for(run: Run) -> None:
    code, out, _ = run("train", "forecast", "--options")
    assert code == 0 and "steps ahead" in out and "horizon" in out
    code, out, _ = run("evaluate", "forecast", "--options", "--json")
    assert {"name": "rate", "type": "float", "default": "0.1"} in json.loads(out)["options"]


def test_a_plants_history_is_trained_on_and_the_model_is_an_entry_of_its_ledger(tmp_path: Path, run: Run) -> None:
    a_history(tmp_path, pumps())
    a_ledger(tmp_path)
    code, out, _ = run("train", "forecast", "--data", tmp_path, "--twins", "pump_*", "--every", "2s", "--json")
    told = json.loads(out)
    assert code == 0 and told["columns"] == ["flow", "power"] and Path(told["file"]).parent == tmp_path / MODELS
    code, out, err = run("models", "promote", told["model"][:8], "--data", tmp_path, "--reason", "first")
    assert code == 0 and "is live" in out and "1 ledger entries" in err
    with Log.open(tmp_path / LEDGER) as ledger:
        last = decode(ledger.read(ledger.size - 1))
    assert last.kind == "model" and last.body["why"] == "first"


@pytest.fixture
def rivals(tmp_path: Path, run: Run) -> tuple[Path, str, str]:
    """A registry with the mean as champion and the last value as challenger, both trained on a file."""
    file, folder = a_file(tmp_path / "walks.csv", a_walk()), tmp_path / "registry"
    found = []
    for kind in ("mean", "last"):
        _, out, _ = run("train", "forecast", file, *ROLES, "--set", f"kind={kind}", "--registry", folder, "--json")
        found.append(json.loads(out)["model"])
    run("models", "promote", found[0], "--registry", folder)
    return folder, found[0], found[1]


def test_a_challenger_goes_on_only_on_data_that_nobody_saw(
    tmp_path: Path, run: Run, rivals: tuple[Path, str, str]
) -> None:
    folder, first, second = rivals
    held = a_file(tmp_path / "held.csv", a_walk(12, 200, seed=9))
    code, _, err = run("models", "promote", second, tmp_path / "walks.csv", *ROLES, "--registry", folder)
    assert code == 2 and "champion was trained on about 100%" in err
    for stage in ("shadow", "canary 20%", "live"):
        code, out, _ = run("models", "promote", second, held, *ROLES, "--registry", folder, "--share", 0.2)
        assert code == 0 and f"{second[:12]} is {stage}" in out and "beats the champion" in out
    code, out, _ = run("models", "list", "--registry", folder, "--json")
    assert {r["model"]: r["stage"] for r in json.loads(out)} == {first: "retired", second: "live"}
    code, out, _ = run("models", "show", second[:6], "--registry", folder)
    assert code == 0 and "canary 20%" in out and "beats the champion" in out
    code, out, _ = run("models", "rollback", second, "--registry", folder, "--reason", "noise", "--json")
    assert code == 0 and [m["stage"] for m in json.loads(out)["moves"]] == ["rolled back", "live"]


def test_a_challenger_that_does_not_beat_the_champion_stays(
    tmp_path: Path, run: Run, rivals: tuple[Path, str, str]
) -> None:
    folder, first, second = rivals
    mean, rng = model_file.read(folder / f"{first}.safetensors").tensors["mean"], np.random.default_rng(3)
    noise = (Record(f"p{k}", np.arange(90.0), mean + rng.normal(size=(90, 2))) for k in range(9))
    held = a_file(tmp_path / "noise.csv", DataSet(("flow", "heat"), tuple(noise)))
    before = (folder / "record.jsonl").read_bytes()
    code, _, err = run("models", "promote", second, held, *ROLES, "--registry", folder)
    assert code == 6 and "does not beat" in err and (folder / "record.jsonl").read_bytes() == before


def test_drift_of_inputs_is_an_exit_code(tmp_path: Path, run: Run, rivals: tuple[Path, str, str]) -> None:
    folder, first, _ = rivals
    code, out, _ = run("models", "drift", first, tmp_path / "walks.csv", *ROLES, "--registry", folder)
    assert code == 0 and "DRIFTED" not in out
    rng = np.random.default_rng(3)
    moved = DataSet(("flow", "heat"), (Record("p", np.arange(500.0), 400 + rng.normal(size=(500, 2))),))
    code, out, _ = run(
        "models", "drift", first, a_file(tmp_path / "moved.csv", moved), *ROLES, "--registry", folder, "--json"
    )
    assert code == 3 and all(d["drifted"] and d["source"] for d in json.loads(out))


def test_a_column_in_another_unit_is_refused_before_anything_is_compared() -> None:
    data = a_walk(2, 50)
    model = stand_in.train(data, stand_in.StandInOptions(), 1, Course())
    learning.same_units(model, data)
    learning.same_units(model, replace(data, units=()))
    with pytest.raises(WrongUnit, match="flow is in l/s, the model knows it in m3/h"):
        learning.same_units(model, replace(data, units=("l/s", "degC")))


def test_a_model_is_copied_out_whole_and_nothing_is_overwritten(
    tmp_path: Path, run: Run, rivals: tuple[Path, str, str]
) -> None:
    folder, first, _ = rivals
    out = tmp_path / "copy.safetensors"
    assert run("models", "export", first, out, "--registry", folder)[0] == 0
    assert model_file.read(out).hash == first
    assert run("models", "export", first, out, "--registry", folder)[0] == 5


def test_a_network_goes_to_the_edge_only_if_it_tells_the_same(
    tmp_path: Path, run: Run, rivals: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra edge is not installed")
    folder, first, second = rivals
    code, _, err = run("models", "export", first, tmp_path / "m.onnx", "--registry", folder)
    assert code == 2 and "no network" in err
    code, out, err = run("models", "export", second, tmp_path / "n.onnx", "--registry", folder, "--json")
    plain, small = json.loads(out)
    assert code == 0 and plain["difference"] <= plain["tolerance"] == 1e-4
    assert small["bytes"] < 0.5 * plain["bytes"] and 0 < small["difference"] <= 0.05
    assert small["kept"] == (tmp_path / "n.int8.onnx").is_file()  # whether it pays is the machine's to say
    import onnx

    said = {p.key: p.value for p in onnx.load(tmp_path / "n.onnx").metadata_props}
    assert json.loads(said["twinloop"])["hash"] == second
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = run("models", "export", second, tmp_path / "o.onnx", "--registry", folder)
    assert code == 7 and "twinloop[edge]" in err and not (tmp_path / "o.onnx").exists()


def test_every_task_names_its_code() -> None:
    assert set(learning.TASKS) == {"forecast", "anomaly", "rul", "dynamics"}
    assert all(isinstance(row, Task) for row in learning.TASKS.values())
