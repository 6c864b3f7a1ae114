"""What-ifs as the command line prints them."""

from __future__ import annotations

from typing import Any

import pytest

from control import show_whatif


def compared(mean: float, half_width: float | None, resolved: bool) -> dict[str, Any]:
    figure = {"mean": 4.0}
    difference = {"mean": mean, "half_width": half_width, "resolved": resolved, "p_greater": 0.5}
    return {
        "horizon_s": 3600.0, "replications": 8, "stopped": "", "confidence": 0.95,
        "clock_s": 0.0, "wall_s": 1.0, "backend": "kernel", "why": "",
        "outcomes": [
            {"name": "baseline", "kpis": {"level": figure}, "differences": {}, "limits": []},
            {"name": "pump off", "kpis": {"level": figure}, "differences": {"level": difference}, "limits": []},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("difference", "verdict", "said"),
    [((0.0, 0.0, False), "no effect", True), ((0.1, 0.2, False), "not resolved", False), ((1.0, 0.2, True), "", False)],
)
def test_what_changes_nothing_says_so(
    difference: tuple[float, float, bool], verdict: str, said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    show_whatif.comparison(compared(*difference))
    printed = capsys.readouterr().out
    assert ("changes none of these figures" in printed) == said
    assert verdict in printed
