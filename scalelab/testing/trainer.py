"""The contract of a trainer."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from scalelab.components import OpenDataset, Split
from scalelab.errors import PluginError
from scalelab.params import Params
from scalelab.records import ComponentRef, CurvePoint, Length, TrainingOptions, Trial
from scalelab.testing.common import ComponentContract, seeded, unequal, untouched
from scalelab.testing.toys import ToyDatasetParams, ToyOptimizerParams, build_sgd, open_blobs
from scalelab.trainers import Trainer, TrainResult

if TYPE_CHECKING:
    import torch
    from torch import nn

EXAMPLES = 96
FLOPS = 1e5
"""What an example is said to cost."""


@dataclass(frozen=True)
class Made:
    """What a trainer made of a run.

    Attributes:
        result: What it returned.
        module: What it trained, on the CPU.
        data: On what.
    """

    result: TrainResult
    module: nn.Module
    data: OpenDataset

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The weights of the last step."""
        return self.module.state_dict()


class TrainerContract(ComponentContract):
    """Checks of a trainer, on a small network with batch norm and dropout. Give it as the fixture `trainer`.

    Attributes:
        steps: Optimizer steps of a run.
        batch_size: Examples of a step.
    """

    steps = 24
    batch_size = 16

    @pytest.fixture
    def trainer(self) -> Trainer:
        """The trainer under test; fixture to override."""
        raise NotImplementedError("define a fixture 'trainer' that returns the scalelab.Trainer to check")

    @pytest.fixture
    def component(self, trainer: Trainer) -> Trainer:
        """The trainer, under the name that every contract uses."""
        return trainer

    @pytest.fixture
    def data(self) -> OpenDataset:
        """The dataset to train on, with a test split; fixture to override where toys do not fit."""
        return open_blobs(ToyDatasetParams(n_train=160))

    @pytest.fixture
    def network(self) -> Callable[[], nn.Module]:
        """Builds a network for `data` from torch's global generator; fixture to override likewise."""
        return _network

    @pytest.fixture
    def made(
        self, trainer: Trainer, params: Params, data: OpenDataset, network: Callable[[], nn.Module]
    ) -> Callable[..., Made]:
        """Makes a run: `made(seed=0, checkpoint=…, stop_after=…, data=…, spoil=…)`."""

        def make(
            seed: int = 0,
            checkpoint: Path | None = None,
            stop_after: int | None = None,
            data: OpenDataset = data,
            spoil: bool = False,
        ) -> Made:
            import torch

            from scalelab.train.trainer import train_with

            with seeded(seed):
                module = network()
                if spoil:
                    torch.nn.utils.vector_to_parameters(
                        torch.full((sum(p.numel() for p in module.parameters()),), math.nan),
                        module.parameters(),
                    )
                result = train_with(
                    trainer,
                    params,
                    self.trial(seed),
                    data,
                    module,
                    build_sgd(ToyOptimizerParams(lr=0.05), module),
                    device="cpu",
                    checkpoint=checkpoint,
                    should_stop=_after(stop_after),
                    train_flops_per_example=FLOPS,
                )
            return Made(result, module, data)

        return make

    def trial(self, seed: int) -> Trial:
        """Returns what is trained."""
        training = TrainingOptions(
            length=Length(steps=self.steps), batch_size=self.batch_size, validations=4, precision="fp32"
        )
        toys = {name: ComponentRef(name="toy") for name in ("dataset", "architecture", "optimizer")}
        return Trial(**toys, fingerprint="toy", n_examples=EXAMPLES, training=training, seed=seed)

    def test_it_trains(self, made: Callable[..., Made]) -> None:
        """A run ends as done, and better than an untrained network would."""
        result = _returned(made)
        assert result.status == "done", f"a run on toys ended as {result.status}: {result.error}"
        assert result.loss is not None
        assert result.constant_loss is not None
        assert result.loss < result.constant_loss, (
            f"the validation loss is {result.loss:.4g} after {result.n_steps} steps, no better than the best "
            f"constant answer ({result.constant_loss:.4g}): is run.module what is trained, in place?"
        )

    def test_one_seed_gives_one_result(self, made: Callable[..., Made]) -> None:
        """Curve and weights are the same, bit for bit, and another seed gives others."""
        first, second, other = made(), made(), made(seed=1)
        assert _curve(first.result) == _curve(second.result), (
            "two runs with one seed have different curves: call run.begin(step) before each step, and draw "
            "from torch's generators alone"
        )
        _same_weights(first, second, "two runs with one seed end with different weights")
        assert unequal(first.weights, other.weights), "two seeds gave the same weights"

    def test_best_weights_give_what_is_claimed(self, made: Callable[..., Made]) -> None:
        """The weights of the best step have the metrics that the record will say."""
        import torch

        from scalelab.train.validation import Validator

        run = made()
        result, module = run.result, copy.deepcopy(run.module)
        if result.best_weights is not None:
            module.load_state_dict(dict(result.best_weights))
        split = run.data.validation
        validator = Validator(run.data, split, len(split), self.batch_size, torch.device("cpu"), "fp32")
        found, claimed = validator.part(module), _point(result, result.best_step)
        assert claimed.loss is not None
        assert math.isclose(found.loss, claimed.loss, rel_tol=1e-5), (
            f"the best weights have a validation loss of {found.loss:.6g}, and the curve says "
            f"{claimed.loss:.6g} at step {claimed.step}"
        )
        assert found.metrics == pytest.approx(claimed.metrics, rel=1e-5)
        assert result.metrics == claimed.metrics

    def test_a_stopped_run_goes_on(self, trainer: Trainer, made: Callable[..., Made], tmp_path: Path) -> None:
        """Asked to stop, it ends as interrupted with a checkpoint; resumed, it ends as one in one go."""
        checkpoint = tmp_path / "checkpoint.pt"
        stopped = made(checkpoint=checkpoint, stop_after=self.steps // 2).result
        assert stopped.status == "interrupted", (
            f"should_stop() was true, and the run ended as {stopped.status}: ask before every step"
        )
        assert checkpoint.is_file(), "it ended as interrupted without run.save(step)"
        resumed = made(checkpoint=checkpoint)
        assert resumed.result.status == "done"
        assert resumed.result.resumed_from == stopped.n_steps > 0, (
            f"it stopped after {stopped.n_steps} steps and went on from {resumed.result.resumed_from}: begin "
            "with step, state = run.resume()"
        )
        straight = made()
        assert [point.step for point in resumed.result.curve] == [
            point.step for point in straight.result.curve
        ]
        if trainer.exact:
            assert _curve(resumed.result) == _curve(straight.result), (
                "a resumed run has another curve than one in one go: keep all state in run.save(step, "
                "state), or say exact=False"
            )
            _same_weights(resumed, straight, "a resumed run ends with other weights than one in one go")

    def test_amounts_are_consistent(self, made: Callable[..., Made]) -> None:
        """Steps, examples and FLOPs grow along the curve, and end where the result says."""
        result = made().result
        points = result.curve
        assert points[-1].step == result.n_steps <= self.steps
        for name in ("n_seen", "train_flops"):
            told = [getattr(point, name) for point in points]
            assert None not in told, f"{name} is not in every point of the curve"
            assert all(one < other for one, other in pairwise(told)), f"{name} does not grow along the curve"
        assert points[-1].train_flops == pytest.approx(result.train_flops), (
            "the last point and the result say different FLOPs: give train_flops= to both or to none"
        )
        assert result.epochs * EXAMPLES == pytest.approx(points[-1].n_seen)

    def test_divergence_is_told(self, made: Callable[..., Made]) -> None:
        """Weights that are not numbers end the run as diverged, in one line."""
        result = made(spoil=True).result
        assert result.status == "diverged", (
            f"every loss was NaN, and the run ended as {result.status}: look at run.report(…).loss"
        )
        assert result.error
        assert "\n" not in result.error

    def test_it_sees_its_examples_alone(self, made: Callable[..., Made], data: OpenDataset) -> None:
        """Neither the test split nor what is outside the trial's subset changes the weights."""
        from scalelab.subsets import subset_indices

        outside = np.ones(len(data.train), dtype=bool)
        outside[subset_indices(len(data.train), EXAMPLES, 0)] = False
        inputs = np.array(data.train.inputs)
        inputs[outside] += 100
        other = replace(data, train=Split(inputs, data.train.targets), test=data.validation)
        _same_weights(
            made(),
            made(data=other),
            "examples that are not the trial's change the weights: use run.batch",
        )

    def test_global_state_is_left_alone(self, made: Callable[..., Made]) -> None:
        """Nothing of the process is changed but the state of its generators."""
        made()  # what a library sets once for its process
        with untouched("train()", generators=False):
            made()


def _returned(made: Callable[..., Made]) -> TrainResult:
    try:
        return made().result
    except PluginError as error:
        pytest.fail(str(error))


def _after(calls: int | None) -> Callable[[], bool]:
    asked = iter(range(10**9))
    return lambda: calls is not None and next(asked) >= calls


def _network() -> nn.Module:
    from torch import nn

    return nn.Sequential(
        nn.Conv1d(2, 8, 7, padding=3),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(8),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(64, 2),
    )


def _curve(result: TrainResult) -> list[dict[str, Any]]:
    return [point.model_dump(exclude={"wall_seconds"}) for point in result.curve]


def _point(result: TrainResult, step: int | None) -> CurvePoint:
    return next(point for point in result.curve if point.step == step)


def _same_weights(one: Made, other: Made, advice: str) -> None:
    different = unequal(one.weights, other.weights)
    assert not different, f"{advice} ({', '.join(different[:3])})"
