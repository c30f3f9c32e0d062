"""What a recorder adds: baseline wander, muscle noise, power line, electrode motion.

All noise arises at the nine electrodes, in mV, so that it reaches the leads as it does in a real recorder.
"""

from __future__ import annotations

import numpy as np

from .leads import ELECTRODES

N_ELECTRODES = len(ELECTRODES)
N_WANDER = 4


def electrode_noise(
    level: float, rng: np.random.Generator, times: np.ndarray, rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the noise as `mix @ sources`, mix (9, sources) and sources (sources, samples) in float32.

    Args:
        level: Factor on all amplitudes; 1 is an ordinary resting recording, 3 a bad one.
        rng: The record's generator.
        times: (samples,) in seconds.
        rate: Sampling rate in Hz.
    """
    n = len(times)
    slow, slow_mix = _wander(rng, times)
    line, line_mix = _power_line(rng, times, rate)
    bumps, bump_mix = _motion(rng, times)
    muscle = rng.standard_normal((N_ELECTRODES, n), dtype=np.float32)
    # Surface EMG is white up to some 500 Hz: a recorder that samples slower lets less of it through.
    amplitude = 0.012 * np.sqrt(min(rate, 1000) / 500) * np.exp(0.5 * rng.normal(size=N_ELECTRODES))
    mix = np.concatenate([slow_mix, line_mix, bump_mix, np.diag(amplitude)], axis=1)
    sources = np.concatenate([slow, line, bumps, muscle])
    return (level * mix).astype(np.float32), sources


def _wander(rng: np.random.Generator, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    frequency = rng.uniform(0.05, 0.6, size=(N_WANDER, 1))
    sources = np.sin((2 * np.pi * (frequency * times + rng.random((N_WANDER, 1)))).astype(np.float32))
    return sources, 0.06 * np.exp(0.5 * rng.normal()) * rng.normal(size=(N_ELECTRODES, N_WANDER))


def _power_line(rng: np.random.Generator, times: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """50 or 60 Hz, of its own phase at each electrode; nothing where it is beyond the recorder's band."""
    frequency = 50.0 if rng.random() < 0.5 else 60.0
    mix = 0.006 * np.exp(0.7 * rng.normal()) * rng.normal(size=(N_ELECTRODES, 2))
    if frequency > 0.45 * rate:
        return np.empty((0, len(times)), np.float32), mix[:, :0]
    phase = ((2 * np.pi * frequency) * times).astype(np.float32)
    return np.stack([np.sin(phase), np.cos(phase)]), mix


def _motion(rng: np.random.Generator, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Up to two sudden shifts of one electrode, each decaying within a second."""
    n = min(rng.integers(3), rng.integers(3))
    start = rng.uniform(times[0], times[-1], size=(n, 1))
    decay = rng.uniform(0.1, 0.5, size=(n, 1))
    mix = np.zeros((N_ELECTRODES, n))
    mix[rng.integers(N_ELECTRODES, size=n), np.arange(n)] = 0.25 * rng.normal(size=n)
    since = ((times - start) / decay).astype(np.float32)
    sources = np.where(since > 0, (1 - np.exp(-8 * np.maximum(since, 0))) * np.exp(-np.maximum(since, 0)), 0)
    return sources.astype(np.float32), mix
