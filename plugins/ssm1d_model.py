"""The network of `ssm1d`: patches, blocks of state space models and gates, mean over time, a linear head."""

from __future__ import annotations

import torch  # noqa: TID253 - imported by scalelab_plugins.ssm1d when a network is built
from scalelab_plugins.convnext1d_model import Patches
from scalelab_plugins.ssm1d_kernel import StateSpace
from torch import nn  # noqa: TID253
from torch.nn.functional import gelu, glu  # noqa: TID253


class Ssm1d(nn.Module):
    """A stack of state space models for (batch, in_channels, time), giving (batch, n_outputs).

    Args:
        n_outputs: Width of the output.
        patches: Samples to tokens.
        blocks: What follows, each from (batch, tokens, width) to the same shape.
    """

    def __init__(self, n_outputs: int, patches: Patches, blocks: list[Block]) -> None:
        super().__init__()
        width = patches.out_features
        self.patches = patches
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_outputs)
        self.apply(initialize)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, in_channels, time) to (batch, n_outputs)."""
        x = self.blocks(self.patches(x.transpose(1, 2)))
        outputs: torch.Tensor = self.head(self.norm(x.mean(1)))
        return outputs


class Block(nn.Module):
    """LayerNorm, a state space model, GELU, a linear layer, with a gate or without; added to the input.

    Args:
        mixer: The state space model, from (batch, tokens, width) to the same shape.
        width: Channels.
        gate: Whether half of what the linear layer gives gates the other half (Dauphin et al. 2017).
        dropout: Rate of dropout before the linear layer.
    """

    def __init__(self, mixer: StateSpace, width: int, *, gate: bool, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mixer = mixer
        self.dropout = nn.Dropout(dropout)
        self.mix = nn.Linear(width, 2 * width if gate else width)
        self.gate = gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, tokens, width) to the same shape."""
        branch = self.mix(self.dropout(gelu(self.mixer(self.norm(x)))))
        return x + (glu(branch) if self.gate else branch)


def initialize(module: nn.Module) -> None:
    """Draws weights of linear layers from a normal distribution of width 1/√fan-in; biases are zero."""
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        nn.init.zeros_(module.bias)
