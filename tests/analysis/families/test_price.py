"""What more runs of a study cost, by what its runs cost."""

from __future__ import annotations

import pandas as pd
import pytest

from scalelab.analysis.families.price import price_of_more, price_of_runs


def runs_of(widths, seeds=(0,), *, power=2.0):
    rows = [
        {
            "status": "done", "architecture": "net", "architecture_width": width, "seed": seed,
            "train_flops": 1e6 * width**power, "wall_seconds": 0.5 * width,
        }
        for width in widths
        for seed in seeds
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_new_values_cost_what_the_trend_of_the_old_ones_says():
    runs = runs_of([4, 8, 16])
    price = price_of_more(runs, [("net", "width", (2, 32))], 2.0)
    assert price.n_runs == 2 * 2 + 3
    again = runs["train_flops"].sum()
    assert price.flops.value == pytest.approx(2 * 1e6 * (2**2 + 32**2) + again)
    assert price.flops.lower == pytest.approx(price.flops.upper)
    assert price.seconds.value == pytest.approx(2 * 0.5 * (2 + 32) + runs["wall_seconds"].sum())


def test_the_range_is_that_of_the_slopes():
    runs = runs_of([4, 8, 16])
    runs.loc[runs["architecture_width"] == 4, "train_flops"] *= 2
    price = price_of_more(runs, [("net", "width", (32,))], 1.0)
    assert price.n_runs == 1
    assert price.flops.value == price.flops.upper == pytest.approx(1e6 * 32**2)
    assert price.flops.lower == pytest.approx(1e6 * 16**2 * 2)


def test_what_is_not_recorded_has_no_price():
    runs = runs_of([4, 8]).drop(columns="wall_seconds").assign(train_flops=float("nan"))
    price = price_of_more(runs, [("net", "width", (16,))], 1.0)
    assert (price.n_runs, price.flops, price.seconds) == (1, None, None)
    one = price_of_more(runs_of([4]), [("net", "width", (8,))], 1.0)
    assert (one.flops, one.seconds) == (None, None), "one value has no trend"
    none = price_of_more(runs_of([4]).assign(status="failed"), [("net", "width", (8,))], 1.0)
    assert none == (0, None, None)


def test_a_seed_alone_costs_the_runs_once_more():
    price = price_of_more(runs_of([4, 8]), [], 2.0)
    assert price.n_runs == 2
    assert price.flops.value == pytest.approx(1e6 * (16 + 64))


def test_runs_of_a_budget_take_the_pace_of_the_nearest():
    price = price_of_runs(1e9, runs_of([4, 8, 16, 32]), 2)
    assert price.flops.value == 2e9
    paces = [0.5 * width / (1e6 * width**2) for width in (8, 16, 32)]
    assert price.seconds.value == pytest.approx(2e9 * paces[1])
    assert price.seconds.lower == pytest.approx(2e9 * min(paces))
    assert price.seconds.upper == pytest.approx(2e9 * max(paces))
