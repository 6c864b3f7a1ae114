"""The life of models: no step on without a won contest, stable canaries, roll-backs that chance does not cause."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.contest import Verdict
from ml.stages import (
    TRANSITIONS,
    Contest,
    Life,
    Move,
    Stage,
    Watch,
    champion,
    chosen,
    moved,
    promoted,
    rolled_back,
    serving,
)
from twin.errors import BadRequest, Conflict, Refused

WON = Verdict(0.2, 0.1, 0.01, 9, True, "the challenger beats the champion")
LOST = Verdict(-0.2, 0.1, 0.9, 9, False, "the challenger does not beat the champion")


def a_pair(stage: Stage = Stage.TRAINED) -> dict[str, Life]:
    return {"a": Life("a", "rul", "", Stage.LIVE), "b": Life("b", "rul", "", stage)}


def won(against: str = "a") -> Contest:
    return Contest(WON, against, "d")


def test_the_first_model_goes_live_and_the_second_walks_all_stages() -> None:
    lives = {"a": Life("a", "rul", "", Stage.TRAINED)}
    lives = moved(lives, promoted(lives, "a", None))
    assert lives["a"].stage is Stage.LIVE
    lives["b"] = Life("b", "rul", "", Stage.TRAINED)
    walked = []
    for _ in range(3):
        lives = moved(lives, promoted(lives, "b", won()))
        walked.append(lives["b"].stage)
    assert walked == [Stage.SHADOW, Stage.CANARY, Stage.LIVE] and lives["a"].stage is Stage.RETIRED
    lives = moved(lives, rolled_back(lives, "b"))
    assert lives["b"].stage is Stage.ROLLED_BACK and lives["a"].stage is Stage.LIVE


def test_two_roll_backs_lead_back_to_the_first_champion() -> None:
    lives = {"a": Life("a", "rul", "", Stage.LIVE)}
    for name, before in (("b", "a"), ("c", "b")):
        lives[name] = Life(name, "rul", "", Stage.CANARY)
        lives = moved(lives, promoted(lives, name, won(before)))
    lives = moved(lives, rolled_back(lives, "c"))
    lives = moved(lives, rolled_back(lives, "b"))
    assert {n: x.stage for n, x in lives.items()} == {
        "a": Stage.LIVE, "b": Stage.ROLLED_BACK, "c": Stage.ROLLED_BACK
    }  # fmt: skip
    assert rolled_back(lives, "a") == (Move("a", Stage.ROLLED_BACK),)  # the first one, who took nobody's place


@pytest.mark.parametrize("stage", [Stage.TRAINED, Stage.SHADOW, Stage.CANARY])
def test_no_model_goes_on_that_does_not_beat_the_champion(stage: Stage) -> None:
    with pytest.raises(Refused, match="does not beat"):
        promoted(a_pair(stage), "b", Contest(LOST, "a", "d"))
    with pytest.raises(Refused, match="nobody says"):
        promoted(a_pair(stage), "b", None)
    with pytest.raises(Conflict, match="the champion is a"):
        promoted(a_pair(stage), "b", won("z"))


def test_who_left_service_stays_out_of_it() -> None:
    for stage in (Stage.RETIRED, Stage.ROLLED_BACK, Stage.LIVE):
        with pytest.raises(Conflict):
            promoted(
                a_pair(stage) if stage is not Stage.LIVE else a_pair(), "b" if stage is not Stage.LIVE else "a", won()
            )
    for stage in (Stage.TRAINED, Stage.RETIRED, Stage.ROLLED_BACK):
        with pytest.raises(Conflict):
            rolled_back(a_pair(stage), "b")
    with pytest.raises(BadRequest, match="share"):
        promoted(a_pair(Stage.SHADOW), "b", won(), share=1.5)
    assert set(TRANSITIONS) == set(Stage) and not TRANSITIONS[Stage.ROLLED_BACK]


def test_there_are_never_two_champions_of_one_scope() -> None:
    with pytest.raises(Conflict, match="two models"):
        moved(a_pair(Stage.CANARY), [Move("b", Stage.LIVE)])
    lives = {**a_pair(), "c": Life("c", "rul", "pumps", Stage.TRAINED)}
    assert champion(lives.values(), "rul", "pumps") is None
    assert promoted(lives, "c", None)[0].stage is Stage.LIVE


@given(st.text(max_size=20), st.floats(0.01, 0.5), st.floats(0.5, 0.99))
def test_a_larger_canary_keeps_the_twins_it_had(twin: str, small: float, large: float) -> None:
    assert chosen("m", twin, large) or not chosen("m", twin, small)


def test_a_canary_serves_its_share_and_the_champion_the_rest() -> None:
    lives = [Life("a", "rul", "", Stage.LIVE), Life("b", "rul", "", Stage.CANARY, share=0.2)]
    served = [serving(lives, "rul", "", f"pump_{k}") for k in range(5000)]
    assert 0.18 < served.count("b") / 5000 < 0.22
    assert served == [serving(reversed(lives), "rul", "", f"pump_{k}") for k in range(5000)]
    assert serving(lives, "rul", "other", "pump_1") == ""


def _watched(champion: np.ndarray, challenger: np.ndarray) -> int:
    """After how many pairs it is rolled back; 0 for never."""
    watch = Watch()
    for k, (a, b) in enumerate(zip(champion, challenger, strict=True)):
        watch = watch.after(float(a), float(b))
        if watch.worse:
            return k + 1
    return 0


def test_an_equal_challenger_is_rolled_back_no_more_often_than_promised() -> None:
    rng = np.random.default_rng(5)
    fired = [_watched(rng.exponential(size=500), rng.exponential(size=500)) > 0 for _ in range(400)]
    assert sum(fired) <= 400 * 0.01 + 3 * (400 * 0.01) ** 0.5


def test_a_worse_challenger_is_rolled_back_soon_and_a_better_one_never() -> None:
    rng = np.random.default_rng(6)
    base = rng.exponential(size=(50, 1000))
    after = [_watched(a, 1.5 * a * rng.lognormal(0, 0.2, 1000)) for a in base]
    assert min(after) > 5 and np.median(after) < 60
    assert not any(_watched(a, 0.7 * a * rng.lognormal(0, 0.2, 1000)) for a in base[:20])


def test_one_bad_sample_rolls_nobody_back() -> None:
    watch = Watch().after(1e-9, 1e9)
    assert not watch.worse and "after 1 pairs" in watch.reason
    assert watch.after(float("nan"), 1.0) == watch and watch.after(0.0, 0.0).evidence == pytest.approx(watch.evidence)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1e12), st.floats(0, 1e12)), max_size=50))
def test_evidence_is_a_number_whatever_the_losses(pairs: list[tuple[float, float]]) -> None:
    watch = Watch()
    for a, b in pairs * 20:
        watch = watch.after(a, b)
    assert 0 <= watch.evidence < float("inf")
