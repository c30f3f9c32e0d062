"""Recurrent layers by formula: `nn.LSTM`, `nn.GRU` and `nn.RNN`, in no time whatever the length.

Without a fused kernel torch takes such a layer apart into several operators a step, which a counter would
have to look at one by one. What they add up to is known: every weight is multiplied once with every row,
that is, with every step of every sequence, 2 FLOPs an element. In the backward pass it is so once more for
the gradient of each matrix, and once more for that of what the matrix was multiplied with, which is not
needed for the input of the first layer where it has none, nor for the state before the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch  # noqa: TID253 - imported when something is counted
from torch.utils._python_dispatch import _disable_current_modes  # noqa: TID253

Add = Callable[[int, Sequence[torch.Tensor], Sequence[torch.Tensor]], None]
"""`add(flops, inputs, outputs)`."""

_FUNCTIONS: dict[Any, str] = {
    getattr(torch._C._VariableFunctions, name): name for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")
}


class _Cell(NamedTuple):
    """The weights of one direction of one layer; `projection` is `None` where it has none."""

    inputs: torch.Tensor
    states: torch.Tensor
    biases: tuple[torch.Tensor, ...]
    projection: torch.Tensor | None

    @property
    def size(self) -> int:
        """Elements of its matrices."""
        matrices = (self.inputs, self.states, self.projection)
        return sum(one.numel() for one in matrices if one is not None)

    @property
    def width(self) -> int:
        """Width of its output."""
        return int(self.states.shape[1])


@dataclass(frozen=True, eq=False)
class Recurrence:
    """A call of a recurrent layer.

    Attributes:
        func: The function of torch.
        args: Its arguments.
        packed: Whether sequences are packed: rows of all sequences, step by step.
        data: (steps, batch, width), (batch, steps, width) or, packed, (rows, width).
        states: The first hidden state, and the first cell state of an LSTM.
        weights: Of all layers and directions, one after the other.
    """

    func: Callable[..., Any]
    args: Sequence[Any]
    packed: bool
    data: torch.Tensor
    states: tuple[torch.Tensor, ...]
    weights: tuple[torch.Tensor, ...]

    @classmethod
    def of(cls, func: Any, args: Sequence[Any]) -> Recurrence | None:
        """Returns a call of torch as one of a recurrent layer; `None` where it is none."""
        try:
            name = _FUNCTIONS.get(func)
        except TypeError:  # what cannot be hashed is none
            return None
        if name is None:
            return None
        packed = isinstance(args[3], (list, tuple))
        states = args[2] if packed else args[1]
        weights = args[3] if packed else args[2]
        states = tuple(states) if name == "lstm" else (states,)
        return cls(func, args, packed, args[0], states, tuple(weights))

    @property
    def batch_first(self) -> bool:
        """Whether the batch comes before the steps."""
        return not self.packed and bool(self.args[8])

    @property
    def directions(self) -> int:
        """1, or 2 where it goes both ways."""
        return 2 if (self.args[8] if self.packed else self.args[7]) else 1

    @property
    def step_sizes(self) -> list[int]:
        """Rows of each step."""
        if self.packed:
            return [int(size) for size in self.args[1]]
        steps, batch = self.data.shape[1::-1] if self.batch_first else self.data.shape[:2]
        return [batch] * steps

    def cells(self) -> Iterator[tuple[int, int, _Cell]]:
        """Yields layer, direction and weights."""
        biased = bool(self.args[4] if self.packed else self.args[3])
        layers = int(self.args[5] if self.packed else self.args[4])
        each = len(self.weights) // (layers * self.directions)
        for index in range(layers * self.directions):
            own = self.weights[index * each : (index + 1) * each]
            biases = own[2:4] if biased else ()
            projection = own[-1] if each in (3, 5) else None
            yield *divmod(index, self.directions), _Cell(own[0], own[1], biases, projection)

    def forward_flops(self) -> int:
        """Returns the FLOPs of the layer."""
        return 2 * sum(self.step_sizes) * sum(cell.size for _, _, cell in self.cells())

    def backward_flops(self) -> int:
        """Returns the FLOPs of all gradients that are needed."""
        sizes = self.step_sizes
        rows = sum(sizes)
        flops = 0
        entering = self.data.requires_grad
        leaving = False
        for layer, direction, cell in self.cells():
            if direction == 0 and layer:
                entering, leaving = leaving, False
            projections = () if cell.projection is None else (cell.projection,)
            own = (cell.inputs, cell.states, *cell.biases, *projections)
            carried = entering or any(one.requires_grad for one in (*own, *self.states))
            first = sizes[-1] if direction else sizes[0]
            flops += rows * sum(one.numel() for one in (cell.inputs, cell.states) if one.requires_grad)
            flops += rows * cell.inputs.numel() * entering
            given = self.states[0].requires_grad
            flops += (rows if given else rows - first) * cell.states.numel() * carried
            if cell.projection is not None:
                flops += rows * cell.projection.numel() * (carried + cell.projection.requires_grad)
            leaving = leaving or carried
        return 2 * flops

    def counted(self, add: Add) -> tuple[torch.Tensor, ...]:
        """Returns what the call returns, linked to its inputs, and adds its FLOPs, those of gradients later.

        Without values, on the meta device, only the shapes are right; elsewhere the layer is computed.
        """
        tensors = (self.data, *self.states, *self.weights)
        outputs: tuple[torch.Tensor, ...] = _Linked.apply(self, add, *tensors)  # type: ignore[no-untyped-call]
        return outputs

    def outputs(self) -> tuple[torch.Tensor, ...]:
        """Returns what the call returns: the outputs of all steps, and the last states."""
        if self.data.device.type != "meta":
            with _disable_current_modes(), torch.no_grad():
                return tuple(self.func(*self.args))
        width = self.directions * next(self.cells())[2].width
        hidden = self.data.new_empty((*self.data.shape[:-1], width))
        return (hidden, *(torch.empty_like(state) for state in self.states))

    def first_steps(self, steps: int) -> Sequence[Any] | None:
        """Returns the arguments of a call for the first steps; `None` where sequences differ in length."""
        if self.packed:
            sizes = self.step_sizes
            if sizes[0] != sizes[-1]:
                return None
            return [self.data[: steps * sizes[0]], self.args[1][:steps], *self.args[2:]]
        data = self.data[:, :steps] if self.batch_first else self.data[:steps]
        return [data, *self.args[1:]]


class _Linked(torch.autograd.Function):
    """A recurrent layer to the gradient's graph: counts, and passes empty gradients on."""

    @staticmethod
    def forward(ctx: Any, call: Recurrence, add: Add, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = call.outputs()
        add(call.forward_flops(), tensors, outputs)
        ctx.call, ctx.add, ctx.tensors = call, add, tensors
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        out = [
            torch.zeros_like(one) if needed else None
            for one, needed in zip(ctx.tensors, ctx.needs_input_grad[2:], strict=True)
        ]
        ctx.add(ctx.call.backward_flops(), grads, [one for one in out if one is not None])
        return (None, None, *out)
