"""What a choice of runs takes as the answer now."""

from __future__ import annotations

import pandas as pd
import pytest
from run_tables import grid_runs

from scalelab.analysis.families.allocation import family_optima
from scalelab.analysis.families.choice import choose
from scalelab.analysis.families.chosen import SETTING, Question
from scalelab.analysis.families.laws import fit_families
from scalelab.analysis.families.pairs import MOST_FAMILIES, compare_families
from scalelab.analysis.runs.designs import designs, finished_runs
from scalelab.errors import InputError

CANDIDATES = pd.DataFrame(
    {"n_params": [1e6, 2e6, 1e6], "n_examples": [5e4, 5e4, 1e5], "train_flops": [3e11, 6e11, 6e11]}
)


def networks(n):
    """Designs of so many architectures, each a little worse than the one before it."""
    runs = grid_runs(seeds=(0,), noise=0.002)
    tables = []
    for i in range(n):
        own = runs.assign(architecture=f"net{i:02d}")
        own["loss"] = 0.12 + (own["loss"] - 0.12) * (1 + 0.05 * i)
        own["trial_id"] += f"-{i}"
        tables.append(own)
    return designs(finished_runs(pd.concat(tables)))


def compared(table, first, second):
    """The answer to which of two is better, as `choose` takes it."""
    names = table[["dataset", "optimizer"]].iloc[0].to_dict()
    pool = pd.concat([CANDIDATES.assign(architecture=one, trial_id="", **names) for one in (first, second)])
    question = Question("compare", {}, (first, second))
    found = choose(table, pool.reset_index(drop=True), question, budget=1e13, most=1)
    (answer,) = {one.answer for one in found.known}
    return answer


def test_a_pair_is_found_among_many_families():
    table = networks(MOST_FAMILIES + 2)
    answer = compared(table, "net05", "net09")
    assert answer.lower <= answer.value <= answer.upper
    alone = compared(table[table["architecture"].isin(["net05", "net09"])], "net05", "net09")
    assert answer == alone


def test_of_few_families_the_answer_is_that_of_the_analysis():
    table = networks(3)
    laws = fit_families(table)
    (group,) = compare_families(laws, family_optima(table, laws=laws), 0.9)
    pair = next(one for one in group.pairs if {one.first, one.second} == {"net01", "net02"})
    assert compared(table, "net01", "net02") == pair.multiplier


def test_compute_that_no_run_records_is_compared_as_the_analysis_does():
    table = networks(2).assign(train_flops=float("nan"))
    answer = compared(table, "net00", "net01")
    assert answer.lower <= answer.value <= answer.upper


def test_an_architecture_and_an_optimizer_are_not_compared():
    with pytest.raises(InputError, match="not of one kind"):
        compared(networks(2), "net00", "adamw")


@pytest.mark.parametrize("first", ["net00", "net01"])
def test_without_runs_of_one_the_pair_has_no_answer(first):
    table = networks(2)
    assert compared(table[table["architecture"] != first], "net00", "net01") is None


def test_the_best_setting_of_a_scale_is_what_a_law_has_and_what_is_repeated():
    runs = grid_runs(seeds=(0, 1), noise=0.01, optimizers=("adamw",))
    worse = runs.assign(optimizer_lr=1e-1, loss=1.3 * runs["loss"], trial_id=runs["trial_id"] + "-worse")
    both = designs(finished_runs(pd.concat([runs.assign(optimizer_lr=1e-3), worse])))
    both[SETTING] = both["first_run"]
    best = both[~both["first_run"].str.endswith("-worse")]
    scales = ["dataset", "architecture", "optimizer", "n_params", "n_examples", "train_flops", SETTING]
    pool = both[scales].assign(trial_id=both["first_run"])
    question = Question("target", {"n_params": 1e8, "n_examples": 1e6})
    found = choose(both, pool, question, budget=1e18, most=3)
    alone = choose(best, best[scales].assign(trial_id=best["first_run"]), question, budget=1e18, most=3)
    assert found.runs
    assert found.runs == alone.runs
    (known,), (known_alone,) = found.known, alone.known
    assert (known.n_runs, known.misfit) == (known_alone.n_runs, known_alone.misfit)
    assert not any(one.trial.endswith("-worse") for one in found.runs)
