"""The rows that a law is fitted to: read, checked, and refused with the reason if they cannot support it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from scalelab.amounts import amount
from scalelab.arrays import Array, Index
from scalelab.errors import FitError, InputError
from scalelab.law import ALIASES, Law

_COLLINEAR = 1.0 - 1e-10
_LARGEST = 1e150


@dataclass(frozen=True, eq=False)
class Table:
    """Checked rows in the units of the data.

    Attributes:
        axes: Names of the axes, in the order of the law.
        columns: One array of shape (n,) an axis.
        y: Outcomes, shape (n,).
        weights: Weights of the rows, shape (n,).
        groups: a whole number for the group of each row, shape (n,), or None. Rows of a group, such as the
            checkpoints of one run, are not independent.
        errors: Standard errors that the outcomes bring with them, shape (n,), or None; relative ones where
            outcomes are positive by the law.
    """

    axes: tuple[str, ...]
    columns: tuple[Array, ...]
    y: Array
    weights: Array
    groups: Index | None = None
    errors: Array | None = None

    def __len__(self) -> int:
        return int(self.y.size)

    @property
    def x(self) -> dict[str, Array]:
        """The axes by name."""
        return dict(zip(self.axes, self.columns, strict=True))

    def rows(self, chosen: Index) -> Table:
        """Returns the table of these rows, an index or a mask."""
        groups = None if self.groups is None else self.groups[chosen]
        columns = tuple(column[chosen] for column in self.columns)
        errors = None if self.errors is None else self.errors[chosen]
        return Table(self.axes, columns, self.y[chosen], self.weights[chosen], groups, errors)

    def digest(self) -> str:
        """Returns the SHA-256 of axes, outcomes, weights and groups: the identity of the data of a fit."""
        sha = hashlib.sha256()
        for name, column in (*self.x.items(), ("y", self.y), ("weights", self.weights)):
            sha.update(name.encode() + b"\0")
            sha.update(np.ascontiguousarray(column, dtype="<f8").tobytes())
        if self.groups is not None:
            sha.update(np.ascontiguousarray(self.groups, dtype="<i8").tobytes())
        if self.errors is not None:
            sha.update(b"errors\0" + np.ascontiguousarray(self.errors, dtype="<f8").tobytes())
        return sha.hexdigest()


def read_axes(axes: tuple[str, ...], x: Any) -> dict[str, Array]:
    """Reads axes given as a mapping, a DataFrame or, for a single axis, an array.

    Args:
        axes: Axes of a law, or of the rows of a fit; `("x",)` takes any one name, `("...",)` any number.
        x: What the user gave.

    Returns:
        Arrays of shape (n,) by name, in the order of the law; masked ones where a value is masked.

    Raises:
        FitError: Axes are missing, too many, of several lengths, or no numbers.
    """
    if hasattr(x, "columns") and hasattr(x, "to_dict"):
        x = {str(name): x[name] for name in x.columns}
    if not isinstance(x, Mapping):
        # Nothing says what a bare array is, so that it is taken for the one axis that there may be.
        x = {axes[0] if len(axes) == 1 and axes != ("...",) else "x": x}
    if not x:
        raise FitError("x has no axis; give a mapping such as {'n_params': [...]}")
    given = {str(name): column for name, column in x.items()}
    if axes == ("x",):
        if len(given) != 1:
            raise FitError(
                f"this law has one axis, x has {len(given)}: {', '.join(given)}; choose one of them"
            )
    elif axes != ("...",):
        for pair in ALIASES.items():
            for axis, alias in (pair, pair[::-1]):
                if axis in axes and axis not in given and alias in given:
                    given[axis] = given.pop(alias)
        if set(given) != set(axes):
            raise FitError(f"this law needs exactly the axes {', '.join(axes)}; x has {', '.join(given)}")
        given = {axis: given[axis] for axis in axes}
    columns = {name: _numbers(name, column) for name, column in given.items()}
    lengths = {name: column.size for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise FitError(f"axes differ in length: {', '.join(f'{k} has {v}' for k, v in lengths.items())}")
    return columns


def check_scales(columns: Mapping[str, Array], *, positive: bool = True) -> None:
    """Raises a FitError where an axis has values that are not finite, or that a logarithm does not take."""
    for name, column in columns.items():
        _finite(name, np.ma.filled(column, np.nan))
        if positive and (column <= 0).any():
            row = int(np.flatnonzero(column <= 0)[0])
            raise FitError(
                f"axis {name!r} must be positive, row {row} is {column[row]:g}; drop or correct it"
            )


def refuse_misaligned(x: Any, **others: Any) -> None:
    """Raises a FitError where columns of pandas have different indices, as statsmodels does.

    Row by row is what a fit matches them by, and by their labels is what pandas would: where the two differ,
    one of them is wrong, and only the caller knows which.
    """
    columns = dict(x) if isinstance(x, Mapping) else {"x": x}
    found = [
        (name, column.index)
        for name, column in (columns | others).items()
        if hasattr(getattr(column, "index", None), "equals")
    ]
    for name, index in found[1:]:
        first, own = found[0]
        if not index.equals(own):
            raise FitError(
                f"{first} and {name} have different indices; align them by their labels, such as with "
                f"pandas.concat(…, axis=1, join='inner'), or give arrays to match them row by row"
            )


def read_table(
    law: Law, x: Any, y: Any, weights: Any = None, groups: Any = None, errors: Any = None
) -> Table:
    """Reads and checks the rows to fit a law to.

    Args:
        law: The law.
        x: Axes, see `read_axes`.
        y: Outcomes, n numbers; positive for all laws of a loss.
        weights: n non-negative weights; default one each. Rows of weight zero are left out, and so are those
            of which a value is masked (`numpy.ma`) in any column.
        groups: n labels of what belongs together; default none.
        errors: n standard errors of the outcomes, 0 where there is none; default none at all.

    Raises:
        FitError: The rows are malformed, or cannot support the law; the message says why and what to do.
    """
    refuse_misaligned(x, y=y, weights=weights, groups=groups, errors=errors)
    columns = read_axes(law.axes, x)
    outcome = _numbers("y", y)
    n = outcome.size
    weight = np.ones(n) if weights is None else _numbers("weights", weights)
    given = {f"axis {name!r}": column for name, column in columns.items()} | {"y": outcome, "weights": weight}
    if groups is not None:
        given["groups"] = np.ma.asarray(groups).ravel()
    if errors is not None:
        given["errors"] = _numbers("errors", errors)
    hidden = np.zeros(n, dtype=bool)
    for name, column in given.items():
        if column.size != n:
            raise FitError(f"{name} has {column.size} values and y has {n}; they must match row by row")
        hidden |= np.ma.getmaskarray(column)
    weight = np.where(hidden, 0.0, weight)
    _finite("weights", weight)
    if (weight < 0).any():
        raise FitError("weights must not be negative; use zero to leave a row out")
    codes = None if groups is None else _codes(given["groups"], hidden)
    data = [np.ma.getdata(column) for column in (*columns.values(), outcome)]
    own = None if errors is None else np.ma.filled(given["errors"], 0.0).astype(float)
    if own is not None:
        _finite("errors", own)
        if (own < 0).any():
            raise FitError("errors must not be negative; use zero for an outcome that is exact")
    table = Table(tuple(columns), tuple(data[:-1]), data[-1], weight, codes, own)
    if (weight == 0).any():
        table = table.rows(weight > 0)
    _finite("y", table.y)
    check_scales(table.x, positive=law.log_axes)
    if law.positive and (table.y <= 0).any():
        row = int(np.flatnonzero(table.y <= 0)[0])
        raise FitError(
            f"law {law.name!r} needs a positive loss, row {row} is {table.y[row]:g}; "
            "a formula, such as 'E + A*n_params^-alpha', describes losses of any sign, and a bounded metric "
            "is a law of its loss with 'sigmoid' behind it"
        )
    _supports(law.specialize(table.axes), table)
    return table


def _supports(law: Law, table: Table) -> None:
    """Raises a FitError where the design of the rows cannot tell the law's parameters apart."""
    n, needed = len(table), len(law.params)
    if n <= needed:
        raise FitError(
            f"law {law.name!r} has {needed} parameters and needs at least {needed + 1} rows, got {n}; "
            "add runs or choose a law of fewer parameters"
        )
    points = np.unique(np.stack(table.columns, axis=1), axis=0)
    if len(points) < needed:
        raise FitError(
            f"law {law.name!r} has {needed} parameters and needs runs at {needed} different scales at least, "
            f"got {len(points)}; add scales or choose a law of fewer parameters"
        )
    for name, column in table.x.items():
        if np.ptp(column) <= 1e-9 * np.abs(column).max():
            raise FitError(
                f"axis {name!r} has a single value, {column[0]:g}; a law needs runs at several scales"
            )
    if np.ptp(table.y) <= 1e-12 * np.abs(table.y).max():
        raise FitError(f"y is the same in all {n} rows ({table.y[0]:g}); there is nothing to fit")
    for (first, one), (second, other) in combinations(table.x.items(), 2):
        pair = (np.log(one), np.log(other)) if law.log_axes else (one, other)
        if abs(np.corrcoef(*pair)[0, 1]) > _COLLINEAR:
            raise FitError(
                f"axes {first!r} and {second!r} move together in all rows, so that their effects cannot be "
                "separated; vary them independently or fit one of them"
            )


