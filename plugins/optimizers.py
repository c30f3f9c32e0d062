"""`adamw`, `sgd`, `sgdm` and `muon`: torch's own; no weight decay on norms, biases and LayerScale."""

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


class MuonParams(AdamWParams):
    """Options of `muon`; those of AdamW are for what is no matrix, rate and weight decay for both."""

    momentum: float = Field(0.95, ge=0, lt=1, description="decay of the velocity of matrices")
    nesterov: bool = Field(True, description="Nesterov's momentum, of matrices")


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


def build_muon(params: MuonParams, module: nn.Module) -> torch.optim.Optimizer:
    """Muon for matrices, AdamW for the rest (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

    Matrices are the weights of linear layers and of attention, but for the output layer: the network's
    `head`, else its last linear layer. Their updates are scaled to the size of AdamW's (Liu et al. 2025,
    arXiv:2502.16982, eq. 4), so that one rate and one weight decay serve both.

    Raises:
        scalelab.InputError: The network has no such matrix, or this PyTorch has no Muon.
    """
    import torch
    from torch import nn

    if not hasattr(torch.optim, "Muon"):
        raise scalelab.InputError(f"muon needs PyTorch 2.9 or later, this is {torch.__version__}")
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    head = getattr(module, "head", None)
    output = head if isinstance(head, nn.Linear) else layers[-1] if layers else None
    weights = [layer.weight for layer in layers if layer is not output]
    attention = [layer for layer in module.modules() if isinstance(layer, nn.MultiheadAttention)]
    weights += [layer.in_proj_weight for layer in attention if layer.in_proj_weight is not None]
    matrices = {id(weight) for weight in weights if weight.requires_grad}
    if not matrices:
        raise scalelab.InputError(
            "muon updates the weights of linear layers, and the network has none before its output; use adamw"
        )

    def is_matrix(_name: str, parameter: nn.Parameter) -> bool:
        return id(parameter) in matrices

    def is_other(_name: str, parameter: nn.Parameter) -> bool:
        return id(parameter) not in matrices

    decay, betas = params.weight_decay, (params.beta1, params.beta2)
    muon = torch.optim.Muon(
        scalelab.parameter_groups(module, decay, where=is_matrix),
        lr=params.lr,
        momentum=params.momentum,
        nesterov=params.nesterov,
        adjust_lr_fn="match_rms_adamw",
    )
    others = scalelab.parameter_groups(module, decay, lr=params.lr, rule="adaptive", where=is_other)
    fused = can_fuse(module.parameters())
    adamw = torch.optim.AdamW(others, lr=params.lr, betas=betas, eps=params.eps, fused=fused)
    return scalelab.composed(muon, adamw)


@scalelab.hookimpl
def scalelab_optimizers() -> list[scalelab.Optimizer]:
    """The four optimizers."""
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
        scalelab.Optimizer(
            name="muon",
            summary="Muon for the matrices of linear layers, AdamW for the rest",
            build=build_muon,
            params=MuonParams,
            space={"lr": scalelab.Float(1e-4, 1e-2, log=True)},
        ),
    ]
