"""The official scores: the nine reference cases, a plain reading of the definition, and bad input."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from physionet_samples import REAL
from scalelab_plugins.physionet2021 import challenge_metric
from scalelab_plugins.physionet2021.challenge import accuracy, areas, challenge_scores, f_measures
from scalelab_plugins.physionet2021.classes import SINUS_RHYTHM, weights
from sklearn.metrics import roc_auc_score

import scalelab

REFERENCE = REAL.parents[1] / "reference" / "challenge-metric"
CASES = (
    json.loads((REFERENCE / "expected.json").read_text(encoding="utf-8"))["cases"]
    if REFERENCE.is_dir()
    else []
)
NUMBERS = (
    "challenge_metric", "auroc", "auprc", "accuracy", "f_measure",
    "auroc_per_class", "auprc_per_class", "f_per_class",
)  # fmt: skip


@pytest.mark.skipif(not CASES, reason=f"no official scores in {REFERENCE}")
def test_there_are_nine_cases():
    assert len(CASES) == 9


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_agrees_with_the_official_scorer(case):
    arrays = np.load(REFERENCE / "cases.npz")
    labels, scores, binary = (arrays[f"{case['name']}_{what}"] for what in ("labels", "scores", "binary"))
    found = challenge_scores(labels, scores, binary)
    for name in NUMBERS:
        expected = np.array(case[name], dtype=float)
        np.testing.assert_allclose(getattr(found, name), expected, rtol=0, atol=1e-10, err_msg=name)


WEIGHTS = weights().tolist()


def plainly(labels, outputs):
    def score(answers):
        total = 0.0
        for label, answer in zip(labels, answers, strict=True):
            either = max((label | answer).sum(), 1)
            for j in np.flatnonzero(label):
                for k in np.flatnonzero(answer):
                    total += WEIGHTS[j][k] / either
        return total

    always = np.zeros_like(labels)
    always[:, SINUS_RHYTHM] = 1
    inactive = score(always)
    return (score(outputs) - inactive) / (score(labels) - inactive)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(1, 12))
def test_agrees_with_a_plain_reading(seed, part, n):
    rng = np.random.default_rng(seed)
    labels, outputs = ((rng.random((n, 26)) < part).astype(int) for _ in range(2))
    labels[0, 3] = 1
    assert challenge_metric(labels, outputs) == pytest.approx(plainly(labels, outputs), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 5))
def test_auroc_agrees_with_sklearn_whatever_the_ties(seed, n, levels):
    rng = np.random.default_rng(seed)
    labels = rng.random((n, 26)) < 0.3
    scores = rng.integers(0, levels, size=(n, 26))
    found, _ = areas(labels, scores.astype(np.uint8))
    for k in range(26):
        if 0 < labels[:, k].sum() < n:
            assert found[k] == pytest.approx(roc_auc_score(labels[:, k], scores[:, k]), abs=1e-12)
        else:
            assert np.isnan(found[k])


def test_always_answering_sinus_rhythm_scores_nothing():
    rng = np.random.default_rng(0)
    labels = rng.random((500, 26)) < 0.08
    sinus = np.zeros_like(labels)
    sinus[:, SINUS_RHYTHM] = True
    assert challenge_metric(labels, sinus) == 0
    assert challenge_metric(labels, labels) == 1
    only_sinus = sinus[:3]
    assert challenge_metric(only_sinus, only_sinus) == 0  # nothing to gain, as the official scorer has it


def test_absent_classes_are_left_out_of_the_means():
    labels, outputs = np.zeros((4, 26), dtype=bool), np.zeros((4, 26), dtype=bool)
    labels[:2, 0] = outputs[1:3, 0] = True
    assert np.isnan(f_measures(labels, outputs)[1:]).all()
    scores = challenge_scores(labels, outputs.astype(float), outputs)
    assert scores.f_measure == scores.f_per_class[0] == 0.5
    assert accuracy(labels, outputs) == 0.5
    nothing = challenge_scores(labels[2:], outputs[2:].astype(float), np.zeros((2, 26), dtype=bool))
    assert np.isnan([nothing.f_measure, nothing.auroc, nothing.auprc]).all()


@pytest.mark.parametrize(
    ("labels", "outputs", "says"),
    [
        (np.zeros((3, 25)), np.zeros((3, 25)), "shape"),
        (np.zeros((0, 26)), np.zeros((0, 26)), "shape"),
        (np.zeros((3, 26)), np.zeros((2, 26)), "3 rows"),
        (np.zeros((3, 26)), np.full((3, 26), 0.3), "threshold"),
        (np.full((3, 26), np.nan), np.zeros((3, 26)), "0 and 1"),
        (np.full((3, 26), "x"), np.zeros((3, 26)), "numbers"),
    ],
)
def test_bad_input_is_one_clear_line(labels, outputs, says):
    with pytest.raises(scalelab.InputError, match=says):
        challenge_metric(labels, outputs)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused_with_their_place(broken):
    labels, scores = np.zeros((4, 26), dtype=bool), np.zeros((4, 26))
    scores[2, 1] = scores[3, 0] = broken
    for call in (lambda: areas(labels, scores), lambda: challenge_scores(labels, scores, labels)):
        with pytest.raises(scalelab.InputError, match="2 values that are not finite") as caught:
            call()
        assert f"the first one {broken:g} in row 2, class AFL" in str(caught.value)
