"""The network of `regnet1d`: a stem, stages of grouped bottleneck blocks, mean over time, a linear head.

Signals are images, see `scalelab_plugins.signal_images`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch  # noqa: TID253 - imported by scalelab_plugins.regnet1d when a network is built
from scalelab_plugins.regnet1d_stages import Stage
from scalelab_plugins.signal_images import as_image, convolution, initialize
from torch import nn  # noqa: TID253
from torch.nn.functional import relu  # noqa: TID253


class RegNet1d(nn.Module):
    """RegNet for (batch, in_channels, time), giving (batch, n_outputs).

    Args:
        in_channels: Channels of the signal.
        n_outputs: Width of the output.
        stem_width: Channels of the stem.
        stem_kernel: Its kernel, odd.
        stages: Depth, width, bottleneck and group width of each stage.
        se_ratio: Channels of the squeeze over those entering the block; 0 for no squeeze-and-excitation.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        n_outputs: int,
        stem_width: int,
        stem_kernel: int,
        stages: Sequence[Stage],
        se_ratio: float,
    ) -> None:
        super().__init__()
        self.stem = convolution(in_channels, stem_width, stem_kernel, stride=2)
        blocks: list[nn.Module] = []
        width = stem_width
        for stage in stages:
            for index in range(stage.depth):
                blocks.append(Block(width, stage, stride=2 if index == 0 else 1, se_ratio=se_ratio))
                width = stage.width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width, n_outputs)
        self.apply(initialize)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, in_channels, time) to (batch, n_outputs)."""
        outputs: torch.Tensor = self.head(self.blocks(relu(self.stem(as_image(x)))).mean((2, 3)))
        return outputs


class Block(nn.Module):
    """1×1, 3 wide and grouped, squeeze-and-excitation, 1×1; added to the input or its projection.

    Args:
        in_channels: Channels that enter.
        stage: What the block is made of.
        stride: Of the grouped convolution and of the projection.
        se_ratio: As for the network.
    """

    def __init__(self, in_channels: int, stage: Stage, *, stride: int, se_ratio: float) -> None:
        super().__init__()
        inner = stage.bottleneck
        self.reduce = convolution(in_channels, inner, 1)
        self.grouped = convolution(inner, inner, 3, stride=stride, groups=inner // stage.group_width)
        self.se = SqueezeExcitation(inner, max(1, round(se_ratio * in_channels))) if se_ratio > 0 else None
        self.expand = convolution(inner, stage.width, 1)
        changes = stride != 1 or in_channels != stage.width
        self.project = convolution(in_channels, stage.width, 1, stride=stride) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, in_channels, 1, time) to (batch, width, 1, ⌈time / stride⌉)."""
        branch = relu(self.grouped(relu(self.reduce(x))))
        if self.se is not None:
            branch = self.se(branch)
        shortcut = x if self.project is None else self.project(x)
        return relu(shortcut + self.expand(branch))


class SqueezeExcitation(nn.Module):
    """Scales channels by a gate that sees their means (Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, squeezed)
        self.excite = nn.Linear(squeezed, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, channels, 1, time) to the same shape."""
        signal = x.squeeze(2).transpose(1, 2)  # (batch, time, channels), the order in memory
        gate = self.excite(relu(self.squeeze(signal.mean(1)))).sigmoid()
        scaled: torch.Tensor = signal * gate.unsqueeze(1)
        return scaled.transpose(1, 2).unsqueeze(2)
