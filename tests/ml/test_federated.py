"""Federated training: the sums are those of pooled data, masks hide and cancel, updates stay short, what is wrong is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from ml import forecast, forecast_model, masking, ridge, rivals
from ml.federated import EDGES, Plan, Step, Training, clipped, flat, median_norm, norm_counts, packed, shapes
from ml.federated_rounds import Ask, Do, End, Give, Keep, Limits, Peer, PutOut, Rounds, Say
from ml.federated_site import Site
from ml.forecast import ForecastOptions
from ml.masking import Masks
from ml.model_file import CODE, ModelFile
from ml.records import DataSet
from ml.ridge import Sums
from ml.scaling import fit_scaler
from ml.training import Cancelled, Course
from ml.windows import windows
from tests.ml.sites import COLUMNS, OPTIONS, UNITS, a_site, federated
from twin.errors import BadRequest, Conflict, Refused, Unavailable, WrongUnit

PLAIN = Plan(COLUMNS, UNITS, OPTIONS, rounds=0, scaling="common")
CHANCE = np.random.default_rng(0)


# --- masks ---------------------------------------------------------------------------------------------------------------


def masks(*names: str, secret: bytes = b"") -> dict[str, Masks]:
    return {n: Masks(n, X25519PrivateKey.generate(), secret) for n in names}


def masked(given: Mapping[str, Masks], values: Mapping[str, NDArray[Any]], round_: int = 1) -> dict[str, NDArray[Any]]:
    keys = {n: (m.public, m.proof) for n, m in given.items()}
    return {
        n: m.masked(masking.encoded(values[n]), {o: k for o, k in keys.items() if o != n}, "run", round_)
        for n, m in given.items()
    }


def test_fixed_point_keeps_every_number_that_data_have() -> None:
    rng = np.random.default_rng(1)
    some = rng.normal(size=500) * 10.0 ** rng.integers(-9, 15, 500)
    some = np.concatenate([some, [0.0, -0.0, -1e-25, -1.0, 2.0**52, -(2.0**-64)]])
    told = masking.decoded(masking.encoded(some))
    assert np.abs(told - some).max() <= 2.0**-64 and np.array_equal(told[np.abs(some) > 1], some[np.abs(some) > 1])
    assert np.array_equal(masking.decoded(masking.added(masking.encoded(some), masking.encoded(-some))), np.zeros(506))
    for wild in (np.nan, np.inf, 2.0**53, -(2.0**60)):
        with pytest.raises(Refused, match="number 2 of 2"):
            masking.encoded(np.array([1.0, wild]))
    with pytest.raises(Refused, match="31 bytes"):
        masking.from_bytes(bytes(31), 2)


def test_masks_cancel_in_the_sum_and_hide_every_part() -> None:
    rng = np.random.default_rng(2)
    given, values = masks("a", "b", "c"), {n: rng.normal(size=4_000) for n in "abc"}
    parts = masked(given, values)
    told = masking.decoded(masking.total(parts.values(), 4_000))
    assert np.allclose(told, sum(values.values()), rtol=0, atol=1e-15)
    for n in "abc":
        bits = np.unpackbits(parts[n].view(np.uint8))
        assert abs(bits.mean() - 0.5) < 0.005  # 512,000 bits: as good as chance
        assert abs(np.corrcoef(parts[n][:, 1].astype(float), values[n])[0, 1]) < 0.06
    two = masking.decoded(masking.added(parts["a"], parts["b"]))
    assert not np.isclose(two, values["a"] + values["b"], atol=1.0).any()


def test_each_round_has_masks_of_its_own() -> None:
    given, values = masks("a", "b"), {n: np.zeros(100) for n in "ab"}
    first, second = masked(given, values, 1), masked(given, values, 2)
    assert not (first["a"] == second["a"]).all(axis=1).any()


def test_a_key_that_the_coordinator_made_up_is_refused() -> None:
    given = masks("a", "b", secret=b"only the sites know")
    assert masked(given, {n: np.zeros(3) for n in "ab"})
    stranger = Masks("b", X25519PrivateKey.generate(), b"a secret made up ")
    with pytest.raises(Refused, match="key of b is not proven"):
        given["a"].masked(masking.encoded(np.zeros(3)), {"b": (stranger.public, stranger.proof)}, "run", 1)
    swapped = given["b"].proof, Masks("c", X25519PrivateKey.generate(), b"only the sites know")
    with pytest.raises(Refused, match="not proven"):
        given["a"].masked(masking.encoded(np.zeros(3)), {"b": (swapped[1].public, swapped[1].proof)}, "run", 1)
    with pytest.raises(BadRequest, match="16 or more"):
        Masks("a", X25519PrivateKey.generate(), b"short")


# --- learning ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["common", "site"])
def test_the_ridge_of_sums_is_that_of_pooled_data(scaling: Any) -> None:
    data = [a_site(n, 600) for n in range(3)]
    made, training = federated(
        dataclasses.replace(PLAIN, scaling=scaling), {f"s{n}": Site(PLAIN_OF[scaling], d) for n, d in enumerate(data)}
    )
    cut, end = 360, 480
    first = [dataclasses.replace(d, records=(d.records[0].between(0, cut),)) for d in data]
    pooled = DataSet(COLUMNS, tuple(d.records[0] for d in first))
    common = fit_scaler(pooled)
    scalers = [common if scaling == "common" else fit_scaler(d) for d in first]
    whole = [s.scaled(d.records[0].values) for s, d in zip(scalers, data, strict=True)]
    learnt = [windows(v[:cut], OPTIONS.lookback, OPTIONS.horizon) for v in whole]
    chosen_by = [
        windows(v[cut - OPTIONS.lookback : (cut + end) // 2], OPTIONS.lookback, OPTIONS.horizon) for v in whole
    ]
    wanted, told = ridge.fit(Sums.of(learnt, 2, OPTIONS.lookback, OPTIONS.horizon), chosen_by)
    assert np.allclose(made.tensors["scaler.mean"], common.mean, rtol=1e-12)
    assert np.allclose(made.tensors["scaler.deviation"], common.deviation, rtol=1e-12)
    assert (training.told["penalty"], float(training.told["pull"])) == (told["penalty"], told["pull"])
    assert np.abs(made.tensors["ridge.weights"] - wanted.weights).max() < 1e-9
    assert made.manifest.metrics["held_out_mse"] == pytest.approx(ridge.loss(wanted, chosen_by), rel=1e-9)


PLAIN_OF = {"common": PLAIN, "site": dataclasses.replace(PLAIN, scaling="site")}


def at(site: Site, model: ModelFile) -> ModelFile:
    """A model with the scales of a site: the best that it could do there."""
    rows = site._rows()
    scaler = fit_scaler(dataclasses.replace(site.data, records=(dataclasses.replace(
        site.data.records[0], time_s=np.arange(len(rows), dtype=float), values=rows),)))  # fmt: skip
    return ModelFile(model.manifest, {**model.tensors, **scaler.tensors()})


def test_the_common_model_beats_each_sites_own_one_on_what_the_others_held_out() -> None:
    data = {f"s{n}": a_site(n, 1_000) for n in range(3)}
    plan = PLAIN_OF["site"]
    sites = {name: Site(plan, d) for name, d in data.items()}
    common, _ = federated(plan, sites)
    own = {n: forecast.train(d, dataclasses.replace(OPTIONS, network="none"), 1, Course()) for n, d in data.items()}
    fresh = {f"s{n}": a_site(n, 1_000, seed=9) for n in range(3)}
    for here in data:
        told = rivals.forecasts([at(sites[here], common), *(at(sites[here], m) for m in own.values())], fresh[here])
        losses = [float(np.mean(list(t.values()))) for t in told]
        others = [loss for name, loss in zip(own, losses[1:], strict=True) if name != here]
        assert losses[0] < min(others), (here, losses)


def test_a_round_moves_the_network_by_the_weighted_mean_of_clipped_updates() -> None:
    plan = dataclasses.replace(PLAIN_OF["site"], rounds=2, steps=2, clip=0.05, windows_max=500)
    sites = {f"s{n}": Site(plan, a_site(n, rows)) for n, rows in enumerate((500, 700, 1_500))}
    training = Training(plan)
    while training.told["kind"] != "train":
        step = training.step()
        training.take(sum(s.part(step, 3, CHANCE, Course())[0] for s in sites.values()), dict.fromkeys(sites, 1.0))
    step, before = training.step(), flat({n: t for n, t in training.tensors().items() if n.startswith("net.")})
    found = {n: s.part(step, 3, CHANCE, Course()) for n, s in sites.items()}
    head = 1 + len(EDGES)
    weights = np.array([numbers[0] for numbers, _ in found.values()])
    assert weights.tolist() == [271 / 500, 391 / 500, 1.0]  # the largest counts as 500 windows, not as 871
    updates = [numbers[head:] / w for (numbers, _), w in zip(found.values(), weights, strict=True)]
    assert [float(np.linalg.norm(u)) for u in updates] == pytest.approx([0.05] * 3, rel=1e-6)
    training.take(sum(numbers for numbers, _ in found.values()), {n: loss for n, (_, loss) in found.items()})
    after = flat({n: t for n, t in training.tensors().items() if n.startswith("net.")})
    wanted = sum(w * u for w, u in zip(weights, updates, strict=True)) / weights.sum()
    assert np.allclose(after - before, wanted, atol=1e-6)


def test_the_clip_follows_the_median_norm_and_the_noise_is_shared() -> None:
    assert median_norm(sum(norm_counts(n) for n in (0.1, 3.0, 90.0))) == pytest.approx(3.0, rel=0.2)
    assert np.linalg.norm(clipped(np.ones(100), 2.0)) == pytest.approx(2.0) and clipped(np.ones(4), 9.0).sum() == 4
    plan = dataclasses.replace(PLAIN_OF["site"], rounds=1, steps=1, clip=1.0, noise=0.5)
    site = Site(plan, a_site(0, 500))
    training = Training(plan)
    while training.told["kind"] != "train":
        training.take(site.part(training.step(), 1, CHANCE, Course())[0], {"s": 1.0})
    step = training.step()
    first, second = (site.part(step, 4, np.random.default_rng(n), Course())[0] for n in (1, 2))
    spread = float((first - second)[1 + len(EDGES) :].std()) / np.sqrt(2)
    assert spread == pytest.approx(0.5 * 1.0 / np.sqrt(4), rel=0.05)  # four such parts make a spread of half a clip


def test_a_step_that_is_asked_again_costs_nothing_and_gives_the_same() -> None:
    site = Site(PLAIN, a_site(0, 500))
    step = Training(PLAIN).step()
    first = site.part(step, 3, CHANCE, Course())
    stopped = Course()
    stopped.cancel.set()
    assert np.array_equal(site.part(step, 3, CHANCE, stopped)[0], first[0])
    with pytest.raises(Cancelled):
        site.part(Step("spread", 0, {"mean": np.zeros(2)}), 3, CHANCE, stopped)


def test_numbers_do_not_grow_with_rows() -> None:
    sizes = {
        rows: len(Site(PLAIN, a_site(0, rows)).part(Training(PLAIN).step(), 3, CHANCE, Course())[0])
        for rows in (500, 2_000)
    }
    assert sizes[500] == sizes[2_000] == 4


def changed(data: DataSet, how: Callable[[NDArray[Any]], NDArray[Any]]) -> DataSet:
    return dataclasses.replace(data, records=tuple(dataclasses.replace(r, values=how(r.values)) for r in data.records))


def seldom(values: NDArray[Any]) -> NDArray[Any]:
    """One flow in ten."""
    made = values.copy()
    made[np.arange(len(made)) % 10 > 0, 1] = np.nan
    return made


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (a_site(0, 200), BadRequest, "windows to learn from"),
        (dataclasses.replace(a_site(0), units=("m", "l/s")), WrongUnit, "flow is in l/s, the federation has it in m3/h"),
        (dataclasses.replace(a_site(0), columns=("level", "flw")), BadRequest, "no column 'flow'"),
        (changed(a_site(0), lambda values: values * [1, 0]), BadRequest, "flow never moves here"),
        (changed(a_site(0), seldom), BadRequest, "too little of flow"),
    ],
)  # fmt: skip
def test_a_site_with_too_little_or_with_something_else_gives_nothing(
    data: DataSet, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Site(PLAIN, data)


def test_a_plan_that_would_show_a_site_or_is_too_large_is_refused() -> None:
    for change, said in (
        ({"sites_min": 2}, "know the other's part"), ({"sites_min": 1, "secure": False}, "1 sites"), ({"clip": -1.0}, "clip"),
        ({"columns": ("a", "a")}, "once"), ({"units": ("m",)}, "unit"), ({"noise": float("nan")}, "noise"),
        ({"options": ForecastOptions(2_000, 96)}, "numbers in a step"),
    ):  # fmt: skip
        with pytest.raises(BadRequest, match=said):
            dataclasses.replace(PLAIN, **change)
    assert dataclasses.replace(PLAIN, seed=2).hash != PLAIN.hash


# --- rounds --------------------------------------------------------------------------------------------------------------


def peer(name: str, units: tuple[str, ...] = UNITS, step_s: float = 1.0) -> Peer:
    return Peer(name, bytes(32), b"", units, 500, step_s)


def rounds(plan: Plan = PLAIN, sites: int = 3, **limits: float) -> Rounds:
    return Rounds(Training(plan), Limits(sites, **limits), "run", 0, 0.0)


def joined(made: Rounds, *names: str, now_s: float = 0.0) -> list[Do]:
    return [do for n in names for do in made.joined(peer(n), CODE, made.training.plan.hash, now_s)]


def a_part(values: NDArray[Any] | None = None) -> bytes:
    numbers = np.array([500.0, 500.0, 1.0, 2.0]) if values is None else values
    return masking.to_bytes(masking.encoded(numbers))


def asks(doing: list[Do]) -> list[Ask]:
    return [do for do in doing if isinstance(do, Ask)]


def test_a_round_begins_when_all_are_there_and_goes_on_with_the_sum() -> None:
    made = rounds()
    assert asks(joined(made, "a", "b")) == []
    (ask,) = asks(joined(made, "c"))
    assert (ask.round, ask.step.kind, [p.site for p in ask.peers]) == (1, "mean", ["a", "b", "c"])
    assert made.part("a", 1, a_part(), 0.0, 1.0) == made.part("b", 1, a_part(), 0.0, 1.0) == []
    doing = made.part("c", 1, a_part(), 0.0, 1.0)
    assert isinstance(doing[0], Say) and isinstance(doing[1], Keep) and asks(doing)[0].step.kind == "spread"
    assert made.training.tensors()["mean"].tolist() == [3 / 1500, 6 / 1500]


def test_a_site_that_is_gone_has_the_step_asked_again_of_the_others() -> None:
    made = rounds(sites=4)
    joined(made, "a", "b", "c", "d")
    made.part("a", 1, a_part(), 0.0, 1.0)
    (again,) = asks(made.left("d", 2.0))
    assert again.round == 2 and [p.site for p in again.peers] == ["a", "b", "c"]
    assert made.part("b", 1, a_part(), 0.0, 3.0) == []  # of the round that nobody adds up any more
    for n in "abc":
        doing = made.part(n, 2, a_part(), 0.0, 3.0)
    assert made.training.tensors()["count"].tolist() == [1500, 1500] and asks(doing)[0].round == 3


def test_a_site_whose_part_is_in_may_go() -> None:
    made = rounds(sites=4)
    joined(made, *"abcd")
    made.part("d", 1, a_part(), 0.0, 1.0)
    assert asks(made.left("d", 2.0)) == []
    for n in "abc":
        doing = made.part(n, 1, a_part(), 0.0, 3.0)
    assert [p.site for p in asks(doing)[0].peers] == ["a", "b", "c"]


def test_with_two_of_three_it_waits_for_the_third_and_then_says_so() -> None:
    made = rounds(wait_s=50.0)
    joined(made, *"abc")
    assert asks(made.left("c", 10.0)) == [] and made.tick(59.0) == []
    (ask,) = asks(joined(made, "c", now_s=59.0))
    assert ask.round == 2
    made.left("c", 60.0)
    (end,) = made.tick(110.5)
    assert isinstance(end, End) and isinstance(end.error, Unavailable) and "2 of 3 sites" in str(end.error)


def test_a_slow_site_is_put_out_and_the_others_go_on() -> None:
    made = rounds(sites=4, answer_s=30.0)
    joined(made, *"abcd")
    for n in "abc":
        made.part(n, 1, a_part(), 0.0, 5.0)
    assert made.tick(29.0) == []
    doing = made.tick(30.5)
    (out,) = [do for do in doing if isinstance(do, PutOut)]
    assert out.site == "d" and "no answer within 30 s" in str(out.error) and len(asks(doing)[0].peers) == 3
    assert made.left("d", 31.0) == []


def test_old_and_uncalled_answers_are_refused() -> None:
    made = rounds()
    joined(made, *"abc")
    made.part("a", 1, a_part(), 0.0, 1.0)
    for site, round_ in (("a", 1), ("b", 7), ("stranger", 1)):
        with pytest.raises(Refused, match="nobody asks"):
            made.part(site, round_, a_part(), 0.0, 1.0)
    with pytest.raises(Refused, match="bytes instead of"):
        made.part("b", 1, a_part()[:-1], 0.0, 1.0)
    with pytest.raises(Refused, match="a loss of nan"):
        made.part("c", 1, a_part(), float("nan"), 1.0)


def test_other_units_versions_plans_and_names_are_refused_by_name() -> None:
    made = Rounds(Training(dataclasses.replace(PLAIN, units=())), Limits(3), "run", 0, 0.0)
    plan = made.training.plan.hash
    made.joined(peer("a", ("m", "m3/h")), CODE, plan, 0.0)
    for one, code, hash_, error, said in (
        (peer("b", ("m", "l/s")), CODE, plan, WrongUnit, "b has flow in l/s, the others in m3/h"),
        (peer("b", step_s=60.0), CODE, plan, Conflict, "b has a row every 60 s, the others every 1 s"),
        (peer("b"), "0.0.1", plan, Conflict, "b runs Twinloop 0.0.1"),
        (peer("b"), CODE, PLAIN.hash, Conflict, "b means another plan"),
        (peer("a"), CODE, plan, Conflict, "a site a already"),
        (peer("b c"), CODE, plan, BadRequest, "a site named"),
    ):
        with pytest.raises(error, match=said):
            made.joined(one, code, hash_, 0.0)
    assert made.sites == ("a",)


def test_an_update_beyond_the_clip_is_refused_by_name_where_it_is_open_and_as_a_whole_where_not() -> None:
    for secure in (False, True):
        plan = dataclasses.replace(PLAIN_OF["site"], rounds=1, clip=1.0, secure=secure)
        kept, _ = at_train(plan)
        made = Rounds(kept, Limits(3), "run", 0, 0.0)
        joined(made, *"abc")
        wanted = shapes(plan, "train")
        long = {"weight": np.ones(1), "norms": norm_counts(1.0), "update": np.full(wanted["update"], 0.1)}
        for n in "ab":
            made.part(n, 1, a_part(packed(wanted, {**long, "update": long["update"] * 0})), 1.0, 1.0)
        data = a_part(packed(wanted, long))
        if secure:
            (end,) = made.part("c", 1, data, 1.0, 1.0)
            assert isinstance(end, End) and "longer than the clip" in str(end.error)
        else:
            with pytest.raises(Refused, match="c: a site's update is longer"):
                made.part("c", 1, data, 1.0, 1.0)


def at_train(plan: Plan) -> tuple[Training, Site]:
    site, training = Site(plan, a_site(0, 500)), Training(plan)
    while training.told["kind"] != "train":
        training.take(site.part(training.step(), 1, CHANCE, Course())[0], {"s": 1.0})
    return training, site


def test_a_coordinator_that_starts_again_goes_on_where_it_was() -> None:
    training, site = at_train(dataclasses.replace(PLAIN_OF["site"], rounds=1, steps=1))
    again = Training(training.plan, training.tensors(), training.told)
    numbers, loss = site.part(again.step(), 3, CHANCE, Course())
    for one in (training, again):
        one.take(3 * numbers, {"a": loss, "b": loss, "c": loss})
    assert again.told == training.told and again.told["kind"] == "score"
    assert all(np.array_equal(t, training.tensors()[n]) for n, t in again.tensors().items())


def test_columns_that_no_site_moves_end_it_with_a_reason() -> None:
    made = rounds()
    joined(made, *"abc")
    for n in "abc":
        doing = made.part(n, 1, a_part(np.array([500.0, 0.0, 1.0, 0.0])), 0.0, 1.0)
    (end,) = doing
    assert isinstance(end, End) and "flow: no site has enough values" in str(end.error)


def test_every_site_gets_the_model_and_says_what_it_is_worth_there() -> None:
    plan = PLAIN_OF["site"]
    sites = {f"s{n}": Site(plan, a_site(n, 500, devices=4)) for n in range(3)}
    _, training = federated(plan, sites)
    made = Rounds(training, Limits(3), "run", 0, 0.0)
    joined(made, *sites)
    (give,) = made.finished(0.0)
    assert isinstance(give, Give) and give.sites == tuple(sites) and give.model.manifest.units == UNITS
    for n, name in enumerate(sites):
        own = sites[name].own(give.model, Course())
        assert own.model.manifest.parent == give.model.hash and own.model.manifest.data_hash == sites[name].data.hash()
        assert own.verdict is not None and own.model.manifest.metrics["site_contest"] == own.verdict.reason
        told = forecast_model.model_of(own.model).forecast(
            windows(a_site(n, 400, seed=5).records[0].values, 24, 6).seen
        )
        assert np.isfinite(told.mean).all() and (np.diff(told.quantiles, axis=-1) >= 0).all()
        doing = made.outcome(name, own.reason)
    assert doing == [End()]
