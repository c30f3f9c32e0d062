"""Families side by side, as an analysis compares them."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from run_tables import PENALTY, grid_runs

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.families import pairs
from scalelab.analysis.families.laws import fit_families
from scalelab.analysis.families.pairs import compare_families
from scalelab.analysis.runs.designs import designs, finished_runs
from scalelab.jsonable import jsonable


@pytest.fixture(scope="module")
def laws():
    runs = grid_runs(optimizers=("adamw", "sgd", "sgdm"), seeds=(0, 1), noise=0.002)
    other = runs[runs["optimizer"] == "sgd"].assign(architecture="transformer")
    other["loss"] = 0.12 + (other["loss"] - 0.12) * 0.9
    other["trial_id"] += "-t"
    return fit_families(designs(finished_runs(pd.concat([runs, other]))), axes=["train_flops", "n_params"])


@pytest.fixture(scope="module")
def groups(laws):
    return compare_families(laws, (), 0.9)


def test_what_is_alike_but_for_one_thing_is_compared(groups):
    found = {(group.varies, group.held): len(group.pairs) for group in groups}
    assert found == {("architecture", "sgd"): 1, ("optimizer", "convnext1d"): 3}
    assert {group.axis for group in groups} == {"train_flops"}


def test_the_second_of_a_pair_has_the_larger_exponent(groups):
    for group in groups:
        for pair in group.pairs:
            assert pair.values[0] <= pair.values[1]
            assert pair.difference.value == pytest.approx(pair.values[1] - pair.values[0])
            assert pair.difference.lower <= pair.difference.value <= pair.difference.upper


def test_a_constant_penalty_is_no_other_exponent_but_another_worth(groups):
    (optimizers,) = (group for group in groups if group.varies == "optimizer")
    for pair in optimizers.pairs:
        assert pair.difference.lower <= 0 <= pair.difference.upper
        better = PENALTY[pair.second] < PENALTY[pair.first]
        assert (pair.multiplier.value > 1) == better
        assert "does not scale measurably differently" in pair.sentence


def test_p_values_are_corrected_within_a_group(groups):
    for group in groups:
        for pair in group.pairs:
            assert pair.test.p_bootstrap <= pair.test.p_holm <= 1


def test_the_multiplier_is_followed_along_the_common_scales(groups):
    pair = groups[0].pairs[0]
    assert pair.curve.shape[1] == 4
    assert pair.curve[-1, 0] == pytest.approx(pair.scale)
    assert pair.curve[-1, 1] == pytest.approx(pair.multiplier.value)


def test_an_axis_without_two_laws_gives_way_to_the_next(laws):
    (group, *_) = compare_families([law for law in laws if law.axis == "n_params"], (), 0.9)
    assert group.axis == "n_params"
    assert compare_families([law for law in laws if law.family.optimizer == "adamw"], (), 0.9) == ()


def test_each_of_many_families_is_compared_with_the_best(laws, groups, monkeypatch):
    monkeypatch.setattr(pairs, "MOST_FAMILIES", 2)
    (few, many) = compare_families(laws, (), 0.9)
    assert [(pair.first, pair.second) for pair in few.pairs] == [("convnext1d", "transformer")]
    assert not few.warnings
    assert {frozenset((pair.first, pair.second)) for pair in many.pairs} == {
        frozenset(("adamw", "sgd")),
        frozenset(("adamw", "sgdm")),
    }
    assert "3 families have too many pairs" in many.warnings[0]
    assert "compared with adamw" in many.warnings[0]
    every = {(pair.first, pair.second): pair for pair in groups[1].pairs}
    for pair in many.pairs:
        assert pair.values == every[pair.first, pair.second].values
        assert pair.test.p_bootstrap == every[pair.first, pair.second].test.p_bootstrap


def test_averages_of_forms_are_refused_in_words(laws):
    runs = grid_runs(optimizers=("adamw", "sgd"), seeds=(0,), noise=0.002)
    table = designs(finished_runs(runs))
    (group,) = compare_families(fit_families(table, law="auto", axes=["n_params"]), (), 0.9)
    assert isinstance(group, Refusal)
    assert "no exponent to compare" in group.reason


def test_documents_are_json(groups):
    document = json.loads(json.dumps(jsonable(groups)))
    assert document[0]["pairs"][0]["p_holm"] <= 1
