"""The asymmetric loss for multi-label tasks with few positives.

Source: Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021, equations 4 to 7, and its
reference implementation (https://github.com/Alibaba-MIIL/ASL).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def asymmetric_loss(
    gamma_negative: float = 4.0,
    gamma_positive: float = 0.0,
    margin: float = 0.05,
    *,
    focal_gradient: bool = False,
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Returns `loss(outputs, targets)`, the asymmetric loss.

    It is the mean over examples and classes of

        -y (1 - p)^γ+ log p - (1 - y) p_m^γ- log(1 - p_m),    p_m = max(p - m, 0),

    where p is the logistic function of the output. Without focusing and margin it is binary cross-entropy.

    As in the reference implementation, the focusing weights (1 - p)^γ+ and p_m^γ- count as constants in the
    gradient; `focal_gradient` differentiates them too, as the paper's analysis of gradients does. Where the
    reference sums over the batch, this is the mean, so that learning rates fit any batch; and it computes
    log p from the output itself, so that very wrong positives keep their gradient, which the reference loses
    where p < 1e-8. An easy negative, p < m, has no gradient at all in either.

    Args:
        gamma_negative: Focusing of negatives, γ-.
        gamma_positive: Focusing of positives, γ+.
        margin: Probability that is taken off negatives, m.
        focal_gradient: Whether the focusing weights have a gradient.
    """

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        import torch
        from torch.nn.functional import logsigmoid

        p = torch.sigmoid(outputs)
        shifted = (p - margin).clamp(min=0)
        log_negative = torch.log1p(-shifted) if margin > 0 else logsigmoid(-outputs)
        cross_entropy = -targets * logsigmoid(outputs) - (1 - targets) * log_negative
        if gamma_negative == 0 and gamma_positive == 0:
            return cross_entropy.mean()
        with torch.set_grad_enabled(focal_gradient and torch.is_grad_enabled()):
            weight = targets * (1 - p) ** gamma_positive + (1 - targets) * shifted**gamma_negative
        return (weight * cross_entropy).mean()

    return loss
