"""Bad data through the command line: every mistake is named with its place and its fix, exit code 2, and leaves nothing."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml import tables
from ml.registry import Registry
from ml.serving import Kind, served
from tests.control.conftest import Run

Row = list[Any]
Change = Callable[[list[Row]], list[Row]]
HEAD = ("pump", "when", "flow", "power", "anomaly")
ROLES = ("--time", "when", "--device", "pump")
SETTINGS: dict[str, tuple[str, ...]] = {
    "anomaly": ("--set", "good_rows=150", "--set", "memory=10", "--set", "kind=pca", "--label", "anomaly"),
    "forecast": ("--leave", "anomaly", "--set", "lookback=8", "--set", "horizon=2", "--set", "network=no"),
    "rul": ("--leave", "anomaly", "--set", "model=ridge", "--set", "windows=5,10", "--set", "means=5"),
}
TASKS = tuple(SETTINGS)


def pumps(seed: int = 0) -> list[Row]:
    """Twelve of them, 180 rows each; they wear, and each has an event before its end."""
    rng, made = np.random.default_rng(seed), []
    for k in range(12):
        wear = np.exp((np.arange(180) - 180) / 20)
        load = np.convolve(rng.normal(size=210), np.ones(31) / 5, "valid")
        flow, power = 5 - 3 * wear + load + rng.normal(0, 0.1, 180), 3 + wear + load / 2 + rng.normal(0, 0.1, 180)
        made += [[f"p{k}", t, flow[t], power[t], float(160 <= t < 170)] for t in range(180)]
    return made


def put(path: Path, rows: Sequence[Row], head: Sequence[str] = HEAD, between: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [between.join(head), *(between.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def having(column: str, value: object, when: Callable[[int, Row], bool] = lambda k, row: True) -> Change:
    """The same rows with another value where it is asked for."""
    place = HEAD.index(column)
    return lambda rows: [
        [*row[:place], value, *row[place + 1 :]] if when(k, row) else row for k, row in enumerate(rows)
    ]


def only(keep: Callable[[Row], bool]) -> Change:
    return lambda rows: [row for row in rows if keep(row)]


MISTAKES: dict[str, tuple[Change, str]] = {
    "no rows": (lambda rows: [], "no rows"),
    "one row": (only(lambda r: r[0] == "p0" and r[1] < 1), "p0|1 runs|one device|0 windows"),
    "a constant column": (having("flow", 5.0), "flow"),
    "a column without values": (having("flow", ""), "flow"),
    "infinite values alone": (having("flow", "inf"), "flow"),
    "a value beyond any meter": (having("flow", 1e308, lambda k, r: k == 9), r"row 11: flow is 1e\+308"),
    "a text": (having("flow", "broken", lambda k, r: k == 30), "row 32 says 'broken'"),
    "decimal commas": (having("flow", '"5,25"', lambda k, r: k % 2 == 1), "write decimal points"),
    "a moment twice": (having("when", 3, lambda k, r: k == 4), "row 6: when of p0 does not rise"),
    "no moment": (having("when", "", lambda k, r: k == 20), "row 22: when is empty"),
    "a text as moment": (having("when", "noon", lambda k, r: k == 20), "'noon'"),
    "no device": (having("pump", "", lambda k, r: k == 200), "row 202: pump is empty"),
}
LEARN_NOTHING_FROM_FLOW = ("a constant column",)  # remaining life leaves such columns out, and says so in its manifest


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_no_model_comes_of_bad_data_and_the_place_is_said(tmp_path: Path, run: Run, task: str, mistake: str) -> None:
    change, said = MISTAKES[mistake]
    file = put(tmp_path / "pumps.csv", change(pumps()))
    out = tmp_path / "m.safetensors"
    for words in (("train", task, file, *SETTINGS[task], "--out", out), ("evaluate", task, file, *SETTINGS[task])):
        code, shown, err = run(*words, *ROLES)
        if task == "rul" and mistake in LEARN_NOTHING_FROM_FLOW:
            assert code == 0
            continue
        assert code == 2 and shown == "" and "Traceback" not in err and "Warning" not in err, (words, err)
        assert re.search(said, err), err
        assert not out.exists()


@pytest.mark.parametrize("task", ["anomaly", "rul"])
@pytest.mark.parametrize(
    ("mistake", "change"),
    [
        ("three rows of one", only(lambda r: r[0] != "p3" or r[1] < 3)),
        ("one without values", lambda rows: having("flow", "", _p3)(having("power", "", _p3)(rows))),
    ],
)
def test_one_bad_device_among_good_ones_is_named(
    tmp_path: Path, run: Run, task: str, mistake: str, change: Change
) -> None:
    file = put(tmp_path / "pumps.csv", change(pumps()))
    code, _, err = run("train", task, file, *ROLES, *SETTINGS[task], "--out", tmp_path / "m")
    assert code == 2 and "p3" in err and "leave" in err and not (tmp_path / "m").exists(), err


def _p3(k: int, row: Row) -> bool:
    return bool(row[0] == "p3")


def test_words_for_missing_values_are_missing_values(tmp_path: Path, run: Run) -> None:
    for word in ("NA", "nan", "-inf", "null", "-"):
        file = put(tmp_path / "pumps.csv", having("flow", word, lambda k, r: k % 7 == 3)(pumps()))
        code, _, err = run("train", "anomaly", file, *ROLES, *SETTINGS["anomaly"], "--out", tmp_path / "m")
        assert code == 0, (word, err)


WRONG_WORDS: dict[str, tuple[tuple[str, ...], str]] = {
    "column": (("--columns", "flw,power"), "did you mean flow"),
    "column twice": (("--columns", "flow,flow"), "'flow' is named 2 times"),
    "moment as value": (("--columns", "flow,when"), "'when' is named 2 times"),
    "value left out": (("--columns", "flow", "--leave", "flow"), "'flow' is named 2 times"),
    "left out": (("--leave", "nothing"), "no column 'nothing'"),
    "label": (("--label", "anomly"), "did you mean anomaly"),
    "moment as label": (("--label", "when"), "'when' is named 2 times"),
    "text as value": (("--columns", "pump2"), "no column 'pump2'"),
}


@pytest.mark.parametrize("wrong", WRONG_WORDS)
def test_a_column_that_is_not_there_or_has_two_roles_is_refused(tmp_path: Path, run: Run, wrong: str) -> None:
    words, said = WRONG_WORDS[wrong]
    file = put(tmp_path / "pumps.csv", pumps())
    for verb in (("train", "anomaly", file, "--out", tmp_path / "m"), ("evaluate", "anomaly", file)):
        code, _, err = run(*verb, *ROLES, *words)
        assert code == 2 and said in err, err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.csv", b"", "is empty"),
        ("b.csv", b"\n\n", "no header line"),
        ("n.csv", b"1,2\n3,4\n5,6\n", "no header line"),
        ("r.csv", bytes(range(256)) * 9, "cannot be read"),
        ("l.csv", "fl\u00f6w\n1\n2\n".encode("latin1"), "save it as UTF-8"),
        ("r.parquet", bytes(range(256)), "cannot be read"),
        ("r.csv.gz", bytes(range(256)), "cannot be read"),
        ("d.csv", b"flow,heat,flow\n1,2,3\n2,3,4\n", "'flow' twice"),
        ("t.csv", b"note,more\nx,y\nz,w\n", "no column of numbers"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, run: Run, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    code, _, err = run("train", "anomaly", tmp_path / name, "--out", tmp_path / "m")
    assert code == 2 and said in err.replace("\n", " ") and name in err.replace("\n", ""), err


def test_a_folder_is_read_as_far_as_it_holds_tables_and_what_is_left_out_is_said(tmp_path: Path, run: Run) -> None:
    runs = tmp_path / "runs"
    for k in range(3):
        put(runs / f"{k}.csv", [row[1:] for row in pumps() if row[0] == f"p{k}"], HEAD[1:], ";")
    put(runs / "good.csv", [row[1:4] for row in pumps() if row[0] == "p3"], HEAD[1:4], ";")
    (runs / "SOURCE.txt").write_text("From the rig in hall 2.\nNo warranty.\n")
    words = ("anomaly", runs, "--time", "when", *SETTINGS["anomaly"])
    code, out, err = run("evaluate", *words, "--seeds", 1)
    assert code == 0 and "SOURCE.txt is left out" in err.replace("\n", " "), err
    assert "3 records" in out and "Left out, for they have no label: runs/good" in out.replace("\n", " ")
    code, _, err = run("train", *words, "--out", tmp_path / "m")
    assert code == 0, err
    put(runs / "odd.csv", [row[1:] for row in pumps() if row[0] == "p4"], ("when", "flw", "power", "anomaly"), ";")
    code, _, err = run("train", *words, "--out", tmp_path / "m2")
    assert code == 2 and "odd.csv has no column 'flow'" in err.replace("\n", " ") and "flw" in err
    (tmp_path / "none").mkdir()
    code, _, err = run("train", "anomaly", tmp_path / "none", "--out", tmp_path / "m2")
    assert code == 2 and "0 files" in err


COLUMNS: dict[str, tuple[Callable[[int], Any], str]] = {
    "lists": (lambda k: [1.0, 2.0], ""),
    "numbers as text": (lambda k: f"{k}.5", "write them as numbers"),
    "whole numbers beyond a float": (lambda k: 2**62 + 2**50 * (k % 9) + 1, ""),
    "all infinite": (lambda k: float("inf"), "more: no value"),
    "nothing at all": (lambda k: None, "more: no value"),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_an_odd_type_is_left_out_or_refused_by_name(tmp_path: Path, run: Run, kind: str) -> None:
    made, said = COLUMNS[kind]
    flow = np.random.default_rng(1).normal(size=200)
    when = pa.array([(k - 100) * 10**15 for k in range(200)], pa.timestamp("us"))  # far from what nanoseconds hold
    pq.write_table(
        pa.table({"when": when, "flow": flow, "more": [made(k) for k in range(200)]}), tmp_path / "t.parquet"
    )
    words = ("train", "anomaly", tmp_path / "t.parquet", "--time", "when", "--set", "kind=pca", "--out", tmp_path / "m")
    code, _, err = run(*words)
    assert code == (2 if said else 0) and said in err and (tmp_path / "m").exists() is not bool(said), err


def test_places_and_truths_that_are_none_are_refused_before_the_work(tmp_path: Path, run: Run) -> None:
    file, truth = put(tmp_path / "pumps.csv", pumps()), tmp_path / "left.txt"
    learn = ("rul", file, *ROLES, *SETTINGS["rul"])
    asked = ("evaluate", *learn, "--test", put(tmp_path / "test.csv", pumps(1)), "--truth", truth)
    for content, said in (("5\n-3\n", "row 2 says -3"), ("5\nnan\n", "row 2 says nan"), ("5 6\n7 8\n", "2 columns")):
        truth.write_text(content)
        code, _, err = run(*asked)
        assert code == 2 and said in err, err
    for words, said in (
        (("train", *learn, "--out", tmp_path), "nothing can be written"),
        (("train", *learn, "--out", tmp_path / "no" / "m"), "nothing can be written"),
        (("evaluate", *learn, "--report", tmp_path / "no" / "r.html"), "nothing can be written"),
        (("evaluate", *learn, "--truth", truth), "without --test"),
        (("train", *learn, "--set", "cap=inf", "--out", tmp_path / "m"), "cap = inf"),
        (("train", *learn, "--set", "penalty=nan", "--out", tmp_path / "m"), "penalty = nan"),
    ):
        code, _, err = run(*words)
        assert code == 2 and said in err, err


def test_files_of_one_name_in_several_folders_stay_several_devices(tmp_path: Path) -> None:
    for folder in ("east/pumps", "west/pumps"):
        put(tmp_path / folder / "1.csv", [row[2:4] for row in pumps()[:5]], HEAD[2:4])
    assert tables.read(tmp_path, tables.Roles()).devices == ("east/pumps/1.csv", "west/pumps/1.csv")


def test_too_many_rows_are_refused_before_they_fill_the_memory(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROWS_MAX", 1000)
    with gzip.open(tmp_path / "pumps.csv.gz", "wt") as file:
        file.write("flow\n" + "1.5\n2.5\n" * 1000)
    code, _, err = run("train", "anomaly", tmp_path / "pumps.csv.gz", "--out", tmp_path / "m")
    assert code == 7 and "more than 1,000 rows" in err and "in parts" in err


def test_moments_of_several_time_zones_are_the_same_moments(tmp_path: Path) -> None:
    def at(zone: str) -> list[float]:
        lines = [f"2026-03-29T0{hour}:30:00{zone},{hour}.5" for hour in (1, 2, 3)]
        (tmp_path / "t.csv").write_text("when,flow\n" + "\n".join(lines) + "\n")
        return list(tables.read(tmp_path / "t.csv", tables.Roles(time="when")).records[0].time_s)

    assert [a - b for a, b in zip(at("Z"), at("+01:00"), strict=True)] == [3600.0] * 3
    assert at("") == at("Z")  # without a zone: UTC


def test_an_event_that_nobody_could_find_has_no_share_that_was_missed(tmp_path: Path, run: Run) -> None:
    file = put(tmp_path / "pumps.csv", having("anomaly", 0.0)(pumps()))
    code, out, _ = run("evaluate", "anomaly", file, *ROLES, *SETTINGS["anomaly"], "--seeds", 1, "--json")
    assert code == 0 and '"missed": null' in out and '"false_alarms": 0' in out


# --- models that are there --------------------------------------------------------------------------------------------------


@pytest.fixture(params=TASKS)
def registry(request: pytest.FixtureRequest, tmp_path: Path, run: Run) -> tuple[str, Path, list[str]]:
    """A task, its registry, its champion and a challenger."""
    file, folder, found = put(tmp_path / "pumps.csv", pumps()), tmp_path / "models", []
    for seed in (1, 2):
        words = ("train", request.param, file, *ROLES, *SETTINGS[request.param], "--registry", folder, "--seed", seed)
        code, out, err = run(*words, "--json")
        assert code == 0, err
        found.append(str(json.loads(out)["model"]))
    assert run("models", "promote", found[0], "--registry", folder)[0] == 0
    return request.param, folder, found


def test_bad_data_neither_promote_a_model_nor_tell_of_drift(
    tmp_path: Path, run: Run, registry: tuple[str, Path, list[str]]
) -> None:
    _, folder, (champion, challenger) = registry
    for mistake in ("no rows", "a text", "a value beyond any meter", "a moment twice", "no device"):
        change, said = MISTAKES[mistake]
        file = put(tmp_path / "bad.csv", change(pumps(1)))
        for verb, model in (("drift", champion), ("promote", challenger)):
            code, _, err = run("models", verb, model, file, *ROLES, "--registry", folder)
            assert code == 2 and re.search(said, err), (verb, mistake, err)
    file = put(tmp_path / "other.csv", pumps(1), ("pump", "when", "flow [l/s]", "power", "anomaly"))
    for verb, model in (("drift", champion), ("promote", challenger)):
        code, _, err = run("models", verb, model, file, *ROLES, "--registry", folder)
        assert code == 2 and "no column 'flow'" in err and "flow [l/s]" in err


def test_a_change_of_unit_and_a_silent_sensor_are_drift(
    tmp_path: Path, run: Run, registry: tuple[str, Path, list[str]]
) -> None:
    _, folder, (champion, _) = registry
    thousand = [[*row[:2], row[2] * 1000, *row[3:]] for row in pumps(1)]
    for rows in (thousand, having("flow", "")(pumps(1))):
        file = put(tmp_path / "now.csv", rows)
        code, out, err = run("models", "drift", champion, file, *ROLES, "--registry", folder)
        drifted = [line.split()[0] for line in out.splitlines() if "DRIFTED" in line]
        assert code == 3 and "flow" in drifted, (out, err)


def test_what_was_not_measured_is_never_told_as_sure(registry: tuple[str, Path, list[str]]) -> None:
    _, folder, (champion, _) = registry
    shelf = Registry(folder)
    model = served(shelf.read(shelf.find(champion).model), ("p0", "stranger"))
    rng, columns = np.random.default_rng(4), len(model.columns)
    for t in range(160):
        values = rng.normal(4, 1, (2, columns))
        values[rng.random((2, columns)) < 0.3] = np.nan
        if t < 20:
            values[0, t % columns] = (np.inf, -np.inf)[t % 2]
        if t >= 60:
            values[:] = np.nan
        told = model.step(np.full(2, float(t)), values)
        assert not told.sure[~np.isfinite(told.values)].any(), t
    assert not told.sure.any() and not np.nan_to_num(told.values[:, [o.kind is Kind.FLAG for o in model.outputs]]).any()
