"""The contract of an optimizer."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from scalelab.components import Optimizer
from scalelab.errors import PluginError
from scalelab.params import Params
from scalelab.testing.common import ComponentContract, sampled_options, seeded, unequal, untouched, validated

if TYPE_CHECKING:
    import torch
    from torch import nn


class OptimizerContract(ComponentContract):
    """Checks of an optimizer. Give it as the fixture `optimizer`.

    Attributes:
        steps: Steps on a small problem within which the loss must fall.
        draws: Points of the default space that are built.
    """

    steps = 100
    draws = 5

    @pytest.fixture
    def optimizer(self) -> Optimizer:
        """The optimizer under test; fixture to override."""
        raise NotImplementedError("define a fixture 'optimizer' that returns the scalelab.Optimizer to check")

    @pytest.fixture
    def component(self, optimizer: Optimizer) -> Optimizer:
        """The optimizer, under the name that every contract uses."""
        return optimizer

    def test_builds_a_torch_optimizer(self, optimizer: Optimizer, params: Params) -> None:
        """build() returns a torch.optim.Optimizer and leaves global state alone."""
        module = _network()
        with untouched("build()"):
            try:
                _built(optimizer, params, module)
            except PluginError as error:
                pytest.fail(str(error))

    def test_every_parameter_stands_in_one_group(self, optimizer: Optimizer, params: Params) -> None:
        """No parameter is forgotten, none is updated twice, and each group has a learning rate."""
        module = _network()
        groups = _built(optimizer, params, module).param_groups
        held = [id(p) for group in groups for p in group["params"]]
        missing = [name for name, p in module.named_parameters() if p.requires_grad and id(p) not in held]
        assert not missing, f"no group holds {', '.join(missing)}: they would never be trained"
        assert len(held) == len(set(held)), "a parameter is in two groups"
        for group in groups:
            assert float(group["lr"]) > 0, (
                f"a group starts with lr = {group['lr']}; give the peak learning rate"
            )

    def test_loss_falls(self, optimizer: Optimizer, params: Params) -> None:
        """A small regression gets better, where it is measured as well as where gradients are evaluated."""
        run = _Run(optimizer, params)
        losses = run.steps(self.steps)
        assert losses[-1] == losses[-1], "the loss became NaN: the default learning rate is too high"
        for where, loss in (("", losses[-1]), (" after eval()", run.measured())):
            assert loss < 0.9 * losses[0], (
                f"the loss went from {losses[0]:.4g} to {loss:.4g}{where} in {self.steps} steps: check the "
                "sign of the update and the default learning rate"
            )

    def test_two_modes_are_told(self, optimizer: Optimizer, params: Params) -> None:
        """What is measured at other weights than it trains at has train() and eval(), which undo each other.

        Without them a run would be validated, and its weights kept, at the wrong point.
        """
        import torch

        from scalelab.train.optimizers import Modes

        run = _Run(optimizer, params)
        own = [value for value in vars(run.optimizer).values() if isinstance(value, torch.optim.Optimizer)]
        hidden = any(Modes(one).two for one in own) or any(
            "train_mode" in group for group in run.optimizer.param_groups
        )
        assert run.modes.two or not hidden, (
            "an optimizer inside has train() and eval(), this one has not, and would be validated at the "
            "wrong point: pass both on, or put optimizers together with scalelab.composed"
        )
        if not run.modes.two:
            return
        run.steps(5)
        trained = copy.deepcopy(run.module)
        run.modes.eval()
        measured = copy.deepcopy(run.module)
        run.modes.train()
        _assert_close(run.module, trained, "train() after eval() does not give the weights of before")
        run.modes.eval()
        _assert_close(run.module, measured, "eval() twice does not give the same weights")

    def test_closure_is_called_as_told(self, optimizer: Optimizer, params: Params) -> None:
        """A step evaluates as many gradients as `evaluations` says at most, and one where it says nothing."""
        run, most = _Run(optimizer, params), optimizer.gradients(params)
        run.steps(3)
        assert run.most_evaluations <= most, (
            f"a step evaluates {run.most_evaluations} gradients and may evaluate {most}: lengths in FLOPs "
            "would be exceeded; give evaluations=lambda params: … in the scalelab.Optimizer"
        )

    def test_steps_are_deterministic(self, optimizer: Optimizer, params: Params) -> None:
        """Two runs give the same weights, bit for bit, and no generator moves."""
        runs = []
        for _ in range(2):
            run = _Run(optimizer, params)
            with untouched("step()"):
                run.steps(10)
            runs.append(run.module)
        _assert_equal(runs[0], runs[1], "two runs from one start differ: draw nothing at random in step()")

    def test_state_round_trip(self, optimizer: Optimizer, params: Params) -> None:
        """Training that is saved, loaded and continued gives the same weights as training in one go."""
        import torch

        straight = _Run(optimizer, params)
        straight.steps(5)
        file = io.BytesIO()
        state = {"module": straight.module.state_dict(), "optimizer": straight.optimizer.state_dict()}
        torch.save(state, file)
        straight.steps(5)

        file.seek(0)
        try:
            state = torch.load(file, weights_only=True)
        except pickle.UnpicklingError as error:
            pytest.fail(
                "a checkpoint could not be read again: keep tensors, numbers, texts, lists and mappings in "
                f"optimizer.state and param_groups ({str(error).splitlines()[0]})"
            )
        resumed = _Run(optimizer, params, seed=1)
        resumed.module.load_state_dict(state["module"])
        resumed.optimizer.load_state_dict(state["optimizer"])
        resumed.steps(5)
        _assert_equal(
            straight.module,
            resumed.module,
            "resuming changes the result: keep all state in optimizer.state and param_groups",
        )

    def test_learning_rate_is_obeyed(self, optimizer: Optimizer, params: Params) -> None:
        """At learning rate 0, where schedules may end, nothing moves."""
        run, before = _Run(optimizer, params), _network()
        for group in run.optimizer.param_groups:
            # A learning rate that is kept as a tensor must be changed in place.
            group["lr"] = group["lr"] * 0
        run.steps(3)
        advice = "weights move at lr = 0: read the rate from group['lr'] at every step"
        _assert_equal(run.module, before, advice)

    def test_parameters_without_gradient_are_left_alone(self, optimizer: Optimizer, params: Params) -> None:
        """A frozen parameter is not an error and does not move."""
        import torch

        module, before = _network(), _network()
        frozen = next(module.parameters())
        frozen.requires_grad_(False)
        _Run(optimizer, params, module=module).steps(3)
        assert torch.equal(frozen, next(before.parameters())), "a parameter without gradient was changed"

    def test_default_space_builds(self, optimizer: Optimizer, options: Mapping[str, Any]) -> None:
        """Sampled points of the default space are valid options and build."""
        for point in sampled_options(optimizer, self.draws):
            _built(optimizer, validated(optimizer, point, options), _network())


def _built(optimizer: Optimizer, params: Params, module: nn.Module) -> torch.optim.Optimizer:
    from scalelab.train.optimizers import build_optimizer

    return build_optimizer(optimizer, params, module, n_steps=100)


class _Run:
    """A regression on fixed noise, trained as the training loop trains."""

    def __init__(
        self, optimizer: Optimizer, params: Params, *, seed: int = 0, module: nn.Module | None = None
    ) -> None:
        import torch

        from scalelab.train.optimizers import Modes

        self.module = _network(seed) if module is None else module
        self.optimizer = _built(optimizer, params, self.module)
        self.modes, self.closure = Modes(self.optimizer), optimizer.closure
        generator = torch.Generator().manual_seed(2)
        self._inputs = torch.randn(32, 2, 16, generator=generator)
        self._targets = self._inputs[:, :1, :8].mean(2) + 0.5
        self.most_evaluations = 0

    def steps(self, n: int) -> list[float]:
        """Takes `n` steps; returns the losses."""
        losses = []
        self.modes.train()
        for _ in range(n):
            evaluated: list[float] = []

            def gradient(evaluated: list[float] = evaluated) -> torch.Tensor:
                self.optimizer.zero_grad()
                loss = self._loss()
                loss.backward()  # type: ignore[no-untyped-call]
                evaluated.append(loss.item())
                return loss

            if self.closure != "whole":
                gradient()
            self.optimizer.step(*(() if self.closure is None else (gradient,)))
            assert evaluated, "step() does not call its closure: leave closure out of the scalelab.Optimizer"
            losses.append(evaluated[0])
            self.most_evaluations = max(self.most_evaluations, len(evaluated))
        return losses

    def measured(self) -> float:
        """Returns the loss at the weights that a validation would see."""
        self.modes.eval()
        return self._loss().item()

    def _loss(self) -> torch.Tensor:
        import torch

        with torch.enable_grad():
            return torch.nn.functional.mse_loss(self.module.train()(self._inputs), self._targets)


def _network(seed: int = 0) -> nn.Module:
    """Returns a network with the kinds of parameters that weight decay tells apart."""
    from torch import nn

    with seeded(seed):
        return nn.Sequential(
            nn.Conv1d(2, 8, 5, padding=2),
            nn.BatchNorm1d(8),
            nn.GELU(),
            nn.AdaptiveAvgPool1d(4),
            nn.Flatten(),
            nn.LayerNorm(32),
            nn.Linear(32, 8),
            nn.GELU(),
            nn.Linear(8, 1),
        )


def _assert_equal(one: nn.Module, other: nn.Module, advice: str) -> None:
    different = unequal(dict(one.named_parameters()), dict(other.named_parameters()))
    assert not different, f"{advice} ({', '.join(different)})"


def _assert_close(one: nn.Module, other: nn.Module, advice: str) -> None:
    import torch

    others = dict(other.named_parameters())
    different = [name for name, p in one.named_parameters() if not torch.allclose(p, others[name], atol=1e-5)]
    assert not different, f"{advice} ({', '.join(different)}): runs are validated at the wrong point"
