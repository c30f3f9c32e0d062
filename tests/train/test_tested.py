"""The test split is looked at once, at the end, with the weights of the best step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from train_toys import Problem, Spoiled, TinyNet, make_data

from scalelab import schedules
from scalelab.errors import DataError, TrainingError
from scalelab.records import Length, TrainingOptions
from scalelab.schedules import LEAST_EXAMPLES, TEST_SHARE
from scalelab.train.batches import subset_indices
from scalelab.train.checkpoint import load_weights, save_weights
from scalelab.trainers import TrainResult

N_TEST = 300


@pytest.fixture
def tested(problem: Problem) -> Problem:
    test = make_data(2 * N_TEST, seed=5).validation
    return replace(problem, data=replace(make_data(1200), test=test))


@pytest.fixture
def spoiled(tested: Problem) -> Problem:
    return replace(tested, optimizer=lambda module: Spoiled(module.parameters(), lr=0.02))


def scores(result: TrainResult) -> tuple[object, ...]:
    return result.test_loss, result.test_objective, result.test_metrics, result.n_tested


def by_hand(problem: Problem, module: TinyNet, n: int) -> tuple[float, float]:
    """Returns loss and accuracy of a module on the first n of the drawn test examples."""
    test = problem.data.test
    assert test is not None
    rows = subset_indices(len(test), len(test), 0)[:n]
    module.eval()
    with torch.no_grad():
        outputs = module(torch.from_numpy(test.inputs[rows].astype(np.float32)))
    targets = torch.from_numpy(test.targets[rows])
    return float(functional.cross_entropy(outputs, targets)), float(
        (outputs.argmax(1) == targets).float().mean()
    )


@pytest.mark.parametrize("validation_examples", [None, 600])
def test_the_best_weights_are_what_is_tested(spoiled: Problem, validation_examples: int | None) -> None:
    module = TinyNet()
    asked = spoiled.with_training(validation_examples=validation_examples, test_examples=N_TEST)
    result = asked.train(module)
    assert result.best_step == 24
    last = by_hand(spoiled, module, N_TEST)
    assert result.best_weights is not None
    module.load_state_dict(result.best_weights)
    loss, accuracy = by_hand(spoiled, module, N_TEST)
    assert result.test_loss == pytest.approx(loss, rel=1e-5)
    assert result.test_objective == pytest.approx(accuracy, rel=1e-6)
    assert result.test_metrics == {"accuracy": result.test_objective}
    assert result.n_tested == N_TEST
    assert abs(last[0] - loss) > 0.01


def test_where_the_last_step_is_the_best_its_weights_are_tested(tested: Problem) -> None:
    module = TinyNet()
    task = replace(tested.data.task, objective="loss")
    result = tested.with_data(task=task).with_training(validations=1, test_examples=10**6).train(module)
    assert result.best_step == result.n_steps
    assert result.best_weights is None
    assert (
        result.test_loss
        == result.test_objective
        == pytest.approx(by_hand(tested, module, N_TEST)[0], rel=1e-5)
    )


def test_testing_changes_nothing_else(tested: Problem) -> None:
    without = tested.with_data(test=None).train()
    result = tested.train()
    assert scores(without) == (None, None, {}, None)
    assert [p.model_dump(exclude={"wall_seconds"}) for p in result.curve] == [
        p.model_dump(exclude={"wall_seconds"}) for p in without.curve
    ]
    assert result.n_tested == LEAST_EXAMPLES


def test_a_wrong_test_split_is_told_before_training(tested: Problem) -> None:
    test = tested.data.test
    assert test is not None
    for wrong, words in (
        (replace(test, targets=test.targets + 7), "test targets run from 7 to 9"),
        (replace(test, inputs=test.inputs[..., :8]), r"test inputs have shape \(2, 8\)"),
    ):
        with pytest.raises(DataError, match=words):
            tested.with_data(test=wrong).train()
    empty = replace(test, inputs=test.inputs[:0], targets=test.targets[:0])
    assert scores(tested.with_data(test=empty).train()) == (None, None, {}, None)


@pytest.mark.parametrize("stop", [9, 26, 39])
def test_a_resumed_run_has_the_same_test_scores(spoiled: Problem, checkpoint: Path, stop: int) -> None:
    straight = spoiled.train()
    left = iter(range(stop - 1, -1, -1))
    part = spoiled.train(checkpoint=checkpoint, should_stop=lambda: next(left) == 0)
    assert part.status == "interrupted"
    assert scores(part) == (None, None, {}, None)
    torch.manual_seed(99)
    assert scores(spoiled.train(TinyNet(), checkpoint=checkpoint)) == scores(straight)


def test_best_and_last_weights_are_kept(spoiled: Problem, tmp_path: Path) -> None:
    module, path = TinyNet(), tmp_path / "w.pt"
    result = spoiled.train(module)
    save_weights(path, "a", module, result.best_weights)
    again = TinyNet()
    load_weights(path, "a", again)
    assert result.best_weights is not None
    assert all(torch.equal(value, result.best_weights[name]) for name, value in again.state_dict().items())
    last = torch.load(path, weights_only=True)["last"]
    assert all(torch.equal(value, last[name]) for name, value in module.state_dict().items())
    with pytest.raises(TrainingError, match="belongs to trial a"):
        load_weights(path, "b", again)


@given(
    steps=st.integers(1, 100_000),
    batch_size=st.integers(1, 4096),
    n_test=st.integers(0, 10**6),
    asked=st.none() | st.integers(1, 10**6),
)
def test_the_test_costs_its_share_or_the_least(
    steps: int, batch_size: int, n_test: int, asked: int | None
) -> None:
    training = TrainingOptions(length=Length(steps=steps), batch_size=batch_size, test_examples=asked)
    n = schedules.tested_examples(training, steps, n_test, 1.0)
    assert 0 <= n <= n_test
    if asked is not None:
        assert n == min(asked, n_test)
    else:
        assert n in (n_test, LEAST_EXAMPLES) or n / 3 <= TEST_SHARE * steps * batch_size < (n + 1) / 3
