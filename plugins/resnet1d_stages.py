"""The options of `resnet1d`, and the stages that follow from them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from scalelab_plugins.signal_shapes import Shape, samples_of

import scalelab


class ResNet1dParams(scalelab.Params):
    """Options of `resnet1d`; the defaults are ResNet-18's widths and depths.

    `depths = (3, 4, 6, 3)` is ResNet-34, and with `block = "bottleneck"` ResNet-50.
    """

    width: int = Field(64, ge=1, le=4096, description="channels of the stem and of the first stage's blocks")
    growth: float = Field(2.0, ge=1, le=4, description="factor on the width from stage to stage")
    depth: float = Field(1.0, gt=0, le=64, description="factor on depths; a stage keeps at least one block")
    depths: tuple[int, ...] = Field(
        (2, 2, 2, 2), min_length=1, max_length=12, description="blocks of each stage, before the factor depth"
    )
    block: Literal["basic", "bottleneck"] = Field(
        "basic", description="two convolutions, or one between two of kernel 1 with four times the output"
    )
    kernel_size: int = Field(5, ge=1, le=255, description="kernel of the blocks' convolutions, odd")
    stem: Literal["plain", "deep"] = Field(
        "plain", description="one convolution, or three, the first two half as wide (xresnet1d)"
    )
    stem_kernel: int = Field(7, ge=1, le=255, description="kernel of the stem's convolutions, odd")
    stem_stride: int = Field(2, ge=1, le=64, description="stride of the stem's first convolution, in samples")
    pool: bool = Field(True, description="halve time after the stem by the maximum of 3 samples")
    shortcut: Literal["convolution", "mean"] = Field(
        "convolution",
        description="where time halves: a strided convolution, or one of the means of two samples (ResNet-D)",
    )
    zero_init: bool = Field(True, description="blocks start as the identity: the last norm's gain is zero")
    pooling: Literal["mean", "mean-max"] = Field(
        "mean", description="over time before the head: the mean, or mean and maximum side by side"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="rate of dropout before the head")
    init: Literal["paper", "fan-in"] = Field(
        "paper",
        description="how weights start: He's normal over the fan-out, or by fan-in",
        exclude_if=lambda init: init == "paper",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("kernel_size", "stem_kernel"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be odd, so that time keeps its length")
        if min(self.depths) < 1:
            raise ValueError("every stage needs at least one block")
        return self


def stages(params: ResNet1dParams, input_shape: Shape) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns widths and blocks of the stages that fit the input.

    A stage that would find a single sample is left out.

    Raises:
        scalelab.InputError: The input is not (channels, samples) or is too short.
    """
    samples = samples_of(input_shape, "resnet1d")
    step = params.stem_stride * (2 if params.pool else 1)
    if samples < step:
        raise scalelab.InputError(
            f"an input of {samples} samples is too short for the stem of resnet1d, which keeps one of "
            f"{step}; choose a smaller stem_stride or pool = false"
        )
    length = -(-samples // step)
    fitting = min(len(params.depths), 1 + (length - 1).bit_length())
    widths = tuple(round(params.width * params.growth**i) for i in range(fitting))
    return widths, tuple(max(1, round(params.depth * blocks)) for blocks in params.depths[:fitting])
