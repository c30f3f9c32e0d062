"""`adamw`, `sgd` and `sgdm`: torch's own; no weight decay on norms, biases and LayerScale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

import scalelab

if TYPE_CHECKING:
    import torch
    from torch import nn


class SgdParams(scalelab.Params):
    """Options of `sgd`."""

    lr: float = Field(0.1, gt=0, le=100, description="peak learning rate")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="L2 penalty, added to the gradient")


class SgdMomentumParams(SgdParams):
    """Options of `sgdm`."""

    momentum: float = Field(0.9, gt=0, lt=1, description="decay of the velocity")
    nesterov: bool = Field(False, description="Nesterov's momentum")


class AdamWParams(scalelab.Params):
    """Options of `adamw`."""

    lr: float = Field(1e-3, gt=0, le=100, description="peak learning rate")
    weight_decay: float = Field(
        0.05, ge=0, le=10, description="decoupled weight decay, times the learning rate"
    )
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the mean of gradients")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the mean of squared gradients")
    eps: float = Field(1e-8, gt=0, le=1, description="added to the root of the mean of squares")


def can_fuse(parameters: Iterable[torch.Tensor]) -> bool:
    """Tells whether torch's fused update runs on these parameters.

    It is one pass over memory: on a CPU AdamW takes a quarter of the time of the default
    (`benchmarks/train_step.py`).
    """
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)


def build_sgd(params: SgdParams, module: nn.Module) -> torch.optim.Optimizer:
    """Stochastic gradient descent (Robbins & Monro 1951), with momentum where the options have it."""
    import torch

    groups = scalelab.parameter_groups(module, params.weight_decay, lr=params.lr, rule="gradient")
    options = params.model_dump(exclude={"weight_decay"})
    return torch.optim.SGD(groups, **options, fused=can_fuse(module.parameters()))


def build_adamw(params: AdamWParams, module: nn.Module) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization")."""
    import torch

    groups = scalelab.parameter_groups(module, params.weight_decay, lr=params.lr, rule="adaptive")
    betas = (params.beta1, params.beta2)
    fused = can_fuse(module.parameters())
    return torch.optim.AdamW(groups, lr=params.lr, betas=betas, eps=params.eps, fused=fused)


@scalelab.hookimpl
def scalelab_optimizers() -> list[scalelab.Optimizer]:
    """The three optimizers."""
    return [
        scalelab.Optimizer(
            name="adamw",
            summary="Adam with decoupled weight decay",
            build=build_adamw,
            params=AdamWParams,
            space={"lr": scalelab.Float(1e-4, 1e-2, log=True)},
        ),
        scalelab.Optimizer(
            name="sgd",
            summary="Stochastic gradient descent without momentum",
            build=build_sgd,
            params=SgdParams,
            space={"lr": scalelab.Float(1e-2, 1.0, log=True)},
        ),
        scalelab.Optimizer(
            name="sgdm",
            summary="Stochastic gradient descent with momentum",
            build=build_sgd,
            params=SgdMomentumParams,
            space={"lr": scalelab.Float(1e-3, 0.3, log=True)},
        ),
    ]
