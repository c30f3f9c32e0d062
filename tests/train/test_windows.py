"""Examples of several windows: what an epoch draws of them, and that all numbers are of examples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from train_toys import Problem, TinyNet, make_data

from scalelab import schedules
from scalelab.components import Metric, OpenDataset, Split
from scalelab.errors import DataError
from scalelab.records import Length, TrainingOptions
from scalelab.train.batches import BatchOrder, Material
from scalelab.train.device import seed_everything


def recordings(n: int, seed: int, most: int = 9) -> Split:
    """Examples with one to `most` windows, all of the class of their example."""
    counts = np.random.default_rng(seed).integers(1, most + 1, n)
    one = make_data(2 * int(counts.sum()), seed=seed).train
    order = np.argsort(one.targets, kind="stable")
    targets = one.targets[order][np.cumsum(counts) - 1]
    return Split(one.inputs[order], targets, counts)


@pytest.fixture
def problem(problem: Problem) -> Problem:
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def remember(outputs: np.ndarray, targets: np.ndarray) -> float:
        seen.append((outputs, targets))
        return float((outputs.argmax(1) == targets).mean())

    data = replace(
        problem.data,
        train=recordings(40, 1),
        validation=recordings(30, 2),
        test=recordings(20, 3),
        task=replace(problem.data.task, metrics=(Metric(name="share", compute=remember),), objective="share"),
    )
    return replace(problem, data=data).with_trial(n_examples=32)


def means(module: TinyNet, split: Split) -> np.ndarray:
    """The mean of a module's outputs for the windows of each example, by a loop."""
    module.eval()
    assert split.windows is not None
    ends = np.cumsum(split.windows)
    with torch.no_grad():
        outputs = module(torch.from_numpy(split.inputs.astype(np.float32))).double().numpy()
    return np.stack([outputs[end - n : end].mean(axis=0) for end, n in zip(ends, split.windows, strict=True)])


@pytest.mark.parametrize("drawn", ["random", "all"])
def test_losses_and_metrics_are_of_examples(problem: Problem, drawn: Literal["random", "all"]) -> None:
    module = TinyNet()
    result = problem.with_data(train_windows=drawn).train(module)
    assert result.n_validated == 30
    assert result.n_tested == 20
    found = means(module, problem.data.validation)
    targets = problem.data.validation.targets
    expected = functional.cross_entropy(torch.from_numpy(found), torch.from_numpy(targets))
    assert result.loss_last == pytest.approx(float(expected), rel=1e-5)
    assert result.objective_last == pytest.approx((found.argmax(1) == targets).mean())


