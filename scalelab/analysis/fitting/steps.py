"""Steps of many small quadratic models at once, for `scalelab.analysis.fitting.solver`."""

from __future__ import annotations

import numpy as np

from scalelab.arrays import Array, Index

_MANY, _PIVOT = 300, 1e-16


def damped_step(hessian: Array, gradient: Array, lam: Array, frozen: Index) -> Array:
    """Returns the step of the damped quadratic model, zero where frozen; shape (batch, parameters).

    Args:
        hessian: Shape (batch, parameters, parameters), contiguous.
        gradient: Shape (batch, parameters).
        lam: The damping, in units of the diagonals, shape (batch,).
        frozen: Which parameters stay, shape (batch, parameters).
    """
    scale: Array = np.sqrt(np.maximum(_diagonals(hessian), 0.0))
    scale = 1.0 / np.maximum(scale, 1e-9 * scale.max(axis=1, keepdims=True) + 1e-150)
    if frozen.any():
        scale = np.where(frozen, 0.0, scale)
    system = hessian * scale[:, :, None]
    system *= scale[:, None, :]
    diagonals = _diagonals(system)
    diagonals += lam[:, None] + 1e-14 + frozen
    right = -gradient * scale
    if not np.isfinite(system.sum() + right.sum()):
        usable = np.isfinite(system).all(axis=(1, 2)) & np.isfinite(right).all(axis=1)
        system[~usable] = np.eye(right.shape[1])
        right[~usable] = 0.0
    solved = (
        np.linalg.solve(system, right[..., None])[..., 0] if len(right) < _MANY else _solved(system, right)
    )
    step: Array = solved * scale
    return step


def _diagonals(matrices: Array) -> Array:
    """Returns a view of the diagonals of matrices that are contiguous, shape (batch, parameters)."""
    batch, size, _ = matrices.shape
    return matrices.reshape(batch, -1)[:, :: size + 1]


def _solved(systems: Array, right: Array) -> Array:
    """Returns the solutions of many small positive definite systems, shape (batch, parameters).

    Gauss's elimination of all at once, a column after the other: of many systems of a few parameters that is
    several times as fast as LAPACK, which is called for each of them.
    """
    a, x = np.ascontiguousarray(systems.transpose(1, 2, 0)), np.ascontiguousarray(right.T)
    size = len(x)
    for j in range(size):
        # Rounding may leave nothing of a pivot; a step that is too long for that is not accepted.
        pivot = np.maximum(a[j, j], _PIVOT, out=a[j, j])
        for i in range(j + 1, size):
            factor = a[j, i] / pivot
            a[i, i:] -= factor * a[j, i:]
            x[i] -= factor * x[j]
    for j in reversed(range(size)):
        for i in range(j + 1, size):
            x[j] -= a[j, i] * x[i]
        x[j] /= a[j, j]
    return x.T
