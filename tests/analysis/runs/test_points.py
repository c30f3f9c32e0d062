import numpy as np
import pandas as pd
import pytest
from run_tables import grid_runs

from scalelab.analysis.runs.designs import (
    design_ids,
    designs,
    families,
    finished_runs,
    seed_spread,
)
from scalelab.errors import InputError


def test_only_done_runs_with_a_finite_loss_are_kept():
    runs = grid_runs(sizes=(3_000,), data_sizes=(500, 1_500), seeds=(0, 1))
    runs.loc[0, "status"] = "diverged"
    runs.loc[1, "loss"] = np.nan
    assert finished_runs(runs)["n_examples"].tolist() == [1_500, 1_500]


def test_a_trial_of_two_studies_counts_once():
    runs = grid_runs(sizes=(3_000,), data_sizes=(500,), seeds=(0, 1))
    both = pd.concat([runs, runs.assign(study="other")])
    assert len(finished_runs(both)) == 2


def test_a_bare_table_is_enough():
    bare = grid_runs()[["status", "dataset", "architecture", "optimizer", "loss", "n_params"]]
    done = finished_runs(bare)
    assert (done["objective"] == done["loss"]).all()
    assert set(done["direction"]) == {"minimize"}
    assert done["train_flops"].isna().all()


def test_a_missing_column_is_named():
    with pytest.raises(InputError, match="lacks the columns loss"):
        finished_runs(grid_runs().drop(columns="loss"))


def test_runs_that_differ_by_seed_are_one_design():
    done = finished_runs(grid_runs(seeds=(0, 1, 2)))
    assert np.bincount(design_ids(done)).tolist() == [3] * 25


def test_an_option_that_differs_makes_another_design():
    done = finished_runs(grid_runs(sizes=(3_000,), data_sizes=(500,), seeds=(0, 1)))
    assert design_ids(done).max() == 0
    done["training_warmup"] = [0.0, 0.1]
    assert design_ids(done).tolist() == [0, 1]


def test_options_that_are_lists_are_compared_by_content():
    done = finished_runs(grid_runs(sizes=(3_000,), data_sizes=(500,), seeds=(0, 1, 2)))
    done["architecture_depths"] = [[1, 2], np.array([1, 2]), [2, 1]]
    assert design_ids(done).tolist() == [0, 0, 1]


def test_designs_hold_means_and_spread():
    runs = grid_runs(sizes=(3_000,), data_sizes=(500,), seeds=(0, 1))
    runs["loss"] = [0.4, 0.6]
    table = designs(finished_runs(runs))
    assert table.loc[0, "loss"] == pytest.approx(0.5)
    assert table.loc[0, "loss_std"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert table.loc[0, "n_runs"] == 2


def test_seed_spread_is_the_noise_put_in():
    table = designs(finished_runs(grid_runs(seeds=tuple(range(8)), noise=0.02)))
    assert seed_spread(table) == pytest.approx(0.02, rel=0.15)
    assert seed_spread(designs(finished_runs(grid_runs(seeds=(0,))))) is None


def test_families_name_the_dataset_options_that_differ():
    runs = grid_runs(sizes=(3_000,), data_sizes=(500,), seeds=(0, 1))
    runs["dataset_split"] = ["random", "inter-patient"]
    names = [family.dataset for family, _ in families(designs(finished_runs(runs)))]
    assert names == ["toy-ecg split=inter-patient", "toy-ecg split=random"]
    alike = families(designs(finished_runs(runs.assign(dataset_split="random"))))
    assert alike[0][0] == ("toy-ecg", "convnext1d", "adamw")


def test_datasets_of_other_content_are_kept_apart():
    runs = grid_runs(sizes=(3_000,), data_sizes=(500,), seeds=(0, 1))
    runs["fingerprint"] = ["aaaaaaaa", "bbbbbbbb"]
    done = finished_runs(runs)
    assert done["dataset_label"].tolist() == ["toy-ecg content=aaaaaa", "toy-ecg content=bbbbbb"]
    assert design_ids(done).tolist() == [0, 1]
