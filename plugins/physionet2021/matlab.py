"""Signal files in other storage than 16-bit integers behind 24 bytes: other MATLAB files, and foreign ones.

People who save records again from MATLAB or Python get another version of the format, another type, another
byte order or one row a sample. SciPy reads all of it, where the values are what the header speaks of: whole
ADC units of 16 bits. The header's checksums are compared as for any other file.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

import numpy as np

import scalelab

from .headers import printable

MISSING = -(2**15)
"""The value that stands for "no sample" in WFDB format 16."""
INT16 = 30
"""MATLAB v4's type of a full matrix of little-endian 16-bit integers."""
HEAD = 128
"""Bytes at the start of a file by which it is told."""

Version = Literal[4, 5]

_BYTES = {0: 8, 10: 4, 20: 4, 30: 2, 40: 2, 50: 1}
"""Of a number, by MATLAB v4's type of a full matrix: double, single, int32, int16, uint16, uint8."""
_NUMBERS = {"double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
_FOREIGN = {
    b"MATLAB 7.3": "a MATLAB 7.3 (HDF5) file; save it with '-v7', or scipy.io.savemat",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x1f\x8b\x08": "a gzip file; unpack it",
    b"PK\x03\x04": "a zip file; unpack it",
    b"\x93NUMPY": "a NumPy file",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself ('git lfs pull')",
    b"<!DOCTYPE": "a web page; download the record again",
    b"<!doctype": "a web page; download the record again",
    b"<html": "a web page; download the record again",
    b"<?xml": "a web page; download the record again",
}


def matlab_version(start: bytes, size: int, n_leads: int) -> Version | None:
    """Returns which MATLAB format a file has; `None` for the layout's own v4 file and for any other.

    Args:
        start: The first `HEAD` bytes of the file.
        size: All its bytes.
        n_leads: Rows of the layout's own file.
    """
    if start[:8] == struct.pack("<2i", INT16, n_leads):
        return None
    if start[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        return 5
    return 4 if len(start) > 20 and any(_begins_version_4(start, size, order) for order in "<>") else None


def _begins_version_4(start: bytes, size: int, order: str) -> bool:
    """Says whether the bytes are a header in this byte order whose matrix fits into the file."""
    kind, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", start)
    # A thousand in the type stands for big-endian.
    width = _BYTES.get(kind - 1000 * (order == ">"))
    if width is None or min(rows, columns) < 1 or imaginary not in (0, 1) or not 2 <= length <= HEAD - 20:
        return False
    name = start[20 : 20 + length]
    named = name.endswith(b"\0") and name[:-1].decode("latin-1").isidentifier()
    return named and 20 + length + rows * columns * width * (1 + imaginary) <= size


def refuse_foreign(start: bytes) -> None:
    """Raises where a file is known to be something else.

    Raises:
        scalelab.DataError: It is; the message is `kind: details`.
    """
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise scalelab.DataError(f"storage: the signal file is {what}")


def read_matlab(path: Path, version: Version, n_leads: int, repairs: list[str]) -> np.ndarray:
    """Returns int16 (n_leads, n_samples), the ADC values of a MATLAB file.

    Args:
        path: The file.
        version: What `matlab_version` says of it.
        n_leads: Leads of the header.
        repairs: Takes what was done.

    Raises:
        scalelab.DataError: The file is damaged or has no such matrix, or its values are not whole numbers of
            16 bits; the message is `kind: details`.
    """
    from scipy.io import loadmat, whosmat

    try:
        shapes = {name: shape for name, shape, kind in whosmat(path, appendmat=False) if kind in _NUMBERS}
        name = _variable(shapes, n_leads)
        values = loadmat(path, appendmat=False, variable_names=[name])[name]
    except (scalelab.DataError, OSError):
        raise
    except Exception as error:  # what SciPy trips over in a damaged file can be of any type
        what = printable(str(error) or type(error).__name__, 60)
        raise scalelab.DataError(f"signal file: a MATLAB {version} file that is damaged ({what})") from error
    big = "big-endian " if values.dtype.byteorder == ">" else ""
    kind = values.dtype.newbyteorder("=").name
    shape = " x ".join(map(str, values.shape))
    stored = _int16(values if values.shape[0] == n_leads else values.T, kind)
    repairs.append(f"storage: MATLAB {version}, '{printable(name)}' is {big}{kind}, {shape}")
    return stored


def _variable(shapes: dict[str, tuple[int, ...]], n_leads: int) -> str:
    """Returns the name of the one matrix that can be the record: `val`, or the only one with all leads."""
    fitting = [name for name, shape in shapes.items() if len(shape) == 2 and n_leads in shape]
    if "val" in fitting:
        return "val"
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(f"{printable(name)} ({' x '.join(map(str, shapes[name]))})" for name in [*shapes][:4])
    which = "several matrices" if fitting else "no matrix"
    raise scalelab.DataError(
        f"storage: the MATLAB file has {which} of {n_leads} leads, those of the header (in the file: "
        f"{listed or 'no numbers'})"
    )


def _int16(values: np.ndarray, kind: str) -> np.ndarray:
    """Returns numbers as what they stand for; NaN stands for a missing sample."""
    if values.dtype.kind not in "iuf":
        raise scalelab.DataError(f"storage: {kind} samples instead of real numbers")
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), MISSING, values)
        if not (values == np.trunc(values)).all():
            raise scalelab.DataError(f"storage: {kind} samples with fractions instead of whole ADC units")
    limits = np.iinfo(np.int16)
    for extreme in (values.min(), values.max()):
        if not limits.min <= extreme <= limits.max:
            raise scalelab.DataError(
                f"storage: a sample of {extreme:g} does not fit into 16 bits (format 16)"
            )
    return np.ascontiguousarray(values.astype(np.int16))
