"""What a beat looks like: P, QRS, ST and T as sums of Gaussians of a turning dipole.

Each wave is a Gaussian in time, relative to the R peak, along a direction in space: the model of McSharry et
al. 2003 in the three-dimensional form of Sameni, Clifford, Jutten & Shamsollahi, "Multichannel ECG and noise
modeling", EURASIP J. Adv. Signal Process. 2007. T follows the heart rate by Fridericia's QT correction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .rhythm import ATRIAL, VENTRICULAR, Rhythm

P, QRS, ST, T = slice(0, 2), slice(2, 7), slice(7, 10), slice(10, 12)
N_WAVES = 12

QRS_ONSET = -0.04
WINDOW = (-0.5, 0.7)
"""Seconds around R outside which a beat is nothing."""

_WIDTHS = np.array([18, 20, 8, 11, 11, 10, 14, 26, 26, 26, 46, 34]) / 1000
_CENTERS = np.array([0, 30, -22, 0, 14, 33, 55, 80, 125, 170, 0, 0]) / 1000
_VECTORS = np.array(
    [
        [0.03, 0.08, -0.05],  # P: right atrium, left atrium
        [0.06, 0.06, 0.04],
        [-0.14, -0.05, -0.22],  # QRS: septum, apex, free wall, base, late (bundle branch block)
        [1.00, 0.75, 0.10],
        [0.55, 0.25, 0.65],
        [-0.20, -0.25, 0.30],
        [0.00, 0.00, 0.00],
        [0.00, 0.00, 0.00],  # ST: start, middle, end
        [0.00, 0.00, 0.00],
        [0.00, 0.00, 0.00],
        [0.14, 0.11, -0.09],  # T: rising part, peak
        [0.17, 0.13, -0.10],
    ]
)
_TERRITORIES = np.array([[0.2, 0.1, -1.0], [0.1, 1.0, 0.1], [1.0, -0.2, 0.1], [0.6, 0.6, -0.5]])
"""Directions of the anterior, inferior, lateral and apical wall."""


@dataclass
class Waves:
    """Gaussians: centers and widths (waves,) in seconds, vectors (waves, 3) in mV.

    Those of one kind of beat; or of all beats of a record, with an axis for the beats in front.
    """

    centers: np.ndarray
    widths: np.ndarray
    vectors: np.ndarray


def make_beats(
    name: str, strength: float, difficulty: float, rhythm: Rhythm, rng: np.random.Generator
) -> Waves:
    """Draws the morphology of a subject with a condition, and lays it over the beats of a rhythm."""
    subject = _subject(name, difficulty, rng)
    _conduct(subject, name, strength, difficulty, rng)
    _repolarize(subject, name, strength, difficulty, rng)
    pr = rng.uniform(0.13, 0.16 + 0.035 * difficulty)
    if name == "first-degree-av-block":
        pr = 0.21 + 0.09 * strength + 0.04 * rng.random()
    qt = 0.39 + 0.02 * rng.normal()
    n = len(rhythm.times)
    beats = Waves(
        np.tile(subject.centers, (n, 1)), np.tile(subject.widths, (n, 1)), np.tile(subject.vectors, (n, 1, 1))
    )
    _replace_ectopics(beats, rhythm, subject, strength, rng)
    if not rhythm.has_p:
        beats.vectors[:, P] = 0
    beats.centers[:, P] += QRS_ONSET - pr + 0.035
    corrected = qt * np.clip(rhythm.rr, 0.3, 1.5) ** (1 / 3)
    peak = np.clip(QRS_ONSET + corrected - 0.085, 0.15, WINDOW[1] - 0.2)
    beats.centers[:, T] += peak[:, None] + np.array([-0.036, 0])
    beats.centers[:, ST] *= (peak / 0.27)[:, None]
    breathing = np.sin(2 * np.pi * (rhythm.respiration * rhythm.times + rng.random()))
    beats.vectors *= (1 + 0.05 * breathing + 0.02 * rng.normal(size=n))[:, None, None]
    return beats


def _subject(name: str, difficulty: float, rng: np.random.Generator) -> Waves:
    """A subject's own waves; the spread between subjects grows with the difficulty."""
    spread = 0.3 + 0.9 * difficulty
    gain = np.exp(0.3 * spread * rng.normal())
    amplitudes = np.exp(0.35 * spread * rng.normal(size=N_WAVES))
    vectors = _VECTORS * (gain * amplitudes)[:, None]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors += 0.3 * spread * length * rng.normal(size=vectors.shape)
    widths = _WIDTHS * np.exp(0.13 * spread * rng.normal(size=N_WAVES))
    centers = _CENTERS.copy()
    if name not in ("left-bundle-branch-block", "right-bundle-branch-block"):
        broader = 1 + 0.15 * difficulty * rng.random()
        centers[QRS] *= broader
        widths[QRS] *= broader
    return Waves(centers, widths, vectors)


