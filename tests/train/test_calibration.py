"""Expected calibration error and reliability bins, against loops and scikit-learn; and those of a run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.calibration import calibration_curve
from torch.nn import functional
from train_toys import N_CLASSES, Problem, Spoiled, TinyNet, make_data

from scalelab.components import OpenDataset, Split, Task
from scalelab.errors import DataError
from scalelab.records import Calibration
from scalelab.train.batches import subset_indices
from scalelab.train.calibration import BINS, MOST_CLASSES, calibration
from scalelab.train.metrics import resolve_metric
from scalelab.trainers import TrainResult

ECE = resolve_metric("ece")
ANY: dict[str, Any] = {"input_shape": (1, 4)}


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draws outputs and targets of a multi-class or a multi-label task."""
    n, k = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    outputs = draw(arrays.arrays(np.float32, (n, k), elements=st.floats(-30, 30, width=32)))
    if draw(st.booleans()):
        return outputs, draw(arrays.arrays(np.int64, n, elements=st.integers(0, k - 1)))
    return outputs, draw(arrays.arrays(np.uint8, (n, k), elements=st.integers(0, 1)))


def probabilities(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    logits = torch.from_numpy(outputs).double()
    return (logits.sigmoid() if targets.ndim == 2 else logits.softmax(1)).numpy()


def there(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return targets.astype(float) if targets.ndim == 2 else np.eye(outputs.shape[1])[targets]


def off_the_edges(shares: np.ndarray) -> bool:
    """Whether no probability is within rounding of a bin's edge."""
    return bool((np.abs(shares * BINS - np.round(shares * BINS)) > 1e-9).all())


def by_loops(shares: np.ndarray, truth: np.ndarray) -> list[float]:
    """Returns the error of each class, from the definition."""
    errors = []
    for k in range(shares.shape[1]):
        error = 0.0
        for b in range(BINS):
            inside = [
                i
                for i, p in enumerate(shares[:, k])
                if b / BINS <= p < (b + 1) / BINS or (b == BINS - 1 and p == 1)
            ]
            if inside:
                mean = sum(shares[i, k] for i in inside) / len(inside)
                part = sum(truth[i, k] for i in inside) / len(inside)
                error += len(inside) / len(shares) * abs(mean - part)
        errors.append(error)
    return errors


def of(outputs: np.ndarray, targets: np.ndarray, **task: Any) -> Calibration | None:
    loss = "bce" if targets.ndim == 2 else "cross-entropy"
    return calibration(outputs, targets, Task(**{**ANY, "n_outputs": outputs.shape[1], "loss": loss, **task}))


@settings(max_examples=200, deadline=None)
@given(answers())
def test_errors_are_those_of_the_definition(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    shares, truth = probabilities(*drawn), there(*drawn)
    found = of(*drawn)
    assert found is not None
    value = ECE.compute(*drawn)
    assert value == pytest.approx(np.mean(list(found.ece.values())), abs=1e-12)
    assert 0 <= value <= 1
    assert sum(found.counts) == shares.size
    assert sum(found.positives) == truth.sum()
    if off_the_edges(shares):
        assert list(found.ece.values()) == pytest.approx(by_loops(shares, truth), abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(answers())
def test_bins_are_those_of_scikit_learn(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    shares, truth = probabilities(*drawn).ravel(), there(*drawn).ravel()
    if not off_the_edges(shares):
        return
    found = of(*drawn)
    assert found is not None
    parts, means = calibration_curve(truth, shares, n_bins=BINS, strategy="uniform")
    filled = [i for i, n in enumerate(found.counts) if n]
    assert [found.probabilities[i] for i in filled] == pytest.approx(means, abs=1e-9)
    assert [found.positives[i] / found.counts[i] for i in filled] == pytest.approx(parts)
    assert all(found.probabilities[i] is None for i in range(BINS) if i not in filled)
    counts, _ = np.histogram(shares, bins=BINS, range=(0, 1))
    assert list(found.counts) == counts.tolist()


def test_errors_by_hand() -> None:
    shares = np.array([[0.9, 0.3], [0.89, 0.3], [0.1, 0.3], [0.88, 0.3]])
    targets = np.array([[1, 0], [0, 0], [1, 0], [1, 0]])
    # Class 0: {0.9, 0.89, 0.88} are in one bin of fifteen, two thirds of them positive; {0.1} -> 0.9.
    first = (3 * abs(0.89 - 2 / 3) + 0.9) / 4
    outputs = np.log(shares / (1 - shares))
    assert ECE.compute(outputs, targets) == pytest.approx((first + 0.3) / 2)
    found = of(outputs, targets, classes=("flutter", "none"))
    assert found is not None
    assert found.ece == pytest.approx({"flutter": first, "none": 0.3})


def test_the_right_probabilities_have_a_small_error() -> None:
    generator = np.random.default_rng(0)
    shares = generator.random((20_000, 3))
    outputs = np.log(shares / (1 - shares))
    targets = (generator.random((20_000, 3)) < shares).astype(np.uint8)
    assert ECE.compute(outputs, targets) < 0.02
    assert ECE.compute(np.full_like(outputs, -50.0), targets) == pytest.approx(targets.mean())
    assert ECE.compute(np.full((5, 2), 50.0), np.ones((5, 2))) == pytest.approx(0)
    assert (ECE.direction, ECE.bounds) == ("minimize", (0.0, 1.0))


def test_extreme_outputs_are_no_warning_and_nan_is_no_number() -> None:
    extreme = np.array([[1e4, -1e4], [-np.inf, 0.0]], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ECE.compute(extreme, np.array([0, 1])) == 0
        assert ECE.compute(extreme, np.array([[1, 0], [0, 1]])) == pytest.approx(0.125)
        for broken, targets in (
            (np.array([[np.inf, 0.0]]), np.array([0])),
            (np.array([[np.nan, 0.0]]), np.array([[1, 0]])),
        ):
            assert math.isnan(ECE.compute(broken, targets))
            assert of(broken, targets) is None


def test_classes_have_their_names_or_their_numbers() -> None:
    outputs, targets = np.eye(3), np.arange(3)
    for classes, names in (
        (("N", "S", "V"), ["N", "S", "V"]),
        ((), ["0", "1", "2"]),
        (("N", "N", "V"), ["0", "1", "2"]),
    ):
        found = of(outputs, targets, classes=classes)
        assert found is not None
        assert list(found.ece) == names


def test_examples_are_taken_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    outputs, targets = generator.standard_normal((50, 4)), generator.integers(0, 4, 50)
    value, whole = ECE.compute(outputs, targets), of(outputs, targets)
    for size in (1, 12, 400):
        monkeypatch.setattr("scalelab.train.calibration._AT_A_TIME", size)
        assert ECE.compute(outputs, targets) == pytest.approx(value)
        part = of(outputs, targets)
        assert part is not None
        assert whole is not None
        assert (part.counts, part.positives) == (whole.counts, whole.positives)


def test_of_very_many_classes_nothing_is_recorded() -> None:
    targets = np.arange(3)
    assert of(np.eye(3, MOST_CLASSES), targets) is not None
    assert of(np.eye(3, MOST_CLASSES + 1), targets) is None
    assert 0 < ECE.compute(np.eye(3, MOST_CLASSES + 1), targets) < 1


def test_what_is_no_classifier_has_none() -> None:
    outputs = np.eye(3)
    own: Any = functional.multilabel_soft_margin_loss
    assert of(outputs, np.eye(3), loss="mse") is None
    assert of(outputs, np.full((3, 3), 0.5)) is None
    assert of(outputs, np.eye(3), loss=own) is None
    assert of(outputs, np.eye(3), loss=own, metrics=("ece",)) is not None
    with pytest.raises(DataError, match="targets of 0 and 1"):
        ECE.compute(outputs, np.full((3, 3), 0.5))


N_WHOLE, N_TEST = 600, 300


@pytest.fixture
def spoiled(problem: Problem) -> Problem:
    """A run whose best step is not its last, with a test split."""
    test = make_data(2 * N_TEST, seed=5).validation
    data = replace(make_data(2 * N_WHOLE), test=test)
    data = replace(data, task=replace(data.task, metrics=("accuracy", "ece"), classes=("a", "b", "c")))
    return replace(problem, data=data, optimizer=lambda module: Spoiled(module.parameters(), lr=0.02))


def evaluated(data: OpenDataset, split: Split, module: TinyNet) -> Calibration | None:
    module.eval()
    with torch.no_grad():
        outputs = module(torch.from_numpy(split.inputs.astype(np.float32))).numpy()
    return calibration(outputs, split.targets, data.task)


def alike(one: Calibration, other: Calibration | None) -> bool:
    """Whether two are the same but for the last bits, which differ with the size of a batch."""
    assert other is not None
    assert one.counts == other.counts
    assert one.positives == other.positives
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    return one.ece == pytest.approx(other.ece, abs=1e-6)


@pytest.mark.parametrize("validation_examples", [None, N_WHOLE])
def test_a_run_records_the_calibration_of_its_best_weights(
    spoiled: Problem, validation_examples: int | None
) -> None:
    asked = spoiled.with_training(validation_examples=validation_examples, test_examples=N_TEST)
    result = asked.train()
    assert result.best_step == 24
    assert result.best_weights is not None
    assert result.calibration is not None
    best, test = TinyNet(), spoiled.data.test
    best.load_state_dict(result.best_weights)
    assert test is not None
    assert list(result.calibration) == ["validation", "test"]
    assert alike(result.calibration["validation"], evaluated(spoiled.data, spoiled.data.validation, best))
    assert alike(result.calibration["test"], evaluated(spoiled.data, test, best))
    for split, metrics in (("validation", result.metrics), ("test", result.test_metrics)):
        told = result.calibration[split]
        assert list(told.ece) == ["a", "b", "c"]
        assert metrics["ece"] == pytest.approx(np.mean(list(told.ece.values())), abs=1e-12)
    assert sum(result.calibration["validation"].counts) == N_CLASSES * N_WHOLE


def test_where_the_last_step_is_the_best_and_a_part_is_tested(problem: Problem) -> None:
    test = make_data(2 * N_TEST, seed=5).validation
    module, data = TinyNet(), replace(make_data(2 * N_WHOLE), test=test)
    asked = replace(problem, data=data).with_training(validations=1, test_examples=150)
    result = asked.train(module)
    assert result.best_step == result.n_steps
    assert result.calibration is not None
    assert alike(result.calibration["validation"], evaluated(data, data.validation, module))
    rows = subset_indices(N_TEST, N_TEST, 0)[:150]
    part = Split(test.inputs[rows], test.targets[rows])
    assert alike(result.calibration["test"], evaluated(data, part, module))


@pytest.mark.parametrize("validation_examples", [None, N_WHOLE])
@pytest.mark.parametrize("stop", [9, 26, 39])
def test_a_resumed_run_has_the_same_calibration(
    spoiled: Problem, checkpoint: Path, stop: int, validation_examples: int | None
) -> None:
    asked = spoiled.with_training(validation_examples=validation_examples)
    straight = asked.train()
    left = iter(range(stop - 1, -1, -1))
    assert asked.train(checkpoint=checkpoint, should_stop=lambda: next(left) == 0).status == "interrupted"
    torch.manual_seed(99)
    assert asked.train(TinyNet(), checkpoint=checkpoint).calibration == straight.calibration


def test_without_a_test_split_and_after_a_divergence(spoiled: Problem) -> None:
    class Explodes(Spoiled):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            super().step()
            if self.taken == 30:
                self.param_groups[0]["params"][0].data.fill_(float("nan"))

    def splits(problem: Problem) -> list[str]:
        result: TrainResult = problem.train()
        assert result.calibration is not None
        return list(result.calibration)

    assert splits(spoiled.with_data(test=None)) == ["validation"]
    optimizer: Callable[..., Any] = lambda module: Explodes(module.parameters(), lr=0.02)  # noqa: E731
    assert splits(replace(spoiled, optimizer=optimizer)) == ["validation"]


def test_a_regression_has_none(problem: Problem) -> None:
    task = Task(input_shape=problem.data.task.input_shape, n_outputs=1, loss="mse")
    splits = {
        name: Split(split.inputs, split.targets[:, None].astype(np.float32))
        for name, split in (("train", problem.data.train), ("validation", problem.data.validation))
    }
    assert problem.with_data(task=task, **splits).train().calibration is None
