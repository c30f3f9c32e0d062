"""One record at a time: each depends on the seed, its split and its number alone.

The draws of the heart come before those of the noise, so that the same record at another sampling rate is
the same heart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np

from .conditions import CONDITIONS, ConditionName, SplitName
from .leads import LEADS, LEADS_OF_ELECTRODES, lead_names, torso
from .morphology import WINDOW, Waves, make_beats
from .noise import electrode_noise
from .params import SyntheticEcgParams
from .rhythm import Rhythm, make_rhythm

SPLITS: tuple[SplitName, ...] = get_args(SplitName)
BLOCK = 128
_COLUMNS = 512
"""Samples multiplied at once: so few that BLAS stays on one thread, and rounds the same everywhere."""


@dataclass(frozen=True)
class SyntheticRecord:
    """One synthetic recording of one synthetic subject.

    Attributes:
        signal: (leads, samples) in mV, float32.
        leads: Names of the leads.
        rate: Sampling rate in Hz.
        label: Index into the classes, label noise included.
        condition: What the record shows, whatever its label says.
        snomed: SNOMED CT code of the label.
        r_peaks: Times of the R peaks inside the record, in seconds.
    """

    signal: np.ndarray
    leads: tuple[str, ...]
    rate: int
    label: int
    condition: ConditionName
    snomed: str
    r_peaks: np.ndarray


def records(
    n: int, params: SyntheticEcgParams, *, split: SplitName = "train", start: int = 0
) -> Iterator[SyntheticRecord]:
    """Yields records `start` to `start + n` of a split; more records never change the first ones."""
    for index in range(start, start + n):
        yield make_record(params, split, index)


def make_record(params: SyntheticEcgParams, split: SplitName, index: int) -> SyntheticRecord:
    """Makes one record."""
    rng, condition, label = _begin(params, split, index)
    times = np.arange(round(params.seconds * params.rate)) / params.rate
    # 1 is a textbook case, 0 one at the threshold of its class
    strength = 1 - params.difficulty * rng.random()
    rhythm = make_rhythm(condition, strength, params.difficulty, rng, times)
    beats = make_beats(condition, strength, params.difficulty, rhythm, rng)
    sources = [_dipole(rhythm, beats, len(times), params.rate)]
    mix = [torso(rng, 0.3 + 0.9 * params.difficulty)]
    if rhythm.atrial is not None:
        sources.append(rhythm.atrial[None])
        mix.append(mix[0] @ _atrial_vector(condition, strength, rng)[:, None])
    if params.noise:
        noise_mix, noise = electrode_noise(params.noise, rng, times, params.rate)
        sources.append(noise)
        mix.append(LEADS_OF_ELECTRODES @ noise_mix)
    names = lead_names(params.leads)
    rows = [LEADS.index(name) for name in names]
    return SyntheticRecord(
        signal=_project(np.concatenate(mix, axis=1)[rows], np.concatenate(sources)),
        leads=names,
        rate=params.rate,
        label=label,
        condition=condition,
        snomed=CONDITIONS[params.classes[label]].snomed,
        r_peaks=rhythm.times[(rhythm.times >= 0) & (rhythm.times < params.seconds)],
    )


def blocks(params: SyntheticEcgParams, split: SplitName, n: int) -> Iterator[np.ndarray]:
    """Yields the signals of the first `n` records as float16 blocks (up to 128, leads, samples)."""
    shape = (params.leads, round(params.seconds * params.rate))
    for start in range(0, n, BLOCK):
        block = np.empty((min(BLOCK, n - start), *shape), dtype=np.float16)
        for row, record in zip(block, records(len(block), params, split=split, start=start), strict=True):
            row[:] = record.signal
        yield block


def labels(params: SyntheticEcgParams, split: SplitName, n: int) -> np.ndarray:
    """Returns the labels (n,) of the first `n` records."""
    return np.array([_begin(params, split, index)[2] for index in range(n)], dtype=np.int64)


def _begin(
    params: SyntheticEcgParams, split: SplitName, index: int
) -> tuple[np.random.Generator, ConditionName, int]:
    seed = np.random.SeedSequence((params.seed, SPLITS.index(split), index))
    rng = np.random.Generator(np.random.PCG64DXSM(seed))
    n = len(params.classes)
    label = shown = int(rng.integers(n))
    if rng.random() < params.label_noise:
        label = (shown + 1 + int(rng.integers(n - 1))) % n
    return rng, params.classes[shown], label


def _dipole(rhythm: Rhythm, beats: Waves, n: int, rate: int) -> np.ndarray:
    """Returns the heart's dipole (3, n) in mV.

    Sampling is preceded by a Gaussian anti-aliasing filter of SD 0.35 samples, which turns a Gaussian into a
    wider and lower one.
    """
    width = int((WINDOW[1] - WINDOW[0]) * rate)
    first = np.ceil((rhythm.times + WINDOW[0]) * rate).astype(np.int64)
    filtered = np.sqrt(beats.widths**2 + (0.35 / rate) ** 2)
    vectors = (beats.vectors * (beats.widths / filtered)[:, :, None]).astype(np.float32)
    offset = (first / rate - rhythm.times)[:, None] - beats.centers
    scale = np.sqrt(0.5) / filtered
    z = (scale / rate).astype(np.float32)[:, :, None] * np.arange(width, dtype=np.float32)
    z += (offset * scale).astype(np.float32)[:, :, None]
    np.multiply(z, z, out=z)
    np.negative(z, out=z)
    np.exp(z, out=z)
    beat = vectors.swapaxes(1, 2) @ z
    dipole = np.zeros((3, n + 2 * width), dtype=np.float32)
    for start, wave in zip(first + width, beat, strict=True):
        if 0 <= start <= n + width:
            dipole[:, start : start + width] += wave
    return dipole[:, width : width + n]


def _atrial_vector(condition: str, strength: float, rng: np.random.Generator) -> np.ndarray:
    """The direction in which f waves (to the right and front) or flutter waves (up) are seen, in mV."""
    if condition == "atrial-flutter":
        axis, amplitude = np.array([-0.1, -1.0, -0.3]), 0.035 + 0.07 * strength
    else:
        axis, amplitude = np.array([-0.4, 0.2, -1.0]), 0.015 + 0.03 * strength
    axis = axis + 0.25 * rng.normal(size=3)
    return (amplitude * (1 + 0.3 * rng.random()) * axis / np.linalg.norm(axis)).astype(np.float32)


def _project(mix: np.ndarray, sources: np.ndarray) -> np.ndarray:
    signal = np.empty((len(mix), sources.shape[1]), dtype=np.float32)
    for start in range(0, sources.shape[1], _COLUMNS):
        np.matmul(mix, sources[:, start : start + _COLUMNS], out=signal[:, start : start + _COLUMNS])
    return signal
