"""The calibration of each family's best run, as its record tells it, with intervals."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_tables import grid_runs
from scipy.stats import binomtest

from scalelab.analysis.analyze import analyze
from scalelab.analysis.runs.calibration import Reliability, reliabilities, wilson
from scalelab.analysis.runs.designs import finished_runs
from scalelab.jsonable import json_object


def told(n: int = 40, positives: int = 10, **errors: float) -> dict[str, object]:
    """Returns the calibration of n examples, most of whose probabilities are in the first of three bins."""
    errors = errors or {"N": 0.02, "S": 0.3, "V": 0.1}
    total = n * len(errors)
    return {
        "ece": errors,
        "counts": [total - n, 0, n],
        "probabilities": [0.1, None, 0.9],
        "positives": [positives, 0, n],
    }


@pytest.fixture
def runs() -> pd.DataFrame:
    """Runs of two optimizers, all with the calibration of both splits."""
    runs = grid_runs(optimizers=("adamw", "sgd"), seeds=(0,), noise=0.003)
    runs["calibration"] = [
        json.dumps({"validation": told(100 + place), "test": told(40)}) for place in range(len(runs))
    ]
    return runs


def found(runs: pd.DataFrame, level: float = 0.9) -> list[Reliability]:
    return list(reliabilities(finished_runs(runs), level))


@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_intervals_are_those_of_wilson(some: int, others: int, level: float) -> None:
    n = some + others
    lower, upper = wilson(np.array([float(some)]), np.array([float(n)]), level)
    if n == 0:
        assert np.isnan([*lower, *upper]).all()
        return
    exact = binomtest(some, n).proportion_ci(level, method="wilson")
    assert (lower[0], upper[0]) == pytest.approx((exact.low, exact.high), abs=1e-12)
    assert 0 <= lower[0] <= some / n <= upper[0] <= 1


def test_each_family_shows_its_best_run_on_all_splits(runs: pd.DataFrame) -> None:
    result = found(runs)
    assert [(one.family.optimizer, one.split) for one in result] == [
        ("adamw", "validation"), ("adamw", "test"), ("sgd", "validation"), ("sgd", "test"),
    ]  # fmt: skip
    for one in result:
        own = runs[runs["optimizer"] == one.family.optimizer]
        best = own.loc[own["objective"].idxmax()]
        assert (one.trial_id, one.n_params, one.best) == (best.trial_id, best.n_params, True)
        record = json.loads(best.calibration)[one.split]
        assert one.bins["count"].tolist() == record["counts"]
        assert (one.metric, one.n) == ("macro-f1", sum(record["counts"]) // 3)
        assert one.ece == pytest.approx(0.14)
        assert list(one.classes) == ["S", "V", "N"]


def test_bins_have_parts_with_intervals_or_nothing(runs: pd.DataFrame) -> None:
    bins = found(runs)[1].bins
    assert bins[["low", "high"]].to_numpy().ravel() == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1])
    assert bins["part"].tolist() == pytest.approx([10 / 80, np.nan, 1.0], nan_ok=True)
    exact = binomtest(10, 80).proportion_ci(0.9, method="wilson")
    assert (bins["lower"][0], bins["upper"][0]) == pytest.approx((exact.low, exact.high))
    assert bins.loc[1, ["probability", "part", "lower", "upper"]].isna().all()
    assert bins["upper"][2] == 1.0 > bins["lower"][2] > 0.9
    narrow = found(runs, 0.5)[1].bins
    assert narrow["upper"][0] < bins["upper"][0]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_best_is_by_the_direction_of_the_objective(runs: pd.DataFrame, direction: str) -> None:
    runs["direction"] = direction
    one = found(runs)[0]
    own = runs[runs["optimizer"] == one.family.optimizer].set_index("trial_id")["objective"]
    assert one.trial_id == (own.idxmin() if direction == "minimize" else own.idxmax())
    everything = runs.set_index("trial_id")["objective"]
    assert one.trial_id == (everything.idxmin() if direction == "minimize" else everything.idxmax())


def test_a_better_run_that_records_none_is_told(runs: pd.DataFrame) -> None:
    best = runs.sort_values("objective").groupby("optimizer").tail(1)
    runs.loc[best.index, "calibration"] = None
    result = found(runs)
    assert [one.best for one in result] == [False] * 4
    assert not {one.trial_id for one in result} & set(best.trial_id)


@pytest.mark.parametrize(
    "text",
    [
        None,
        0.5,
        "isotonic",
        "[1, 2]",
        "{}",
        '{"train": {}}',
        json.dumps({"validation": {**told(), "counts": [1, 2]}}),
        json.dumps({"validation": {**told(), "positives": [10, 0, 41]}}),
        json.dumps({"validation": {**told(), "ece": {}}}),
    ],
)
def test_what_is_no_calibration_is_left_alone(runs: pd.DataFrame, text: object) -> None:
    runs["calibration"] = [text] * len(runs)
    assert found(runs) == []
    assert found(runs.drop(columns="calibration")) == []


def test_an_analysis_has_them_and_so_has_its_json(runs: pd.DataFrame) -> None:
    analysis = analyze(runs, axes=["n_params"], trees=False, level=0.8)
    assert [one.level for one in analysis.calibrations] == [0.8] * 4
    shown = json_object(analysis)["calibration"]
    json.dumps(shown, allow_nan=False)
    assert isinstance(shown, list)
    first = shown[0]
    assert isinstance(first, dict)
    assert (first["dataset"], first["optimizer"], first["split"]) == ("toy-ecg", "adamw", "validation")
    assert first["ece"] == pytest.approx(0.14)
    assert first["classes"] == {"S": 0.3, "V": 0.1, "N": 0.02}
    bins = first["bins"]
    assert isinstance(bins, list)
    assert bins[1] == {
        "low": pytest.approx(1 / 3), "high": pytest.approx(2 / 3), "count": 0, "probability": None,
        "positives": 0, "part": None, "lower": None, "upper": None,
    }  # fmt: skip
