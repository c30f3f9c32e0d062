"""Operators of torch that take functions, written out in the work that they stand for.

`associative_scan` and `scan` of T elements become T - 1 and T calls of their function, one after the other:
the work of a scan, not that of a parallel way to do it, which does up to twice as much to be quicker.
`flex_attention` becomes plain attention; blocks that its mask leaves out are not saved.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

import torch  # noqa: TID253 - imported when something is counted
from torch.utils import _pytree as pytree  # noqa: TID253


def _scanned(_run: object, combine: Callable[..., Any], init: Sequence[Any], xs: Sequence[Any]) -> Any:
    """`scan`: a carry and a slice to a carry and an output, along the first axis."""
    carry, outputs = list(init), []
    for step in range(len(xs[0])):
        carry, output = combine(*pytree.tree_leaves(carry), *(x[step] for x in xs))
        outputs.append(output)
    return carry, pytree.tree_map(lambda *ys: torch.stack(ys), *outputs)


def _combined(combine: Callable[..., Any], xs: Sequence[Any], **_additional: object) -> Any:
    """`associative_scan` of a function that takes the scanned axis along."""
    return _prefixes(combine, [x.split(1) for x in xs], torch.cat)


def _combined_slices(_run: object, combine: Callable[..., Any], xs: Sequence[Any]) -> Any:
    """`associative_scan` of a function of single slices."""
    return _prefixes(combine, [x.unbind() for x in xs], torch.stack)


def _prefixes(
    combine: Callable[..., Any], leaves: Sequence[Sequence[torch.Tensor]], joined: Callable[..., torch.Tensor]
) -> Any:
    first, *others = zip(*leaves, strict=True)
    prefixes: list[Any] = [list(first)]
    structure = None
    for other in others:
        total = combine(*pytree.tree_leaves(prefixes[-1]), *other)
        structure = pytree.tree_structure(total)
        prefixes.append(pytree.tree_leaves(total))
    scanned = [joined(own) for own in zip(*prefixes, strict=True)]
    return scanned if structure is None else pytree.tree_unflatten(scanned, structure)


def _attended(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _score_mod: object,
    _mask: object,
    scale: float,
    *_others: object,
    **_more: object,
) -> tuple[torch.Tensor, ...]:
    """`flex_attention`: output, and by row the log-sum-exp of scores and, in later versions, the highest."""
    groups = query.shape[1] // key.shape[1]
    key, value = (one.expand(len(query), -1, -1, -1) for one in (key, value))
    key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    scores = query @ key.transpose(-2, -1) * scale
    rows = (scores.logsumexp(-1), scores.amax(-1))
    return (scores.softmax(-1) @ value, *rows[: 2 if hasattr(_module(_FLEX), "AuxOutput") else 1])


_FLEX = "torch.nn.attention.flex_attention"
_SCAN, _ASSOCIATIVE = "torch._higher_order_ops.scan", "torch._higher_order_ops.associative_scan"
_REPLACED: tuple[tuple[str, str, Any], ...] = (
    (_SCAN, "_maybe_compile_and_run_fn", _scanned),
    (_ASSOCIATIVE, "_maybe_compile_and_run_fn", _combined_slices),
    (_ASSOCIATIVE, "generic_associative_scan", _combined),
    (_ASSOCIATIVE, "all", lambda _on_gpu: True),  # in a function of its own: are all inputs on a GPU?
    (_FLEX, "_validate_device", lambda *_tensors: None),
    (_FLEX, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True),
    (_FLEX, "flex_attention_hop", _attended),
)
"""What the functions of each module call, by name (built-in ones too), and what is called instead."""


@contextmanager
def written_out() -> Iterator[None]:
    """Has these operators written out while it lasts; in versions of torch that lack one, the others."""
    with ExitStack() as stack:
        for name, attribute, value in _REPLACED:
            module = _module(name)
            if module is None:
                continue
            if attribute in vars(module):
                stack.callback(setattr, module, attribute, getattr(module, attribute))
            elif hasattr(builtins, attribute):
                stack.callback(delattr, module, attribute)
            else:
                continue
            setattr(module, attribute, value)
        yield


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None
