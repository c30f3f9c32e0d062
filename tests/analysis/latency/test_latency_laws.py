"""Laws of latency, on measurements that follow a rule that is known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from latency_tables_made_up import made_up, trained

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.latency.advice import advise_latency, expected_objectives, find_place
from scalelab.analysis.latency.law import LatencyLaw, fit_laws
from scalelab.analysis.latency.models import MODELS
from scalelab.analysis.latency.summary import boxes, exactness, fronts, problems
from scalelab.errors import FitError, InputError
from scalelab.jsonable import json_object


def law_of(table: pd.DataFrame) -> LatencyLaw:
    (law,) = fit_laws(table)
    assert isinstance(law, LatencyLaw)
    return law


def test_the_roofline_finds_the_prices_that_made_the_latencies():
    law = law_of(made_up(n=300, noise=0.01))
    assert law.fitted.name == "roofline"
    prices = law.fitted.coefficients
    assert prices["dense FLOP"] == pytest.approx(1 / 5e10, rel=0.05)
    assert prices["grouped FLOP"] == pytest.approx(1 / 4e9, rel=0.05)
    assert prices["activation byte"] == pytest.approx(1 / 2e10, rel=0.1)
    # operations and layers are nearly proportional: their price together is what can be told
    assert prices["operation"] + prices["layer"] / 3 == pytest.approx(2e-6, rel=0.2)
    assert law.median_error < 0.01


def test_a_power_law_is_recognized_with_its_powers():
    law = law_of(made_up(noise=0.02, rule="powers"))
    assert law.fitted.name == "log-linear"
    assert law.fitted.coefficients["FLOP"] == pytest.approx(0.7, abs=0.1)
    for name, true in (("FLOP", 0.7), ("activation byte", 0.2), ("weight byte", 0.0)):
        low, high = law.fitted.intervals[name]
        assert low - 0.05 <= true <= high + 0.05


def test_errors_are_those_of_networks_that_were_not_seen():
    """Latencies that follow from nothing cannot be predicted, however flexible the model."""
    table = made_up()
    rng = np.random.default_rng(3)
    law = law_of(table.assign(latency=np.exp(rng.normal(-7, 1, len(table)))))
    assert law.median_error > 0.4


def test_held_out_errors_are_the_noise_and_no_less():
    law = law_of(made_up(n=200, noise=0.05))
    assert 0.03 < law.median_error < 0.06, "the median of |N(0, 0.05)| is 0.034"


def test_intervals_cover_new_networks():
    law = law_of(made_up(n=120, noise=0.05))
    new = made_up(n=400, noise=0.05, seed=9)
    found = law.predict(new)
    covered = ((found["lower"] <= new["latency"]) & (new["latency"] <= found["upper"])).mean()
    assert 0.84 <= covered <= 0.96


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_is_positive_and_repeatable(name):
    table = made_up(n=40)
    seconds = table["latency"].to_numpy()
    first, again = (MODELS[name](table, seconds, 1).predict(table, 1) for _ in range(2))
    assert (first > 0).all()
    assert np.array_equal(first, again)


def test_every_place_has_a_law_of_its_own_and_the_last_measurement_counts():
    cpu, npu = made_up(), made_up(target="fast:npu:int8", precision="int8")
    old = made_up().assign(latency=1.0, finished_at=pd.Timestamp("2025-01-01"))
    bad = made_up(n=3, seed=5).assign(status="failed", latency=np.nan)
    laws = fit_laws(pd.concat([old, cpu, npu.assign(latency=npu["latency"] / 2), bad], ignore_index=True))
    assert [law.place.target for law in laws] == ["fast:cpu:f32", "fast:npu:int8"]
    plain, fast = (law.networks["latency"].median() for law in laws)
    assert fast == pytest.approx(plain / 2)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (made_up(n=15), "needs 16 networks of different sizes, 15 were measured"),
        (made_up(n=40, forward_flops=1e6), "too similar"),
    ],
)
def test_too_few_or_too_equal_networks_are_refused_in_words(table, words):
    (law,) = fit_laws(table)
    assert isinstance(law, Refusal)
    assert words in law.reason


def test_no_measurement_is_no_law():
    assert fit_laws(made_up().assign(status="failed")) == ()
    assert boxes(made_up().head(0)).empty


def test_boxes_are_quantiles_over_networks():
    table = made_up(n=5).assign(
        latency=[0.001, 0.002, 0.003, 0.004, 0.005], latency_low=0.001, latency_high=0.005
    )
    (row,) = boxes(table).to_dict("records")
    assert [row[name] for name in ("min", "q25", "median", "q75", "max")] == pytest.approx(
        [0.001, 0.002, 0.003, 0.004, 0.005]
    )
    assert row["load"] == pytest.approx(0.8)
    assert row["n"] == 5


def test_a_precision_is_compared_with_f32_of_the_same_networks():
    plain = made_up(
        n=20, objective_f32=0.9, objective_here=0.9, metric="accuracy", direction="maximize",
        scores_f32='{"loss": 0.3, "accuracy": 0.9}', scores_here='{"loss": 0.3, "accuracy": 0.9}',
    )  # fmt: skip
    fast = plain.assign(
        latency=plain["latency"] / 3, target="fast:cpu:int8", precision="int8", objective_here=0.88,
        relative_error=0.02, agreement=0.97,
        scores_here=['{"loss": 0.4, "accuracy": 0.9}', *['{"loss": 0.3, "accuracy": 0.88}'] * 19],
    )  # fmt: skip
    other = made_up(
        n=20, seed=4, network_id="other", target="slow:cpu:int8", backend="slow", precision="int8"
    )
    found = exactness(pd.concat([plain, fast, other], ignore_index=True)).set_index("target")
    assert found["speedup"]["fast:cpu:int8"] == pytest.approx(3)
    accuracy, loss = found["changes"]["fast:cpu:int8"]
    assert (accuracy.metric, loss.metric) == ("accuracy", "loss")
    assert accuracy[1:] == pytest.approx((0.9, 0.881, -0.019, -0.02))
    assert loss[1:] == pytest.approx((0.3, 0.305, 0.005, 0.1))
    assert found["changes"]["slow:cpu:int8"] == ()
    assert found["n_trained"]["fast:cpu:int8"] == 20
    assert np.isnan(found["speedup"]["slow:cpu:int8"])


def test_no_network_on_the_front_is_beaten():
    (front,) = fronts(trained(made_up()))
    points = front.points
    assert points["latency"].is_monotonic_increasing
    assert points["outcome"].is_monotonic_increasing
    for row in front.others.itertuples():
        assert ((points["latency"] <= row.latency) & (points["outcome"] >= row.outcome)).any()
    assert len(points) + len(front.others) == 64


def test_what_int8_costs_counts_on_the_front():
    table = trained(made_up(n=20)).assign(objective_f32=0.9, objective_here=0.8)
    (front,) = fronts(table)
    both = pd.concat([front.points, front.others])
    assert np.allclose(both["outcome"], both["objective"] - 0.1)


def test_wrong_outputs_are_out_of_tables_laws_fronts_and_advice():
    good = trained(made_up(n=20))
    wrong = trained(made_up(n=20, seed=4)).assign(
        network_id=[f"wrong {i}" for i in range(20)], status="failed", relative_error=0.7, latency=np.nan
    )
    both = pd.concat([good, wrong], ignore_index=True)
    assert boxes(both)["n"].tolist() == [20]
    assert exactness(both)["worst_error"].tolist() == exactness(good)["worst_error"].tolist()
    (law,) = fit_laws(both)
    assert len(law.networks) == 20
    (front,) = fronts(both)
    assert len(front.points) + len(front.others) == 20
    place = find_place(both, law.place.target, 1, law.place.host)
    advice = advise_latency(both, runs_of(both), place, 1.0)
    assert advice.n_looked_at == 20


def test_problems_are_counted_by_reason():
    table = made_up(n=4).assign(status=["ok", "failed", "failed", "timeout"], reason=[None, "a", "a", "b"])
    assert problems(table)["n"].tolist() == [2, 1]


def runs_of(table: pd.DataFrame) -> pd.DataFrame:
    widths = [json.loads(text)["width"] for text in table["options"]]
    return pd.DataFrame({
        "study": "s", "trial_id": table["trial_id"], "status": "done", "dataset": "d", "architecture": "net",
        "optimizer": "sgd", "architecture_width": widths, "architecture_kind": "x",
        "loss": 1 - table["objective"],
        "objective": table["objective"], "metric": "accuracy", "direction": "maximize",
        "n_params": table["n_params"],
        "n_examples": 100,
    })  # fmt: skip


def test_the_best_trained_network_within_the_limit_is_advised():
    table = trained(made_up())
    place = find_place(table, "FAST:cpu:f32", 1, "h")
    limit = float(table["latency"].median())
    advice = advise_latency(table, runs_of(table), place, limit)
    inside = table[table["latency"] <= limit]
    assert advice.candidates["objective"].iloc[0] == inside["objective"].max()
    assert advice.n_looked_at == 64
    assert len(advice.candidates) == len(inside)
    json.dumps(json_object(advice))


def test_what_the_precision_costs_is_part_of_what_is_advised():
    """A network that int8 spoils is not the best there, and the others' cost is expected of those beside."""
    table = trained(made_up()).assign(target="fast:cpu:int8", precision="int8")
    best = int(table["objective"].argmax())
    cost = np.where(np.arange(64) == best, 0.5, 0.01)
    known = np.arange(64) % 2 == best % 2
    table = table.assign(
        objective_f32=np.where(known, 0.9, np.nan), objective_here=np.where(known, 0.9 - cost, np.nan)
    )
    advice = advise_latency(table, runs_of(table), find_place(table, "fast:cpu:int8", 1, "h"), 1.0)
    found = advice.candidates.set_index("trial_id")["objective"]
    before = table.set_index("trial_id")["objective"]
    changed = found - before.loc[found.index]
    mean = (0.5 + 31 * 0.01) / 32
    expected = np.where(known, -cost, -mean)
    np.testing.assert_allclose(changed.loc[table["trial_id"]], expected, atol=1e-12)
    assert advice.candidates["trial_id"].iloc[0] != table["trial_id"].iloc[best]
    assert f"accuracy includes the effect of int8 ({-mean:+.2g}, mean of" in advice.notes[0]
    unknown = table.assign(objective_here=np.nan)
    advice = advise_latency(unknown, runs_of(unknown), find_place(unknown, "fast:cpu:int8", 1, "h"), 1.0)
    assert "the effect of int8 on accuracy is not known" in advice.notes[0]


