"""The shape of a signal, as the architectures for signals check it."""

from __future__ import annotations

import scalelab

Shape = tuple[int, ...]
"""Of one example, without the batch: (channels, samples) for signals."""


def samples_of(input_shape: Shape, architecture: str) -> int:
    """Returns the samples of an example.

    Raises:
        scalelab.InputError: The input is not (channels, samples); the message names the architecture.
    """
    if len(input_shape) != 2:
        raise scalelab.InputError(
            f"{architecture} needs inputs of shape (channels, samples), not {tuple(input_shape)}"
        )
    return input_shape[1]
