"""The contract of an optimizer."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from scalelab.components import Optimizer, Params
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
        import torch

        module = _network()
        with untouched("build()"):
            built = optimizer.build(params, module)
        assert isinstance(built, torch.optim.Optimizer), (
            f"build() returned {type(built).__name__}: return a torch.optim.Optimizer"
        )

    def test_every_parameter_stands_in_one_group(self, optimizer: Optimizer, params: Params) -> None:
        """No parameter is forgotten, none is updated twice, and each group has a learning rate."""
        module = _network()
        groups = optimizer.build(params, module).param_groups
        held = [id(p) for group in groups for p in group["params"]]
        missing = [name for name, p in module.named_parameters() if p.requires_grad and id(p) not in held]
        assert not missing, f"no group holds {', '.join(missing)}: they would never be trained"
        assert len(held) == len(set(held)), "a parameter is in two groups"
        for group in groups:
            assert float(group["lr"]) > 0, (
                f"a group starts with lr = {group['lr']}; give the peak learning rate"
            )

    def test_loss_falls(self, optimizer: Optimizer, params: Params) -> None:
        """A small regression gets better."""
        module = _network()
        losses = _steps(module, optimizer.build(params, module), self.steps)
        assert losses[-1] == losses[-1], "the loss became NaN: the default learning rate is too high"
        assert losses[-1] < 0.9 * losses[0], (
            f"the loss went from {losses[0]:.4g} to {losses[-1]:.4g} in {self.steps} steps: check the "
            "sign of the update and the default learning rate"
        )

    def test_steps_are_deterministic(self, optimizer: Optimizer, params: Params) -> None:
        """Two runs give the same weights, bit for bit, and no generator moves."""
        runs = []
        for _ in range(2):
            module = _network()
            built = optimizer.build(params, module)
            with untouched("step()"):
                _steps(module, built, 10)
            runs.append(module)
        _assert_equal(runs[0], runs[1], "two runs from one start differ: draw nothing at random in step()")

    def test_state_round_trip(self, optimizer: Optimizer, params: Params) -> None:
        """Training that is saved, loaded and continued gives the same weights as training in one go."""
        import torch

        straight = _network()
        built = optimizer.build(params, straight)
        _steps(straight, built, 5)
        file = io.BytesIO()
        torch.save({"module": straight.state_dict(), "optimizer": built.state_dict()}, file)
        _steps(straight, built, 5)

        file.seek(0)
        state = torch.load(file, weights_only=False)
        resumed = _network(seed=1)
        resumed.load_state_dict(state["module"])
        rebuilt = optimizer.build(params, resumed)
        rebuilt.load_state_dict(state["optimizer"])
        _steps(resumed, rebuilt, 5)
        _assert_equal(
            straight,
            resumed,
            "resuming changes the result: keep all state in optimizer.state and param_groups",
        )

    def test_learning_rate_is_obeyed(self, optimizer: Optimizer, params: Params) -> None:
        """At learning rate 0, where schedules may end, nothing moves."""
        module, before = _network(), _network()
        built = optimizer.build(params, module)
        for group in built.param_groups:
            # A learning rate that is kept as a tensor must be changed in place.
            group["lr"] = group["lr"] * 0
        _steps(module, built, 3)
        _assert_equal(module, before, "weights move at lr = 0: read the rate from group['lr'] at every step")

    def test_parameters_without_gradient_are_left_alone(self, optimizer: Optimizer, params: Params) -> None:
        """A frozen parameter is not an error and does not move."""
        import torch

        module, before = _network(), _network()
        frozen = next(module.parameters())
        frozen.requires_grad_(False)
        _steps(module, optimizer.build(params, module), 3)
        assert torch.equal(frozen, next(before.parameters())), "a parameter without gradient was changed"

    def test_default_space_builds(self, optimizer: Optimizer, options: Mapping[str, Any]) -> None:
        """Sampled points of the default space are valid options and build."""
        for point in sampled_options(optimizer, self.draws):
            optimizer.build(validated(optimizer, point, options), _network())


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
            nn.Linear(32, 1),
        )


def _steps(module: nn.Module, optimizer: torch.optim.Optimizer, n: int) -> list[float]:
    """Takes `n` steps of regression on fixed noise; returns the losses."""
    import torch

    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(32, 2, 16, generator=generator)
    targets = inputs[:, :1, :8].mean(2) + 0.5
    losses = []
    for _ in range(n):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(module.train()(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses


def _assert_equal(one: nn.Module, other: nn.Module, advice: str) -> None:
    different = unequal(dict(one.named_parameters()), dict(other.named_parameters()))
    assert not different, f"{advice} ({', '.join(different)})"
