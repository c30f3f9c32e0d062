from __future__ import annotations

import numpy as np
import pytest
import torch

from scalelab.components import Task
from scalelab.errors import DataError, InputError
from scalelab.train.losses import check_targets, resolve_loss


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
