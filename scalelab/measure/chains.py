"""Recurrences that are written out in element-wise work, told from ordinary networks.

A linear recurrence h = a * h + b, taken step by step in Python (the plain paths of Mamba, S6, minGRU and the
like) or in log T doubling steps, has its arithmetic in element-wise products. Those of ordinary networks
(gates, scales, norms) do not count by convention; here they do. The rule:

- Each tensor has a depth, the contractions (matrix products, convolutions, transforms, counted scans) on
  the longest way to it, and a chain: how many element-wise products follow each other at that depth. Of
  operands of several depths only those of the greatest count. Reductions end a chain.
- Everything between two contractions that is linked by element-wise work is one group. Where a chain in it
  has `STEPS` products, or `DOUBLINGS` in a row of a tensor with a shifted self, or `SCALINGS` with Python
  numbers (1 and -1 are none), the group is a recurrence: each of its products counts two FLOPs an element
  (the product and its sum), the first ones included, and those that prepare a and b. Of complex numbers the
  products count in any case, and their sums do here: eight FLOPs an element.
- So does a product of one of its tensors with something deeper, as the backward pass has two of for each
  product of the forward pass.

Why ordinary networks of any number of layers are none: a gated, scaled or highway layer x = g * x + s * f(x)
contracts in f, or in what makes g; its sum is deeper than x, and the chain starts again in every layer.
The same holds for the cell of an LSTM, whose gates see the state through a matrix product: its element-wise
work stays uncounted, in a loop of cells and in `nn.LSTM` alike. Between two contractions, networks have half
a dozen products (two norms, a gate, a scale, a rotation), fewer than `STEPS`; a recurrence of fewer steps is
therefore not seen. A polynomial of `STEPS` products in a row is taken for a recurrence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch  # noqa: TID253 - imported when something is counted
from torch.multiprocessing.reductions import StorageWeakRef  # noqa: TID253

STEPS = 12
"""Products in a row that make a recurrence."""
DOUBLINGS = 5
"""Products of a tensor with a shifted self, in a row, that make one: a parallel scan of 32 steps or more."""
SCALINGS = 32
"""Products with a number in a row that make one, as in h = 0.9 * h + 0.1 * x. More, since activations and
norms that are written by hand have several of them, and their gradients twice as many."""
EACH = 2
"""FLOPs of each element of its products: of a complex product, those of the sum."""


@dataclass(eq=False)
class Group:
    """What is linked by element-wise work at one depth: a set of a union-find forest.

    Attributes:
        pending: FLOPs of its products, while it is no recurrence.
        recurrent: Whether it is one.
        parent: The group that it became a part of.
    """

    pending: int = 0
    recurrent: bool = False
    parent: Group | None = None

    def root(self) -> Group:
        """Returns the group that this one is a part of by now."""
        top = self
        while top.parent is not None:
            top = top.parent
        while self.parent is not None:  # so that the way is short the next time
            self.parent, self = top, self.parent
        return top


@dataclass(eq=False, frozen=True, slots=True)
class State:
    """Where a tensor stands.

    Attributes:
        depth: Contractions on the longest way to it.
        chain: Element-wise products in a row at that depth.
        doublings: Products with itself in a row among them.
        scalings: Products with numbers in a row at that depth.
        group: What it is linked with at that depth.
    """

    depth: int = 0
    chain: int = 0
    doublings: int = 0
    scalings: int = 0
    group: Group = field(default_factory=Group)


class Chains:
    """Follows tensors through a pass; `flops` are those of the recurrences found so far.

    Tensors that share memory share their state, so that views and work in place are followed, too. The keys
    are weak references that keep the address of freed memory from being used again.
    """

    def __init__(self) -> None:
        self.flops = 0
        self._states: dict[int, tuple[StorageWeakRef, State]] = {}

    def of(self, tensor: torch.Tensor) -> State:
        """Returns the state of a tensor; one that nothing is known of starts anew."""
        key = _key(tensor)
        if key is None:
            return State()
        known = self._states.get(key.cdata)
        if known is None:
            known = self._states[key.cdata] = key, State()
        return known[1]

    def contracted(self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> None:
        """Takes in an operator whose FLOPs are counted by a formula."""
        depth = 1 + max((self.of(tensor).depth for tensor in inputs), default=0)
        for tensor in outputs:
            self._set(tensor, State(depth))

    def passed(
        self, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor], *, reduced: bool = False
    ) -> None:
        """Takes in an operator that is no product.

        Args:
            inputs: What it takes.
            outputs: What it gives or changes.
            reduced: Whether it is a reduction.
        """
        if not inputs:
            return
        state = self._joined([self.of(tensor) for tensor in inputs])
        if reduced:
            state = State(state.depth, group=state.group)
        for tensor in outputs:
            self._set(tensor, state)

    def multiplied(self, inputs: Sequence[torch.Tensor], output: torch.Tensor) -> None:
        """Takes in an element-wise product.

        Args:
            inputs: Its factors and what is added, tensors only.
            output: The product.
        """
        states = [self.of(tensor) for tensor in inputs]
        longest = self._joined(states)
        itself = len(states) > 1 and all(state is states[0] for state in states)
        doublings = longest.doublings + 1 if itself else longest.doublings
        state = replace(longest, chain=longest.chain + 1, doublings=doublings)
        shallower = [one for one in states if one.depth < state.depth]
        follows = any(one.group.root().recurrent for one in shallower)
        self._take(state, output, EACH * output.numel(), follows)

    def scaled(self, factor: torch.Tensor, output: torch.Tensor, flops: int) -> None:
        """Takes in a product of a tensor with a number.

        Args:
            factor: The tensor.
            output: The product.
            flops: Those of the products alone, if there are more than one an element.
        """
        state = self.of(factor)
        state = replace(state, scalings=state.scalings + 1)
        self._take(state, output, EACH * output.numel() + flops, follows=False)

    def _take(self, state: State, output: torch.Tensor, flops: int, follows: bool) -> None:
        """Takes in a product by its state; `follows` tells whether it has a recurrence's shallower factor."""
        group = state.group.root()
        if group.recurrent or follows:
            self.flops += flops
        else:
            group.pending += flops
        if state.chain >= STEPS or state.doublings >= DOUBLINGS or state.scalings >= SCALINGS:
            self._found(group)
        self._set(output, state)

    def _joined(self, states: Sequence[State]) -> State:
        """Returns the longest chain of the greatest depth, having linked all of that depth."""
        depth = max(state.depth for state in states)
        deepest = [state for state in states if state.depth == depth]
        longest = max(deepest, key=lambda state: state.chain + state.scalings)
        for state in deepest:
            self._link(longest.group.root(), state.group.root())
        return longest

    def _link(self, one: Group, other: Group) -> None:
        if one is other:
            return
        if one.recurrent or other.recurrent:
            self._found(one)
            self._found(other)
        one.pending += other.pending
        other.parent = one

    def _found(self, group: Group) -> None:
        self.flops += group.pending
        group.pending, group.recurrent = 0, True

    def _set(self, tensor: torch.Tensor, state: State) -> None:
        key = _key(tensor)
        if key is not None:
            self._states[key.cdata] = key, state


def _key(tensor: torch.Tensor) -> StorageWeakRef | None:
    """Returns what names the memory of a tensor; `None` for one that has none, such as a sparse one."""
    try:
        return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
    except (NotImplementedError, RuntimeError):
        return None
