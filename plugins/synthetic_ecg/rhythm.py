"""When the heart beats: sinus rhythm with its variability, and the disorders of rhythm.

Sources: McSharry, Clifford, Tarassenko & Smith, "A dynamical model for generating synthetic
electrocardiogram signals", IEEE Trans. Biomed. Eng. 50(3), 2003 (the bimodal RR spectrum, beats where the
integrated heart rate passes whole numbers); Stridh & Sörnmo, IEEE Trans. Biomed. Eng. 48(1), 2001 (f waves).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MARGIN = 1.5
"""Seconds of rhythm before and after the record, so that its ends look like its middle."""

SINUS, ATRIAL, VENTRICULAR = 0, 1, 2

_TACHOGRAM_RATE = 4.0


@dataclass
class Rhythm:
    """The beats of one record.

    Attributes:
        times: (beats,) R peaks in seconds, from before 0 to beyond the end.
        rr: (beats,) interval before each beat in seconds.
        origin: (beats,) `SINUS`, `ATRIAL` or `VENTRICULAR`.
        has_p: Whether sinus beats are preceded by a P wave.
        respiration: Respiratory frequency in Hz.
        atrial: (samples,) continuous atrial wave (f or flutter waves) of unit amplitude, or `None`.
    """

    times: np.ndarray
    rr: np.ndarray
    origin: np.ndarray
    respiration: float
    has_p: bool = True
    atrial: np.ndarray | None = None


def make_rhythm(
    name: str, strength: float, difficulty: float, rng: np.random.Generator, times: np.ndarray
) -> Rhythm:
    """Draws the rhythm of a condition.

    Args:
        name: The condition.
        strength: 1 for a textbook case, 0 for one at the class's threshold.
        difficulty: Widens what is normal: heart rates and their variability.
        rng: The record's generator.
        times: (samples,) sampling times in seconds, from 0.
    """
    respiration = rng.uniform(0.15, 0.35)
    seconds = float(times[-1])
    if name == "atrial-fibrillation":
        return _fibrillation(strength, rng, times, respiration)
    if name == "atrial-flutter":
        return _flutter(rng, times, respiration)
    beats = _sinus(_heart_rate(name, strength, difficulty, rng), difficulty, rng, seconds, respiration)
    rr = np.diff(beats, prepend=2 * beats[0] - beats[1])
    rhythm = Rhythm(beats, rr, np.zeros(len(beats), dtype=np.int64), respiration)
    if name == "premature-atrial-contraction":
        _add_ectopics(rhythm, ATRIAL, strength, rng, seconds)
    elif name == "premature-ventricular-contraction":
        _add_ectopics(rhythm, VENTRICULAR, strength, rng, seconds)
    return rhythm


def _heart_rate(name: str, strength: float, difficulty: float, rng: np.random.Generator) -> float:
    if name == "sinus-bradycardia":
        return 58 - 12 * strength - 6 * rng.random()
    if name == "sinus-tachycardia":
        return 102 + 20 * strength + 25 * rng.random()
    half_range = 8 + 10 * difficulty
    return 80 + half_range * rng.uniform(-1, 1)


def _sinus(
    heart_rate: float, difficulty: float, rng: np.random.Generator, seconds: float, respiration: float
) -> np.ndarray:
    """Beat times of a sinus node whose RR has Mayer waves (0.1 Hz) and respiratory sinus arrhythmia."""
    n = 2 ** int(np.ceil(np.log2((seconds + 2 * MARGIN) * _TACHOGRAM_RATE + 2)))
    frequency = np.fft.rfftfreq(n, 1 / _TACHOGRAM_RATE)
    low_to_high = rng.uniform(0.3, 1.5)
    spectrum = low_to_high * _bell(frequency, 0.1, 0.02) + _bell(frequency, respiration, 0.02)
    phases = np.exp(2j * np.pi * rng.random(len(frequency)))
    tachogram = np.fft.irfft(np.sqrt(spectrum) * phases, n)
    tachogram /= tachogram.std() + 1e-12
    variability = rng.uniform(0.01, 0.03 + 0.03 * difficulty)
    rr = 60 / heart_rate * np.clip(1 + variability * tachogram, 0.6, 1.6)
    grid = np.arange(n) / _TACHOGRAM_RATE - MARGIN
    phase = np.cumsum(1 / (rr * _TACHOGRAM_RATE)) + rng.random()
    last = np.interp(seconds + MARGIN, grid, phase)
    return np.interp(np.arange(np.ceil(phase[0]), last), phase, grid)


def _bell(frequency: np.ndarray, center: float, width: float) -> np.ndarray:
    return np.exp(-0.5 * ((frequency - center) / width) ** 2)


def _add_ectopics(
    rhythm: Rhythm, origin: int, strength: float, rng: np.random.Generator, seconds: float
) -> None:
    """Makes one to three beats premature; at least one is well inside the record."""
    inside = (rhythm.times > 0.08 * seconds + 0.3) & (rhythm.times < 0.95 * seconds - 0.2)
    parity = rng.integers(2)
    candidates = np.flatnonzero(inside & (np.arange(len(inside)) % 2 == parity))
    if len(candidates) == 0:
        candidates = np.array([1 + np.abs(rhythm.times[1:-1] - 0.6 * seconds).argmin()])
    how_many = 1 + min(rng.integers(3), rng.integers(4))
    early = rng.permutation(candidates)[:how_many]
    coupling = 0.86 - 0.2 * strength - 0.12 * rng.random(len(early))
    before = rhythm.rr[early]
    pause = 2 - coupling if origin == VENTRICULAR else rng.uniform(1.0, 1.2, len(early))
    first = rhythm.times[0]
    rhythm.rr[early] = coupling * before
    rhythm.rr[early + 1] = pause * before
    rhythm.times[:] = first + np.cumsum(rhythm.rr) - rhythm.rr[0]
    rhythm.origin[early] = origin


def _fibrillation(strength: float, rng: np.random.Generator, times: np.ndarray, respiration: float) -> Rhythm:
    heart_rate = rng.uniform(60, 130)
    variation = 0.1 + 0.1 * strength + 0.06 * rng.random()
    length = float(times[-1]) + 2 * MARGIN
    shape = 1 / variation**2
    rr = 60 / heart_rate * rng.gamma(shape, 1 / shape, size=int(length * heart_rate / 40) + 4)
    rr = np.maximum(rr, 0.3)
    atrial = _sawtooth(times, rng.uniform(4, 8), 0.08, 0.3, rng)
    return _from_intervals(rr, length, respiration, atrial)


def _flutter(rng: np.random.Generator, times: np.ndarray, respiration: float) -> Rhythm:
    cycle = 60 / rng.uniform(240, 340)
    length = float(times[-1]) + 2 * MARGIN
    n = int(length / cycle) + 4
    ratio = rng.integers(2, 5, size=n) if rng.random() < 0.4 else np.full(n, rng.integers(2, 5))
    rr = cycle * ratio + 0.005 * rng.normal(size=n)
    return _from_intervals(rr, length, respiration, _sawtooth(times, 1 / cycle, 0.01, 0.05, rng))


def _from_intervals(rr: np.ndarray, length: float, respiration: float, atrial: np.ndarray) -> Rhythm:
    times = np.cumsum(rr) - rr[0] - MARGIN
    kept = times < length - MARGIN
    return Rhythm(times[kept], rr[kept], np.zeros(kept.sum(), np.int64), respiration, False, atrial)


def _sawtooth(
    times: np.ndarray, frequency: float, wander: float, swell: float, rng: np.random.Generator
) -> np.ndarray:
    """A sawtooth of three harmonics whose frequency and amplitude are modulated (Stridh & Sörnmo 2001)."""
    slow, slower = rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.4)
    phase = frequency * times + wander * frequency / slow * np.sin(2 * np.pi * slow * times) / (2 * np.pi)
    phase = ((phase + rng.random()) * (2 * np.pi)).astype(np.float32)
    wave = np.sin(phase) + np.sin(2 * phase) / 2 + np.sin(3 * phase) / 3
    envelope = 1 + swell * np.sin((2 * np.pi * (slower * times + rng.random())).astype(np.float32))
    return np.asarray(wave * envelope, dtype=np.float32)
