"""The exponential average of weights, which is scored in their place where a trial asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, compress
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
        self._trained, self._decay, self._average = module, decay, None
        if decay is not None:
            self._average = AveragedModel(module, use_buffers=True)
            self._average.requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        """What is scored."""
        return self._trained if self._average is None else self._average.module

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights after a step; on a GPU without waiting for it, as torch's own would."""
        if self._average is None or self._decay is None:
            return
        n = int(self._average.n_averaged)  # on the CPU, wherever the weights are
        self._average.n_averaged += 1
        averages, weights = _tensors(self._average.module), _tensors(self._trained)
        if n == 0:
            torch._foreach_copy_(averages, weights)
            return
        moving = [average.is_floating_point() for average in averages]
        keep = min(self._decay, n / (9 + n))
        torch._foreach_lerp_(list(compress(averages, moving)), list(compress(weights, moving)), 1.0 - keep)
        for average, weight, moves in zip(averages, weights, moving, strict=True):
            if not moves:
                average.copy_(weight)

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


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return list(chain(module.parameters(), module.buffers()))
