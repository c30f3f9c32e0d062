"""From the heart's dipole and the noise of nine electrodes to the twelve leads.

Axes of the dipole: x to the patient's left, y to the feet, z to the back; unit mV.
"""

from __future__ import annotations

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

_PRIORITY = ("II", "I", "V2", "V5", "V1", "V6", "V4", "V3", "III", "aVF", "aVL", "aVR")

_DOWER = np.array(
    [
        [0.632, -0.235, 0.059],  # I
        [0.235, 1.066, -0.132],  # II
        [-0.515, 0.157, -0.917],  # V1
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],  # V6
    ],
    dtype=np.float32,
)
"""Independent leads of a dipole: Dower, Machado & Osborne, "On deriving the electrocardiogram from
vectorcardiographic leads", Clin. Cardiol. 3, 1980."""

_FROM_INDEPENDENT = np.zeros((12, 8), dtype=np.float32)
_FROM_INDEPENDENT[0, 0] = _FROM_INDEPENDENT[1, 1] = 1
_FROM_INDEPENDENT[2, :2] = -1, 1  # III = II - I (Einthoven)
_FROM_INDEPENDENT[3, :2] = -0.5, -0.5  # Goldberger: aVR, aVL, aVF
_FROM_INDEPENDENT[4, :2] = 1, -0.5
_FROM_INDEPENDENT[5, :2] = -0.5, 1
_FROM_INDEPENDENT[6:, 2:] = np.eye(6)

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")

_INDEPENDENT_OF_ELECTRODES = np.zeros((8, 9), dtype=np.float32)
_INDEPENDENT_OF_ELECTRODES[0, :3] = -1, 1, 0
_INDEPENDENT_OF_ELECTRODES[1, :3] = -1, 0, 1
_INDEPENDENT_OF_ELECTRODES[2:, :3] = -1 / 3  # Wilson's central terminal
_INDEPENDENT_OF_ELECTRODES[2:, 3:] = np.eye(6)

LEADS_OF_ELECTRODES = _FROM_INDEPENDENT @ _INDEPENDENT_OF_ELECTRODES
"""(12, 9): electrode potentials to leads, so that noise obeys Einthoven's law as in a real recorder."""


def lead_names(n: int) -> tuple[str, ...]:
    """Returns the `n` leads of an `n`-lead record in standard order: II; I, II; I, II, V2; …; all.

    Two, three and twelve are the sets of the PhysioNet/CinC Challenge 2021; eight are the independent ones.
    """
    chosen = _PRIORITY[:n]
    return tuple(name for name in LEADS if name in chosen)


def torso(rng: np.random.Generator, spread: float) -> np.ndarray:
    """Returns one subject's (12, 3) dipole-to-leads matrix.

    The heart is turned about each axis by a normal angle (SD `spread` times 12 degrees about x and y, 25
    about z, the frontal axis) and each independent lead is perturbed, for the placing of electrodes.
    """
    x, y, z = rng.normal(size=3) * np.radians((12.0, 12.0, 25.0)) * spread
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    placed = _DOWER + rng.normal(size=_DOWER.shape) * (0.08 * spread)
    matrix = _FROM_INDEPENDENT @ (placed @ (about_z @ about_y @ about_x))
    return np.asarray(matrix, dtype=np.float32)
