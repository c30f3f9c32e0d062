"""Signal files in other storage than 16-bit integers behind 24 bytes: other MATLAB files, and foreign ones.

People who save records again from MATLAB or Python get another version of the format, another type, another
byte order or one row a sample. All of it is read where the values are what the header speaks of: whole ADC
units of 16 bits. The header's checksums are compared as for any other file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

import scalelab

from .headers import printable

MISSING = -(2**15)
"""The value that stands for "no sample" in WFDB format 16."""
INT16 = 30
"""MATLAB v4's type of a full matrix of little-endian 16-bit integers."""
HEAD = 128
"""Bytes at the start of a file by which it is told."""

LARGEST = 1 << 28
"""Bytes of the largest file, and of the largest matrix inflated; half an hour at 1000 Hz takes 173 MB."""

Version = Literal[4, 5]

_TYPES_4 = {0: "f8", 10: "f4", 20: "i4", 30: "i2", 40: "u2", 50: "u1"}
"""NumPy's types by MATLAB v4's of a full matrix of numbers."""
_TYPES_5 = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
"""NumPy's types by those of MATLAB v5's data elements."""
_CLASSES_5 = dict(
    zip(range(6, 16), ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"), strict=True)
)
"""NumPy's types by MATLAB v5's classes of numbers; small values may be stored as a smaller type."""
_MATRIX, _COMPRESSED, _COMPLEX = 14, 15, 0x0800
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
    width = _TYPES_4.get(kind - 1000 * (order == ">"))
    if width is None or min(rows, columns) < 1 or imaginary not in (0, 1) or not 2 <= length <= HEAD - 20:
        return False
    name = start[20 : 20 + length]
    named = name.endswith(b"\0") and name[:-1].decode("latin-1").isidentifier()
    return named and 20 + length + rows * columns * int(width[1]) * (1 + imaginary) <= size


def refuse_foreign(start: bytes) -> None:
    """Raises where a file is known to be something else.

    Raises:
        scalelab.DataError: It is; the message is `kind: details`.
    """
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise scalelab.DataError(f"storage: the signal file is {what}")


@dataclass(frozen=True)
class _Matrix:
    """A full matrix of numbers in a file: its real part, and its type in MATLAB."""

    name: str
    values: np.ndarray
    kind: np.dtype[Any]
    imaginary: bool

    def __str__(self) -> str:
        return f"{printable(self.name)} ({' x '.join(map(str, self.values.shape))})"


def read_matlab(path: Path, version: Version, n_leads: int, repairs: list[str]) -> np.ndarray:
    """Returns int16 (n_leads, n_samples), the ADC values of a MATLAB file.

    SciPy reads such files, too, but damaged ones of version 5 crash its process (`scipy.io.loadmat` 1.17).

    Args:
        path: The file.
        version: What `matlab_version` says of it.
        n_leads: Leads of the header.
        repairs: Takes what was done.

    Raises:
        scalelab.DataError: The file is damaged or has no such matrix, or its values are not whole numbers of
            16 bits; the message is `kind: details`.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    try:
        if len(content) > LARGEST:
            raise ValueError(f"more than {LARGEST:,} bytes")
        matrices = [*(_matrices_4(content) if version == 4 else _matrices_5(content))]
    except (ValueError, struct.error, zlib.error) as error:
        raise scalelab.DataError(
            f"signal file: a MATLAB {version} file that is damaged ({printable(str(error), 60)})"
        ) from error
    found = _the_record(matrices, n_leads)
    stored = _int16(found if found.values.shape[0] == n_leads else replace(found, values=found.values.T))
    big = "big-endian " if found.kind.byteorder == ">" else ""
    shape = " x ".join(map(str, found.values.shape))
    repairs.append(
        f"storage: MATLAB {version}, '{printable(found.name)}' is {big}{_named(found.kind)}, {shape}"
    )
    return stored


def _matrices_4(content: bytes) -> Iterator[_Matrix]:
    at = 0
    while at + 20 <= len(content):
        order = "<" if 0 <= struct.unpack_from("<i", content, at)[0] < 1000 else ">"
        kind, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", content, at)
        kind -= 1000 * (order == ">")
        # Texts and sparse matrices have a last digit of their own.
        width = _TYPES_4.get(kind - kind % 10)
        if width is None or min(rows, columns, length) < 0 or imaginary not in (0, 1):
            raise ValueError(f"no matrix at byte {at}")
        size = rows * columns * int(width[1])
        begin = at + 20 + length
        at = begin + size * (1 + imaginary)
        if at > len(content):
            raise ValueError("it is cut off")
        if kind % 10 == 0:
            kind_of = np.dtype(order + width)
            values = np.frombuffer(content, kind_of, rows * columns, begin).reshape(
                (rows, columns), order="F"
            )
            name = content[begin - length : begin].rstrip(b"\0").decode("latin-1")
            yield _Matrix(name, values, kind_of, bool(imaginary))


def _matrices_5(content: bytes) -> Iterator[_Matrix]:
    order = "<" if content[126:128] == b"IM" else ">"
    for kind, data in _elements(content[128:], order, padded=False):
        if kind == _COMPRESSED:
            inflate = zlib.decompressobj()
            whole = inflate.decompress(data, LARGEST)
            if inflate.unconsumed_tail:
                raise ValueError(f"more than {LARGEST:,} bytes, inflated")
            kind, data = next(_elements(whole, order, padded=False), (0, b""))
        if kind == _MATRIX and (matrix := _matrix_5(data, order)) is not None:
            yield matrix


def _elements(content: bytes, order: str, *, padded: bool) -> Iterator[tuple[int, bytes]]:
    """Yields type and data of each element: `padded` to 8 bytes, or with up to 4 bytes within the tag."""
    at = 0
    while at + 8 <= len(content):
        kind, n = struct.unpack_from(f"{order}2I", content, at)
        small = kind >> 16
        begin, n = (at + 4, small) if small else (at + 8, n)
        if n > (4 if small else len(content) - begin):
            raise ValueError("it is cut off")
        yield kind & 0xFFFF, content[begin : begin + n]
        at += 8 if small else 8 + n + (-n % 8 if padded else 0)


def _matrix_5(content: bytes, order: str) -> _Matrix | None:
    """Returns a matrix of numbers; `None` for texts, structures, and what else there is."""
    flags, shape, name, data, *_ = (*_elements(content, order, padded=True), *[(0, b"")] * 4)
    if len(flags[1]) < 4:
        raise ValueError("a matrix without flags")
    (bits,) = struct.unpack_from(f"{order}I", flags[1])
    if bits & 0xFF not in _CLASSES_5:
        return None
    if data[0] not in _TYPES_5 or len(shape[1]) % 4:
        raise ValueError("a matrix without numbers")
    values = np.frombuffer(data[1], order + _TYPES_5[data[0]])
    sizes = struct.unpack(f"{order}{len(shape[1]) // 4}i", shape[1])
    if min(sizes, default=0) < 0:
        raise ValueError("a matrix of negative size")
    kind = np.dtype(order + _CLASSES_5[bits & 0xFF])
    return _Matrix(name[1].decode("latin-1"), values.reshape(sizes, order="F"), kind, bool(bits & _COMPLEX))


def _the_record(matrices: Sequence[_Matrix], n_leads: int) -> _Matrix:
    """Returns the one matrix that can be the record: `val`, or the only one with all leads."""
    fitting = [
        one for one in matrices if one.values.ndim == 2 and n_leads in one.values.shape and one.values.size
    ]
    named = [one for one in fitting if one.name == "val"] or fitting
    if len(named) == 1:
        return named[0]
    which = "several matrices" if fitting else "no matrix"
    raise scalelab.DataError(
        f"storage: the MATLAB file has {which} of {n_leads} leads, those of the header (in the file: "
        f"{', '.join(map(str, matrices[:4])) or 'no numbers'})"
    )


def _int16(matrix: _Matrix) -> np.ndarray:
    """Returns numbers as what they stand for; NaN stands for a missing sample."""
    if matrix.imaginary:
        raise scalelab.DataError("storage: complex samples instead of real numbers")
    values = matrix.values
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), MISSING, values)
        if not (values == np.trunc(values)).all():
            name = _named(matrix.kind)
            raise scalelab.DataError(f"storage: {name} samples with fractions instead of whole ADC units")
    limits = np.iinfo(np.int16)
    for extreme in (values.min(), values.max()):
        if not limits.min <= extreme <= limits.max:
            raise scalelab.DataError(
                f"storage: a sample of {extreme:g} does not fit into 16 bits (format 16)"
            )
    return np.ascontiguousarray(values.astype(np.int16))


def _named(kind: np.dtype[Any]) -> str:
    return kind.newbyteorder("=").name
