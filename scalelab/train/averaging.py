"""The exponential average of weights, which is scored in their place where a trial asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch  # noqa: TID253 - only the training loop imports this module
from torch import nn  # noqa: TID253
from torch.optim.swa_utils import AveragedModel  # noqa: TID253


class Averaged:
    """What of a run is validated, tested and kept: its weights, or their average over the steps.

    At step s the average moves by 1 - d toward the weights, d = min(decay, (s - 1) / (s + 8)): an average
    that began with a long memory would be of the initialization. Buffers, such as those of batch norm, move
    alike.

    Args:
        module: What is trained, on its device.
        decay: What is kept of the average in a step; `None` for the weights themselves.
    """

    def __init__(self, module: nn.Module, decay: float | None) -> None:
        self._trained, self._average = module, None
        if decay is not None:

            @torch.no_grad()
            def move(averages: Any, weights: Any, n: torch.Tensor | int) -> None:
                keep = min(decay, int(n) / (9 + int(n)))
                for average, weight in zip(averages, weights, strict=True):
                    if average.is_floating_point():
                        average.lerp_(weight, 1.0 - keep)
                    else:
                        average.copy_(weight)

            self._average = AveragedModel(module, multi_avg_fn=move, use_buffers=True)
            self._average.requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        """What is scored."""
        return self._trained if self._average is None else self._average.module

    def update(self) -> None:
        """Takes in the weights after a step."""
        if self._average is not None:
            self._average.update_parameters(self._trained)

    def settle(self) -> None:
        """Gives the module the weights that were scored, once it is trained no further."""
        if self._average is not None:
            self._trained.load_state_dict(self._average.module.state_dict())

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps; nothing where there is no average."""
        return {} if self._average is None else self._average.state_dict()

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes up where a checkpoint left off; an empty one changes nothing."""
        if self._average is not None and state:
            self._average.load_state_dict(dict(state))
