"""A peer of remaining life, measured in the same run: boosted trees of scikit-learn on the very same features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.records import DataSet
from ml.rul import RulOptions, evaluate
from ml.rul_runs import feature_set, life_left, telling
from ml.scaling import fit_scaler
from ml.scores import rmse
from ml.tables import read, read_column
from ml.training import Course
from tests.ml.test_rul import ENGINES, SETTINGS, turbofans

SEEDS = (0, 1)


def trees_of(data: DataSet, test: DataSet, left: np.ndarray, options: RulOptions) -> float:
    """RMSE of life, capped, at the end of each test record."""
    ensemble = pytest.importorskip("sklearn.ensemble", reason="scikit-learn, the peer, is not installed")
    used, _ = telling(data, options.settings, options.conditions, options.cap)
    scaler = fit_scaler(used, options.settings if options.conditions > 1 else (), options.conditions)
    features = feature_set(used, scaler, options.windows, options.means, 0)
    life = np.concatenate([np.minimum(life_left(r), options.cap) for r in used.records])
    trees = ensemble.HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.05, max_leaf_nodes=15, min_samples_leaf=40, early_stopping=False
    )
    trees.fit(np.concatenate([features.of(r) for r in used.records]), life)
    last = np.stack([features.of(r)[-1] for r in test.having(used.columns).records])
    return rmse(np.clip(trees.predict(last), 0, options.cap), np.minimum(left, options.cap))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "conditions"), [("FD001", 1), ("FD002", 6)])
def test_the_network_is_no_worse_than_boosted_trees_on_the_same_features(
    name: str, conditions: int, capsys: pytest.CaptureFixture[str]
) -> None:
    data, test = (read(turbofans(f"{part}_{name}.csv.gz"), ENGINES) for part in ("train", "test"))
    left = read_column(turbofans(f"RUL_{name}.txt"))
    options = RulOptions(settings=SETTINGS, conditions=conditions)
    peers = {
        "trees on windows of up to 40 samples": trees_of(data, test, left, replace(options, windows=(10, 20, 40))),
        "trees on our features": trees_of(data, test, left, options),
    }
    ours = evaluate(data, options, SEEDS, Course(), test, left)
    with capsys.disabled():
        told = ", ".join(f"{words} {value:.2f}" for words, value in peers.items())
        print(f"\n{name} RMSE: ours {ours.mean('rmse'):.2f}, {told}")
    assert ours.mean("rmse") < min(peers.values())
