"""What is put right in a record's leads: amplitudes, order, missing leads, missing samples.

Every repair is exact or short. Limb leads follow from two of I, II and III (Einthoven's and Goldberger's
laws); gaps are bridged by a straight line only as long as no beat can be lost in them.
"""

from __future__ import annotations

import numpy as np

import scalelab

from .headers import Header, SignalLine, printable
from .leads import LEADS

GAIN = 1000.0
"""ADC units per mV in all sources of the database."""
WRONG_GAINS = {4880.0}
"""Gains in older releases' headers of samples that are at 1000/mV: Georgia's 4880/mV (4.88 µV a unit)."""
MAX_MISSING_SHARE = 0.05
"""A lead with a larger part of its samples missing counts as missing."""
MAX_GAP = 0.5
"""So does one with a longer gap, in seconds."""

_PER_MILLIVOLT = {"mv": 1.0, "uv": 1e3, "µv": 1e3, "âµv": 1e3, "v": 1e-3}
"""The last but one is what UTF-8's µV looks like in Latin-1."""
_NAMES = {name.lower(): name for name in LEADS}


def in_millivolts(stored: np.ndarray, lines: tuple[SignalLine, ...], repairs: list[str]) -> np.ndarray:
    """Returns float32 (n_leads, n) in mV of ADC values.

    Raises:
        scalelab.DataError: A unit is not one of voltage.
    """
    gains = np.array([_gain(line, repairs) for line in lines], dtype=np.float64)[:, None]
    baselines = np.array([line.baseline for line in lines], dtype=np.int64)[:, None]
    if np.abs(baselines).max() > 2**15:
        raise scalelab.DataError("baseline: it lies outside the range of 16-bit integers")
    if baselines.any():
        return ((stored - baselines) / gains).astype(np.float32)
    if (gains == gains[0]).all():
        # One scalar in float32 is what float64, rounded, gives for every 16-bit integer (tested).
        return stored / np.float32(gains[0, 0])
    return (stored / gains).astype(np.float32)


def _gain(line: SignalLine, repairs: list[str]) -> float:
    scale = _PER_MILLIVOLT.get(line.units.lower())
    if scale is None:
        raise scalelab.DataError(f"units: '{printable(line.units)}' are not units of voltage")
    if line.gain is None:
        _once(repairs, f"gain: {GAIN:g}/mV where the header gives none")
        return GAIN
    if line.gain in WRONG_GAINS:
        _once(repairs, f"gain: {GAIN:g}/mV instead of {line.gain:g}/{printable(line.units)}")
        return GAIN
    gain = line.gain * scale
    # Beyond, one ADC unit is more than 10 mV or all of them together less than 10 µV.
    if not 0.1 <= abs(gain) <= 6.5e6:
        raise scalelab.DataError(f"gain: {line.gain:g}/{printable(line.units)} cannot be that of an ECG")
    return gain


def without_gaps(
    signal: np.ndarray, missing: np.ndarray, header: Header, repairs: list[str]
) -> tuple[np.ndarray, set[int]]:
    """Bridges short gaps by straight lines, holding the first and last value at the ends.

    Returns:
        The signal, and which rows have too much missing to be used.
    """
    lost = set()
    bridged = {}
    for row in np.flatnonzero(missing.any(axis=1)).tolist():
        gone = missing[row]
        if gone.mean() > MAX_MISSING_SHARE or _longest(gone) > MAX_GAP * header.rate:
            lost.add(row)
            continue
        (there,) = np.nonzero(~gone)
        (holes,) = np.nonzero(gone)
        signal[row, holes] = np.interp(holes, there, signal[row, there])
        bridged[header.signals[row].lead] = len(holes)
    if bridged:
        each = ", ".join(f"{n} in {printable(lead, 12)}" for lead, n in bridged.items())
        repairs.append(f"missing samples: interpolated {each}")
    return signal, lost


