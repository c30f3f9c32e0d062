from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from sklearn import metrics as reference

from scalelab.components import Metric, Task
from scalelab.errors import DataError, InputError
from scalelab.train.metrics import objective_of, resolve_metric, resolve_metrics

NAMES = ("accuracy", "balanced-accuracy", "macro-f1", "auroc", "auprc")


def multiclass(n: int = 300, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    targets = generator.integers(0, k, n)
    outputs = generator.standard_normal((n, k)) + 1.5 * np.eye(k)[targets]
    return np.round(outputs, 1).astype(np.float32), targets  # rounding makes ties


def multilabel(n: int = 300, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    targets = (generator.random((n, k)) < 0.3).astype(np.float32)
    return np.round(generator.standard_normal((n, k)) + targets - 0.5, 1).astype(np.float32), targets


def compute(name: str, outputs: np.ndarray, targets: np.ndarray) -> float:
    return resolve_metric(name).compute(outputs, targets)


def softmax(outputs: np.ndarray) -> np.ndarray:
    exponents = np.exp(outputs.astype(float))
    return exponents / exponents.sum(1, keepdims=True)


def test_multiclass_metrics_agree_with_scikit_learn() -> None:
    outputs, targets = multiclass()
    predicted = outputs.argmax(1)
    assert compute("accuracy", outputs, targets) == reference.accuracy_score(targets, predicted)
    assert compute("balanced-accuracy", outputs, targets) == pytest.approx(
        reference.balanced_accuracy_score(targets, predicted)
    )
    assert compute("macro-f1", outputs, targets) == pytest.approx(
        reference.f1_score(targets, predicted, average="macro")
    )
    assert compute("auroc", outputs, targets) == pytest.approx(
        reference.roc_auc_score(targets, softmax(outputs), multi_class="ovr")
    )
    assert compute("auprc", outputs, targets) == pytest.approx(
        reference.average_precision_score(np.eye(4)[targets], softmax(outputs))
    )


def test_multilabel_metrics_agree_with_scikit_learn() -> None:
    outputs, targets = multilabel()
    predicted = (outputs > 0).astype(int)
    assert compute("accuracy", outputs, targets) == reference.accuracy_score(targets, predicted)
    assert compute("balanced-accuracy", outputs, targets) == pytest.approx(
        np.mean([reference.balanced_accuracy_score(targets[:, k], predicted[:, k]) for k in range(5)])
    )
    assert compute("macro-f1", outputs, targets) == pytest.approx(
        reference.f1_score(targets, predicted, average="macro")
    )
    assert compute("auroc", outputs, targets) == pytest.approx(reference.roc_auc_score(targets, outputs))
    assert compute("auprc", outputs, targets) == pytest.approx(
        reference.average_precision_score(targets, outputs)
    )


@pytest.mark.parametrize("name", NAMES)
def test_classes_that_never_occur_are_left_out(name: str) -> None:
    outputs, targets = multiclass()
    widened = np.concatenate([outputs, np.full((len(outputs), 1), -1e3, np.float32)], axis=1)
    assert compute(name, widened, targets) == pytest.approx(compute(name, outputs, targets))
    outputs, targets = multilabel()
    silent = np.full((len(outputs), 1), -9.0, np.float32)
    assert compute(name, np.hstack([outputs, silent]), np.hstack([targets, silent * 0])) == pytest.approx(
        compute(name, outputs, targets)
    )


@pytest.mark.parametrize("name", NAMES[3:])
def test_no_class_with_both_answers_is_nan_without_a_warning(name: str) -> None:
    outputs, _ = multilabel(10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(compute(name, outputs, np.zeros_like(outputs)))
        assert math.isnan(compute(name, outputs[:, :1], np.zeros(10, int)))


def test_a_class_predicted_but_never_true_has_an_f1_of_zero() -> None:
    outputs = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    assert compute("macro-f1", outputs, np.array([0, 0, 1, 1])) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_targets_that_are_not_labels_are_refused() -> None:
    with pytest.raises(DataError, match="0 and 1"):
        compute("accuracy", np.zeros((2, 2), np.float32), np.array([[0.5, 1.0], [0, 1]]))


def test_unknown_names_are_answered_with_close_matches() -> None:
    with pytest.raises(InputError, match="did you mean 'accuracy'"):
        resolve_metric("acuracy")
    with pytest.raises(InputError, match="known: accuracy"):
        resolve_metric("zzz")
    task = Task(input_shape=(1, 8), n_outputs=2, metrics=("auroc",), objective="auroc-score")
    with pytest.raises(InputError, match="did you mean 'auroc'"):
        objective_of(task)


def test_objective_and_its_direction() -> None:
    error = Metric(name="error", compute=lambda _, __: 0.0, direction="minimize")
    task = Task(input_shape=(1, 8), n_outputs=2, metrics=("auroc", error))
    assert objective_of(task) == ("loss", "minimize")
    assert [metric.name for metric in resolve_metrics(task)] == ["auroc", "error"]
    for objective, direction in (("auroc", "maximize"), ("error", "minimize")):
        chosen = Task(input_shape=(1, 8), n_outputs=2, metrics=("auroc", error), objective=objective)
        assert objective_of(chosen) == objective_of(task, objective) == (objective, direction)
    assert objective_of(chosen, "loss") == ("loss", "minimize")
    with pytest.raises(InputError, match=r"training\.objective 'auro' is .* did you mean 'auroc'"):
        objective_of(task, "auro")


@pytest.mark.parametrize("name", ["loss", "auroc"])
def test_a_metric_name_may_not_be_taken(name: str) -> None:
    twin = Metric(name=name, compute=lambda _, __: 0.0)
    with pytest.raises(InputError, match=f"metric name '{name}'"):
        resolve_metrics(Task(input_shape=(1, 8), n_outputs=2, metrics=("auroc", twin)))


@pytest.mark.parametrize("name", ["", "\udcff", "a\0b", "two\nlines"])
def test_a_metric_of_a_name_that_cannot_be_printed_is_refused(name):
    task = Task(input_shape=(1, 8), n_outputs=2, metrics=(Metric(name=name, compute=lambda *_: 0.5),))
    with pytest.raises(InputError, match="is not printable text"):
        resolve_metrics(task)
