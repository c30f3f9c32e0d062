"""`convnext1d`: ConvNeXt for signals (Liu et al. 2022, "A ConvNet for the 2020s", in one dimension).

A stem of patches, then stages of blocks with a halving of time and a doubling of width between them; the
network itself stands in `scalelab_plugins.convnext1d_model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator
from scalelab_plugins.signal_shapes import Shape, samples_of

import scalelab

if TYPE_CHECKING:
    from torch import nn


class ConvNeXt1dParams(scalelab.Params):
    """Options of `convnext1d`; the defaults are ConvNeXt-Pico's widths with two blocks a stage.

    Scale a network by `width` and `depth`, or set every stage by `dims` and `depths`.
    """

    width: int = Field(48, ge=1, le=8192, description="width of the first stage; doubles with each stage")
    depth: float = Field(1.0, gt=0, le=64, description="factor on depths; a stage keeps at least one block")
    dims: tuple[int, ...] | None = Field(
        None, min_length=1, max_length=12, description="width of each stage, instead of width"
    )
    depths: tuple[int, ...] = Field(
        (2, 2, 2, 2), min_length=1, max_length=12, description="blocks of each stage, before the factor depth"
    )
    stem: int = Field(4, ge=1, le=256, description="kernel and stride of the stem, in samples")
    kernel_size: int = Field(7, ge=1, le=255, description="kernel of the depthwise convolutions, odd")
    expansion: float = Field(
        4.0, gt=0, le=32, description="hidden width of a block, as a multiple of its width"
    )
    drop_path: float = Field(
        0.1, ge=0, lt=1, description="rate of stochastic depth in the last block, rising linearly from 0"
    )
    layer_scale: float = Field(1e-6, ge=0, le=10, description="initial LayerScale; 0 leaves LayerScale out")
    init: Literal["paper", "fan-in", "mup"] = Field(
        "paper",
        description="initial weights: the paper's 0.02, by fan-in, or by width, as rates then are (mup)",
        exclude_if=lambda init: init == "paper",
    )
    reference_width: int = Field(
        64,
        ge=1,
        le=8192,
        description="with mup: the width whose weights and rates are the paper's, best the study's widest",
        exclude_if=lambda width: width == 64,
    )

    @model_validator(mode="before")
    @classmethod
    def _width_of_dims(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("dims") and "width" not in values:
            return {**values, "width": values["dims"][0]}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size = {self.kernel_size} must be odd, so that time keeps its length")
        if min(self.depths) < 1 or (self.dims and min(self.dims) < 1):
            raise ValueError("every stage needs at least one block and one channel")
        if self.dims and len(self.dims) != len(self.depths):
            raise ValueError(f"dims has {len(self.dims)} stages but depths has {len(self.depths)}")
        if self.dims and self.width != self.dims[0]:
            raise ValueError(
                f"width = {self.width} contradicts dims, which begin with {self.dims[0]}; give one"
            )
        if self.init == "mup" and self.dims:
            raise ValueError("init = 'mup' scales a network by its width; leave dims out")
        if self.init != "mup" and "reference_width" in self.model_fields_set:
            raise ValueError(f"reference_width is of init = 'mup' alone, and init = {self.init!r}")
        return self


def stages(params: ConvNeXt1dParams, input_shape: Shape) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns widths and blocks of the stages that fit the input.

    Each stage but the first halves time; one that would find a single sample is left out when the network is
    scaled by `width`, and an error when `dims` asks for it.

    Raises:
        scalelab.InputError: The input is not (channels, samples) or is too short.
    """
    samples = samples_of(input_shape, "convnext1d")
    length = samples // params.stem
    if length < 1:
        raise scalelab.InputError(
            f"an input of {samples} samples is shorter than the stem of convnext1d, stem = {params.stem}; "
            "choose a smaller stem"
        )
    fitting = min(len(params.depths), length.bit_length())
    if params.dims and fitting < len(params.dims):
        raise scalelab.InputError(
            f"an input of {samples} samples is too short for the {len(params.dims)} stages of dims: after "
            f"the stem of {params.stem} only {fitting} fit; drop stages or choose a smaller stem"
        )
    dims = params.dims or tuple(params.width * 2**i for i in range(fitting))
    return dims, tuple(max(1, round(params.depth * blocks)) for blocks in params.depths[:fitting])


def build(params: ConvNeXt1dParams, input_shape: Shape, n_outputs: int) -> nn.Module:
    """Builds the network."""
    from scalelab_plugins.convnext1d_model import ConvNeXt1d, fan_in, maximal_update

    dims, depths = stages(params, input_shape)
    network: nn.Module = ConvNeXt1d(
        in_channels=input_shape[0],
        n_outputs=n_outputs,
        dims=dims,
        depths=depths,
        stem=params.stem,
        kernel_size=params.kernel_size,
        expansion=params.expansion,
        drop_path=params.drop_path,
        layer_scale=params.layer_scale,
    )
    if params.init == "fan-in":
        network.apply(fan_in)
    elif params.init == "mup":
        maximal_update(network, params.width / params.reference_width)
    return network


def features(
    params: ConvNeXt1dParams,
    input_shape: Shape,
    n_outputs: int,  # noqa: ARG001 - part of the interface
) -> dict[str, int | float | str]:
    """Returns stages, blocks and the last width."""
    dims, depths = stages(params, input_shape)
    return {"n_stages": len(dims), "n_blocks": sum(depths), "last_width": dims[-1]}


@scalelab.hookimpl
def scalelab_architectures() -> list[scalelab.Architecture]:
    """ConvNeXt-1D."""
    return [
        scalelab.Architecture(
            name="convnext1d",
            summary="ConvNeXt in one dimension: depthwise convolution, inverted bottleneck, LayerScale",
            build=build,
            params=ConvNeXt1dParams,
            space={
                "width": scalelab.Doubling(8, 64),
                "depth": scalelab.Choice((0.5, 1.0, 1.5, 2.0)),
                "kernel_size": scalelab.Choice((3, 7, 15)),
            },
            features=features,
        )
    ]
