from __future__ import annotations

import numpy as np
import pytest
import torch

from scalelab.components import Task
from scalelab.errors import DataError, InputError
from scalelab.train.losses import check_targets, constant_loss, resolve_loss


def test_cross_entropy_of_uniform_outputs_is_the_log_of_the_classes() -> None:
    assert resolve_loss("cross-entropy")(torch.zeros(5, 7), torch.arange(5)).item() == pytest.approx(
        np.log(7)
    )


def test_bce_and_mse_by_hand() -> None:
    outputs, targets = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    by_hand = (np.log(2) + np.log1p(np.exp(2.0))) / 2
    assert resolve_loss("bce")(outputs, targets).item() == pytest.approx(by_hand)
    assert resolve_loss("mse")(outputs, targets).item() == pytest.approx(2.5)


def test_a_function_is_returned_as_it_is() -> None:
    def own(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs - targets).abs().mean()

    assert resolve_loss(own) is own


def test_an_unknown_loss_is_answered_with_close_matches() -> None:
    with pytest.raises(InputError, match="did you mean 'cross-entropy'"):
        resolve_loss("crossentropy")


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        ("cross-entropy", np.zeros((4, 3)), "class indices"),
        ("cross-entropy", np.zeros(4), "class indices"),
        ("cross-entropy", np.array([0, 1, 3]), "from 0 to 2"),
        ("cross-entropy", np.array([0, -1]), "from 0 to 2"),
        ("bce", np.zeros(4), "n_outputs"),
        ("mse", np.zeros((4, 1)), "n_outputs"),
        ("bce", np.full((4, 3), 2.0), "0 to 1"),
    ],
)
def test_targets_that_a_loss_would_misread_are_refused(loss: str, targets: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_targets(targets, Task(input_shape=(1, 8), n_outputs=3, loss=loss), "training")


def task_of(loss: str, n_outputs: int = 3) -> Task:
    return Task(input_shape=(1, 8), n_outputs=n_outputs, loss=loss)


def answers(loss: str, targets: np.ndarray, outputs: np.ndarray) -> list[float]:
    """The loss of each row of outputs, given as the answer to every target."""
    own = torch.from_numpy(targets)
    rows = torch.from_numpy(outputs)
    return [resolve_loss(loss)(row.expand(len(own), -1), own).item() for row in rows]


@pytest.mark.parametrize("loss", ["cross-entropy", "bce", "mse"])
def test_no_constant_answer_is_better_than_the_best_one(loss: str) -> None:
    draws = np.random.default_rng(0)
    classes = draws.choice(3, 200, p=[0.7, 0.2, 0.1])
    if loss == "cross-entropy":
        targets, best = classes, np.log(np.bincount(classes) / 200)
    elif loss == "bce":
        targets = np.eye(3)[classes]
        best = np.log(targets.mean(0) / (1 - targets.mean(0)))
    else:
        targets = draws.normal([1, 2, 3], [1, 5, 0.1], (200, 3))
        best = targets.mean(0)
    found = constant_loss(targets, task_of(loss))
    assert found is not None
    assert answers(loss, targets, best[None])[0] == pytest.approx(found)
    assert min(answers(loss, targets, best + draws.normal(0, 0.3, (100, 3)))) > found


def test_an_output_that_never_varies_costs_nothing() -> None:
    assert constant_loss(np.zeros(5, int), task_of("cross-entropy")) == 0.0
    assert constant_loss(np.array([[0.0, 1.0], [1.0, 1.0]]), task_of("bce", 2)) == pytest.approx(
        np.log(2) / 2
    )
    assert constant_loss(np.full((4, 1), 7.0), task_of("mse", 1)) == 0.0


def test_the_best_constant_answer_to_a_loss_of_ones_own_is_not_known() -> None:
    own = Task(
        input_shape=(1, 8), n_outputs=1, loss=lambda outputs, targets: (outputs - targets).abs().mean()
    )
    assert constant_loss(np.zeros((4, 1)), own) is None


def test_no_targets_and_wrong_ones_have_no_best_answer() -> None:
    with pytest.raises(DataError, match="no targets"):
        constant_loss(np.zeros((0, 3)), task_of("mse"))
    with pytest.raises(DataError, match="class indices"):
        constant_loss(np.zeros((4, 3)), task_of("cross-entropy"))
    with pytest.raises(InputError, match="unknown loss"):
        constant_loss(np.zeros((4, 3)), task_of("crossentropy"))
