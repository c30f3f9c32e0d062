"""What a forward pass asks of a machine beside its FLOPs: bytes to move, operations to start.

Latency follows from these by the roofline model (Williams, Waterman & Patterson 2009, "Roofline", CACM
52(4)): arithmetic, memory traffic and the overhead of each operation all take their time. The counts describe
the network as it is written, each operation separately; a runtime that fuses operations moves less, in
proportion.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from scalelab.measure.recurrent import Recurrence

BYTES = 4
"""Of a number: traffic is counted for 32-bit floats, whatever a runtime computes in."""

_LAYERS = frozenset({
    "convolution", "addmm", "mm", "bmm", "baddbmm", "lstm", "mkldnn_rnn_layer", "gru", "rnn_tanh", "rnn_relu",
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math",
    "_scaled_dot_product_fused_attention_overrideable",
})  # fmt: skip
_NO_WORK = frozenset(
    {"detach", "empty", "empty_like", "empty_strided", "new_empty", "lift_fresh", "_unsafe_view"}
)


class Work:
    """What a traced forward pass did.

    Attributes:
        numbers: Elements that operations read and wrote, those of weights and buffers excepted.
        n_ops: Operations, views excepted.
        n_layers: Those of `_LAYERS` among them.
        grouped_flops: FLOPs of convolutions of more than one group.
    """

    def __init__(self, own: set[int]) -> None:
        self._own = own
        self.numbers = 0
        self.n_ops = 0
        self.n_layers = 0
        self.grouped_flops = 0.0

    @property
    def counts(self) -> np.ndarray:
        """What was counted so far: numbers, operations, layers and grouped FLOPs."""
        import numpy as np

        return np.array([self.numbers, self.n_ops, self.n_layers, self.grouped_flops])

    def count(self, counts: np.ndarray) -> None:
        """Takes on counts such as `counts`."""
        self.numbers, self.n_ops, self.n_layers = (round(float(one)) for one in counts[:3])
        self.grouped_flops = float(counts[3])

    def add(self, operation: Any, inputs: Any, outputs: Any) -> None:
        """Takes one operation in."""
        name = operation.overloadpacket.__name__
        if operation.is_view or name in _NO_WORK:
            return
        self.n_ops += 1
        self.n_layers += name in _LAYERS
        tensors = [*_tensors(inputs), *_tensors(outputs)]
        self.numbers += sum(stored(one).numel() for one in tensors if _storage(one) not in self._own)
        if name == "convolution" and inputs[8] > 1:
            weight, transposed = inputs[1], inputs[6]
            spatial = (inputs[0] if transposed else outputs).shape[2:]
            self.grouped_flops += 2.0 * len(inputs[0]) * prod(spatial) * weight.numel()


def _storage(tensor: torch.Tensor) -> int:
    """Returns what a tensor and its views have in common, on the meta device too, which has no addresses."""
    return int(stored(tensor).untyped_storage()._cdata)


def stored(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the numbers that a tensor has in memory: of a sparse one those that it lists, else itself."""
    if not is_sparse(tensor):
        return tensor
    tensor = tensor.detach()
    return tensor._values() if tensor.is_sparse else tensor.values()


def is_sparse(tensor: torch.Tensor) -> bool:
    """Whether a tensor is sparse, by coordinates, rows, columns or blocks."""
    import torch

    return tensor.layout in (
        torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc,
    )  # fmt: skip


def _tensors(values: Any) -> list[torch.Tensor]:
    import torch

    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, (list, tuple)):
        return [tensor for value in values for tensor in _tensors(value)]
    return []


def trace(model: nn.Module, shape: tuple[int, ...], device: str) -> Work:
    """Runs a batch of some shape through the model and counts on the way."""
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    from scalelab.measure.recurrent import Recurrence

    work = Work({_storage(tensor) for tensor in (*model.parameters(), *model.buffers())})

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        supports_higher_order_operators = True

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            outputs = func(*args, **(kwargs or {}))
            if isinstance(func, torch._ops.OpOverload):
                work.add(func, args, outputs)
            return outputs

    class Calls(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            call = Recurrence.of(func, args)
            if call is None or not _extrapolated(work, call):
                return func(*args, **(kwargs or {}))
            return call.outputs()

    inputs = torch.zeros(*shape, device=device)
    # not inference_mode(), in which composite operations stay whole
    with torch.no_grad(), Counter(), Calls():  # type: ignore[no-untyped-call]
        model(inputs)
    return work


def _extrapolated(work: Work, call: Recurrence) -> bool:
    """Counts a recurrent layer by its first steps, which are all alike; false where they are not."""
    n_steps = len(call.step_sizes)
    if n_steps <= 3:
        return False
    seen = [work.counts]
    for steps in (2, 3):
        args = call.first_steps(steps)
        if args is None:
            return False
        call.func(*args)
        seen.append(work.counts)
    two, three = seen[1] - seen[0], seen[2] - seen[1]
    work.count(seen[0] + two + (n_steps - 2) * (three - two))
    return True
