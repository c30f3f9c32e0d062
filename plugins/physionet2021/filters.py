"""The band-pass filter and the change of sampling rate, for many leads at once.

The filter is what `scipy.signal.sosfiltfilt` computes, a third-order Butterworth band-pass run forwards and
backwards with odd extension at the ends, at about three times its speed. A recursive filter is a loop over
samples; here it is a matrix product over blocks of samples, and the loop over blocks carries the filter's six
states: with x a block and s the state before it,

    y = x T + s O        T: impulse response (Toeplitz), O: what a state still rings out
    s' = s A^B + x K     K: what the block leaves behind

in float32 for samples and float64 for states. It agrees with SciPy in float64 within 2e-5 of a lead's range.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

ORDER = 3
BLOCK = 64
_SLAB = 250_000
"""Samples filtered at once, so that they stay in a core's cache; and memory stays small for long records."""


@dataclass(frozen=True, eq=False)
class _Pass:
    """One direction of the filter.

    Attributes:
        response: T (block, block), float32.
        left: K (block, states), float32.
        ringing: O (states, block), float32.
    """

    response: np.ndarray
    left: np.ndarray
    ringing: np.ndarray


@dataclass(frozen=True, eq=False)
class BandPass:
    """A zero-phase band-pass for one sampling rate.

    Attributes:
        forwards: The pass in the direction of time.
        backwards: The pass against it.
        carry: A^B transposed (states, states), float64.
        settled: The state that a constant 1 leads to, (states,).
        padding: Samples by which a signal is extended at each end; it must be longer than that.
    """

    forwards: _Pass
    backwards: _Pass
    carry: np.ndarray
    settled: np.ndarray
    padding: int

    def __call__(self, signal: np.ndarray) -> None:
        """Filters (lanes, samples) of float32 along time, in place; every lane separately."""
        n, pad = signal.shape[1], self.padding
        lanes = max(1, _SLAB // n)
        n_blocks = -(-(n + 2 * pad) // BLOCK)
        # One set of arrays for all slabs: asking the system for fresh memory takes as long as filtering.
        room = np.empty((3, min(lanes, len(signal)) * n_blocks, BLOCK), dtype=np.float32)
        for start in range(0, len(signal), lanes):
            slab = signal[start : start + lanes]
            extended, filtered, spare = room[:, : len(slab) * n_blocks]
            lines = extended.reshape(len(slab), -1)
            self._extend(slab, lines)
            self._run(extended, filtered, spare, self.forwards, lines[:, :1], range(n_blocks))
            last = filtered.reshape(len(slab), -1)[:, -1:]
            self._run(filtered, extended, spare, self.backwards, last, range(n_blocks - 1, -1, -1))
            slab[:] = lines[:, -n - pad : -pad]

    def _extend(self, signal: np.ndarray, extended: np.ndarray) -> None:
        """Extends by odd reflection, and in front by a constant up to whole blocks.

        The first sample is taken off beforehand: a band-pass does not see it, and float32 is finer near 0.
        The filter starts settled on the constant, so more of it in front changes nothing.
        """
        pad = self.padding
        stop = extended.shape[1] - pad
        start = stop - signal.shape[1]
        np.subtract(signal, signal[:, :1], out=extended[:, start:stop])
        extended[:, start - pad : start] = -extended[:, start + pad : start : -1]
        last = extended[:, stop - 1 : stop]
        extended[:, stop:] = 2 * last - extended[:, stop - 2 : stop - 2 - pad : -1]
        extended[:, : start - pad] = extended[:, start - pad : start - pad + 1]

    def _run(
        self,
        blocks: np.ndarray,
        result: np.ndarray,
        spare: np.ndarray,
        one: _Pass,
        constant: np.ndarray,
        order: range,
    ) -> None:
        """Runs one pass over `blocks` (n, BLOCK) into `result`; before them is a constant."""
        lanes = len(constant)
        left = (blocks @ one.left).reshape(lanes, len(order), -1)
        states = left.swapaxes(0, 1).astype(np.float64, order="C")
        state = constant.astype(np.float64) * self.settled
        for block in order:
            following = state @ self.carry
            following += states[block]
            states[block] = state
            state = following
        before = states.swapaxes(0, 1).astype(np.float32, order="C").reshape(len(blocks), -1)
        np.matmul(blocks, one.response, out=result)
        np.matmul(before, one.ringing, out=spare)
        result += spare


@lru_cache(maxsize=32)
def band_pass(rate: float, low: float, high: float) -> BandPass:
    """Designs the Butterworth band-pass from `low` to `high` Hz at `rate` Hz; once for each rate.

    Raises:
        ValueError: The band does not lie below half the rate.
    """
    from scipy.signal import butter, sosfilt_zi

    sections = butter(ORDER, (low, high), "bandpass", fs=rate, output="sos")
    a, b, c, d = _state_space(sections)
    powers = [np.eye(len(a))]
    for _ in range(BLOCK):
        powers.append(powers[-1] @ a)
    impulse = np.array([d, *(c @ powers[i] @ b for i in range(BLOCK - 1))])
    response = np.zeros((BLOCK, BLOCK))
    for i in range(BLOCK):
        response[i, i:] = impulse[: BLOCK - i]
    left = np.stack([powers[BLOCK - 1 - i] @ b for i in range(BLOCK)])
    ringing = np.stack([c @ powers[i] for i in range(BLOCK)], axis=1)
    return BandPass(
        forwards=_pass(response, left, ringing),
        backwards=_pass(response[::-1, ::-1], left[::-1], ringing[:, ::-1]),
        carry=powers[BLOCK].T.copy(),
        settled=sosfilt_zi(sections).ravel(),
        padding=_padding(sections),
    )


def resampled(signal: np.ndarray, rate: float, target: float) -> np.ndarray:
    """Returns (lanes, samples) at `target` Hz, by a polyphase filter (`scipy.signal.resample_poly`)."""
    if rate == target:
        return signal
    from scipy.signal import resample_poly

    ratio = Fraction(target / rate).limit_denominator(2000)
    lanes = max(1, _SLAB // signal.shape[1])
    slabs = [
        resample_poly(signal[start : start + lanes], ratio.numerator, ratio.denominator, axis=1)
        for start in range(0, len(signal), lanes)
    ]
    return np.concatenate(slabs).astype(np.float32, copy=False)


def _pass(*matrices: np.ndarray) -> _Pass:
    return _Pass(*(np.ascontiguousarray(matrix, dtype=np.float32) for matrix in matrices))


def _state_space(sections: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Returns A, b, c, d of second-order sections in a row, each in transposed direct form II."""
    n = 2 * len(sections)
    a, b, c, d = np.zeros((n, n)), np.zeros(n), np.zeros(n), 1.0
    for k, (b0, b1, b2, _, a1, a2) in enumerate(sections):
        row = 2 * k
        for offset, numerator, denominator in ((0, b1, a1), (1, b2, a2)):
            a[row + offset] = (numerator - denominator * b0) * c
            b[row + offset] = (numerator - denominator * b0) * d
            a[row + offset, row] -= denominator
        a[row, row + 1] += 1
        c, d = b0 * c, b0 * d
        c[row] += 1
    return a, b, c, float(d)


def _padding(sections: np.ndarray) -> int:
    """The extension that `sosfiltfilt` chooses by default."""
    taps = 2 * len(sections) + 1
    taps -= min(int((sections[:, 2] == 0).sum()), int((sections[:, 5] == 0).sum()))
    return 3 * taps
