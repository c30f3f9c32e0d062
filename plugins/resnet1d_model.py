"""The network of `resnet1d`: a stem, stages of residual blocks, pooling over time, a linear head.

Signals are images, see `scalelab_plugins.signal_images`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch  # noqa: TID253 - imported by scalelab_plugins.resnet1d when a network is built
from scalelab_plugins.resnet1d_stages import ResNet1dParams
from scalelab_plugins.signal_images import as_image, convolution, initialize
from torch import nn  # noqa: TID253
from torch.nn.functional import relu  # noqa: TID253

BOTTLENECK = 4
"""Channels that leave a bottleneck block over those inside."""


class ResNet1d(nn.Module):
    """ResNet for (batch, in_channels, time), giving (batch, n_outputs).

    Args:
        in_channels: Channels of the signal.
        n_outputs: Width of the output.
        widths: Channels inside the blocks of each stage.
        depths: Blocks of each stage.
        params: What stem, blocks and head are made of.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        n_outputs: int,
        widths: Sequence[int],
        depths: Sequence[int],
        params: ResNet1dParams,
    ) -> None:
        super().__init__()
        self.stem = stem(in_channels, widths[0], params)
        block = Bottleneck if params.block == "bottleneck" else Basic
        blocks: list[nn.Module] = []
        channels = widths[0]
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for index in range(depth):
                stride = 2 if i > 0 and index == 0 else 1
                blocks.append(block(channels, width, params, stride=stride))
                channels = width * block.expansion
        self.blocks = nn.Sequential(*blocks)
        self.with_max = params.pooling == "mean-max"
        self.dropout = nn.Dropout(params.dropout)
        self.head = nn.Linear(channels * (2 if self.with_max else 1), n_outputs)
        self.apply(initialize)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, in_channels, time) to (batch, n_outputs)."""
        x = self.blocks(self.stem(as_image(x)))
        pooled = x.mean((2, 3))
        if self.with_max:
            pooled = torch.cat([pooled, x.amax((2, 3))], 1)
        outputs: torch.Tensor = self.head(self.dropout(pooled))
        return outputs


class Basic(nn.Module):
    """Two convolutions, added to the input or its projection (He et al. 2016, figure 5, left).

    Args:
        in_channels: Channels that enter.
        width: Channels that leave.
        params: The network's options.
        stride: Of the first convolution and of the projection.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, params: ResNet1dParams, *, stride: int) -> None:
        super().__init__()
        self.first = convolution(in_channels, width, params.kernel_size, stride=stride)
        self.second = convolution(width, width, params.kernel_size, gain=0.0 if params.zero_init else 1.0)
        self.project = projection(in_channels, width, params, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, in_channels, 1, time) to (batch, width, 1, ⌈time / stride⌉)."""
        outputs: torch.Tensor = relu(self.project(x) + self.second(relu(self.first(x))))
        return outputs


class Bottleneck(nn.Module):
    """A convolution between two of kernel 1, added to the input or its projection (figure 5, right).

    The convolution in the middle has the stride, as in Goyal et al. 2017 (section 5.1).

    Args:
        in_channels: Channels that enter.
        width: Channels inside; four times as many leave.
        params: The network's options.
        stride: Of the convolution in the middle and of the projection.
    """

    expansion = BOTTLENECK

    def __init__(self, in_channels: int, width: int, params: ResNet1dParams, *, stride: int) -> None:
        super().__init__()
        self.reduce = convolution(in_channels, width, 1)
        self.middle = convolution(width, width, params.kernel_size, stride=stride)
        self.expand = convolution(width, BOTTLENECK * width, 1, gain=0.0 if params.zero_init else 1.0)
        self.project = projection(in_channels, BOTTLENECK * width, params, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, in_channels, 1, time) to (batch, 4 · width, 1, ⌈time / stride⌉)."""
        branch = self.expand(relu(self.middle(relu(self.reduce(x)))))
        outputs: torch.Tensor = relu(self.project(x) + branch)
        return outputs


def projection(in_channels: int, out_channels: int, params: ResNet1dParams, *, stride: int) -> nn.Module:
    """Returns what fits a block's input to its output: nothing where the shapes are equal."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if stride == 1 or params.shortcut == "convolution":
        return nn.Sequential(*convolution(in_channels, out_channels, 1, stride=stride))
    # The last of an odd number of samples has no second one: it is its own mean.
    mean = nn.AvgPool2d((1, stride), ceil_mode=True, count_include_pad=False)
    return nn.Sequential(mean, *convolution(in_channels, out_channels, 1))


def stem(in_channels: int, width: int, params: ResNet1dParams) -> nn.Sequential:
    """Returns one convolution or three, each with batch norm and ReLU, and max pooling where asked."""
    half = max(1, width // 2)
    channels = (in_channels, half, half, width) if params.stem == "deep" else (in_channels, width)
    layers: list[nn.Module] = []
    for index, (entering, leaving) in enumerate(itertools.pairwise(channels)):
        stride = params.stem_stride if index == 0 else 1
        layers += [*convolution(entering, leaving, params.stem_kernel, stride=stride), nn.ReLU()]
    if params.pool:
        layers.append(nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1)))
    return nn.Sequential(*layers)
