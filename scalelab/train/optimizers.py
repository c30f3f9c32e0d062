"""Optimizers as they are: built for a run, switched between their two modes, given closures, put together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch  # noqa: TID253 - only what trains imports this module
from torch import nn  # noqa: TID253

from scalelab.components import Optimizer
from scalelab.errors import InputError, PluginError
from scalelab.params import Params


def build_optimizer(
    optimizer: Optimizer, params: Params, module: nn.Module, n_steps: int
) -> torch.optim.Optimizer:
    """Builds an optimizer for a run.

    Args:
        optimizer: The component.
        params: Its options.
        module: What it will train.
        n_steps: Steps of the run, for a `build` that asks for them.

    Raises:
        PluginError: It builds something else, or its `step` needs a closure that the component does not name.
    """
    asked = {"n_steps": n_steps} if "n_steps" in inspect.signature(optimizer.build).parameters else {}
    built: Any = optimizer.build(params, module, **asked)
    if not isinstance(built, torch.optim.Optimizer):
        raise PluginError(
            f"build() of optimizer {optimizer.name!r} returned {type(built).__name__}, "
            "expected torch.optim.Optimizer"
        )
    _check_groups(optimizer.name, built, module)
    if optimizer.closure is None and _needs_closure(built):
        raise PluginError(
            f"step() of optimizer {optimizer.name!r} needs a closure; its scalelab.Optimizer must say so: "
            "closure = 'whole' or 'after'"
        )
    return built


def _needs_closure(built: torch.optim.Optimizer) -> bool:
    closure = inspect.signature(built.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _check_groups(name: str, built: torch.optim.Optimizer, module: nn.Module) -> None:
    if any("lr" not in group for group in built.param_groups):
        raise PluginError(
            f"optimizer {name!r}: a parameter group has no 'lr', which schedules set: give each its peak"
        )
    own = {id(parameter) for parameter in module.parameters()}
    if not any(id(one) in own for group in built.param_groups for one in group["params"]):
        raise PluginError(f"optimizer {name!r}: its groups hold no parameter of the network")


class Modes:
    """The two modes of an optimizer that trains at other weights than those it is worth measuring at.

    Schedule-free methods (Defazio et al. 2024, arXiv:2405.15682) evaluate gradients at one point and are
    measured at another; `train()` and `eval()` of the optimizer move the module between them. Both do
    nothing for an optimizer that has no such methods.

    Args:
        optimizer: The optimizer, freshly built.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._train, self._eval = (_method(optimizer, name) for name in ("train", "eval"))
        self.two = self._train is not None and self._eval is not None
        self._training = False

    def train(self) -> None:
        """Gives the module the weights that gradients are evaluated at."""
        if self.two and not self._training:
            assert self._train is not None
            self._train()
            self._training = True

    def eval(self) -> None:
        """Gives the module the weights that are measured and kept."""
        if self.two and self._training:
            assert self._eval is not None
            self._eval()
            self._training = False


def _method(optimizer: torch.optim.Optimizer, name: str) -> Callable[[], object] | None:
    found = getattr(optimizer, name, None)
    return found if callable(found) else None


def clip_gradients(parameters: Sequence[torch.Tensor], max_norm: float) -> None:
    """Scales gradients down to a norm of all of them together, as `torch.nn.utils.clip_grad_norm_` does.

    On a CPU that is one call for all norms, and nothing is multiplied where nothing is to be scaled; to the
    same bits in a third of torch's time. Elsewhere torch's own does not wait for the device.

    Args:
        parameters: Whose gradients; those that have none are left out.
        max_norm: The greatest norm.
    """
    grads = [one.grad for one in parameters if one.grad is not None]
    if not grads or any(one.device.type != "cpu" or one.layout != torch.strided for one in grads):
        nn.utils.clip_grad_norm_(parameters, max_norm)
        return
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1.0:
        torch._foreach_mul_(grads, factor)


def composed(*optimizers: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Returns several optimizers, each over parameters of its own, as one.

    A step steps all of them, a checkpoint keeps all of their states, and schedules reach all of their
    groups. Where one has two modes (`Modes`), the whole has them.

    Args:
        optimizers: Two or more; none takes a closure.

    Raises:
        InputError: There are fewer than two, a parameter stands in two of them, or one needs a closure.

    Example:
        matrices = scalelab.parameter_groups(module, 0.1, where=lambda name, p: p.ndim == 2)
        rest = scalelab.parameter_groups(module, 0.1, where=lambda name, p: p.ndim != 2)
        return scalelab.composed(torch.optim.Muon(matrices, lr=1e-3), torch.optim.AdamW(rest, lr=1e-3))
    """
    if len(optimizers) < 2 or any(map(_needs_closure, optimizers)):
        raise InputError("composed takes two optimizers or more, none of which needs a closure")
    held = [id(one) for own in optimizers for group in own.param_groups for one in group["params"]]
    if len(held) > len(set(held)):
        raise InputError("composed optimizers share a parameter: give each of them parameters of its own")
    two = any(Modes(own).two for own in optimizers)
    return _TwoModes(optimizers) if two else _Composed(optimizers)


class _Composed(torch.optim.Optimizer):
    """Several optimizers; its groups are theirs, so that a rate that is set here is set there."""

    def __init__(self, optimizers: tuple[torch.optim.Optimizer, ...]) -> None:
        super().__init__([group for own in optimizers for group in own.param_groups], {})
        self.optimizers = optimizers

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Steps each; a closure is called once, before."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for own in self.optimizers:
            own.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Returns the states of all."""
        return {"optimizers": [own.state_dict() for own in self.optimizers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Loads the states of all.

        Raises:
            ValueError: It is the state of others.
        """
        states = state_dict["optimizers"]
        for own, state in zip(self.optimizers, states, strict=True):
            own.load_state_dict(state)
        # Loading makes new groups.
        self.param_groups = [group for own in self.optimizers for group in own.param_groups]


class _TwoModes(_Composed):
    def train(self) -> None:
        """Switches those that have modes."""
        self._switch("train")

    def eval(self) -> None:
        """Switches those that have modes."""
        self._switch("eval")

    def _switch(self, mode: str) -> None:
        for own in self.optimizers:
            if Modes(own).two:
                getattr(own, mode)()
