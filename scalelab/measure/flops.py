"""Parameters, FLOPs and memory traffic of a model, counted without running it.

Trade-off: the model is traced on torch's meta device, where tensors have shapes but no values, so that
counting takes milliseconds and no memory at any size. A model that looks at values (`.item()`,
data-dependent shapes) cannot be traced that way and is counted on the CPU instead, with torch's plain
kernels, the fused ones being invisible to the counter.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

from scalelab.components import Shape
from scalelab.errors import InputError
from scalelab.measure.footprint import BYTES, trace
from scalelab.measurements import Complexity

if TYPE_CHECKING:
    from torch import nn

BATCH = 2
"""Examples traced; counts are divided by it. One would not do: some models drop a batch dimension of 1."""


def complexity(model: nn.Module, input_shape: Shape, *, head: str | None = None) -> Complexity:
    """Counts a model's parameters, FLOPs, memory traffic and operations; the model itself is left untouched.

    Convolutions, linear layers, matrix products, attention and recurrent layers count as FLOPs; element-wise
    work, norms and biases do not. The model is traced in evaluation mode, so that layers that training drops
    at random count in full. The gradient of the input is not needed in training, and its FLOPs are not
    counted.

    Args:
        model: Maps (batch, *input_shape) to a tensor.
        input_shape: The shape of one example, without the batch.
        head: The name of the submodule that `n_params_body` leaves out, such as `"head"`.

    Raises:
        InputError: The model does not run on such an input.
    """
    parameters = {id(p): p.numel() for p in model.parameters() if p.requires_grad}
    named = dict(model.named_modules())
    body = None
    if head is not None and head in named:
        in_head = {id(p) for p in named[head].parameters()}
        body = sum(size for key, size in parameters.items() if key not in in_head)
    try:
        counts = _counts(_on_meta(model), input_shape, "meta")
    except Exception:  # whatever a model does that needs values; the CPU tells whether it works at all
        try:
            with _plain_kernels():
                counts = _counts(copy.deepcopy(model).cpu(), input_shape, "cpu")
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(
                f"FLOPs of {type(model).__name__} cannot be counted: it does not run on an input of shape "
                f"{(BATCH, *input_shape)}: {type(error).__name__}: {reason}"
            ) from error
    return Complexity(n_params=sum(parameters.values()), n_params_body=body, **counts)


def _counts(model: nn.Module, input_shape: Shape, device: str) -> dict[str, Any]:
    """Returns what a batch counts, for one example: FLOPs with gradients, traffic without."""
    model.eval()
    forward, train = _flops(model, input_shape, device)
    work = trace(model, (BATCH, *input_shape), device)
    return {
        "forward_flops": forward / BATCH,
        "train_flops_per_example": train / BATCH,
        "grouped_flops": work.grouped_flops / BATCH,
        "activation_bytes": work.numbers * BYTES / BATCH,
        "n_ops": work.n_ops,
        "n_layers": work.n_layers,
    }


def _on_meta(model: nn.Module) -> nn.Module:
    """Returns a copy of the model whose parameters and buffers have shapes but no values."""
    import torch

    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        meta = torch.empty_like(parameter, device="meta")
        memo[id(parameter)] = torch.nn.Parameter(meta, requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(model, memo)


def _flops(model: nn.Module, input_shape: Shape, device: str) -> tuple[int, int]:
    """Returns the FLOPs of forward, and of forward and backward, of a batch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    formulas: dict[Any, Any] = {torch.ops.aten.convolution_backward: convolution_backward_flops}
    with torch.enable_grad(), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        outputs = model(torch.zeros(BATCH, *input_shape, device=device))
        if not isinstance(outputs, torch.Tensor):
            raise TypeError(f"its output is a {type(outputs).__name__}, not a tensor")
        forward = counter.get_total_flops()
        if outputs.requires_grad:
            outputs.sum().backward()  # type: ignore[no-untyped-call]
        return forward, counter.get_total_flops()


def convolution_backward_flops(
    grad_output: Sequence[int],
    inputs: Sequence[int],
    weight: Sequence[int],
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,
    _output_padding: object,
    _groups: object,
    needed: Sequence[bool],
    **_results: object,
) -> int:
    """Returns the FLOPs of a convolution's backward pass from the shapes of its operands.

    The gradients of input and weight each cost what the forward pass costs: every product of an input, a
    weight and an output gradient appears once in each. torch's own formula
    (`torch.utils.flop_counter.conv_backward_flop`, up to 2.13 at least) multiplies that of the weight by
    the number of groups.
    """
    spatial = inputs[2:] if transposed else grad_output[2:]
    return (int(needed[0]) + int(needed[1])) * 2 * inputs[0] * prod(spatial) * prod(weight)


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Makes the CPU compute attention and recurrent layers by matrix products, which the counter sees."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration")  # said by mkldnn.flags, of no use here
        with (
            torch.random.fork_rng(devices=[]),
            torch.backends.mkldnn.flags(enabled=False),
            sdpa_kernel(SDPBackend.MATH),
        ):
            yield
