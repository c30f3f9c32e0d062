"""The best use of a budget: the published optimum, known optima, and what is said where runs do not say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from reference_tables import chinchilla_rows, needs_reference
from run_tables import grid_runs, law_runs

import scalelab
from scalelab.analysis.families.advice import SPLIT, advise, best_run
from scalelab.analysis.families.allocation import family_optima
from scalelab.analysis.families.price import price_of
from scalelab.analysis.runs.designs import designs, finished_runs
from scalelab.errors import InputError
from scalelab.jsonable import json_object

STORE = Path(__file__).parents[3] / "examples/mitbih-convnext.duckdb"
TRUTH = {"E": 0.3, "A": 60.0, "B": 900.0, "alpha": 0.4, "beta": 0.5}
PER = 20.0


def optimum(flops):
    t = TRUTH
    g = (t["alpha"] * t["A"] / t["beta"] / t["B"]) ** (1 / (t["alpha"] + t["beta"]))
    return g * (flops / PER) ** (t["beta"] / (t["alpha"] + t["beta"]))


def isoflop_runs(*, optimizer="adamw", penalty=1.0, epochs=1.0, sigma=0.003, seed=0):
    """Seven sizes around the optimum of each of five budgets; compute is 20 N D."""
    t, rng, rows = TRUTH, np.random.default_rng(seed), []
    for budget in np.geomspace(1e12, 1e15, 5):
        for n in (optimum(budget) * np.geomspace(0.2, 5, 7)).round():
            seen = budget / PER / n
            loss = t["E"] + t["A"] * n ** -t["alpha"] + t["B"] * seen ** -t["beta"]
            rows.append(
                {
                    "status": "done",
                    "dataset": "signals",
                    "architecture": "net",
                    "optimizer": optimizer,
                    "trial_id": f"{optimizer}-{budget:g}-{n:g}",
                    "n_params": n,
                    "n_examples": seen / epochs if epochs == 1.0 else 5000.0,
                    "epochs": epochs if epochs == 1.0 else seen / 5000.0,
                    "train_flops": budget,
                    "wall_seconds": budget / 1e12,
                    "loss": penalty * loss * np.exp(rng.normal(0, sigma)),
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def two():
    runs = pd.concat([isoflop_runs(), isoflop_runs(optimizer="sgd", penalty=1.1, seed=1)])
    return advise(designs(finished_runs(runs)), 1e16)


def test_a_known_optimum_is_found(two):
    best = two.families[0]
    assert best.basis == SPLIT
    assert best.flops_per == pytest.approx(PER)
    assert best.n_params.lower < optimum(1e16) < best.n_params.upper
    assert best.n_params.value * best.n_seen.value * PER == pytest.approx(1e16)
    n, t = optimum(1e16), TRUTH
    truth = t["E"] + t["A"] * n ** -t["alpha"] + t["B"] * (1e16 / PER / n) ** -t["beta"]
    assert best.loss.lower < truth < best.loss.upper
    assert best.beyond == pytest.approx(10.0)
    assert best.unique is None
    assert best.n_examples == best.n_seen.value


def test_three_approaches_agree_on_the_size(two):
    sizes = two.families[0].sizes
    assert set(sizes) == {"envelope", "parabola", "parametric"}
    assert max(sizes.values()) < 3 * min(sizes.values())


def test_an_approach_whose_size_lies_outside_the_interval_is_named(two):
    for one in two.families:
        lower, upper = one.n_params.ends
        apart = [name for name, size in one.sizes.items() if not lower / 1.1 <= size <= upper * 1.1]
        assert [line.split()[4] for line in one.warnings if "outside the interval" in line] == apart
    # A few sizes far apart: where the best run of a budget lies says little of the optimum.
    runs = isoflop_runs(sigma=0.0005)
    coarse = runs[runs.groupby("train_flops").cumcount().isin([0, 1, 5, 6])]
    found = advise(designs(finished_runs(coarse)), 1e18).families[0]
    assert any("the envelope approach says" in line for line in found.warnings)


def test_the_best_family_stands_first_with_its_share(two):
    assert [one.family.optimizer for one in two.families] == ["adamw", "sgd"]
    assert two.families[0].share > 0.95
    assert sum(one.share for one in two.families) == pytest.approx(1.0)


def test_families_alike_share_the_first_place():
    runs = pd.concat([isoflop_runs(), isoflop_runs(optimizer="sgd", seed=7)])
    shares = [one.share for one in advise(designs(finished_runs(runs)), 1e16).families]
    assert max(shares) < 0.97
    assert min(shares) > 0.03


def test_the_loss_of_another_size_is_what_the_law_says(two):
    best = two.families[0]
    other = best.expect(best.n_params.value * 2, best.n_seen.value / 2, 1e16, 0.9)
    assert other.value >= best.loss.value


def test_repeated_data_are_named():
    runs = isoflop_runs(epochs=2.0)
    best = advise(designs(finished_runs(runs)), 1e16).families[0]
    assert best.basis == SPLIT
    assert best.unique == 5000
    assert "at 5,000 unique examples" in best.points.selection
    assert best.n_examples == 5000
    assert any("passes over 5,000 distinct examples" in line for line in best.warnings)


def test_runs_of_the_same_passes_belong_together():
    runs = isoflop_runs()
    runs["n_examples"], runs["epochs"] = runs["n_examples"] / 10, 10.0
    best = advise(designs(finished_runs(runs)), 1e16).families[0]
    assert "35 designs of 10 passes over their data" in best.points.selection
    assert best.unique is None
    assert best.n_examples == pytest.approx(best.n_seen.value / 10)
    assert any("that is 10 passes" in line for line in best.warnings)


def test_where_compute_went_into_size_alone_the_law_of_size_answers():
    runs = grid_runs(seeds=(0,), noise=0.01)
    runs["epochs"] = 64_000 / runs["n_examples"]
    runs["train_flops"] = 3 * runs["forward_flops"] * 64_000
    best = advise(designs(finished_runs(runs)), 1e14).families[0]
    assert best.basis == "n_params"
    assert best.fit.table.axes == ("n_params",)
    assert best.n_seen.value == pytest.approx(64_000, rel=0.01)
    assert best.n_params.value == pytest.approx(1e14 / (3 * 220 * 64_000), rel=0.01)
    said = next(line for line in best.warnings if "not an optimum" in line)
    assert "all saw 64,000 examples" in said


def test_a_document_is_json(two):
    document = json.loads(json.dumps(json_object(two)))
    assert document["families"][0]["backtest"]["rms_log_error"] > 0
    assert document["families"][0]["sizes"]["parametric"] == two.families[0].n_params.value


@pytest.mark.parametrize("budget", [0.0, -1.0, math.inf, math.nan])
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises(InputError, match="positive number of training FLOPs"):
        advise(designs(finished_runs(isoflop_runs())), budget)


def test_a_budget_that_buys_nothing_is_refused():
    with pytest.raises(InputError, match="too little for a run"):
        advise(designs(finished_runs(isoflop_runs())), 1.0)


def test_more_compute_than_the_runs_needs_exponents_that_they_determine():
    """The law of the family that leads decides: within its runs there is advice, beyond them none."""
    table = designs(finished_runs(scalelab.open_store(STORE).runs()))
    within = advise(table, 2e12)
    assert [one.family.optimizer for one in within.families] == ["adamw", "sgd", "sgdm"]
    with pytest.raises(InputError, match="do not determine how fast the loss falls with model size") as error:
        advise(table, 2.4e13)
    assert "convnext1d with adamw has the lowest loss; --architecture, --optimizer" in str(error.value)
    alone = advise(table[table["optimizer"] == "sgdm"], 2.4e13)
    assert alone.families[0].beyond > 9


def test_a_family_that_cannot_answer_is_left_out_of_the_shares():
    runs = pd.concat([isoflop_runs(), isoflop_runs(optimizer="sgd", penalty=1.1).head(3)])
    found = advise(designs(finished_runs(runs)), 1e16)
    assert [one.subject["family"].optimizer for one in found.refused] == ["sgd"]
    assert found.families[0].share == 1.0
    few = pd.concat([isoflop_runs(penalty=1.1), isoflop_runs(optimizer="sgd").head(3).assign(loss=0.01)])
    with pytest.raises(InputError, match="net with sgd has the lowest loss"):
        advise(designs(finished_runs(few)), 1e16)


def test_losses_of_several_datasets_are_not_compared():
    runs = pd.concat([isoflop_runs(), isoflop_runs().assign(dataset="speech", trial_id="s")])
    with pytest.raises(InputError, match="choose one with --dataset, of signals, speech"):
        advise(designs(finished_runs(runs)), 1e16)


def test_runs_that_support_nothing_are_refused_with_both_reasons():
    with pytest.raises(InputError, match=r"a law in C needs .* No law L\(N, D\) says more: "):
        advise(designs(finished_runs(isoflop_runs().head(3))), 1e16)


def test_settings_come_from_the_run_of_lowest_loss(two):
    done = finished_runs(pd.concat([isoflop_runs(), isoflop_runs(optimizer="sgd", penalty=1.1, seed=1)]))
    own = done[done["optimizer"] == "adamw"]
    assert best_run(two.families[0], done) == own.loc[own["loss"].idxmin(), "trial_id"]


def test_a_lucky_seed_does_not_give_the_settings():
    rows = [("a", 0.1, 0, 1.0), ("b", 0.1, 1, 0.8), ("c", 0.2, 1, 0.85), ("d", 0.2, 0, 0.86)]
    runs = pd.DataFrame(rows, columns=["trial_id", "optimizer_lr", "seed", "loss"])
    names = {"status": "done", "dataset": "d", "architecture": "a", "optimizer": "o"}
    done = finished_runs(runs.assign(**names))
    assert best_run(SimpleNamespace(family=("d", "a", "o")), done) == "d"


def test_what_it_costs():
    runs = isoflop_runs()
    assert price_of(1e16, runs, per_flop=1e-16, per_hour=None) == {
        "seconds": pytest.approx(1e4),
        "price": pytest.approx(1.0),
    }
    assert price_of(3.6e15, runs, per_flop=None, per_hour=2.0)["price"] == pytest.approx(2.0)
    with pytest.raises(InputError, match="not both"):
        price_of(1e16, runs, per_flop=1.0, per_hour=1.0)
    with pytest.raises(InputError, match="zero or more"):
        price_of(1e16, runs, per_flop=-1.0, per_hour=None)
    with pytest.raises(InputError, match="wall_seconds"):
        price_of(1e16, runs.drop(columns="wall_seconds"), per_flop=None, per_hour=1.0)


@needs_reference
def test_the_published_optimum_of_chinchilla():
    """Besiroglu et al. 2024: a = 0.513; at Gopher's 5.76e23 FLOPs about 70B parameters, 20 tokens each."""
    x, loss = chinchilla_rows()
    runs = pd.DataFrame(
        {
            "status": "done",
            "dataset": "massivetext",
            "architecture": "transformer",
            "optimizer": "adamw",
            "loss": loss,
            **x,
            "train_flops": 6 * x["n_params"] * x["n_examples"],
        }
    )
    table = designs(finished_runs(runs))
    (one,) = family_optima(table)
    assert one.flops_per == pytest.approx(6.0)
    assert json_object(one)["approaches"]["parametric"]["a"] == pytest.approx(0.513, abs=0.002)
    assert json_object(one)["agree"]
    best = advise(table, 5.76e23).families[0]
    assert best.fit.params["alpha"] == pytest.approx(0.3473, abs=1e-4)
    assert best.n_params.lower < 70e9 < best.n_params.upper
    assert best.per_param.lower < 20 < best.per_param.upper
    assert best.backtest.rmse < 0.02


def test_a_split_that_leaves_the_runs_along_one_axis_says_so():
    sizes, lengths = np.meshgrid(np.geomspace(3e3, 6e5, 6), np.geomspace(4e3, 6.4e4, 5))
    runs = law_runs(sizes.ravel(), lengths.ravel(), law=(0.0, 100.0, 20.0, 1.2, 0.5), per=40.0)
    most = float(runs["train_flops"].max())
    (one,) = advise(designs(finished_runs(runs)), 20 * most).families
    times = one.n_seen.value / 6.4e4
    assert times > 20 > 1 > one.n_params.value / 6e5
    told = f"the n_examples asked for lies {times:.3g} times beyond the law's points, which span 16 times"
    assert told in one.warnings
    (within,) = advise(designs(finished_runs(runs)), most / 100).families
    assert not any("which span" in words for words in within.warnings)
