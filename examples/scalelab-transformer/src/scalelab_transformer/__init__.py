"""`transformer1d`: a patch Transformer for signals, as a plugin of scalelab.

A signal is cut into patches of all its channels and each patch becomes a token (Dosovitskiy et al. 2021, "An
Image is Worth 16x16 Words", arXiv:2010.11929, in one dimension). Pre-norm blocks of attention and MLP follow,
and the mean over tokens goes to a linear head. The network itself stands in `scalelab_transformer.model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

import scalelab

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, ...]


class TransformerParams(scalelab.Params):
    """Options of `transformer1d`."""

    width: int = Field(64, ge=1, le=8192, description="width of a token, a multiple of heads")
    depth: int = Field(4, ge=1, le=200, description="blocks of attention and MLP")
    heads: int = Field(4, ge=1, le=512, description="heads of the attention")
    patch_length: int = Field(16, ge=1, le=100_000, description="samples of a patch; the last one is padded")
    mlp_ratio: float = Field(4.0, gt=0, le=32, description="hidden width of an MLP, as a multiple of width")
    positions: Literal["rotary", "learned"] = Field("rotary", description="how a token knows its position")
    dropout: float = Field(0.0, ge=0, lt=1, description="rate, in attention and on each branch")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        head, rest = divmod(self.width, self.heads)
        if rest:
            raise ValueError(f"width = {self.width} must be a multiple of heads = {self.heads}")
        if self.positions == "rotary" and head % 2:
            raise ValueError(
                f"width = {self.width} gives each of {self.heads} heads {head} numbers, which rotary "
                "positions turn in pairs; take an even number, or positions = 'learned'"
            )
        return self


def count_tokens(params: TransformerParams, input_shape: Shape) -> int:
    """Returns how many patches an input is cut into, the padded last one included.

    Raises:
        scalelab.InputError: The input is not (channels, samples) or is shorter than a patch.
    """
    if len(input_shape) != 2:
        raise scalelab.InputError(
            f"transformer1d needs inputs of shape (channels, samples), not {tuple(input_shape)}"
        )
    samples = input_shape[1]
    if samples < params.patch_length:
        raise scalelab.InputError(
            f"an input of {samples} samples is shorter than a patch of transformer1d, "
            f"patch_length = {params.patch_length}; choose a smaller patch_length"
        )
    return -(-samples // params.patch_length)


def build(params: TransformerParams, input_shape: Shape, n_outputs: int) -> nn.Module:
    """Builds the network."""
    n_tokens = count_tokens(params, input_shape)

    from scalelab_transformer.model import Transformer1d

    return Transformer1d(
        in_channels=input_shape[0],
        n_outputs=n_outputs,
        n_tokens=n_tokens,
        width=params.width,
        depth=params.depth,
        heads=params.heads,
        patch_length=params.patch_length,
        hidden=max(1, round(params.mlp_ratio * params.width)),
        rotary=params.positions == "rotary",
        dropout=params.dropout,
    )


def features(
    params: TransformerParams,
    input_shape: Shape,
    n_outputs: int,  # noqa: ARG001 - part of the interface
) -> dict[str, int | float | str]:
    """Returns the number of tokens and the width of a head."""
    return {"n_tokens": count_tokens(params, input_shape), "head_width": params.width // params.heads}


@scalelab.hookimpl
def scalelab_architectures() -> list[scalelab.Architecture]:
    """The Transformer."""
    return [
        scalelab.Architecture(
            name="transformer1d",
            summary="Patch Transformer in one dimension: pre-norm attention and MLP, mean over tokens",
            build=build,
            params=TransformerParams,
            space={
                "width": scalelab.Doubling(16, 256),
                "depth": scalelab.Int(2, 12),
                "heads": scalelab.Doubling(1, 8),
                "patch_length": scalelab.Choice((8, 16, 32)),
                "mlp_ratio": scalelab.Choice((2.0, 4.0)),
                "positions": scalelab.Choice(("rotary", "learned")),
            },
            constraints=("width % heads == 0", "width >= 8 * heads"),
            features=features,
        )
    ]