def _longest(gone: np.ndarray) -> int:
    """Returns the length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(gone, prepend=False, append=False))
    return int((edges[1::2] - edges[::2]).max())


def in_leads_order(
    signal: np.ndarray,
    lines: tuple[SignalLine, ...],
    lost: set[int],
    repairs: list[str],
    notes: list[str],
) -> np.ndarray:
    """Returns the twelve leads in the official order; limb leads that are missing or lost are derived.

    Args:
        signal: (n_leads, n), in the order of `lines`.
        lines: The header's leads.
        lost: Rows that cannot be used.
        repairs: Takes what was done.
        notes: Takes the flat leads, which stay as they are, and how many leads are none of the twelve.

    Raises:
        scalelab.DataError: A lead is listed twice, or missing for good, or all of them are flat.
    """
    rows = _rows(lines)
    if list(rows) == list(LEADS) and len(lines) == len(LEADS) and not lost:
        ordered = signal
    else:
        ordered = np.empty((len(LEADS), signal.shape[1]), dtype=np.float32)
        for lead, row in rows.items():
            ordered[LEADS.index(lead)] = signal[row]
        if list(rows) != [lead for lead in LEADS if lead in rows]:
            repairs.append(f"lead order: the file's is {' '.join(rows)}")
        if len(lines) > len(rows):
            notes.append(f"other leads: {len(lines) - len(rows)} left out")
        gone = [lead for lead in LEADS if lead not in rows or rows[lead] in lost]
        if gone:
            others = [line.lead for row, line in enumerate(lines) if row not in rows.values()]
            _derive(ordered, gone, {lead for lead, row in rows.items() if row in lost}, others)
            repairs.append(f"leads derived: {', '.join(gone)}")
    flat = [lead for lead, values in zip(LEADS, ordered, strict=True) if (values == values[0]).all()]
    if len(flat) == len(LEADS):
        raise scalelab.DataError("flat leads: all twelve, there is no signal")
    if flat:
        notes.append(f"flat leads: {', '.join(flat)}")
    return ordered


def _rows(lines: tuple[SignalLine, ...]) -> dict[str, int]:
    """Returns the row of each of the twelve leads that is there, in the order of the rows."""
    rows: dict[str, int] = {}
    for row, line in enumerate(lines):
        lead = _NAMES.get(line.lead.lower().removeprefix("lead").strip())
        if lead in rows:
            raise scalelab.DataError(f"leads: {lead} is listed twice")
        if lead is not None:
            rows[lead] = row
    return rows


def _derive(ordered: np.ndarray, gone: list[str], lost: set[str], others: list[str]) -> None:
    """Fills in limb leads: II = I + III, aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2."""
    needed = [lead for lead in gone if lead not in LEADS[:6]]
    if len(set(gone) & set(LEADS[:3])) > 1:
        needed = [lead for lead in gone if lead in LEADS[:3]] + needed
    if needed and lost & set(needed):
        limits = f"more than {MAX_MISSING_SHARE:.0%} or {MAX_GAP:g} s at a time"
        raise scalelab.DataError(
            f"missing samples: {limits} in {', '.join(lead for lead in needed if lead in lost)}"
        )
    if needed:
        unknown = ", ".join(f"'{printable(lead, 12)}'" for lead in others[:4])
        there = f" (not known as leads: {unknown})" if unknown else ""
        raise scalelab.DataError(f"leads: {', '.join(needed)} missing{there}")
    one, two, three = ordered[:3]
    formulas = {
        "I": lambda: two - three,
        "II": lambda: one + three,
        "III": lambda: two - one,
        "aVR": lambda: -(one + two) / 2,
        "aVL": lambda: one - two / 2,
        "aVF": lambda: two - one / 2,
    }
    for lead in gone:
        ordered[LEADS.index(lead)] = formulas[lead]()


def _once(repairs: list[str], text: str) -> None:
    if text not in repairs:
        repairs.append(text)
