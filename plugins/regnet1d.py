"""`regnet1d`: RegNet for signals (Radosavovic et al. 2020, "Designing Network Design Spaces").

Few numbers describe a whole network: the widths of its blocks lie on a line, are rounded to powers of a
multiplier, and blocks of one width form a stage. Stages are constructed in
`scalelab_plugins.regnet1d_stages`; the network itself is `scalelab_plugins.regnet1d_model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalelab_plugins.regnet1d_stages import RegNet1dParams, stages
from scalelab_plugins.signal_shapes import Shape

import scalelab

if TYPE_CHECKING:
    from torch import nn


def build(params: RegNet1dParams, input_shape: Shape, n_outputs: int) -> nn.Module:
    """Builds the network."""
    from scalelab_plugins.regnet1d_model import RegNet1d
    from scalelab_plugins.signal_images import fan_in

    network: nn.Module = RegNet1d(
        in_channels=input_shape[0],
        n_outputs=n_outputs,
        stem_width=params.w_init,
        stem_kernel=params.init_kernel_size,
        stages=stages(params, input_shape),
        se_ratio=params.se_ratio,
    )
    if params.init == "fan-in":
        network.apply(fan_in)
    return network


def features(
    params: RegNet1dParams,
    input_shape: Shape,
    n_outputs: int,  # noqa: ARG001 - part of the interface
) -> dict[str, int | float | str]:
    """Returns stages, last width, channels of the last grouped convolution, and what each stage has."""
    found = stages(params, input_shape)
    return {
        "n_stages": len(found),
        "last_width": found[-1].width,
        "last_conv_channels": found[-1].bottleneck,
        "stage_depths": "-".join(str(stage.depth) for stage in found),
        "stage_widths": "-".join(str(stage.width) for stage in found),
        "stage_group_widths": "-".join(str(stage.group_width) for stage in found),
    }


@scalelab.hookimpl
def scalelab_architectures() -> list[scalelab.Architecture]:
    """RegNet-1D."""
    return [
        scalelab.Architecture(
            name="regnet1d",
            summary="RegNet in one dimension: grouped bottleneck blocks, widths from four numbers",
            build=build,
            params=RegNet1dParams,
            space={
                "depth": scalelab.Int(4, 20),
                "w_init": scalelab.Int(32, 64, step=8),
                "w_0": scalelab.Int(32, 128, step=8),
                "w_a": scalelab.Int(10, 50),
                "w_m": scalelab.Float(1.1, 3.0, step=0.1),
                "group_width": scalelab.Doubling(1, 32),
                "bottleneck_multiplier": scalelab.Choice((0.5, 1.0, 2.0, 4.0)),
                "se_ratio": scalelab.Choice((0.25, 0.0)),
                "init_kernel_size": scalelab.Choice((3, 9, 15)),
            },
            constraints=("w_0 >= w_init",),
            features=features,
        )
    ]
