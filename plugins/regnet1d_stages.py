"""The options of `regnet1d`, and the stages that follow from them.

The construction is the one of the study that drew ECG networks from this space; Radosavovic et al. 2020,
"Designing Network Design Spaces" (https://arxiv.org/abs/2003.13678), has the original for images.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator
from scalelab_plugins.signal_shapes import Shape, samples_of

import scalelab

QUANTUM = 8
MAX_STAGES = 7


class RegNet1dParams(scalelab.Params):
    """Options of `regnet1d`; the names are the paper's."""

    depth: int = Field(12, ge=1, le=200, description="blocks of all stages together")
    w_init: int = Field(32, ge=1, le=4096, description="channels of the stem")
    w_0: int = Field(32, ge=8, le=4096, multiple_of=8, description="width of the first block")
    w_a: float = Field(20.0, ge=0, le=1000, description="growth of the width from block to block")
    w_m: float = Field(2.0, gt=1, le=10, description="factor between the widths of successive stages")
    group_width: int = Field(8, ge=1, le=4096, description="channels of a group of the grouped convolutions")
    bottleneck_multiplier: float = Field(
        1.0, ge=0.125, le=16, description="width inside a block, as a multiple of its outer width"
    )
    se_ratio: float = Field(
        0.25, ge=0, le=1, description="squeezed channels over those entering a block; 0: no squeeze"
    )
    init_kernel_size: int = Field(3, ge=1, le=255, description="kernel of the stem, odd")
    init: Literal["paper", "fan-in"] = Field(
        "paper",
        description="how weights start: as in the paper, He's normal over the fan-out, or by fan-in",
        exclude_if=lambda init: init == "paper",
    )

    @field_validator("se_ratio", mode="before")
    @classmethod
    def _none_is_zero(cls, value: Any) -> Any:
        return 0.0 if value is None else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.init_kernel_size % 2 == 0:
            raise ValueError(
                f"init_kernel_size = {self.init_kernel_size} must be odd, so that the stem halves time"
            )
        return self


class Stage(NamedTuple):
    """Blocks of one width.

    Attributes:
        depth: How many.
        width: Channels that leave a block.
        bottleneck: Channels of its grouped convolution.
        group_width: Channels of a group, a divisor of `bottleneck`.
    """

    depth: int
    width: int
    bottleneck: int
    group_width: int


def stages(params: RegNet1dParams, input_shape: Shape) -> tuple[Stage, ...]:
    """Returns the stages of a network.

    Raises:
        scalelab.InputError: The input is not (channels, samples) or is too short.
    """
    samples = samples_of(input_shape, "regnet1d")
    if samples < 8:
        raise scalelab.InputError(
            f"an input of {samples} samples is too short for regnet1d, which needs 8 or more: its stem and "
            "its first stage each halve time"
        )
    return _stages(params, samples)


@lru_cache(maxsize=1024)
def _stages(params: RegNet1dParams, samples: int) -> tuple[Stage, ...]:
    widths = at_most(MAX_STAGES, block_widths(params, samples))
    return tuple(compatible(len(list(blocks)), width, params) for width, blocks in groupby(widths))


def block_widths(params: RegNet1dParams, samples: int) -> list[int]:
    """Returns the quantized width of every block, which never falls.

    Block i is `w_0 + w_a·i` wide, rounded to the nearest `w_0·w_m^capacity` with a whole capacity, and
    that to a multiple of 8 (ties to even, as `round` has them). Each stage halves time, so the capacity is at
    most log2(samples) - 3, which is the last capacity also where it is not a whole number.
    """
    most = math.log2(samples) - 3
    widths = []
    for index in range(params.depth):
        continuous = params.w_0 + params.w_a * index
        capacity = min(round(math.log(continuous / params.w_0) / math.log(params.w_m)), most)
        widths.append(QUANTUM * round(params.w_0 * params.w_m**capacity / QUANTUM))
    return widths


def at_most(n_stages: int, widths: list[int]) -> list[int]:
    """Merges widths where there are too many: each becomes the nearest of `n_stages` cluster centers.

    The centers are those of k-means over the different widths, rounded down. It starts from a fixed seed, so
    that a point of the space is one network.
    """
    different = sorted(set(widths))
    if len(different) <= n_stages:
        return widths
    import numpy as np
    from sklearn.cluster import KMeans

    clusters = KMeans(n_stages, n_init=1, random_state=0).fit(np.array(different, dtype=float)[:, None])
    centers = sorted(int(center) for center in clusters.cluster_centers_[:, 0])
    return [min(centers, key=lambda center: abs(center - width)) for width in widths]


def compatible(depth: int, width: int, params: RegNet1dParams) -> Stage:
    """Returns a stage whose widths are whole: groups divide the bottleneck, and both follow the multiplier.

    The bottleneck is rounded up to a multiple of the group width and of the multiplier's numerator; the width
    follows from it.
    """
    multiplier = Fraction(params.bottleneck_multiplier).limit_denominator()
    bottleneck = int(width * params.bottleneck_multiplier)
    group_width = min(params.group_width, bottleneck)
    step = math.lcm(group_width, multiplier.numerator)
    bottleneck = math.ceil(bottleneck / step) * step
    return Stage(depth, round(bottleneck / multiplier), bottleneck, group_width)
