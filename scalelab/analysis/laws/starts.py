"""Starting points by variable projection (Golub & Pereyra 1973).

Where a law is linear in some parameters once the others are given, a grid over the others and a least squares
solve in closed form for each of its nodes finds the neighborhood of every optimum without an iteration.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scalelab.arrays import Array

_RIDGE = 1e-9
_STEEP = 100.0


def mesh(*axes: Sequence[float] | Array) -> Array:
    """Returns all combinations of the values, shape (nodes, axes)."""
    grids = np.meshgrid(*[np.asarray(axis, dtype=float) for axis in axes], indexing="ij")
    return np.stack([grid.ravel() for grid in grids], axis=1)


def solve_linear(basis: Array, target: Array, weights: Array | None = None) -> Array:
    """Solves many small least squares problems at once.

    Args:
        basis: Columns, shape (batch, columns, n).
        target: What they shall sum to, shape (n,) or (batch, n).
        weights: Weights of the squared residuals, shape (n,) or (batch, n); default one.

    Returns:
        Coefficients, shape (batch, columns). A vanishing ridge keeps collinear columns solvable.
    """
    weighted = basis if weights is None else basis * np.atleast_2d(weights)[:, None, :]
    gram = weighted @ basis.transpose(0, 2, 1)
    right = np.einsum("bkn,bn->bk", weighted, np.broadcast_to(target, (basis.shape[0], basis.shape[2])))
    size = gram.shape[1]
    trace = np.einsum("bkk->b", gram)
    gram[:, np.arange(size), np.arange(size)] += (_RIDGE / size * trace + 1e-300)[:, None]
    return np.linalg.solve(gram, right[..., None])[..., 0]


def solve_offset(terms: Array, y: Array) -> tuple[Array, Array]:
    """Solves `y = E + sum of coefficients * terms` for relative residuals, E >= 0, coefficients > 0.

    Args:
        terms: The decaying terms, shape (batch, terms, n).
        y: Positive outcomes, shape (n,) or (batch, n).

    Returns:
        E of shape (batch,), and the coefficients of shape (batch, terms). An E outside of [0, min(y)] is
        moved to the nearer end and the coefficients are solved again.
    """
    weights = y**-2.0
    ones = np.ones((terms.shape[0], 1, terms.shape[2]))
    first = solve_linear(np.concatenate([ones, terms], axis=1), y, weights)
    offset = np.clip(first[:, 0], 0.0, 0.99 * y.min(axis=-1))
    coefficients = solve_linear(terms, y - offset[:, None], weights)
    return offset, np.maximum(coefficients, 1e-4)


def solve_root(powers: Array, gamma: Array, offset: Array, y: Array) -> Array:
    """Solves `y = E + (sum of coefficients * exp(powers))^gamma` for relative residuals.

    Args:
        powers: Logarithms of the terms, shape (batch, terms, n).
        gamma: The outer exponent, shape (batch,).
        offset: E, shape (batch,), below every outcome.
        y: Positive outcomes, shape (n,).

    Returns:
        Logarithms of the coefficients, shape (batch, terms).
    """
    rest = y - offset[:, None]
    # Relative errors of the root count, so that the largest losses do not decide alone.
    root = np.log(rest) / gamma[:, None]
    terms = np.exp(np.clip(powers - root[:, None], -_STEEP, _STEEP))
    coefficients = solve_linear(terms, np.ones_like(root), (rest / y) ** 2)
    # A term that came out negative starts at a tenth of the other, which is small but can still grow.
    least = 0.1 * np.abs(coefficients).max(axis=1, keepdims=True) + 1e-12
    out: Array = np.log(np.maximum(coefficients, least))
    return out
