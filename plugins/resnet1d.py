"""`resnet1d`: ResNet for signals (He et al. 2016), the usual baseline for ECGs.

Wang et al. 2017 took it to time series, Strodthoff et al. 2021 to twelve-lead ECGs (xresnet1d). A stem, then
stages of residual blocks, each stage but the first halving time: `scalelab_plugins.resnet1d_stages`; the
network itself stands in `scalelab_plugins.resnet1d_model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalelab_plugins.resnet1d_stages import ResNet1dParams, stages
from scalelab_plugins.signal_shapes import Shape

import scalelab

if TYPE_CHECKING:
    from torch import nn


def build(params: ResNet1dParams, input_shape: Shape, n_outputs: int) -> nn.Module:
    """Builds the network."""
    from scalelab_plugins.resnet1d_model import ResNet1d
    from scalelab_plugins.signal_images import fan_in

    widths, depths = stages(params, input_shape)
    network: nn.Module = ResNet1d(
        in_channels=input_shape[0], n_outputs=n_outputs, widths=widths, depths=depths, params=params
    )
    if params.init == "fan-in":
        network.apply(fan_in)
    return network


def features(
    params: ResNet1dParams,
    input_shape: Shape,
    n_outputs: int,  # noqa: ARG001 - part of the interface
) -> dict[str, int | float | str]:
    """Returns stages, blocks and the channels that leave the last one."""
    widths, depths = stages(params, input_shape)
    expansion = 4 if params.block == "bottleneck" else 1
    return {"n_stages": len(widths), "n_blocks": sum(depths), "last_width": expansion * widths[-1]}


@scalelab.hookimpl
def scalelab_architectures() -> list[scalelab.Architecture]:
    """ResNet-1D."""
    return [
        scalelab.Architecture(
            name="resnet1d",
            summary="ResNet in one dimension: basic or bottleneck blocks with batch norm",
            build=build,
            params=ResNet1dParams,
            space={
                "width": scalelab.Doubling(4, 64),
                "depth": scalelab.Choice((0.5, 1.0, 1.5, 2.0)),
                "kernel_size": scalelab.Choice((3, 5, 9)),
            },
            features=features,
        )
    ]
