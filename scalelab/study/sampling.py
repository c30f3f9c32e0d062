"""Points of the design space: a grid, or draws that compare optimizers on the same architectures.

Draws are deterministic, and extend: more points keep the earlier ones, and an optimizer that is added at the
end keeps the architectures (as long as its constraints reject nothing), so that running a grown study trains
only what is new. For this every generator is as wide as a fixed number of columns, of which a study uses the
first ones.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from scalelab.components import Architecture, Dataset, Optimizer
from scalelab.errors import StudyError
from scalelab.records import canonical_json
from scalelab.study.messages import join_keys
from scalelab.study.resolved import Resolved

COLUMNS = 64
ROWS = 256
MAX_GRID = 1_000_000
PATIENCE = 10_000
ROWS_PER_POINT = 200

Values = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """A point of the design space.

    Attributes:
        dataset: A value for each of the dataset's dimensions.
        architecture: A value for each of the architecture's dimensions.
        optimizers: For each optimizer of the study, the values to train it with.
    """

    dataset: Values
    architecture: Values
    optimizers: tuple[tuple[Values, ...], ...]


@dataclass(frozen=True)
class Points:
    """The points of one architecture, with remarks on those that are not among them, and why."""

    points: tuple[Point, ...]
    remarks: tuple[str, ...] = ()


def grid_points(
    dataset: Resolved[Dataset],
    architecture: Resolved[Architecture],
    optimizers: Sequence[Resolved[Optimizer]],
    n: int | None,
) -> Points:
    """Returns every combination of the grids of all dimensions that satisfies the constraints.

    Args:
        dataset: What varies in it.
        architecture: What varies in it.
        optimizers: Each keeps its own grid.
        n: Points of each continuous dimension.

    Raises:
        StudyError: A dimension is continuous and `n` is `None`; the grid is too large, or empty.
    """
    parts: list[Resolved[Any]] = [dataset, architecture, *optimizers]
    grids = [own_grid(part, n) for part in parts]
    datasets, architectures, *own = (grid.allowed for grid in grids)
    points, broken = [], Counter[str]()
    for data, network in itertools.product(datasets, architectures):
        first = (dataset, data), (architecture, network)
        kept = []
        for optimizer, values in zip(optimizers, own, strict=True):
            reasons = [_breaks([*first, (optimizer, one)]) for one in values]
            broken.update(reason for reason in reasons if reason)
            kept.append(tuple(one for one, reason in zip(values, reasons, strict=True) if not reason))
        points.append(Point(data, network, tuple(kept)))
    n_points = len(datasets) * len(architectures) * sum(map(len, own))
    remarks = [remark for grid in grids for remark in grid.remarks]
    remarks += [
        f"{reason}: {count:,} of {n_points:,} points of the grid with {architecture.component.name} break it"
        for reason, count in broken.items()
    ]
    return Points(tuple(points), tuple(remarks))


def _breaks(parts: Sequence[tuple[Resolved[Any], Values]]) -> str:
    """Returns the first constraint across components that a combination breaks, and where it stands."""
    for part, values in parts:
        if not part.across:
            continue
        others = {
            name: value
            for other, own in parts
            if other is not part
            for name, value in other.known(own).items()
        }
        constraint = part.breaks(values, others)
        if constraint is not None:
            return f"{part.where}.constraints: {constraint.text!r}"
    return ""


@dataclass(frozen=True)
class OwnGrid:
    """The points of one component's grid that satisfy its constraints, and what the others break."""

    allowed: list[Values]
    remarks: list[str]


