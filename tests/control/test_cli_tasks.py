"""Every task's own code behind the command line: from files with their roles to figures, with labels left unseen."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ml import anomaly, model_file, rul_model
from ml.records import DataSet, Record
from tests.control.conftest import Run
from tests.control.test_cli_learn import a_file
from tests.ml.plants_of_tanks import coolers
from tests.ml.test_edge import lives
from tests.ml.test_rivals import waves

ROLES = ("--time", "when", "--device", "pump")


def plain(run: Run, *words: object) -> dict[str, object]:
    """What a command says as JSON."""
    code, out, err = run(*words, "--json")
    assert code == 0, err
    found: dict[str, object] = json.loads(out)
    return found


def test_a_forecast_is_judged_beside_its_floor_and_its_results_are_kept(tmp_path: Path, run: Run) -> None:
    file = a_file(tmp_path / "waves.csv", waves())
    options = ("--set", "lookback=24", "--set", "horizon=6", "--set", "network=no")
    found = plain(run, "evaluate", "forecast", file, *ROLES, *options, "--seeds", 1, "--report", tmp_path / "r.html")
    assert set(found["floor"]) >= {"mse"} and "opened once" in str(found["protocol"])  # type: ignore[call-overload]
    assert "Errors by column" in (tmp_path / "r.html").read_text()
    made = plain(run, "train", "forecast", file, *ROLES, *options, "--out", tmp_path / "f.safetensors")
    kept = model_file.read(tmp_path / "f.safetensors")
    assert made["model"] == kept.hash and 0.7 < len(kept.tensors["seen.runs"]) / min(1024, 3 * 700) <= 1


def test_what_a_forecast_has_left_for_the_test_counts_as_held_out(tmp_path: Path, run: Run) -> None:
    data = waves(devices=6, rows=1200)
    file, folder = a_file(tmp_path / "waves.csv", data), tmp_path / "models"
    models = []
    for lookback in (2, 48):
        words = ("--set", f"lookback={lookback}", "--set", "horizon=6", "--set", "network=no", "--registry", folder)
        models.append(str(plain(run, "train", "forecast", file, *ROLES, *words)["model"]))
    run("models", "promote", models[0], "--registry", folder)
    late = DataSet(data.columns, tuple(Record(r.device, r.time_s[960:], r.values[960:]) for r in data.records))
    code, out, err = run(
        "models", "promote", models[1], a_file(tmp_path / "late.csv", late), *ROLES, "--registry", folder
    )
    assert code == 0 and "beats the champion" in out, err
    code, _, err = run("models", "promote", models[1], file, *ROLES, "--registry", folder)
    assert code == 2 and "was trained on" in err


def test_remaining_life_takes_a_test_set_and_its_labels(tmp_path: Path, run: Run) -> None:
    whole, rng = lives(12, seed=5), np.random.default_rng(5)
    ends = [int(rng.integers(30, len(r))) for r in whole.records]
    cut = DataSet(whole.columns, tuple(r.between(0, e) for r, e in zip(whole.records, ends, strict=True)))
    (tmp_path / "left.txt").write_text("\n".join(str(len(r) - e) for r, e in zip(whole.records, ends, strict=True)))
    files = a_file(tmp_path / "runs.csv", lives()), "--test", a_file(tmp_path / "cut.csv", cut)
    words = ("--set", "model=ridge", "--set", "windows=5", "--set", "means=5", "--set", "cap=60", "--seeds", "1,2")
    found = plain(run, "evaluate", "rul", *files, "--truth", tmp_path / "left.txt", *ROLES, *words)
    assert "12 test records cut before failure, labels given" in str(found["protocol"])
    assert len(found["seeds"]) == 2 and len(found["seeds"][0]["raw"]["truth"]) == 12  # type: ignore[arg-type, index]
    made = plain(run, "train", "rul", files[0], *ROLES, *words[:8], "--registry", tmp_path / "models")
    model = rul_model.LifeModel.from_file(model_file.read(Path(str(made["file"]))))
    assert len(model.of(cut)) == 12  # tables of drift in the file do not disturb it
    (tmp_path / "left.txt").write_text("1\n2\n")
    code, _, err = run("evaluate", "rul", *files, "--truth", tmp_path / "left.txt", *ROLES, *words)
    assert code == 2 and "2 labels for 12 test records" in err


def test_dynamics_take_roles_and_a_test_of_their_own(tmp_path: Path, run: Run) -> None:
    files = [
        a_file(tmp_path / f"{name}.csv", coolers(2, rows, seed)) for name, rows, seed in (("a", 400, 1), ("b", 300, 2))
    ]
    words = [
        "--set",
        "inputs=gas,water",
        "--set",
        "outputs=warmth,damp",
        "--set",
        "model=physics",
        "--set",
        "lookback=12",
    ]
    words += ["--set", "folds=4", "--set", "horizon=64"]
    found = plain(run, "evaluate", "dynamics", files[0], "--test", files[1], *ROLES, *words, "--seeds", 1)
    assert found["model"] == "linear" and found["figures"]["rmse"]["mean"] < 0.05  # type: ignore[index, call-overload]
    assert "2 of 600 rows in steps of 10 s" in str(found["protocol"])
    folder = tmp_path / "models"
    made = [
        plain(run, "train", "dynamics", files[0], *ROLES, *words, "--set", f"lags={lags}", "--registry", folder)
        for lags in (1, 4)
    ]
    run("models", "promote", str(made[0]["model"]), "--registry", folder)
    code, out, err = run("models", "promote", str(made[1]["model"]), files[0], *ROLES, "--registry", folder)
    assert code == 2 and "was trained on" in err
    code, out, err = run("models", "promote", str(made[1]["model"]), files[1], *ROLES, "--registry", folder)
    assert code in (0, 6) and "the champion" in out + err
    code, _, err = run("evaluate", "dynamics", files[0], *ROLES, "--set", "inputs=gas")
    assert code == 2 and "which columns are inputs and outputs" in err
    code, _, err = run("evaluate", "dynamics", files[0], *ROLES, "--label", "gas")
    assert code == 2 and "no use for --label" in err


def test_anomalies_are_learnt_without_their_label(tmp_path: Path, run: Run) -> None:
    rng = np.random.default_rng(1)
    records = []
    for k in range(4):
        values = np.hstack([rng.normal(size=(600, 3)), np.zeros((600, 1))])
        values[450:550] += [5.0, 0.0, 0.0, 1.0]
        records.append(Record(f"pump_{k}", np.arange(600.0), values))
    file = a_file(tmp_path / "valves.csv", DataSet(("a", "b", "c", "bad"), tuple(records)))
    words = (*ROLES, "--label", "bad", "--set", "kind=pca", "--set", "memory=10")
    found = plain(run, "evaluate", "anomaly", file, *words, "--seeds", 1)
    assert found["figures"]["f1"]["mean"] > 0.8  # type: ignore[index, call-overload]
    plain(run, "train", "anomaly", file, *words, "--out", tmp_path / "a.safetensors")
    kept = model_file.read(tmp_path / "a.safetensors")
    assert kept.manifest.columns == ("a", "b", "c") and "drift.quantiles" in kept.tensors
    late = DataSet(("a", "b", "c"), tuple(Record(r.device, r.time_s, r.values[:, :3]) for r in records))
    assert sum(int(v.flagged.sum()) for v in anomaly.scored(kept, late)) > 300
    code, _, err = run("evaluate", "anomaly", file, *ROLES, "--label", "bd")
    assert code == 2 and "bad" in err


@pytest.mark.parametrize("task", ["forecast", "anomaly", "rul", "dynamics"])
def test_every_option_of_a_task_is_explained(task: str, run: Run) -> None:
    code, out, _ = run("train", task, "--options", "--json")
    told = json.loads(out)
    assert code == 0 and len(told["options"]) >= 4
    assert [o["name"] for o in told["options"] if o["name"] not in told["about"]] == []


def test_help_needs_none_of_what_is_slow_to_load() -> None:
    """The command line starts in a blink."""
    import subprocess

    slow = {"torch", "numba", "duckdb", "pyarrow", "networkx", "scipy", "pandas"}
    script = f"import sys, control.cli; sys.exit(' '.join({slow} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.stderr.strip() == ""
