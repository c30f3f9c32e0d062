"""The network of `convnext1d`.

Activations are (batch, time, channels) throughout: LayerNorm and the linear layers then work on contiguous
memory without a permutation in any block. The depthwise convolution sees the same memory as a (batch,
channels, 1, time) image in PyTorch's channels-last format, again without a copy; a whole training step is
about a tenth faster on a CPU than with `Conv1d` and permutations (`benchmarks/train_step.py`). In bf16 a
block on a CPU is the function in `scalelab_plugins.convnext1d_mixed`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch  # noqa: TID253 - imported by scalelab_plugins.convnext1d when a network is built
from scalelab_plugins.convnext1d_mixed import as_image, as_signal, is_mixed, mixed_block
from torch import nn  # noqa: TID253
from torch.nn.functional import gelu  # noqa: TID253

LAYER_NORM_EPS = 1e-6


class ConvNeXt1d(nn.Module):
    """ConvNeXt for (batch, in_channels, time), giving (batch, n_outputs).

    Args:
        in_channels: Channels of the signal.
        n_outputs: Width of the output.
        dims: Width of each stage.
        depths: Blocks of each stage.
        stem: Kernel and stride of the stem.
        kernel_size: Kernel of the depthwise convolutions, odd.
        expansion: Hidden width of a block over its width.
        drop_path: Rate of stochastic depth in the last block, rising linearly from 0 in the first.
        layer_scale: Initial LayerScale; 0 leaves it out.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        n_outputs: int,
        dims: Sequence[int],
        depths: Sequence[int],
        stem: int = 4,
        kernel_size: int = 7,
        expansion: float = 4.0,
        drop_path: float = 0.0,
        layer_scale: float = 1e-6,
    ) -> None:
        super().__init__()
        rates = iter(torch.linspace(0, drop_path, sum(depths), device="cpu").tolist())
        layers: list[nn.Module] = []
        for i, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
            if i == 0:
                layers += [Patches(in_channels, dim, stem), nn.LayerNorm(dim, eps=LAYER_NORM_EPS)]
            else:
                layers += [nn.LayerNorm(dims[i - 1], eps=LAYER_NORM_EPS), Patches(dims[i - 1], dim, 2)]
            layers += [Block(dim, kernel_size, expansion, next(rates), layer_scale) for _ in range(depth)]
        self.stages = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(dims[-1], eps=LAYER_NORM_EPS)
        self.head = nn.Linear(dims[-1], n_outputs)
        self.apply(initialize)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, in_channels, time) to (batch, n_outputs)."""
        x = self.stages(x.transpose(1, 2))
        outputs: torch.Tensor = self.head(self.norm(x.mean(1)))
        return outputs


class Patches(nn.Linear):
    """A convolution whose stride is its kernel, on (batch, time, channels); a rest at the end is dropped."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__(size * in_channels, out_channels)
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, time, in_channels) to (batch, time // size, out_channels)."""
        batch, time, channels = x.shape
        count = time // self.size
        return super().forward(x[:, : count * self.size].reshape(batch, count, self.size * channels))


class Block(nn.Module):
    """Depthwise convolution, LayerNorm, inverted bottleneck, LayerScale, stochastic depth, residual."""

    def __init__(
        self, dim: int, kernel_size: int, expansion: float, drop_path: float, layer_scale: float
    ) -> None:
        super().__init__()
        hidden = max(1, round(expansion * dim))
        self.depthwise = nn.Conv2d(dim, dim, (1, kernel_size), padding=(0, kernel_size // 2), groups=dim)
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.expand = nn.Linear(dim, hidden)
        self.project = nn.Linear(hidden, dim)
        self.scale = nn.Parameter(torch.full((dim,), layer_scale)) if layer_scale > 0 else None
        self.drop_path = drop_path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, time, dim) to the same shape."""
        if is_mixed(x):
            x = x.float()
            scale = self.branch_scale(x)
            layers = (self.depthwise, self.norm, self.expand, self.project)
            parameters = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
            mixed: torch.Tensor = mixed_block(
                x, LAYER_NORM_EPS, *parameters, *([] if scale is None else [scale])
            )
            return mixed
        branch = as_signal(self.depthwise(as_image(x)))
        branch = self.project(gelu(self.expand(self.norm(branch))))
        scale = self.branch_scale(x)
        outputs: torch.Tensor = x + branch if scale is None else torch.addcmul(x, branch.to(x.dtype), scale)
        return outputs

    def branch_scale(self, x: torch.Tensor) -> torch.Tensor | None:
        """Returns LayerScale times the mask of stochastic depth, which is tiny beside the branch itself.

        The mask (batch, 1, 1) drops the branch of an example with probability `drop_path` and divides the
        others by the probability to survive, so that the expectation stays (Huang et al. 2016; inverted as
        in dropout).
        """
        if not (self.training and self.drop_path > 0):
            return self.scale
        keep = 1 - self.drop_path
        mask = x.new_empty(len(x), 1, 1).bernoulli_(keep).div_(keep)
        return mask if self.scale is None else mask * self.scale


def initialize(module: nn.Module, factor: float = 1.0) -> None:
    """Draws weights from a normal distribution of width 0.02 times a factor, cut at ±2; biases are zero."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.trunc_normal_(module.weight, std=0.02 * factor)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def fan_in(module: nn.Module) -> None:
    """Draws weights from a normal distribution of width 1/√fan-in (LeCun et al. 1998, section 4.6)."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")


def maximal_update(network: ConvNeXt1d, ratio: float) -> None:
    """Starts a network so that it learns at the rate that is best at the reference width.

    This is the maximal update parametrization (Yang et al. 2022, arXiv:2203.03466, table 3): matrices between
    widths start at 1/√fan-in, the head at 1/fan-in, each 0.02 at the reference; the stem, depthwise
    convolutions, norms and LayerScale start as in the paper. The rates are up to the optimizer, which reads
    `fan_ratios` of the parameters.

    Args:
        network: The network, whose weights are drawn again.
        ratio: Its width over that of the reference.
    """
    for parameter in network.parameters():
        parameter.fan_ratios = (1.0, ratio)  # type: ignore[attr-defined]
    stem = network.stages[0]
    for module in network.modules():
        if isinstance(module, nn.Linear) and module not in (stem, network.head):
            initialize(module, ratio**-0.5)
            module.weight.fan_ratios = (ratio, ratio)  # type: ignore[attr-defined]
    initialize(network.head, 1.0 / ratio)
    network.head.weight.fan_ratios = (ratio, 1.0)  # type: ignore[attr-defined]
    network.head.bias.fan_ratios = (1.0, 1.0)  # type: ignore[attr-defined]
