"""The samples of one record: from the signal file's bytes to checked integers, and on to millivolts.

A header and its signal file may disagree on names, offsets, lengths and storage. What to believe is settled
by the size of the file, then by the MATLAB header in it; the checksums must be right in any case.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import scalelab

from .headers import Header, SignalLine, printable
from .matlab import HEAD, INT16, MISSING, matlab_version, read_matlab, refuse_foreign
from .repairs import in_leads_order, in_millivolts, without_gaps

SHORTEST = 1.0
"""Seconds of the shortest record that is taken."""


def read_leads(header: Path, parsed: Header, repairs: list[str], notes: list[str]) -> np.ndarray:
    """Returns float32 (12, n_samples) in mV, leads in the official order, all finite.

    Args:
        header: The header file.
        parsed: What it says.
        repairs: Takes what was done.
        notes: Takes what is worth knowing.

    Raises:
        scalelab.DataError: The samples cannot be used; the message is `kind: details`.
    """
    name = _check_storage(parsed.signals)
    stored = _read_checked(header, name, parsed, repairs)
    if stored.shape[1] < SHORTEST * parsed.rate:
        seconds = stored.shape[1] / parsed.rate
        raise scalelab.DataError(f"length: {seconds:.2f} s are shorter than {SHORTEST:g} s")
    _note_unchecked(parsed.signals, stored, notes)
    missing = stored == MISSING if int(stored.min()) == MISSING else None
    signal = in_millivolts(stored, parsed.signals, repairs)
    lost: set[int] = set()
    if missing is not None:
        signal, lost = without_gaps(signal, missing, parsed, repairs)
    return in_leads_order(signal, parsed.signals, lost, repairs, notes)


def _check_storage(lines: tuple[SignalLine, ...]) -> str:
    """Returns the name of the one signal file, stored as this layout has it."""
    first = lines[0]
    for line in lines:
        if line.format != "16":
            raise scalelab.DataError(f"storage: format {line.format} instead of 16-bit integers (16)")
        if line.frame != 1 or line.skew:
            raise scalelab.DataError("storage: leads with frames of several samples or a skew")
        if line.file != first.file or line.offset != first.offset:
            raise scalelab.DataError("storage: the leads lie in several signal files")
    return first.file


def _read_checked(header: Path, name: str, parsed: Header, repairs: list[str]) -> np.ndarray:
    """Returns int16 (n_leads, n_samples) from the first file that passes all checksums.

    A file with the header's own name is tried where the one that the header names is missing or another's.
    """
    problems = []
    for path in _candidates(header, name):
        done: list[str] = []
        try:
            stored = _read(path, parsed, done)
            _check_sums(parsed.signals, stored)
        except scalelab.DataError as error:
            problems.append(str(error))
            continue
        if path.name != name:
            repairs.append(f"signal file: {printable(path.name)} instead of '{printable(name)}'")
        repairs += done
        return stored
    raise scalelab.DataError(problems[0] if problems else f"no signal file: '{printable(name)}' is missing")


def _candidates(header: Path, name: str) -> Iterator[Path]:
    own = f"{header.stem}.mat"
    for file in dict.fromkeys((name, own)):
        # A signal file lies beside its header; a path that leads elsewhere is not followed.
        if "\0" not in file and Path(file).name == file and (header.parent / file).is_file():
            yield header.parent / file


def _read(path: Path, parsed: Header, repairs: list[str]) -> np.ndarray:
    """Returns int16 (n_leads, n_samples) of one file, whatever its storage."""
    n_leads, offset, n_samples = len(parsed.signals), parsed.signals[0].offset, parsed.n_samples
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(HEAD)
        described = n_samples is not None and size == offset + 2 * n_leads * n_samples
        version = matlab_version(start, size, n_leads)
        if version is not None:
            if described and _has_sums(stored := _integers(path, n_leads, n_samples or 0, offset), parsed):
                return stored
            stored = read_matlab(path, version, n_leads, repairs)
            _note_length(stored.shape[1], n_samples, repairs)
            return stored
        if not described:
            refuse_foreign(start)
        n, offset = _extent(start, size, n_leads, offset, n_samples, repairs)
        return _integers(path, n_leads, n, offset)
    except OSError as error:
        raise scalelab.DataError(f"signal file: cannot be read ({error.strerror or error})") from error


def _integers(path: Path, n_leads: int, n: int, offset: int) -> np.ndarray:
    """Returns int16 (n_leads, n), interleaved in the file."""
    stored = np.fromfile(path, dtype="<i2", count=n * n_leads, offset=offset)
    if stored.size != n * n_leads:
        raise scalelab.DataError("signal file: it was cut while being read")
    return np.ascontiguousarray(stored.reshape(n, n_leads).T)


def _extent(
    start: bytes, size: int, n_leads: int, offset: int, n_samples: int | None, repairs: list[str]
) -> tuple[int, int]:
    """Returns how many samples of each lead there are, and at which byte they start."""
    if n_samples is not None and size == offset + 2 * n_leads * n_samples:
        return n_samples, offset
    matlab = _matlab_extent(start, size, n_leads)
    if matlab is not None:
        n, begin = matlab
        if begin != offset:
            repairs.append(f"byte offset: {begin} instead of {offset}")
        _note_length(n, n_samples, repairs)
        return n, begin
    whole, rest = divmod(size - offset, 2 * n_leads)
    if n_samples is None and whole > 0 and rest == 0:
        repairs.append(f"length: {whole} samples instead of no length")
        return whole, offset
    if n_samples is None or whole < n_samples:
        said = "" if n_samples is None else f" instead of {n_samples}"
        raise scalelab.DataError(f"signal file: truncated, {max(whole, 0)} samples{said}")
    repairs.append(f"length: {size - offset - 2 * n_leads * n_samples} bytes behind the last sample left out")
    return n_samples, offset


def _note_length(found: int, said: int | None, repairs: list[str]) -> None:
    if found != said:
        repairs.append(f"length: {found} samples instead of {'no length' if said is None else said}")


def _matlab_extent(start: bytes, size: int, n_leads: int) -> tuple[int, int] | None:
    """Returns the same as a MATLAB v4 header says it, where it fits the size of the file."""
    if len(start) < 20:
        return None
    kind, rows, columns, imaginary, name = struct.unpack_from("<5i", start)
    if (kind, rows, imaginary) != (INT16, n_leads, 0) or columns < 1 or not 1 <= name <= 44:
        return None
    return (columns, 20 + name) if size == 20 + name + 2 * rows * columns else None


def _check_sums(lines: tuple[SignalLine, ...], stored: np.ndarray) -> None:
    """Compares the 16-bit sums of all samples, missing ones included as wfdb includes them.

    A header without any checksum is another writer's; one where some are missing is damaged.
    """
    given = sum(line.checksum is not None for line in lines)
    if 0 < given < len(lines):
        raise scalelab.DataError(f"checksum: the header has those of {given} leads only, of {len(lines)}")
    wrong = _unlike_sums(lines, stored)
    if wrong:
        shown = ", ".join(printable(lead, 12) for lead in wrong[:12])
        raise scalelab.DataError(f"checksum: samples do not match the header's in {shown}")


def _unlike_sums(lines: tuple[SignalLine, ...], stored: np.ndarray) -> list[str]:
    """Returns the leads whose samples do not add up to their checksum."""
    sums = stored.view(np.uint16).sum(axis=1, dtype=np.uint16)
    return [
        line.lead
        for line, found in zip(lines, sums.tolist(), strict=True)
        if line.checksum is not None and (line.checksum - found) % 65536
    ]


def _has_sums(stored: np.ndarray, parsed: Header) -> bool:
    """Says whether samples are what the header's checksums say; without checksums, nothing says so."""
    lines = parsed.signals
    return all(line.checksum is not None for line in lines) and not _unlike_sums(lines, stored)


def _note_unchecked(lines: tuple[SignalLine, ...], stored: np.ndarray, notes: list[str]) -> None:
    if lines[0].checksum is None:
        notes.append("no checksum: the samples cannot be checked")
    first = stored[:, 0].tolist()
    other = sum(
        line.initial is not None and line.initial != found for line, found in zip(lines, first, strict=True)
    )
    if other:
        notes.append(f"first sample: differs from the header's in {other} leads")
