"""Which parameters weight decay pulls on, and at which rate each is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from scalelab.errors import InputError

if TYPE_CHECKING:
    from torch import nn

Rule = Literal["adaptive", "gradient"]


def parameter_groups(
    module: nn.Module,
    weight_decay: float,
    *,
    lr: float | None = None,
    rule: Rule | None = None,
    where: Callable[[str, nn.Parameter], bool] | None = None,
) -> list[dict[str, Any]]:
    """Splits a module's trainable parameters by what weight decay and their learning rate are.

    Matrices and kernels decay; vectors and scalars (biases, the gains and shifts of norms, LayerScale) do
    not, and neither does anything inside a module whose class name contains `Norm`. A parameter can opt
    out with an attribute `no_weight_decay = True` (positions and class tokens of a Transformer, say).
    Weight decay on scales and shifts limits no capacity and hurts (Jia et al. 2018, section 3.2; He et al.
    2019, section 3.1).

    A network in the maximal update parametrization gives its parameters an attribute `fan_ratios`, a pair of
    numbers: how many times wider their fan-in and their fan-out are than in the network that the learning
    rate is for. Their rates follow from that (Yang et al. 2022, arXiv:2203.03466, table 3): divided by the
    first where updates are of the size of the rate (Adam), times the second over the first where they are
    of the size of the gradient (SGD). What decays in a step, rate times weight decay, stays as it was.

    Args:
        module: The model.
        weight_decay: The rate for those that decay.
        lr: Peak learning rate; groups then have `lr`.
        rule: Whether the optimizer's updates are `"adaptive"` or of the size of the `"gradient"`.
        where: `where(name, parameter)`: whether a parameter is in; all are by default. The others are for
            another optimizer, see `scalelab.composed`.

    Returns:
        Groups for a `torch.optim.Optimizer`, the decaying one first; empty groups are left out.

    Raises:
        InputError: The module has `fan_ratios`, and `lr` or `rule` is not given.
    """
    norms = {
        id(parameter)
        for child in module.modules()
        if "Norm" in type(child).__name__
        for parameter in child.parameters(recurse=False)
    }
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {(False, 1.0): [], (True, 1.0): []}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and (where is None or where(name, parameter)):
            exempt = (
                parameter.ndim < 2 or id(parameter) in norms or getattr(parameter, "no_weight_decay", False)
            )
            factor = _factor(parameter, lr, rule)
            groups.setdefault((exempt, factor), []).append(parameter)
    return [
        {
            "params": members,
            "weight_decay": 0.0 if exempt else weight_decay / factor,
            **({} if lr is None else {"lr": lr * factor}),
        }
        for (exempt, factor), members in groups.items()
        if members
    ]


def _factor(parameter: nn.Parameter, lr: float | None, rule: Rule | None) -> float:
    """Returns what a parameter's learning rate is, as a multiple of the network's."""
    fan_in, fan_out = getattr(parameter, "fan_ratios", (1.0, 1.0))
    if fan_in == fan_out == 1.0:
        return 1.0
    if lr is None or rule is None:
        raise InputError(
            "the network's learning rates follow its width (init = 'mup'), and this optimizer does not know: "
            "it must call parameter_groups with lr and rule"
        )
    return float(1.0 / fan_in if rule == "adaptive" else fan_out / fan_in)