def test_networks_measured_elsewhere_get_the_latency_of_the_law():
    here, there = trained(made_up(n=64)), trained(made_up(n=64))
    elsewhere = there.tail(20).assign(target="other:gpu:f32", latency=1.0)
    table = pd.concat([here.head(44), elsewhere], ignore_index=True)
    place = find_place(table, "fast:cpu:f32", 1, "h")
    advice = advise_latency(table, runs_of(trained(made_up())), place, 1.0)
    found = advice.candidates
    assert (found["latency_from"] == "predicted").sum() == 20
    guessed = found[found["latency_from"] == "predicted"].set_index("trial_id")["latency"]
    true = there.set_index("trial_id")["latency"].loc[guessed.index]
    assert np.median(np.abs(guessed / true - 1)) < 0.1


def test_untrained_networks_are_expected_by_a_forest_only_where_it_knows_something():
    table = made_up(n=60)
    widths = np.array([json.loads(text)["width"] for text in table["options"]])
    rng = np.random.default_rng(2)
    table = trained(table).assign(objective=0.5 + 0.005 * widths + rng.normal(0, 0.01, 60))
    new = pd.DataFrame(
        {"architecture": "net", "options": [{"width": 10, "kind": "x"}, {"width": 50, "kind": "x"}]}
    )
    low, high = expected_objectives(runs_of(table), new, "accuracy")
    assert low == pytest.approx(0.55, abs=0.03)
    assert high == pytest.approx(0.75, abs=0.03)
    noise = table.assign(objective=rng.normal(0.5, 0.1, 60))
    with pytest.raises(FitError, match="not distinguishable from noise"):
        expected_objectives(runs_of(noise), new, "accuracy")


def test_a_target_that_was_not_measured_names_what_was():
    with pytest.raises(
        InputError,
        match=r"no latency was measured on openvino:CPU:int8 at batch size 1; there is fast:cpu:f32",
    ):
        find_place(made_up(), "openvino:CPU:int8", 1, "h")


def test_a_limit_that_nothing_meets_says_what_the_fastest_takes():
    table = trained(made_up())
    with pytest.raises(
        InputError, match="no network is within 1e-06 ms on fast:cpu:f32: the fastest of 64 takes"
    ):
        advise_latency(table, runs_of(table), find_place(table, "fast:cpu:f32", 1, "h"), 1e-9)
