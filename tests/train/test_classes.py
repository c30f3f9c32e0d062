"""Class weights, balanced batches and averaged weights: each an option, off by default, in the identity."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from train_toys import TinyNet

from scalelab.components import Task
from scalelab.errors import InputError
from scalelab.records import TrainingOptions
from scalelab.train.averaging import Averaged
from scalelab.train.batches import BatchOrder
from scalelab.train.classes import balanced_epoch, check_classes, weighted, weights_of
from scalelab.train.losses import resolve_loss
from scalelab.train.validation import Validator

CPU = torch.device("cpu")
THREE = Task(input_shape=(1, 8), n_outputs=3)
MULTI = Task(input_shape=(1, 8), n_outputs=2, loss="bce")


def test_options_that_are_left_alone_change_no_identity():
    plain = TrainingOptions().model_dump(mode="json")
    assert not {"class_weights", "sampler", "ema"} & set(plain)
    listed = TrainingOptions(class_weights=[1, 2.5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert TrainingOptions.model_validate_json(listed.model_dump_json()) == listed
        assert TrainingOptions(**listed.model_dump(mode="json")).class_weights == (1.0, 2.5)
    asked = TrainingOptions(class_weights="balanced", sampler="balanced", ema=0.99).model_dump(mode="json")
    assert (asked["class_weights"], asked["sampler"], asked["ema"]) == ("balanced", "balanced", 0.99)


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=3, max_size=60).filter(lambda own: len(set(own)) == 3))
def test_balanced_weights_are_those_of_scikit_learn(targets):
    found = weights_of(TrainingOptions(class_weights="balanced"), THREE, np.array(targets))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=np.array(targets))
    assert found == pytest.approx(expected, rel=1e-6)
    assert np.mean(found[targets]) == pytest.approx(1.0, rel=1e-6)


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=3, max_size=60).filter(lambda own: len(set(own)) == 3))
def test_weights_of_the_square_root_go_half_the_way(targets):
    targets = np.array(targets)
    found = weights_of(TrainingOptions(class_weights="sqrt"), THREE, targets)
    balanced = weights_of(TrainingOptions(class_weights="balanced"), THREE, targets)
    assert found / found[0] == pytest.approx(np.sqrt(balanced / balanced[0]), rel=1e-5)
    assert np.mean(found[targets]) == pytest.approx(1.0, rel=1e-6)


def test_a_class_without_examples_and_outputs_of_several_labels():
    option = TrainingOptions(class_weights="balanced")
    assert weights_of(option, THREE, np.array([0, 0, 0, 2])) == pytest.approx([4 / 6, 1.0, 2.0])
    targets = np.array([[1, 0], [0, 0], [0, 0], [0, 0]])
    assert weights_of(option, MULTI, targets) == pytest.approx([3.0, 1.0])
    half = TrainingOptions(class_weights="sqrt")
    assert weights_of(half, THREE, np.array([0, 0, 0, 2]))[1] == 1
    assert weights_of(half, MULTI, targets) == pytest.approx([3.0**0.5, 1.0])
    assert weights_of(TrainingOptions(class_weights=(1.0, 2.0, 3.0)), THREE, targets) == pytest.approx(
        [1, 2, 3]
    )
    assert weights_of(TrainingOptions(), THREE, targets) is None


def test_weighted_losses_are_torchs():
    outputs, targets = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1])
    weights = np.array([0.5, 2.0, 1.0], dtype=np.float32)
    loss = weighted(resolve_loss("cross-entropy"), THREE, weights, CPU)(outputs, targets)
    logs = -outputs.log_softmax(1)[torch.arange(6), targets]
    own = torch.from_numpy(weights)[targets]
    assert loss.item() == pytest.approx(((logs * own).sum() / own.sum()).item(), rel=1e-6)
    labels = torch.randint(0, 2, (6, 2)).float()
    two = weighted(resolve_loss("bce"), MULTI, np.array([3.0, 1.0], dtype=np.float32), CPU)
    expected = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0, 1.0]))(outputs[:, :2], labels)
    assert two(outputs[:, :2], labels).item() == pytest.approx(expected.item())


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=80), st.integers(0, 2**31))
def test_an_epoch_has_every_class_as_often_and_within_a_class_every_example(classes, seed):
    classes = np.array(classes)
    drawn = balanced_epoch(classes, np.random.default_rng(seed))
    assert drawn.shape == classes.shape
    counts = np.array([np.sum(classes[drawn] == one) for one in np.unique(classes)])
    assert counts.max() - counts.min() <= 1
    for one in np.unique(classes):
        own = np.bincount(drawn[classes[drawn] == one], minlength=classes.size)[classes == one]
        assert own.max() - own.min() <= 1


def test_balanced_batches_are_a_function_of_seed_and_step():
    classes = np.array([0] * 90 + [1] * 10)
    order, again = (BatchOrder(100, 20, 3, classes) for _ in range(2))
    steps = [order.positions(step) for step in range(1, 11)]
    assert (again.positions(7) == steps[6]).all()
    assert np.mean(classes[np.concatenate(steps)]) == 0.5


@pytest.mark.parametrize(
    ("options", "task", "message"),
    [
        ({"class_weights": "balanced"}, Task(input_shape=(1, 8), n_outputs=1, loss="mse"), "loss is mse"),
        ({"class_weights": (1.0, 2.0)}, THREE, "2 weights, and the dataset has 3 classes"),
        ({"sampler": "balanced"}, MULTI, "loss is bce; one class an example"),
        (
            {"class_weights": "balanced"},
            Task(input_shape=(1,), n_outputs=2, loss=print),
            "a function of its own",
        ),
    ],
)
def test_a_task_without_such_classes_is_refused(options, task, message):
    with pytest.raises(InputError, match=message):
        check_classes(TrainingOptions(**options), task)


@pytest.mark.parametrize(
    "bad",
    [{"ema": 1.0}, {"ema": 0}, {"class_weights": (0.0, 1.0)}, {"class_weights": []}, {"sampler": "x"}],
)
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        TrainingOptions(**bad)


def test_an_average_follows_the_weights_by_its_ramp():
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1.0)
    averaged, expected = Averaged(module, 0.5), 1.0
    for step in range(1, 20):
        nn.init.constant_(module.weight, 1.0 + step)
        averaged.update()
        # the first update copies
        keep = min(0.5, (step - 1) / (9 + step - 1))
        expected = 1.0 + step if step == 1 else keep * expected + (1 - keep) * (1.0 + step)
        assert averaged.module.weight.item() == pytest.approx(expected, rel=1e-6)
    averaged.settle()
    assert module.weight.item() == pytest.approx(expected, rel=1e-6)
    assert Averaged(module, None).module is module


def test_a_run_with_all_three_resumes_bit_for_bit(problem, tmp_path):
    asked = problem.with_training(class_weights="balanced", sampler="balanced", ema=0.9)
    straight = asked.train()
    assert straight.status == "done"
    stops = iter([False] * 25 + [True])
    path = tmp_path / "checkpoint"
    first = asked.train(checkpoint=path, should_stop=lambda: next(stops, True))
    assert first.status == "interrupted"
    second = asked.train(checkpoint=path)
    assert second.resumed_from == 25
    assert [point.loss for point in second.curve] == [point.loss for point in straight.curve]
    assert second.loss == straight.loss
    assert problem.train().loss != straight.loss


def test_what_is_scored_is_what_is_kept(problem):
    module = TinyNet()
    result = problem.with_training(ema=0.9).train(module)
    last = result.curve[-1]
    scored = Validator(problem.data, problem.data.validation, 10**9, 16, CPU, "fp32").whole(module)[0]
    assert scored.loss == pytest.approx(last.loss, rel=1e-6)
