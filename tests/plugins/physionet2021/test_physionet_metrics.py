"""Thresholds fitted without flattery, and the metrics of the task."""

import itertools

import numpy as np
from scalelab_plugins.physionet2021 import challenge_metric
from scalelab_plugins.physionet2021.metrics import challenge_metrics
from scalelab_plugins.physionet2021.thresholds import decide, fit_thresholds


def example(n=400, seed=0, shift=-2.0):
    """Outputs that rank well but stand too low, and their labels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 26)) < 0.1).astype(np.uint8)
    return (rng.normal(size=(n, 26)) + 2.5 * labels + shift).astype(np.float32), labels


def test_common_threshold_is_the_best_there_is():
    outputs, labels = example()
    threshold = fit_thresholds(outputs, labels, "global")
    assert np.ptp(threshold) == 0
    values = np.unique(outputs)
    cuts = np.concatenate([[values[0] - 1], (values[1:] + values[:-1].astype(float)) / 2, [values[-1] + 1]])
    best = max(challenge_metric(labels, outputs > cut) for cut in cuts[::7])
    assert challenge_metric(labels, outputs > threshold) >= best


def test_thresholds_per_class_are_a_local_optimum():
    outputs, labels = example(40)
    common, each = (fit_thresholds(outputs, labels, mode) for mode in ("global", "per-class"))
    best = challenge_metric(labels, outputs > each)
    assert best >= challenge_metric(labels, outputs > common)
    for k, value in itertools.product(range(26), range(0, 40, 5)):
        if labels[:, k].any():
            other = each.copy()
            other[k] = float(outputs[value, k])
            assert challenge_metric(labels, outputs > other) <= best + 1e-12


def test_class_without_a_positive_keeps_the_common_threshold():
    outputs, labels = example(60)
    labels[:, 5] = 0
    common, each = (fit_thresholds(outputs, labels, mode) for mode in ("global", "per-class"))
    assert each[5] == common[5]


def test_a_half_decides_only_the_other():
    outputs, labels = example(101)
    for mode in ("global", "per-class"):
        answers = decide(outputs, labels, mode)
        np.testing.assert_array_equal(
            answers[:50], outputs[:50] > fit_thresholds(outputs[50:], labels[50:], mode)
        )
        np.testing.assert_array_equal(
            answers[50:], outputs[50:] > fit_thresholds(outputs[:50], labels[:50], mode)
        )
        changed = labels.copy()
        changed[:50] = 1 - changed[:50]
        np.testing.assert_array_equal(decide(outputs, changed, mode)[:50], answers[:50])


def test_what_cannot_be_learned_does_not_flatter():
    """Outputs without information: fitting and judging on the same rows scores, cross-fitting does not."""
    rng = np.random.default_rng(0)
    flattered, honest = [], []
    for _ in range(8):
        labels = (rng.random((60, 26)) < 0.1).astype(np.uint8)
        outputs = rng.normal(size=(60, 26)).astype(np.float32)
        same = outputs > fit_thresholds(outputs, labels, "per-class")
        flattered.append(challenge_metric(labels, same))
        honest.append(challenge_metric(labels, decide(outputs, labels, "per-class")))
    assert np.mean(flattered) > np.mean(honest) + 0.05


def test_fitting_beats_one_half_where_outputs_stand_too_low():
    outputs, labels = example()
    score = {
        mode: challenge_metric(labels, decide(outputs, labels, mode))
        for mode in ("0.5", "global", "per-class")
    }
    assert score["global"] > score["0.5"]
    assert score["per-class"] > score["0.5"]


def test_few_rows_and_equal_outputs():
    outputs, labels = np.zeros((1, 26), dtype=np.float32), np.ones((1, 26), dtype=np.uint8)
    assert not decide(outputs, labels, "global").any()
    assert fit_thresholds(outputs, labels, "per-class").max() < 0


def test_metrics_of_the_task():
    outputs, labels = example()
    metrics = {metric.name: metric for metric in challenge_metrics("0.5")}
    assert list(metrics) == ["challenge-metric", "auroc", "auprc", "f-measure", "accuracy"]
    assert metrics["challenge-metric"].compute(outputs, labels) == challenge_metric(labels, outputs > 0)
    for metric in metrics.values():
        assert metric.direction == "maximize"
        assert metric.bounds[1] == 1
        assert 0 < metric.compute(outputs, labels) < 1
        assert np.isnan(metric.compute(np.full_like(outputs, np.nan), labels))
