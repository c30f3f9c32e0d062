"""FLOPs of single operators, and which operators are free of them.

A multiply-add is two FLOPs. Of products whose operands are complex, each multiply-add is four multiplications
and four sums: eight. Fourier transforms take what is usual to say of them (Frigo & Johnson,
https://www.fftw.org/speed): 5 N log2 N for N complex samples, half of that where one side is real, rounded to
whole FLOPs. A running sum, product, maximum or minimum is one FLOP an element (of complex numbers, a sum is
two and a product six); a running log-sum-exp is four (a difference, an exponential, a logarithm, a sum).

Free, by convention: additions, activations and other element-wise work but the products that
`scalelab.measure.chains` tells of; norms, biases, softmax, reductions, pooling, resampling, losses; and
whatever moves, makes, orders or draws numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch  # noqa: TID253 - imported when something is counted

from scalelab.measure.footprint import is_sparse, stored

Formula = Callable[[Sequence[Any], Any], int]
"""`formula(args, output)`: FLOPs of one call of an operator, from its arguments and what it returned."""

LOG_SUM_EXP = 4
COMPLEX, HALF_COMPLEX, COMPLEX_SUM = 6, 2, 2
"""FLOPs of a product of two complex numbers, of a complex and a real one, and of a complex sum."""


def _multiplied(sums: int, *operands: torch.Tensor) -> int:
    """Returns the FLOPs of so many multiply-adds of operands that may be complex."""
    return sums * (8 if all(operand.is_complex() for operand in operands) else 2)


def _product(left: int) -> Formula:
    """Returns the formula of a matrix product whose left factor is that argument, summed along its last axis.

    It holds for matrices, stacks of them and vectors alike. Of a sparse factor, what it stores is multiplied.
    """

    def formula(args: Sequence[Any], output: torch.Tensor) -> int:
        a, b = args[left], args[left + 1]
        sums = output.numel() * a.shape[-1]
        for one in (a, b):
            if is_sparse(one):
                sums = sums // max(one.numel(), 1) * stored(one).numel()
        return _multiplied(sums, a, b)

    return formula


def _summed_product(args: Sequence[Any], output: torch.Tensor) -> int:
    """`addbmm`: the products of a stack, summed."""
    return _multiplied(output.numel() * args[1].shape[0] * args[1].shape[-1], args[1], args[2])


def _grouped_product(args: Sequence[Any], _output: object) -> int:
    """`_grouped_mm`: of groups of rows, or of columns, each with a matrix of its own."""
    a, b = args[0], args[1]
    rows = a.numel() // len(a) if a.dim() > b.dim() else a.numel()
    return _multiplied(rows * b.shape[-1], a, b)


def _outer(args: Sequence[Any], output: torch.Tensor) -> int:
    return _multiplied(output.numel(), args[1], args[2])


def _trilinear(args: Sequence[Any], _output: torch.Tensor) -> int:
    """Sums of products of three factors, which are broadcast along the axes that `expand` lists for each."""
    factors = []
    for factor, expand in zip(args[:3], args[3:6], strict=True):
        for axis in expand:
            factor = factor.unsqueeze(axis)
        factors.append(factor)
    return 3 * prod(torch.broadcast_tensors(*factors)[0].shape)  # type: ignore[no-untyped-call]


def _convolution(args: Sequence[Any], output: torch.Tensor) -> int:
    inputs, weight, transposed = args[0], args[1], args[6]
    spatial = (inputs if transposed else output).shape[2:]
    return _multiplied(inputs.shape[0] * prod(spatial) * weight.numel(), inputs, weight)


def _convolution_backward(args: Sequence[Any], _output: object) -> int:
    """The gradients of input and weight each cost what the forward pass costs.

    Every product of an input, a weight and an output gradient appears once in each. torch's own formula
    (`torch.utils.flop_counter.conv_backward_flop`, up to 2.13 at least) multiplies that of the weight by
    the number of groups.
    """
    grad, inputs, weight, transposed, needed = args[0], args[1], args[2], args[7], args[10]
    spatial = (inputs if transposed else grad).shape[2:]
    each = _multiplied(inputs.shape[0] * prod(spatial) * weight.numel(), inputs, weight)
    return (int(needed[0]) + int(needed[1])) * each


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> int:
    """Returns the FLOPs of attention over (batch, heads, tokens, width): scores, and sums of values.

    Where keys and values have fewer heads, groups of queries share them. Masks save nothing.
    """
    return 2 * prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _attention(args: Sequence[Any], _output: object) -> int:
    return attention(*args[:3])


def _attention_backward(args: Sequence[Any], _output: object) -> int:
    """Twice forward, as of plain attention: a fused kernel's second look at the scores is its own affair."""
    return 2 * attention(*args[1:4])


