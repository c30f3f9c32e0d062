"""Optimizers of every kind in the loop: two modes, closures, the number of steps, several as one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from train_toys import Problem, TinyNet, make_data

from scalelab.components import Optimizer
from scalelab.errors import InputError, PluginError, TrainingError
from scalelab.params import NoParams
from scalelab.train.device import seed_everything
from scalelab.train.loop import train_model
from scalelab.train.optimizers import Modes, build_optimizer, clip_gradients, composed


class ScheduleFree(torch.optim.Optimizer):
    """Schedule-free SGD (Defazio et al. 2024, eqs. 3-5): gradients at y, measured at the mean x of z."""

    def __init__(self, parameters: Any, lr: float = 0.05, beta: float = 0.9) -> None:
        super().__init__(parameters, {"lr": lr, "beta": beta, "k": 0, "training": False})

    @torch.no_grad()
    def _move(self, training: bool) -> None:
        for group in self.param_groups:
            if group["training"] is not training:
                for p in group["params"]:
                    if "z" in self.state[p]:
                        p.lerp_(self.state[p]["z"], 1 - group["beta"] if training else 1 - 1 / group["beta"])
                group["training"] = training

    def train(self) -> None:
        self._move(True)

    def eval(self) -> None:
        self._move(False)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            assert group["training"], "a step in eval mode"
            group["k"] += 1
            for p in group["params"]:
                z = self.state[p].setdefault("z", p.clone())
                x = p.lerp(z, 1 - 1 / group["beta"])
                z.sub_(p.grad, alpha=group["lr"])
                x.lerp_(z, 1 / group["k"])
                p.copy_(x.lerp(z, 1 - group["beta"]))


class Sam(torch.optim.SGD):
    """Sharpness-aware minimization (Foret et al. 2021, eq. 2) on SGD, given the first gradient."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> None:  # type: ignore[override]
        parameters = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in parameters]).norm()
        shifts = [0.05 * p.grad / norm for p in parameters]
        for p, shift in zip(parameters, shifts, strict=True):
            p.add_(shift)
        closure()
        for p, shift in zip(parameters, shifts, strict=True):
            p.sub_(shift)
        super().step()


class Bare(torch.optim.Optimizer):
    """Groups without a rate."""