@pytest.mark.parametrize("drawn", ["random", "all"])
def test_lengths_count_what_an_epoch_draws(problem: Problem, drawn: Literal["random", "all"]) -> None:
    problem = problem.with_data(train_windows=drawn).with_training(length=Length(epochs=3), batch_size=8)
    result = problem.train()
    order = np.random.default_rng(problem.trial.data_seed).permutation(40)[:32]
    assert problem.data.train.windows is not None
    n_windows = int(problem.data.train.windows[order].sum())
    assert (result.n_windows, result.n_available) == (n_windows, 40)
    assert result.n_steps == -(-3 * (32 if drawn == "random" else n_windows) // 8)
    assert result.epochs == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("drawn", ["random", "all"])
@pytest.mark.parametrize("sampler", ["shuffled", "balanced"])
def test_a_resumed_run_is_the_same_bit_for_bit(
    problem: Problem, tmp_path: Path, drawn: Literal["random", "all"], sampler: str
) -> None:
    problem = problem.with_data(train_windows=drawn).with_training(sampler=sampler)
    straight = problem.train()
    calls = iter(range(100))
    file = tmp_path / "checkpoint"
    seed_everything(0)
    stopped = problem.train(checkpoint=file, should_stop=lambda: next(calls) == 7)
    assert stopped.status == "interrupted"
    resumed = problem.train(checkpoint=file)
    assert resumed.resumed_from == 7
    assert [point.loss for point in resumed.curve] == [point.loss for point in straight.curve]
    assert resumed.test_loss == straight.test_loss


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
    st.integers(0, 2**63 - 1),
    st.integers(1, 64),
)
def test_an_epoch_takes_one_window_of_every_example(counts: list[int], seed: int, batch: int) -> None:
    windows = np.array(counts)
    n = len(counts)
    order = BatchOrder(n, batch, seed, None, windows)
    again = BatchOrder(n, batch, seed, None, windows)
    owners = np.repeat(np.arange(n), windows)
    steps = -(-3 * n // batch)
    stream = np.concatenate([order.positions(step) for step in range(1, steps + 1)])
    for epoch in range(3):
        assert sorted(owners[stream[epoch * n : (epoch + 1) * n]]) == list(range(n))
    assert (again.positions(steps) == order.positions(steps)).all()


def test_epochs_draw_other_windows_and_subsets_draw_alike() -> None:
    windows = np.full(50, 20)
    order = BatchOrder(50, 50, 3, None, windows)
    epochs = [np.sort(order.positions(step)) for step in range(1, 201)]
    assert (epochs[0] != epochs[1]).mean() > 0.8
    assert len(np.unique(np.concatenate(epochs))) > 0.99 * 1000  # all windows come up
    smaller = BatchOrder(20, 20, 3, None, windows[:20])
    np.testing.assert_array_equal(np.sort(smaller.positions(2)), epochs[1][:20])


def test_a_balanced_epoch_of_all_windows_balances_windows(problem: Problem) -> None:
    asked = problem.with_training(sampler="balanced")
    for drawn in ("random", "all"):
        material = Material.of(asked.trial, replace(problem.data, train_windows=drawn))  # type: ignore[arg-type]
        size = asked.trial.training.batch_size
        steps = material.an_epoch // size
        positions = np.concatenate([material.order.positions(step) for step in range(1, steps + 1)])
        train = problem.data.train
        assert train.windows is not None
        classes = np.repeat(train.targets, train.windows)[material.rows[positions]]
        counts = np.bincount(classes, minlength=3)
        assert np.ptp(counts) <= size


def test_one_window_each_is_as_without(problem: Problem) -> None:
    plain = replace(problem, data=make_data(200)).with_trial(n_examples=60)
    ones = np.ones(100, dtype=np.int64)
    with_ones = plain.with_data(
        train=replace(plain.data.train, windows=ones), validation=replace(plain.data.validation, windows=ones)
    )
    for drawn in ("random", "all"):
        one, other = plain.train(), with_ones.with_data(train_windows=drawn).train()
        assert [point.loss for point in one.curve] == [point.loss for point in other.curve]
        assert [point.train_loss for point in one.curve] == [point.train_loss for point in other.curve]
        assert one.n_windows is None
        assert other.n_windows == 60


def test_validation_costs_its_share_in_forward_passes() -> None:
    training = TrainingOptions()
    once = schedules.Validations.of(training, 10**5, 10**6)
    many = schedules.Validations.of(training, 10**5, 10**6, 50.0)
    assert many.examples == pytest.approx(once.examples / 50, rel=0.01)
    tested = [schedules.tested_examples(training, 10**5, 10**6, passes) for passes in (1.0, 50.0)]
    assert tested[1] == pytest.approx(tested[0] / 50, rel=0.01)


@pytest.mark.parametrize(
    ("windows", "says"),
    [
        ([1, 2], "give an array of whole numbers"),
        (np.array([1.0, 2.0]), "give an array of whole numbers"),
        (np.array([[1], [2]]), "give an array of whole numbers"),
        (np.array([0, 100]), "each example has 1 or more"),
        (np.ones(99, dtype=int), "add up to 99; there are 100 targets"),
        (np.full(100, 2), "add up to 200; there are 100 targets, one per example, and 100 rows"),
    ],
)
def test_wrong_windows_are_one_line(problem: Problem, windows: object, says: str) -> None:
    data: OpenDataset = make_data(200)
    split = Split(data.train.inputs, data.train.targets, windows)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=says) as caught:
        replace(problem, data=replace(data, train=split)).train()
    assert "\n" not in str(caught.value)


def test_what_an_epoch_draws_is_one_of_two_words(problem: Problem) -> None:
    with pytest.raises(DataError, match="train_windows is 'some'; give 'all' or 'random'"):
        problem.with_data(train_windows="some").train()