def _transforms(n: int, elements: int, factor: float) -> int:
    return round(factor * n * math.log2(n)) * (elements // n) if n else 0


def _fft_complex(args: Sequence[Any], _output: object) -> int:
    inputs, axes = args[0], args[1]
    return _transforms(prod(inputs.shape[axis] for axis in axes), inputs.numel(), 5.0)


def _fft_from_real(args: Sequence[Any], _output: object) -> int:
    inputs, axes = args[0], args[1]
    return _transforms(prod(inputs.shape[axis] for axis in axes), inputs.numel(), 2.5)


def _fft_to_real(args: Sequence[Any], output: torch.Tensor) -> int:
    axes = args[1]
    return _transforms(prod(output.shape[axis] for axis in axes), output.numel(), 2.5)


def _running(each: int, each_complex: int) -> Formula:
    """Returns the formula of a scan of so many FLOPs an element; whole numbers cost none."""

    def formula(args: Sequence[Any], _output: object) -> int:
        inputs = args[0]
        if not (inputs.is_floating_point() or inputs.is_complex()):
            return 0
        return (each_complex if inputs.is_complex() else each) * int(inputs.numel())

    return formula


def _power(args: Sequence[Any], output: torch.Tensor) -> int:
    """`pow`: whole powers by squaring, others as one product, of the exponent and a logarithm.

    A negative power is a reciprocal besides, which counts as a product.
    """
    exponent = args[1]
    products = 1
    if isinstance(exponent, (int, float)) and float(exponent).is_integer():
        n = abs(int(exponent))
        products = max(n.bit_length() + n.bit_count() - 2, 0) + (exponent < 0)
    return COMPLEX * products * output.numel()


_ATTENTION = (
    "flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention",
    "fused_attention_overrideable",
)  # fmt: skip
FORMULAS: dict[str, Formula] = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot", "_int_mm", "_scaled_mm"), _product(0)),
    **dict.fromkeys(("addmm", "baddbmm", "addmv", "_addmm_activation"), _product(1)),
    "_sparse_addmm": _product(1),
    "_grouped_mm": _grouped_product,
    "addbmm": _summed_product,
    "addr": _outer,
    "_trilinear": _trilinear,
    "convolution": _convolution,
    "convolution_overrideable": _convolution,
    "convolution_backward": _convolution_backward,
    "convolution_backward_overrideable": _convolution_backward,
    **{f"_scaled_dot_product_{name}": _attention for name in _ATTENTION},
    **{f"_scaled_dot_product_{name}_backward": _attention_backward for name in _ATTENTION},
    "_fft_c2c": _fft_complex,
    "_fft_r2c": _fft_from_real,
    "_fft_c2r": _fft_to_real,
    "cumsum": _running(1, COMPLEX_SUM),
    "cumprod": _running(1, COMPLEX),
    **dict.fromkeys(("cummax", "cummin"), _running(1, 1)),
    "logcumsumexp": _running(LOG_SUM_EXP, LOG_SUM_EXP),
}
"""FLOPs by the name of an operator of torch, without its namespace."""

COMPLEX_FORMULAS: dict[str, Formula] = {
    "pow": _power,
    **dict.fromkeys(("reciprocal", "rsqrt"), lambda _args, output: COMPLEX * output.numel()),
    "prod": lambda args, _output: COMPLEX * args[0].numel(),
}
"""FLOPs of element-wise work and reductions of complex numbers; those of real numbers are free."""

SPARSE_PRODUCTS = frozenset({"mm", "bmm", "mv", "addmm", "baddbmm", "addmv", "_sparse_addmm"})
"""Operators whose formulas take a sparse factor, but not two, which cost what their places make them cost."""

PRODUCTS = frozenset({"mul", "div", "addcmul", "addcdiv", "lerp"})
"""Element-wise products of tensors, see `scalelab.measure.chains`; a quotient counts as a product."""

REDUCTIONS = frozenset({
    "sum", "nansum", "mean", "var", "var_mean", "std", "std_mean", "prod", "amax", "amin", "aminmax", "max",
    "min", "median", "nanmedian", "mode", "norm", "linalg_vector_norm", "logsumexp", "argmax", "argmin",
    "all", "any", "kthvalue", "count_nonzero", "trace", "dist", "native_norm", "renorm", "_softmax",
    "_log_softmax", "_safe_softmax", "_masked_softmax",
})  # fmt: skip
"""Operators that sum up or compare along an axis. They are free."""

