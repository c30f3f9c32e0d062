"""Which parameters weight decay pulls on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Splits a module's trainable parameters into those that decay and those that do not.

    Matrices and kernels decay; vectors and scalars (biases, the gains and shifts of norms, LayerScale) do
    not, and neither does anything inside a module whose class name contains `Norm`. A parameter can opt
    out with an attribute `no_weight_decay = True` (positions and class tokens of a Transformer, say).
    Weight decay on scales and shifts limits no capacity and hurts (Jia et al. 2018, section 3.2; He et al.
    2019, section 3.1).

    Args:
        module: The model.
        weight_decay: The rate for those that decay.

    Returns:
        Groups for a `torch.optim.Optimizer`, the decaying one first; empty groups are left out.
    """
    norms = {
        id(parameter)
        for child in module.modules()
        if "Norm" in type(child).__name__
        for parameter in child.parameters(recurse=False)
    }
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            exempt = (
                parameter.ndim < 2 or id(parameter) in norms or getattr(parameter, "no_weight_decay", False)
            )
            (kept if exempt else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