def lbfgs(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(module.parameters(), lr=0.1, max_iter=4, max_eval=5)


def sam(module: nn.Module) -> torch.optim.Optimizer:
    return Sam(module.parameters(), lr=0.05)


def two(module: nn.Module) -> torch.optim.Optimizer:
    parameters = list(module.parameters())
    return composed(
        ScheduleFree([p for p in parameters if p.ndim > 1]),
        torch.optim.AdamW([p for p in parameters if p.ndim <= 1], lr=0.01),
    )


WAYS: dict[str, tuple[Callable[[nn.Module], torch.optim.Optimizer], Any]] = {
    "schedule-free": (lambda module: ScheduleFree(module.parameters()), None),
    "composed": (two, None),
    "sam": (sam, "after"),
    "lbfgs": (lbfgs, "whole"),
}


def curve_of(result: Any) -> list[dict[str, Any]]:
    return [point.model_dump(exclude={"wall_seconds"}) for point in result.curve]


@pytest.mark.parametrize("name", WAYS)
def test_a_stopped_run_goes_on_bit_for_bit(problem: Problem, tmp_path: Path, name: str) -> None:
    optimizer, closure = WAYS[name]
    wanted = replace(problem, optimizer=optimizer).with_training(clip_norm=None, validations=3)
    ends = []
    straight = wanted.train(closure=closure)
    assert straight.status == "done"
    third = straight.n_steps // 3  # about where the first of three validations is
    for stop in (1, third, third + 1):
        file, calls = tmp_path / f"{stop}.pt", iter([False] * stop + [True])
        wanted.train(checkpoint=file, should_stop=lambda calls=calls: next(calls), closure=closure)
        resumed = wanted.train(checkpoint=file, closure=closure)
        assert resumed.resumed_from == stop
        ends.append((curve_of(resumed), resumed.train_flops))
    assert all(end == (curve_of(straight), straight.train_flops) for end in ends)


def test_two_modes_are_measured_and_kept_at_the_mean(problem: Problem) -> None:
    """The weights after a run are the mean of z, by which its last point was measured."""
    wanted = problem.with_training(validations=3)
    built: list[ScheduleFree] = []

    def keep(module: nn.Module) -> torch.optim.Optimizer:
        built.append(ScheduleFree(module.parameters()))
        return built[-1]

    seed_everything(wanted.trial.seed)
    module = TinyNet()
    result = replace(wanted, optimizer=keep).train(module)
    assert not built[0].param_groups[0]["training"]
    module.eval()
    with torch.no_grad():
        inputs = torch.from_numpy(wanted.data.validation.inputs.astype(np.float32))
        targets = torch.from_numpy(wanted.data.validation.targets)
        loss = nn.functional.cross_entropy(module(inputs), targets).item()
    assert result.curve[-1].loss == pytest.approx(loss, rel=1e-6)
    built[0].train()
    with torch.no_grad():
        other = nn.functional.cross_entropy(module(inputs), targets).item()
    assert other != pytest.approx(loss, rel=1e-4)


def test_closures_count_as_compute(problem: Problem) -> None:
    steps = {"length": {"steps": 20}, "clip_norm": None}
    plain = problem.with_training(**steps).train()
    twice = replace(problem, optimizer=sam).with_training(**steps).train(closure="after")
    often = replace(problem, optimizer=lbfgs).with_training(**steps).train(closure="whole")
    assert twice.train_flops == 2 * plain.train_flops == 2 * 20 * problem.trial.training.batch_size * 1000
    assert plain.train_flops < often.train_flops <= 5 * plain.train_flops
    assert often.curve[-1].train_flops == often.train_flops
    budget = {"length": {"flops": plain.train_flops}, "clip_norm": None}
    halved = replace(problem, optimizer=sam).with_training(**budget).train(closure="after", evaluations=2)
    assert (halved.n_steps, halved.train_flops) == (10, plain.train_flops)


def test_an_average_of_an_average_is_refused(problem: Problem) -> None:
    wanted = replace(problem, optimizer=WAYS["schedule-free"][0]).with_training(ema=0.9)
    with pytest.raises(InputError, match="averages the weights itself"):
        wanted.train()


def test_a_closure_that_is_not_called_is_told(problem: Problem) -> None:
    class Idle(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            return

    wanted = replace(problem, optimizer=lambda module: Idle(module.parameters(), lr=0.1))
    with pytest.raises(TrainingError, match="did not call its closure"):
        wanted.train(closure="whole")


def test_build_is_told_the_number_of_steps_where_it_asks() -> None:
    asked = []

    def build(params: NoParams, module: nn.Module, n_steps: int) -> torch.optim.Optimizer:
        asked.append(n_steps)
        return torch.optim.SGD(module.parameters(), lr=0.1)

    build_optimizer(Optimizer(name="o", summary="", build=build), NoParams(), TinyNet(), 77)
    assert asked == [77]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda _params, module: lbfgs(module), "needs a closure"),
        (lambda _params, _module: "an optimizer", "returned str, expected torch.optim.Optimizer"),
        (lambda _params, _module: torch.optim.SGD([torch.zeros(1)], lr=1), "no parameter of the network"),
        (lambda _params, module: Bare(module.parameters(), {}), "has no 'lr'"),
    ],
)
def test_what_cannot_be_stepped_is_refused(build: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        build_optimizer(Optimizer(name="o", summary="", build=build), NoParams(), TinyNet(), 1)


def test_a_composition_is_one_optimizer() -> None:
    module = TinyNet()
    parameters = list(module.parameters())
    built = composed(
        torch.optim.SGD(parameters[:2], lr=0.1, momentum=0.9), torch.optim.AdamW(parameters[2:], lr=0.01)
    )
    assert not Modes(built).two
    assert [group["lr"] for group in built.param_groups] == [0.1, 0.01]
    for group in built.param_groups:
        group["lr"] = 0.0
    before = [p.detach().clone() for p in parameters]
    module(torch.randn(4, 2, 16)).sum().backward()
    built.step()
    assert all(map(torch.equal, before, parameters))
    state = built.state_dict()
    again = composed(torch.optim.SGD(parameters[:2], lr=1, momentum=0.9), torch.optim.AdamW(parameters[2:]))
    again.load_state_dict(state)
    for group in again.param_groups:
        group["lr"] = 0.5
    again.step()
    assert not any(map(torch.equal, before, parameters))
    for wrong in ((torch.optim.SGD(parameters, lr=1),), (torch.optim.SGD(parameters, lr=1), lbfgs(module))):
        with pytest.raises(InputError, match="two optimizers or more, none of which needs a closure"):
            composed(*wrong)
    with pytest.raises(InputError, match="share a parameter"):
        composed(torch.optim.SGD(parameters, lr=1), torch.optim.SGD(parameters[:1], lr=1))


def test_generators_of_python_and_numpy_are_kept_too(problem: Problem, tmp_path: Path) -> None:
    """A network or an augmentation that draws from them resumes bit for bit."""

    def augment(batch: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
        return batch * (0.5 + random.random()) + np.random.normal(0, 0.1, ()).astype(np.float32).item()  # noqa: NPY002

    drawing = problem.with_data(augment=augment)
    calls = iter([False] * 7 + [True])
    drawing.train(checkpoint=tmp_path / "c.pt", should_stop=lambda: next(calls))
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    assert curve_of(drawing.train(checkpoint=tmp_path / "c.pt")) == curve_of(drawing.train())


def test_train_model_takes_what_a_worker_gives(problem: Problem) -> None:
    module = TinyNet()
    optimizer = sam(module)
    result = train_model(
        problem.with_training(length={"steps": 3}).trial, make_data(), module, optimizer,
        closure="after", evaluations=2, device="cpu", train_flops_per_example=10.0,
    )  # fmt: skip
    assert result.n_steps == 3


@pytest.mark.parametrize("value", [0, -1, "2", float("nan"), None, 1.5, True, 10**400])
def test_gradients_of_a_step_are_a_whole_number(value: Any) -> None:
    optimizer = Optimizer(name="o", summary="", build=lbfgs, evaluations=lambda _params: value)
    with pytest.raises(InputError, match=r"optimizer 'o': evaluations\(\) gives .* give a whole number"):
        optimizer.gradients(NoParams())


def test_gradients_that_cannot_be_told_are_one_line() -> None:
    optimizer = Optimizer(name="o", summary="", build=lbfgs, evaluations=lambda _params: 1 // 0)
    with pytest.raises(InputError, match=r"evaluations\(\) fails: ZeroDivisionError"):
        optimizer.gradients(NoParams())


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 30.0, 1e9, float("inf")])
@pytest.mark.parametrize("kinds", [(torch.float32,), (torch.float32, torch.float64), (torch.bfloat16,)])
@pytest.mark.parametrize("spoiled", [None, float("nan"), float("inf")])
def test_clipping_gives_the_bits_of_torch(
    max_norm: float, kinds: tuple[torch.dtype, ...], spoiled: float | None
) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(7,), (33, 64), (4, 1, 1, 7), (), (5, 3)]
    parameters = [
        nn.Parameter(torch.zeros(shape, dtype=kinds[i % len(kinds)])) for i, shape in enumerate(shapes)
    ]
    grads = [torch.randn(one.shape, generator=generator).to(one.dtype) for one in parameters[:-1]]
    if spoiled is not None:
        grads[1][3] = spoiled
    found = []
    for clip in (nn.utils.clip_grad_norm_, clip_gradients):
        for parameter, grad in zip(parameters, grads, strict=False):  # the last one has none
            parameter.grad = grad.clone()
        clip(parameters, max_norm)
        found.append([one.grad.clone() for one in parameters[:-1] if one.grad is not None])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
    assert parameters[-1].grad is None


def test_nothing_is_clipped_where_there_are_no_gradients() -> None:
    clip_gradients([nn.Parameter(torch.zeros(3))], 1.0)
