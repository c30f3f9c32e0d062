"""Options of a dataset that vary are axes of laws, and choices for trees."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scalelab.analysis.analyze import analyze
from scalelab.analysis.runs.datasets import dataset_labels, space_labels
from scalelab.analysis.runs.designs import finished_runs

RATES = (50, 100, 200, 400, 800)
WIDTHS = (8, 16, 32, 64, 128)


def rated_runs(noise=0.002):
    random = np.random.default_rng(0)
    rows = [
        {
            "trial_id": f"{rate}-{width}", "study": "s", "status": "done", "dataset": "ecg",
            "architecture": "net", "optimizer": "adamw", "fingerprint": f"f{rate}", "seed": 0,
            "n_params": width**2 * 10.0, "n_examples": 1000.0, "train_flops": 1e6 * width**2, "epochs": 1.0,
            "loss": 3.0 * rate**-0.3 * width**-0.1 * np.exp(noise * random.normal()),
            "dataset_rate": rate, "architecture_width": width, "optimizer_lr": 1e-3,
        }
        for rate in RATES
        for width in WIDTHS
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_labels_name_options_that_differ_and_a_space_those_alone_that_no_study_varies():
    done = finished_runs(rated_runs())
    assert sorted(done["dataset_label"].unique()) == sorted(f"ecg rate={rate}" for rate in RATES)
    assert set(done["space_label"]) == {"ecg"}
    assert set(dataset_labels(done, without=["dataset_rate"])) == {"ecg"}
    apart = finished_runs(rated_runs().assign(study=lambda runs: runs["dataset_rate"].astype(str)))
    assert set(space_labels(apart)) == set(apart["dataset_label"])


def test_an_option_that_a_run_leaves_open_is_no_part_of_its_label():
    runs = rated_runs().drop(columns="fingerprint")
    runs["dataset_fold"] = [0, 1, None, 3, None] * 5
    runs["dataset_rate"] = 50
    runs["dataset_test"] = [False, False, None, False, None] * 5
    labels = finished_runs(runs)["dataset_label"]
    assert set(labels) == {"ecg", *(f"ecg fold={fold} test=False" for fold in (0, 1, 3))}


def test_an_option_of_the_dataset_is_an_axis():
    (law,) = analyze(rated_runs(), axes=["dataset_rate"], law="power", trees=False).laws
    assert law.family.dataset == "ecg"
    assert abs(law.params["alpha"].value - 0.3) < 0.02
    # `rate` is the dataset's, not the learning rate that designs carry with them
    (same,) = analyze(rated_runs(), axes=["rate"], law="power", trees=False).laws
    assert same.params["alpha"].value == law.params["alpha"].value


def test_each_dataset_is_a_family_of_its_own_along_other_axes():
    found = analyze(rated_runs(), axes=["n_params"], law="power", trees=False).laws
    assert [law.family.dataset for law in found] == sorted(f"ecg rate={rate}" for rate in RATES)


def test_trees_see_the_option_of_the_dataset():
    (tree,) = analyze(rated_runs(), axes=["n_params"]).trees
    assert tree.dataset == "ecg"
    assert tree.importances["choice"].iloc[0] == "dataset_rate"