def own_grid(resolved: Resolved[Any], n: int | None) -> OwnGrid:
    """Returns the grid of one component; see `grid_points`."""
    for name, dimension in resolved.space.items():
        if dimension.continuous and n is None:
            varies = join_keys(*resolved.key, "space", name)
            raise StudyError(
                f"{resolved.study.source}: sampling.n: missing; {varies} is continuous, and a grid must know "
                "how many points to take of it"
            )
    size = math.prod(dimension.size(n) for dimension in resolved.space.values())
    if size > MAX_GRID:
        raise StudyError(
            f"{resolved.where}.space: its grid has {size:,} points, {MAX_GRID:,} at most; "
            "take fewer values or draw points with sampling.method = 'sobol'"
        )
    grids = [dimension.grid(n) for dimension in resolved.space.values()]
    allowed, broken = [], Counter[str]()
    for combination in itertools.product(*grids):
        values = dict(zip(resolved.space, combination, strict=True))
        constraint = resolved.breaks(values)
        if constraint is None:
            allowed.append(values)
        else:
            broken[constraint.text] += 1
    if not allowed:
        texts = ", ".join(repr(constraint.text) for constraint in resolved.constraints)
        raise StudyError(
            f"{resolved.where}.constraints: none of the {size:,} points of the grid satisfies {texts}"
        )
    n_points = len(allowed) + broken.total()
    remarks = [
        f"{resolved.where}.constraints: {text!r}: {count:,} of {n_points:,} points of the grid break it"
        for text, count in broken.items()
    ]
    return OwnGrid(allowed, remarks)


def drawn_points(
    dataset: Resolved[Dataset],
    architecture: Resolved[Architecture],
    optimizers: Sequence[Resolved[Optimizer]],
    method: Literal["random", "sobol"],
    n: int,
    seed: int,
) -> Points:
    """Draws `n` different joint points over the dimensions of dataset, architecture and all optimizers.

    Points that break a constraint are drawn again. A space with fewer than `n` points gives them all.

    Raises:
        StudyError: (Nearly) no point satisfies the constraints.
    """
    parts: list[Resolved[Any]] = [dataset, architecture, *optimizers]
    width = sum(len(part.space) for part in parts)
    if width == 0:
        return grid_points(dataset, architecture, optimizers, None)
    points: dict[str, Point] = {}
    n_rows = since_new = repeats = 0
    for row in itertools.islice(unit_rows(method, seed, width), PATIENCE + ROWS_PER_POINT * n):
        n_rows, since_new = n_rows + 1, since_new + 1
        values = _projected(row, parts)
        if _allowed(list(zip(parts, values, strict=True))):
            key = canonical_json(values)
            if key in points:
                repeats += 1
            else:
                points[key] = Point(values[0], values[1], tuple((own,) for own in values[2:]))
                since_new = 0
        if len(points) == n or since_new > PATIENCE:
            break
    if len(points) == n:
        return Points(tuple(points.values()))
    if repeats:
        remark = f"{architecture.where}: sampling.n = {n}, but only {len(points)} different points were found"
        return Points(tuple(points.values()), (remark,))
    raise StudyError(
        f"{architecture.where}.constraints: {len(points)} of {n_rows:,} points drawn satisfy the constraints "
        f"(the optimizers' among them), and {n} are needed; loosen them or narrow the space"
    )


def _allowed(parts: list[tuple[Resolved[Any], Values]]) -> bool:
    """Tells whether the points of all components satisfy their constraints, alone and together."""
    if any(part.breaks(values) for part, values in parts):
        return False
    return not any(_breaks([*parts[:2], optimizer]) for optimizer in parts[2:])


def _projected(row: Sequence[float], parts: Sequence[Resolved[Any]]) -> list[Values]:
    units = iter(row)
    return [
        {name: dimension.from_unit(next(units)) for name, dimension in part.space.items()} for part in parts
    ]


def unit_rows(method: Literal["random", "sobol"], seed: int, width: int) -> Iterator[tuple[float, ...]]:
    """Yields points of the unit cube of `width` dimensions, for ever (2**30 of a Sobol sequence)."""
    import numpy as np

    columns = COLUMNS * max(1, math.ceil(width / COLUMNS))
    generator = np.random.default_rng(seed)
    if method == "random":
        while True:
            yield from map(tuple, generator.random((ROWS, columns))[:, :width].tolist())
    from scipy.stats import qmc

    # blocks of a power of two keep the sequence's balance, which is what scipy would warn about
    sobol = qmc.Sobol(columns, scramble=True, seed=generator)
    while True:
        yield from map(tuple, sobol.random(ROWS)[:, :width].tolist())
