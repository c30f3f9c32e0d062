"""Counts the FLOPs of what runs inside of it, and names the operators that it cannot count."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch  # noqa: TID253 - imported when something is counted
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: TID253
from torch.overrides import TorchFunctionMode  # noqa: TID253
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253
from torch.utils._pytree import tree_leaves  # noqa: TID253
from torch.utils.flop_counter import flop_registry  # noqa: TID253

from scalelab.measure.chains import Chains
from scalelab.measure.footprint import is_sparse
from scalelab.measure.formulas import (
    COMPLEX,
    COMPLEX_FORMULAS,
    FORMULAS,
    HALF_COMPLEX,
    PRODUCTS,
    REDUCTIONS,
    SPARSE_PRODUCTS,
    Formula,
    is_free,
)
from scalelab.measure.higher_order import written_out
from scalelab.measure.recurrent import Recurrence

_CONVOLUTIONS = frozenset({
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
})  # fmt: skip


class Counter(TorchDispatchMode):
    """Counts while it is entered; see `scalelab.measure.formulas` and `.chains` for what counts.

    Attributes:
        uncounted: Operators that ran and are neither counted nor known to be free, such as
            `"aten::linalg_solve"`.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.uncounted: set[str] = set()
        self._counted = 0
        self._chains = Chains()

    @property
    def flops(self) -> int:
        """FLOPs so far."""
        return self._counted + self._chains.flops

    def add(self, flops: int, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> None:
        """Takes in what was counted elsewhere, as one operator."""
        self._counted += flops
        self._chains.contracted(inputs, outputs)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operator and takes it in."""
        output = func(*args, **(kwargs or {}))
        if not isinstance(func, torch._ops.OpOverload):
            self.uncounted.add(f"higher_order::{func.name()}")
            return output
        if not func.is_view:
            self._take(func, args, kwargs or {}, output)
        return output

    def _take(self, func: torch._ops.OpOverload, args: Any, kwargs: Any, output: Any) -> None:
        kind = _kind(func)
        inputs = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        outputs = [one for one in tree_leaves(output) if isinstance(one, torch.Tensor)]
        n_sparse = sum(map(is_sparse, inputs))
        if n_sparse and kind.formula is not None and (n_sparse > 1 or not kind.sparse):
            self.uncounted.add(func._schema.name)
            self._chains.contracted(inputs, outputs)
        elif kind.formula is not None:
            self.add(kind.formula(args, output), inputs, outputs)
        elif kind.registered is not None:
            self.add(int(kind.registered(*args, **kwargs, out_val=output)), inputs, outputs)
        elif kind.product and len(inputs) > 1:
            complex_ones = sum(one.is_complex() for one in inputs[:2])
            if complex_ones:
                self._counted += output.numel() * (COMPLEX if complex_ones == 2 else HALF_COMPLEX)
            self._chains.multiplied(inputs, output)
        elif kind.product and args[1] not in (1, -1):
            each = 0 if not output.is_complex() else COMPLEX if isinstance(args[1], complex) else HALF_COMPLEX
            self._chains.scaled(inputs[0], output, flops=each * output.numel())
        else:
            if not kind.free:
                self.uncounted.add(func._schema.name)
            if kind.of_complex is not None and any(one.is_complex() for one in inputs):
                self._counted += kind.of_complex(args, output)
            self._chains.passed(inputs, outputs, reduced=kind.reduction)


class _Kind(NamedTuple):
    """What an operator is to the counter; `registered` is a formula in torch's own registry."""

    formula: Formula | None = None
    of_complex: Formula | None = None
    registered: Callable[..., Any] | None = None
    sparse: bool = False
    product: bool = False
    reduction: bool = False
    free: bool = False


@cache
def _kind(func: torch._ops.OpOverload) -> _Kind:
    namespace, _, whole = func._schema.name.partition("::")
    if namespace not in ("aten", "prims"):
        return _Kind(registered=flop_registry.get(func.overloadpacket))
    name = whole if whole.startswith("__") else whole.removesuffix("_")
    return _Kind(
        formula=FORMULAS.get(name),
        of_complex=COMPLEX_FORMULAS.get(name),
        sparse=name in SPARSE_PRODUCTS,
        product=name in PRODUCTS,
        reduction=name in REDUCTIONS,
        free=is_free(name, func),
    )


class _Calls(TorchFunctionMode):
    """Takes calls whose operators do not show what they cost: recurrent layers, complex convolutions."""

    def __init__(self, counter: Counter) -> None:
        super().__init__()
        self._counter = counter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        recurrence = Recurrence.of(func, args)
        if recurrence is not None:
            return recurrence.counted(self._counter.add)
        if getattr(func, "__name__", "") in _CONVOLUTIONS and args[0].is_complex():
            return _in_real_parts(func, *args, **kwargs)
        return func(*args, **kwargs)


def _in_real_parts(
    convolve: Callable[..., torch.Tensor],
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *args: Any,
    **kwargs: Any,
) -> torch.Tensor:
    """Convolves complex numbers by four real convolutions; torch itself takes three and more sums."""
    (a, b), (c, d) = (torch.view_as_real(one.resolve_conj()).unbind(-1) for one in (inputs, weight))

    def convolved(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return convolve(x, y, None, *args, **kwargs)

    output = torch.complex(convolved(a, c) - convolved(b, d), convolved(a, d) + convolved(b, c))
    return output if bias is None else output + bias.view(-1, *[1] * (weight.dim() - 2))


@contextmanager
def counting() -> Iterator[Counter]:
    """Gives a counter of all that is done inside, forward and backward."""
    counter = Counter()
    with plain_operators(), _Calls(counter), counter:
        yield counter


@contextmanager
def plain_operators() -> Iterator[None]:
    """Keeps torch from hiding what it does in fused kernels and in operators that take functions."""
    with plain_kernels(), written_out():
        yield


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Keeps torch from fusing attention and recurrent layers into kernels that a counter cannot look into."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            # said by mkldnn.flags, of no use here
            warnings.filterwarnings("ignore", message="TF32 acceleration")
            stack.enter_context(torch.random.fork_rng(devices=[]))
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
