"""Parameters, FLOPs and memory traffic of a model, counted without running it.

Trade-off: the model is traced on torch's meta device, where tensors have shapes but no values, so that
counting takes milliseconds and no memory at any size. A model that looks at values (`.item()`,
data-dependent shapes) cannot be traced that way and is counted on the CPU instead, with torch's plain
kernels, the fused ones being invisible to the counter.

Work that does not depend on the batch, such as the transform of a kernel, is done once in a pass. It is told
from that of the examples by counting batches of two sizes: F(b) = fixed + b * each.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from scalelab.components import Shape
from scalelab.errors import InputError, in_words
from scalelab.measure.footprint import BYTES, is_sparse, stored, trace
from scalelab.measurements import Complexity

if TYPE_CHECKING:
    from torch import nn

BATCH, LARGER = 2, 4
"""Examples traced. One would not do: some models drop a batch dimension of 1, others pair examples."""


class CountingError(InputError):
    """A model cannot be counted: it runs neither without values nor on the CPU."""


def complexity(
    model: nn.Module, input_shape: Shape, *, head: str | None = None, n_outputs: int | None = None
) -> Complexity:
    """Counts a model's parameters, FLOPs, memory traffic and operations; the model itself is left untouched.

    Convolutions, linear layers, matrix products, attention, recurrent layers, Fourier transforms, scans,
    element-wise products of complex numbers and those of recurrences count as FLOPs; other element-wise work,
    norms and biases do not (`scalelab.measure.formulas` and `.chains` have the formulas). The model is traced
    in evaluation mode, so that layers that training drops at random count in full. The gradient of the input
    is not needed in training, and its FLOPs are not counted.

    Where examples of a batch interact so that FLOPs grow faster than the batch, the counts are those of an
    example in a batch of two, and nothing is fixed.

    Args:
        model: Maps (batch, *input_shape) to a tensor.
        input_shape: The shape of one example, without the batch.
        head: The name of the submodule that `n_params_body` leaves out, such as `"head"`.
        n_outputs: The width that the output must have, (batch, n_outputs); any by default.

    Raises:
        CountingError: The model does not run on such an input; an `InputError`.
        InputError: Its output is another one.
    """
    try:
        counts = _counts(_on_meta(model), input_shape, n_outputs, "meta")
    except (InputError, KeyboardInterrupt):
        raise
    except BaseException:  # whatever a model does that needs values; the CPU tells whether it works at all
        try:
            counts = _counts(_on_cpu(model), input_shape, n_outputs, "cpu")
        except (InputError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise CountingError(
                f"FLOPs of {type(model).__name__} cannot be counted: it does not run on an input of shape "
                f"{(BATCH, *input_shape)}: {in_words(error)}"
            ) from error
    total, body = parameter_counts(model, head)
    return Complexity(n_params=total, n_params_body=body, **counts)


def parameter_counts(model: nn.Module, head: str | None = None) -> tuple[int, int | None]:
    """Returns a model's trainable parameters, and those outside the head; `None` where it has none."""
    sizes = {id(p): stored(p).numel() for p in model.parameters() if p.requires_grad}
    named = dict(model.named_modules())
    if head is None or head not in named:
        return sum(sizes.values()), None
    in_head = {id(p) for p in named[head].parameters()}
    return sum(sizes.values()), sum(size for key, size in sizes.items() if key not in in_head)


def _counts(model: nn.Module, input_shape: Shape, n_outputs: int | None, device: str) -> dict[str, Any]:
    """Returns what a batch counts, for one example: FLOPs with gradients, traffic without."""
    from scalelab.measure.counter import plain_operators

    model.eval()
    small = _flops(model, (BATCH, *input_shape), device, n_outputs)
    try:
        large = _flops(model, (LARGER, *input_shape), device)
    except Exception:  # made for a batch of one size: what it does is taken to be its examples'
        large = _Flops(small.forward * LARGER // BATCH, small.train * LARGER // BATCH, small.uncounted)
    fixed_forward, forward = _split(small.forward, large.forward)
    fixed_train, train = _split(small.train, large.train)
    with plain_operators():
        work = trace(model, (BATCH, *input_shape), device)
    return {
        "forward_flops": forward,
        "train_flops_per_example": train,
        "fixed_forward_flops": fixed_forward,
        "fixed_train_flops": fixed_train,
        "uncounted": tuple(sorted(small.uncounted | large.uncounted)),
        "grouped_flops": work.grouped_flops / BATCH,
        "activation_bytes": work.numbers * BYTES / BATCH,
        "n_ops": work.n_ops,
        "n_layers": work.n_layers,
    }


def _split(small: int, large: int) -> tuple[float, float]:
    """Returns the FLOPs that batches of both sizes share, and those of each example beside them."""
    each = (large - small) / (LARGER - BATCH)
    fixed = small - BATCH * each
    return (fixed, each) if fixed >= 0 <= each else (0.0, small / BATCH)


def _on_meta(model: nn.Module) -> nn.Module:
    """Returns a copy of the model whose parameters and buffers have shapes but no values.

    Raises:
        TypeError: One of them is sparse, and without values what it stores would be lost.
    """
    import torch

    if any(is_sparse(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise TypeError("sparse tensors are counted by their values")

    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        meta = torch.empty_like(parameter, device="meta")
        memo[id(parameter)] = torch.nn.Parameter(meta, requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(model, memo)


def _on_cpu(model: nn.Module) -> nn.Module:
    """Returns a copy of the model on the CPU."""
    import torch

    memo: dict[int, Any] = {}  # of what deepcopy() cannot copy
    attributes = (one for module in model.modules() for one in vars(module).values())
    for tensor in (*model.parameters(), *model.buffers(), *attributes):
        if isinstance(tensor, torch.Tensor) and is_sparse(tensor):
            copied = tensor.detach().clone()
            if isinstance(tensor, torch.nn.Parameter):
                copied = torch.nn.Parameter(copied, requires_grad=tensor.requires_grad)
            memo[id(tensor)] = copied
    return copy.deepcopy(model, memo).cpu()


class _Flops(NamedTuple):
    """FLOPs of forward, and of forward and backward, of a batch, and the operators they leave out."""

    forward: int
    train: int
    uncounted: set[str]


def _flops(model: nn.Module, shape: tuple[int, ...], device: str, n_outputs: int | None = None) -> _Flops:
    import torch

    from scalelab.measure.counter import counting

    with torch.enable_grad(), counting() as counter:
        outputs = model(torch.zeros(shape, device=device))
        if not isinstance(outputs, torch.Tensor):
            raise TypeError(f"its output is a {type(outputs).__name__}, not a tensor")
        if n_outputs is not None and tuple(outputs.shape) != (shape[0], n_outputs):
            raise InputError(
                f"the output of {type(model).__name__} has shape {tuple(outputs.shape)}; the task needs "
                f"({shape[0]}, {n_outputs}): one answer an example, or those of all time steps flattened"
            )
        forward = counter.flops
        if outputs.requires_grad:
            outputs.sum().backward()  # type: ignore[no-untyped-call]
        return _Flops(forward, counter.flops, counter.uncounted)
