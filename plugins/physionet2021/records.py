"""One record: read, repaired (and how) or rejected (and why). Nothing in a file can make this raise.

Samples are 16-bit integers, interleaved, behind the 24 bytes of a MATLAB v4 file. The header's checksums
decide what is believed: samples that do not match theirs are rejected, whatever else looks right.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import scalelab

from .headers import Sex, header_text, parse_header
from .layouts import source_in
from .signals import read_leads

if TYPE_CHECKING:
    import numpy as np

Status = Literal["read", "repaired", "rejected"]

_PATIENT = re.compile(r"patient[-_]?([0-9]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class EcgRecord:
    """One twelve-lead recording.

    Attributes:
        name: Name of the header file without `.hea`.
        source: Database that the record comes from, such as `"ptb-xl"`.
        path: The header file.
        rate: Sampling rate in Hz; NaN where the header could not be read.
        signal: Float32 (12, n_samples) in mV, leads in the order of `LEADS`, all finite; `None` where the
            record is rejected.
        codes: SNOMED CT codes as in the header, duplicates removed, order kept.
        age: In years, `None` where unknown.
        sex: `None` where unknown.
        status: `"repaired"` where there are repairs.
        repairs: What was done, each as `kind: details`.
        reason: Why the record is rejected, as `kind: details`.
        notes: What is worth knowing and was left as it is (flat leads among them), as `kind: details`.
        n_samples: Samples of a lead; 0 where unknown.
        patient: Name of the patient within the source, from a comment of the header or a folder such as
            PTB's `patient001`; `None` where neither tells.
    """

    name: str
    source: str
    path: Path
    rate: float
    signal: np.ndarray | None
    codes: tuple[str, ...] = ()
    age: float | None = None
    sex: Sex | None = None
    status: Status = "read"
    repairs: tuple[str, ...] = ()
    reason: str | None = None
    notes: tuple[str, ...] = ()
    n_samples: int = 0
    patient: str | None = None


def find_records(folder: Path) -> list[Path]:
    """Returns every header (`.hea`) beneath a folder, at any depth, sorted by path.

    Raises:
        scalelab.DataError: There is no such folder.
    """
    if not folder.is_dir():
        raise scalelab.DataError(f"physionet2021: there is no folder {folder}")
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if name.endswith(".hea") and not name.startswith(".")]
    return sorted(found)


def source_of(header: Path) -> str:
    """Returns the source that a header's folder (`<source>/gN/` or `<source>/`) or its own name tells.

    See `source_in` for which of the two.
    """
    folder = header.absolute().parent
    return source_in(folder.name, folder.parent.name, header.stem)


def read_record(header: Path, *, source: str | None = None) -> EcgRecord:
    """Reads a record; what is wrong with its content is in the result and raises nothing.

    Args:
        header: The record's `.hea` file; its samples lie beside it.
        source: Where the record comes from; by default what its folder or name says, see `source_of`.
    """
    source = source_of(header) if source is None else source
    try:
        parsed = parse_header(header_text(header))
    except scalelab.DataError as error:
        return EcgRecord(header.stem, source, header, math.nan, None, status="rejected", reason=str(error))
    repairs, notes = list(parsed.repairs), list(parsed.notes)
    signal: np.ndarray | None = None
    reason = None
    try:
        signal = read_leads(header, parsed, repairs, notes)
    except scalelab.DataError as error:
        reason = str(error)
    folder = _PATIENT.fullmatch(header.absolute().parent.name)
    status: Status = "rejected" if reason else "repaired" if repairs else "read"
    return EcgRecord(
        name=header.stem,
        source=source,
        path=header,
        rate=parsed.rate,
        signal=signal,
        codes=parsed.codes,
        age=parsed.age,
        sex=parsed.sex,
        status=status,
        repairs=() if reason else tuple(repairs),
        reason=reason,
        notes=tuple(notes),
        n_samples=parsed.n_samples or 0 if signal is None else signal.shape[1],
        patient=parsed.patient or (folder[1] if folder else None),
    )