def _conduct(waves: Waves, name: str, strength: float, difficulty: float, rng: np.random.Generator) -> None:
    """Bundle branch blocks; in all others, a trace of an incomplete one."""
    size = np.linalg.norm(waves.vectors[3])
    if name == "left-bundle-branch-block":
        slow = 1 + 0.35 * strength + 0.1 * rng.random()
        waves.centers[QRS] = np.array([-0.02, 0.0, 0.03, 0.055, 0.08]) * slow
        waves.widths[QRS] = np.array([0.012, 0.017, 0.017, 0.017, 0.014]) * slow
        directions = np.array(
            [[0.1, 0.1, 0.1], [0.55, 0.4, 0.45], [0.4, 0.1, 0.6], [0.6, 0.2, 0.5], [0.1, 0, 0.2]]
        )
        blocked = size * (directions + 0.06 * rng.normal(size=(5, 3)))
        waves.vectors[QRS] += (0.55 + 0.45 * strength) * (blocked - waves.vectors[QRS])
        waves.vectors[T] -= size * (0.08 + 0.08 * strength) * np.array([1.0, 0.4, 1.1])
        return
    late = 0.25 * difficulty * rng.random()
    if name == "right-bundle-branch-block":
        late = 0.4 + 0.5 * strength + 0.2 * rng.random()
        slow = 1 + 0.25 * strength + 0.15 * rng.random()
        waves.centers[6] *= slow
        waves.widths[6] *= slow
        waves.vectors[T] += size * (0.05 + 0.06 * strength) * np.array([0.5, 0.2, 1.0])
    waves.vectors[6] = late * size * (np.array([-0.55, -0.1, -0.75]) + 0.12 * rng.normal(size=3))


def _repolarize(
    waves: Waves, name: str, strength: float, difficulty: float, rng: np.random.Generator
) -> None:
    """Depressed ST and inverted T; in all others, small shifts of ST and flatter T."""
    territory = _TERRITORIES[rng.integers(len(_TERRITORIES))] + 0.2 * rng.normal(size=3)
    territory /= np.linalg.norm(territory)
    slope = np.array([1.0, 1.0, 1.0]) + rng.uniform(-0.4, 0.4) * np.array([-1, 0, 1])
    if name == "st-depression":
        shift = -(0.06 + 0.1 * strength + 0.04 * rng.random())
    else:
        shift = 0.035 * difficulty * rng.uniform(-1, 1)
    waves.vectors[ST] = 0.75 * shift * slope[:, None] * territory
    if name == "t-wave-inversion":
        waves.vectors[T] *= -(0.35 + 0.5 * strength + 0.2 * rng.random())
    else:
        waves.vectors[T] *= 1 - 0.7 * difficulty * rng.random()


def _replace_ectopics(
    beats: Waves, rhythm: Rhythm, subject: Waves, strength: float, rng: np.random.Generator
) -> None:
    atrial = rhythm.origin == ATRIAL
    if atrial.any():
        length = np.linalg.norm(subject.vectors[P], axis=1, keepdims=True)
        elsewhere = rng.normal(size=(2, 3))
        beats.vectors[atrial, P] = length * elsewhere / np.linalg.norm(elsewhere, axis=1, keepdims=True)
    ventricular = rhythm.origin == VENTRICULAR
    if ventricular.any():
        focus = _ventricular(subject, strength, rng)
        beats.centers[ventricular] = focus.centers
        beats.widths[ventricular] = focus.widths
        beats.vectors[ventricular] = focus.vectors


def _ventricular(subject: Waves, strength: float, rng: np.random.Generator) -> Waves:
    """A beat from a focus in either ventricle: broad, of its own axis, T against QRS."""
    size = np.linalg.norm(subject.vectors[3]) * (0.75 + 0.5 * strength + 0.2 * rng.random())
    side = 1.0 if rng.random() < 0.5 else -1.0
    axis = np.array([0.6 * side, 0, 0.8 * side]) + 0.55 * rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    turn = 0.35 * rng.normal(size=(5, 3))
    slow = 0.75 + 0.3 * strength + 0.15 * rng.random()
    waves = Waves(subject.centers.copy(), subject.widths.copy(), np.zeros_like(subject.vectors))
    waves.centers[QRS] = np.array([-0.03, 0.0, 0.03, 0.06, 0.09]) * slow
    waves.widths[QRS] = 0.02 * slow
    weights = np.array([0.4, 1.0, 0.8, 0.4, 0.1])
    waves.vectors[QRS] = size * weights[:, None] * (axis + turn)
    waves.vectors[ST] = -0.06 * size * axis
    waves.vectors[T] = -size * (0.2 + 0.1 * rng.random()) * axis
    return waves