def _numbers(name: str, values: Any) -> Array:
    try:
        if not isinstance(values, np.ndarray) and isinstance(values, Sequence):
            values = [amount(one, name) if isinstance(one, str) else one for one in values]
        if isinstance(values, np.ma.MaskedArray):
            return values.astype(float).ravel()
        if hasattr(values, "to_numpy"):
            # pandas has missing values of its own, which NumPy does not know.
            values = values.to_numpy(dtype=float, na_value=np.nan) if hasattr(values, "isna") else values
        return np.asarray(values, dtype=float).ravel()
    except (InputError, TypeError, ValueError):
        raise FitError(f"{name} must be numbers, one per row") from None


def _codes(labels: Any, hidden: Index) -> Index:
    """Returns a whole number for each label, after making sure that none of them is missing."""
    texts = np.ma.getdata(labels).astype(str)
    missing = np.isin(texts, ("None", "nan", "NaN", "<NA>", "NaT")) & ~hidden
    if missing.any():
        raise FitError(
            f"groups has no label in row {int(np.flatnonzero(missing)[0])}; "
            "give every row one, or leave the row out"
        )
    return np.unique(texts, return_inverse=True)[1].ravel()


def _finite(name: str, column: Array) -> None:
    bad = ~np.isfinite(column) | (np.abs(column) > _LARGEST)
    if bad.any():
        rows = np.flatnonzero(bad)
        raise FitError(
            f"{name} has {rows.size} value(s) that are missing or not finite (first: row {rows[0]}); "
            "drop diverged runs before fitting"
        )
