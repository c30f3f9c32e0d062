"""`ssm1d`: diagonal state space models for signals, S4D (Gu et al. 2022, arXiv:2206.11893).

Patches become tokens; each block is a linear recurrence over them, computed as a convolution
(`scalelab_plugins.ssm1d_kernel`), and a gated linear layer. The network stands in
`scalelab_plugins.ssm1d_model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator
from scalelab_plugins.signal_shapes import Shape, samples_of

import scalelab

if TYPE_CHECKING:
    from torch import nn


class Ssm1dParams(scalelab.Params):
    """Options of `ssm1d`."""

    width: int = Field(128, ge=1, le=8192, description="channels of every token")
    depth: int = Field(4, ge=1, le=200, description="blocks")
    state: int = Field(
        32, ge=2, le=1024, multiple_of=2, description="size of a channel's state, half as many complex modes"
    )
    patch: int = Field(8, ge=1, le=1024, description="samples of a token")
    bidirectional: bool = Field(True, description="a token sees those after it too, not only those before")
    gate: bool = Field(True, description="half of what a block's linear layer gives gates the other half")
    spectrum: Literal["lin", "inv"] = Field("lin", description="initial frequencies: S4D-Lin or S4D-Inv")
    discretization: Literal["zoh", "bilinear"] = Field(
        "zoh", description="continuous to discrete time: zero-order hold or the bilinear transform"
    )
    step_min: float = Field(1e-3, gt=0, le=10, description="least initial step of a channel, in tokens")
    step_max: float = Field(0.1, gt=0, le=10, description="greatest initial step")
    dropout: float = Field(0.0, ge=0, lt=1, description="rate of dropout before each block's linear layer")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.step_min > self.step_max:
            raise ValueError(f"step_min = {self.step_min:g} is above step_max = {self.step_max:g}")
        return self


def tokens(params: Ssm1dParams, input_shape: Shape) -> int:
    """Returns the number of tokens; a rest of samples at the end is dropped.

    Raises:
        scalelab.InputError: The input is not (channels, samples) or is too short.
    """
    samples: int = samples_of(input_shape, "ssm1d")
    if samples < params.patch:
        raise scalelab.InputError(
            f"an input of {samples} samples is shorter than a token of ssm1d, patch = {params.patch}; "
            "choose a smaller patch"
        )
    return samples // params.patch


def build(params: Ssm1dParams, input_shape: Shape, n_outputs: int) -> nn.Module:
    """Builds the network."""
    from scalelab_plugins.convnext1d_model import Patches
    from scalelab_plugins.ssm1d_kernel import StateSpace
    from scalelab_plugins.ssm1d_model import Block, Ssm1d

    n_tokens = tokens(params, input_shape)
    blocks = []
    for _ in range(params.depth):
        mixer = StateSpace(
            params.width,
            n_tokens,
            state=params.state,
            bidirectional=params.bidirectional,
            spectrum=params.spectrum,
            discretization=params.discretization,
            steps=(params.step_min, params.step_max),
        )
        blocks.append(Block(mixer, params.width, gate=params.gate, dropout=params.dropout))
    network: nn.Module = Ssm1d(n_outputs, Patches(input_shape[0], params.width, params.patch), blocks)
    return network


def features(
    params: Ssm1dParams,
    input_shape: Shape,
    n_outputs: int,  # noqa: ARG001 - part of the interface
) -> dict[str, int | float | str]:
    """Returns the number of tokens."""
    return {"n_tokens": tokens(params, input_shape)}


@scalelab.hookimpl
def scalelab_architectures() -> list[scalelab.Architecture]:
    """The diagonal state space model."""
    return [
        scalelab.Architecture(
            name="ssm1d",
            summary="diagonal state space model (S4D) over patches of a signal, computed as convolutions",
            build=build,
            params=Ssm1dParams,
            space={
                "width": scalelab.Doubling(16, 1024),
                "depth": scalelab.Int(2, 8, step=2),
                "state": scalelab.Doubling(8, 64),
            },
            features=features,
        )
    ]
