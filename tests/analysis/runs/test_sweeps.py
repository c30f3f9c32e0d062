"""A law takes one point of each sweep: the minimum between the values, with its error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scalelab.analysis.analyze import analyze
from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.simulator import simulator
from scalelab.analysis.runs.designs import averaged, designs, finished_runs
from scalelab.analysis.runs.outcomes import taken
from scalelab.analysis.runs.selection import axis_points
from scalelab.analysis.runs.sweeps import sweeps_of

SIZES = np.array([1e3, 4e3, 1.6e4, 6.4e4, 2.56e5])


def best_rate(n):
    return 0.02 * (n / 1e3) ** -0.3


def lowest(n):
    return 2.0 * n**-0.2


def swept_runs(
    sizes=SIZES, *, seeds=(0, 1, 2), noise=0.0, skew=0.0, steps=(-2, -1, 0, 1, 2), diverges=None, rng=0
):
    """Runs at rates in factors of two around each size's best, off by a third of a factor."""
    random = np.random.default_rng(rng)
    rows = []
    for n in sizes:
        for step in steps:
            for seed in seeds:
                rate = best_rate(n) * 2.0 ** (step + 1 / 3)
                off = np.log2(rate / best_rate(n))
                loss = lowest(n) * np.exp(0.05 * off**2 + skew * off**3 + noise * random.normal())
                failed = diverges is not None and step >= diverges
                rows.append(
                    {
                        "trial_id": f"{n:.0f}-{step}-{seed}", "study": "s",
                        "status": "diverged" if failed else "done",
                        "dataset": "d", "architecture": "a", "optimizer": "o", "fingerprint": "f",
                        "seed": seed,
                        "n_params": n, "n_examples": 1000, "train_flops": 6e3 * n, "epochs": 1.0,
                        "loss": np.nan if failed else loss, "test_loss": 1.1 * loss,
                        "test_objective": 1.1 * loss,
                        "architecture_width": n / 100, "optimizer_lr": rate, "tuned": "lr",
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_the_minimum_of_a_parabola_is_found_between_the_values():
    found = [sweep for sweep, _ in sweeps_of(averaged(finished_runs(swept_runs())))]
    assert [sweep.n_params for sweep in found] == list(SIZES)
    for sweep in found:
        assert sweep.best == pytest.approx(best_rate(sweep.n_params), rel=1e-9)
        assert sweep.loss == pytest.approx(lowest(sweep.n_params), rel=1e-9)
        assert sweep.end is None
        assert sweep.noise == 0.0
        assert len(sweep.rows) == 5
        # half of what the minimum lies below the best value, a third of a factor away
        assert sweep.error == pytest.approx(0.5 * 0.05 / 9, rel=1e-6)


def test_designs_have_one_row_a_sweep_and_laws_its_loss_and_error():
    table = designs(finished_runs(swept_runs()))
    assert len(table) == len(SIZES)
    points = axis_points(table, "n_params")
    assert np.allclose(points.rows["loss"], lowest(SIZES))
    assert points.loss.size == 3 * len(SIZES)
    assert np.allclose(points.errors, 0.5 * 0.05 / 9)
    assert not points.doubts  # every rate is bracketed
    plain = designs(finished_runs(swept_runs().drop(columns="tuned")))
    assert len(plain) == 5 * len(SIZES)
    assert (plain["loss_error"] == 0).all()
    assert axis_points(plain, "n_params").errors is None


def test_the_reported_split_is_read_where_validation_chose():
    done = taken(finished_runs(swept_runs()), on="test")
    for sweep, row in sweeps_of(averaged(done)):
        assert sweep.loss == pytest.approx(1.1 * lowest(sweep.n_params), rel=1e-9)
        assert row["chosen"] == pytest.approx(lowest(sweep.n_params), rel=0.02)


@pytest.mark.parametrize(("steps", "end"), [((0, 1, 2), "low"), ((-3, -2, -1), "high")])
def test_a_best_value_at_an_end_is_named(steps, end):
    table = averaged(finished_runs(swept_runs(steps=steps)))
    found = [sweep for sweep, _ in sweeps_of(table)]
    assert {sweep.end for sweep in found} == {end}
    for sweep in found:
        losses = np.sort(sweep.rows["loss"])
        assert sweep.loss == losses[0]
        assert sweep.error == pytest.approx(np.log(losses[1] / losses[0]))
    points = axis_points(designs(finished_runs(swept_runs(steps=steps))), "n_params")
    (said,) = [line for line in points.doubts if "learning rate" in line]
    assert said.startswith("the best learning rate of 5 of 5 points lies at an end of those tried")


def test_a_value_at_which_runs_diverged_bounds_a_sweep():
    found = [sweep for sweep, _ in sweeps_of(averaged(finished_runs(swept_runs(diverges=1))))]
    for sweep in found:
        assert sweep.end is None
        assert sweep.rows["loss"].isna().sum() == 2
        assert sweep.loss == pytest.approx(sweep.rows["loss"].min())
        assert 0 < sweep.error < 0.05


def test_errors_cover_the_truth_of_noisy_skewed_sweeps():
    inside = total = 0
    for rng in range(40):
        table = averaged(finished_runs(swept_runs(noise=0.02, skew=0.01, rng=rng)))
        for sweep, _ in sweeps_of(table):
            at = np.linspace(-1, 1, 2001)
            truth = lowest(sweep.n_params) * np.exp(0.05 * at**2 + 0.01 * at**3).min()
            inside += abs(np.log(sweep.loss / truth)) <= 2 * sweep.error
            total += 1
    assert inside / total > 0.9


def test_the_noise_of_a_law_is_that_of_its_points_at_least():
    x = {"n_params": SIZES}
    near = lowest(SIZES) * np.exp(0.003 * np.array([1, -1, 0, 1, -1]))
    # of five rows and two parameters: 2.35 standard errors of 0.03 on either side, over a span of ln 256
    for estimator in ("log-huber", "mse"):
        bare, carried = (
            fit_law("power", x, near, estimator=estimator, errors=errors)
            for errors in (None, np.full(SIZES.size, 0.03))
        )
        narrow, wide = (np.ptp(fit.interval("alpha", 0.9)) for fit in (bare, carried))
        assert narrow < 0.01 < 0.02 < wide < 0.05, estimator
        relative = carried.table.y if estimator == "mse" else 1.0
        expected = 0.03 * np.sqrt(np.mean(relative**2))
        assert np.sqrt(np.mean(simulator(carried).noise ** 2)) == pytest.approx(expected)
    noisy = lowest(SIZES) * np.exp(0.1 * np.array([1, -1, 1, -1, 1]))
    small = fit_law("power", x, noisy, errors=np.full(SIZES.size, 0.001))
    assert np.allclose(simulator(small).noise, simulator(fit_law("power", x, noisy)).noise)


@pytest.mark.parametrize("errors", [[-1, 0, 0, 0, 0], [np.nan] * 5, [0.1] * 4])
def test_wrong_errors_are_refused(errors):
    with pytest.raises(Exception, match="errors"):
        fit_law("power", {"n_params": SIZES}, lowest(SIZES), errors=errors)


def test_fronts_take_the_best_of_a_sweep_and_trees_see_all_values():
    found = analyze(swept_runs(noise=0.01), axes=["n_params"])
    assert len(found.sweeps) == len(SIZES)
    front = next(one for one in found.fronts if one.cost == "train_flops")
    assert len(front.points) == len(SIZES)
    assert len(front.others) == 0
    (tree,) = found.trees
    assert tree.n_designs == 5 * len(SIZES)
    assert "optimizer_lr" in set(tree.importances["choice"])


def test_one_seed_says_nothing_of_the_noise():
    found = [sweep for sweep, _ in sweeps_of(averaged(finished_runs(swept_runs(seeds=(0,)))))]
    assert {sweep.noise for sweep in found} == {None}
    table = designs(finished_runs(swept_runs(seeds=(0,))))
    assert [own.shape for own in table["losses"]] == [(1,)] * len(SIZES)
    assert np.allclose(axis_points(table, "n_params").loss, lowest(SIZES))


def test_a_trial_of_two_studies_is_of_the_sweep_of_one():
    runs = swept_runs()
    both = pd.concat([runs.assign(study="a", tuned=None), runs], ignore_index=True)
    found = [sweep for sweep, _ in sweeps_of(averaged(finished_runs(both)))]
    assert len(found) == len(SIZES)
    assert all(len(sweep.rows) == 5 for sweep in found)
