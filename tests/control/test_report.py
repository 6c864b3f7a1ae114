"""The report of a trial: one file that needs nothing, shows what was kept and cannot be made to run anything."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from control.plots import around, ticks
from control.report import page, plain, write
from ml.training import Course
from ml.trial import KEPT_MAX, Seed, Trial, kept
from tests.ml.stand_in import StandInOptions, a_walk, evaluate
from tests.plant import chromium


def a_trial() -> Trial:
    return evaluate(a_walk(9, 60), StandInOptions("last"), [1, 2, 3], Course())


def pictures(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def test_a_page_shows_protocol_figures_single_results_and_seeds() -> None:
    text = page(a_trial())
    assert "all rows, one step ahead" in text and "floor: mean" in text
    titles = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert titles[:4] == [
        "Told against truth",
        "As they came of device pump_0",
        "Intervals: 100.0% held, 90% promised",
        "Errors by device",
    ]
    assert titles[4].startswith("mse: ") and len(titles) == 7
    drawn = pictures(text)
    assert len(drawn) == 7 and all(svg.attrib["aria-label"] for svg in drawn)
    assert sum(1 for _ in drawn[0].iter("circle")) == 9 * 59 and sum(1 for _ in drawn[3].iter("rect")) == 9


def test_names_from_files_are_text_and_nothing_else() -> None:
    evil = "<script>alert(1)</script>\"'&"
    trial = a_trial()
    raw = {**trial.seeds[0].raw, "device": [evil, "b"] * (len(trial.seeds[0].raw["truth"]) // 2) + ["c"]}
    seeds = [replace(s, raw=raw) for s in trial.seeds]
    text = page(replace(trial, data=evil, protocol=evil, floor_model=evil, seeds=seeds))
    assert "<script" not in text and "&lt;script&gt;" in text
    assert "default-src 'none'" in text and " style=" not in text
    assert len(pictures(text)) == 6  # no two results of one device follow each other


@pytest.mark.parametrize("raw", [
    {}, {"truth": [], "told": []}, {"truth": [1.0], "told": [None]}, {"truth": [1.0, 2.0], "told": [1.0]},
    {"truth": [1.0, 1.0], "told": [1.0, 1.0], "low": [1.0, None], "high": [1.0, 1.0], "device": ["a", "a"]},
    {"truth": "what", "told": {"a": 1}},
])  # fmt: skip
def test_a_trial_that_kept_little_is_shown_as_far_as_it_goes(raw: dict[str, object]) -> None:
    trial = Trial("rul", "ridge", "made", "p", [Seed(1, {"rmse": float("nan")}, 0.1, raw)])
    assert len(pictures(page(trial))) <= 2 and "<td>rmse</td>" in page(trial)


def test_figures_by_device_are_bars() -> None:
    rows = {f"valve_{k}": {"missed": k, "area": 0.5 + k / 100} for k in range(50)}
    text = page(Trial("anomaly", "pca", "made", "p", [Seed(1, {"f1": 0.8}, 0.1, {"devices": rows})]))
    titles = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert titles[:2] == ["missed, by device: the 40 largest of 50", "area, by device: the 40 largest of 50"]


def test_single_results_are_thinned_evenly_and_without_nan() -> None:
    truth = np.arange(10_000, dtype=float)
    told = np.where(np.arange(10_000) % 2, truth, np.nan)
    found = kept(truth, told, truth - 1, truth + 1, [f"d{k // 1000}" for k in range(10_000)])
    assert len(found["truth"]) == KEPT_MAX == len(found["device"]) and found["of"] == 10_000
    assert found["truth"][0] == 0.0 and found["truth"][-1] == 9999.0 and None in found["told"]
    assert set(found["device"]) == {f"d{k}" for k in range(10)}
    assert kept(np.zeros(0), np.zeros(0))["truth"] == []


def test_json_has_null_for_what_is_no_number() -> None:
    told = plain(
        Trial("rul", "ridge", "made", "p", [Seed(1, {"rmse": float("nan")}, 0.1, {"a": np.array([1.0, np.inf])})])
    )
    assert told["figures"]["rmse"] == {"mean": None, "sd": 0.0} and told["seeds"][0]["raw"]["a"] == [1.0, None]


def test_axes_have_round_numbers_within() -> None:
    assert ticks(0.0, 1.0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(-3.0, 9999.0) == [0, 2000, 4000, 6000, 8000] and ticks(2.0, 2.0) == [2.0]
    assert around([float("nan")]) == pytest.approx((-0.04, 1.04)) and around([5.0])[0] < 5.0 < around([5.0])[1]


@chromium.INSTALLED
def test_a_browser_shows_it_without_a_network_or_a_word_of_complaint(tmp_path: Path) -> None:
    write(tmp_path / "report.html", a_trial())
    assert [f.name for f in tmp_path.iterdir()] == ["report.html"]
    said: list[str] = []
    with chromium.launched() as browser:
        tab = browser.new_page(viewport={"width": 500, "height": 900})
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
        tab.goto((tmp_path / "report.html").as_uri())
        assert tab.locator("svg").count() == 7 and tab.locator("circle").first.is_visible()
        assert tab.evaluate("getComputedStyle(document.querySelector('svg circle.dot')).fill") == "rgb(31, 95, 159)"
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert said == []