_FREE = re.compile("|".join((
    # element-wise
    "abs|clamp|complex|copysign|eq|fill|floor_divide|gcd|ge|gt|heaviside|lcm|le|log_sigmoid_forward|lt|mish",
    "masked_fill|ne|polar|rsub|threshold|where|xlogy|celu|elu|gelu|glu|hardswish|selu|relu6|_prelu_kernel",
    "add|sub|_add_relu|relu|leaky_relu|softplus|hard(shrink|sigmoid|tanh)|softshrink|is(inf|nan)|remainder",
    "bitwise_.*|__[a-z]+__|_conj_physical",
    "(elu|gelu|glu|hardshrink|hardsigmoid|hardswish|hardtanh|leaky_relu|log_sigmoid|logit|mish)_backward",
    "(_prelu_kernel|rrelu_with_noise|sigmoid|silu|softplus|softshrink|tanh|threshold)_backward",
    # new numbers: constants, grids, random ones
    "arange|(bartlett|blackman|hamming|hann|kaiser)_window|(new_)?(empty|full|ones|zeros)(_like|_strided)?",
    "empty_permuted|eye|(lin|log)space|range|scalar_tensor|tri[lu]_indices|zero|_efficientzerotensor",
    "fft_r?fftfreq|affine_grid_generator|_new_zeros_with_same_feature_meta",
    "bernoulli|binomial|cauchy|exponential|geometric|log_normal|multinomial|normal|poisson|random|uniform",
    "rand(int|n|perm)?(_like)?|native_dropout(_backward)?|_masked_scale|rrelu_with_noise|_?standard_gamma(_grad)?",
    "_sample_dirichlet|_dirichlet_grad",
    # moved, copied, picked and put
    "_?(cat|clone|contiguous|copy|detach|repeat|resize|roll|set|stack|take|put|flip|rot90|lift|lift_fresh)",
    "_chunk_cat|_copy_from|_lazy_clone|_reshape_copy|_stack|_to_copy|_to_dense|_unsafe_view|to|block_diag|as_strided.*",
    "(narrow|split|split_with_sizes|unbind)_copy|channel_shuffle|pixel_(un)?shuffle|col2im|im2col|constant_pad_nd|(reflection|replication)_pad.*|tri[lu]",
    "diag_embed|(diagonal|select|slice)_(backward|scatter)|unfold_backward|unsafe_split.*|resize_as",
    "_?embedding.*|_?index.*|_unsafe_index.*|_unsafe_masked_index.*|gather|masked_(scatter.*|select)|nonzero.*",
    "scatter.*|repeat_interleave|value_selecting_reduction_backward|_pack_padded_sequence.*",
    "_?segment_reduce.*|_nested_from_padded|_resize_output|_pin_memory|record_stream",
    "(is_)?_?coalesced?|_?sparse_(coo|compressed|csr|csc|bsr|bsc)_tensor.*|_to_sparse.*|sparse_mask|sparse_resize.*",
    "_?(values|indices)|(c(row|col)|row|col)_indices(_copy)?|_sparse_((log_)?softmax|sum).*",
    # compared, sorted, looked up
    "_local_scalar_dense|item|is_same_size|equal|allclose|_(functional_)?assert.*|_is_a(ll|ny)_true|_linalg_check_errors",
    "_aminmax|bincount|bucketize|histc|isin|searchsorted|sort|topk|_?unique.*|_cum(max|min)_helper",
    # norms, softmax, pooling, resampling, losses
    "_?(native_|fused_)?(batch|group|layer|rms)_norm.*|_native_batch_norm.*|_weight_norm_interface.*",
    "_(log_|masked_)?softmax_backward.*|_?(adaptive_|fractional_)?(avg|max)_(un)?pool.*",
    "_?grid_sampler.*|_?upsample_.*|(binary_cross_entropy|(huber|mse|nll|smooth_l1|soft_margin)_loss).*",
    "(multi_margin|multilabel_margin|nll)_loss.*",
)))  # fmt: skip
"""Names of free operators that no tag tells."""

_FREE_TAGS = frozenset(
    getattr(torch.Tag, name)
    for name in ("pointwise", "reduction", "view_copy", "inplace_view")
    if hasattr(torch.Tag, name)  # "reduction" came after PyTorch 2.6, hence REDUCTIONS
)


def is_free(name: str, operator: torch._ops.OpOverload) -> bool:
    """Whether an operator of torch is free.

    Args:
        name: Its name without namespace and without the underscore of one that works in place.
        operator: The operator.
    """
    return bool(_FREE.fullmatch(name)) or name in REDUCTIONS or not _FREE_TAGS.isdisjoint(operator.tags)
