"""Records as files in the layout of PhysioNet/CinC Challenge 2021: `scalelab data synthesize`.

`training/<source>/gN/` with up to a thousand records each: a WFDB header with checksums, a MATLAB v4 file
of interleaved 16-bit integers, and `RECORDS` lists. Whatever reads the Challenge's records reads these.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import scalelab

from ..processes import in_processes
from .generate import SyntheticRecord, make_record
from .params import VERSION, SynthesizeParams, SyntheticEcgParams

GAIN = 1000
"""ADC units per mV, as in the Challenge's files."""
GROUP = 1000
"""Records of a folder `gN`."""
ABOUT = "SYNTHETIC.json"
"""The file in a source's folder that says how its records were made, so that a later run can go on."""
_PART = 25
_LARGEST = 2**15 - 1


def write_records(params: SynthesizeParams, progress: scalelab.Progress) -> str:
    """Writes records; those that are there from an earlier run with the same options are kept.

    Raises:
        scalelab.DataError: The form is not named, the folder cannot be written, or holds other records.
    """
    if not params.wfdb:
        raise scalelab.DataError("say in which format to write them: --wfdb")
    options = SyntheticEcgParams(**_described(params))
    folder = params.to.expanduser().resolve() / "training" / params.source
    try:
        _begin(folder, params)
        done = 0
        todo = range(params.records)
        for n in in_processes(partial(_write_part, folder, options), todo, jobs=params.jobs, size=_PART):
            done += n
            progress(done, params.records, "writing")
        n_groups = _write_lists(folder, params.records)
    except OSError as error:
        raise scalelab.DataError(f"{folder} cannot be written: {error.strerror or error}") from error
    groups = "g1" if n_groups == 1 else f"g1 to g{n_groups}"
    n_samples = round(params.seconds * params.rate)
    shape = f"12 leads, {n_samples:,} samples at {params.rate} Hz"
    return f"{params.records:,} records of {shape} in {folder} ({groups})"


def record_name(index: int) -> str:
    """Returns the name of record `index`, counted from 0."""
    return f"SY{index + 1:05d}"


def group_of(index: int) -> str:
    """Returns the folder of record `index`."""
    return f"g{index // GROUP + 1}"


def write_record(folder: Path, name: str, record: SyntheticRecord, comments: Sequence[str] = ()) -> None:
    """Writes one record as `<name>.mat` and `<name>.hea`; the header comes last and makes it whole.

    Args:
        folder: Where to; must exist.
        name: The record's name.
        record: Amplitudes beyond ±32.767 mV are cut off there.
        comments: Further lines for the header.
    """
    stored = np.rint(record.signal.T * GAIN).clip(-_LARGEST, _LARGEST).astype("<i2")
    n_samples, n_leads = stored.shape
    start = struct.pack("<5i4s", 30, n_leads, n_samples, 0, 4, b"val")
    sums = stored.sum(axis=0, dtype=np.int16)
    lines = [f"{name} {n_leads} {record.rate} {n_samples}"]
    lines += [
        f"{name}.mat 16x1+{len(start)} {GAIN}.0(0)/mV 16 0 {first} {checksum} 0 {lead}"
        for lead, first, checksum in zip(record.leads, stored[0], sums, strict=True)
    ]
    said = {
        "Age": "NaN",
        "Sex": "Unknown",
        "Dx": record.snomed,
        "Rx": "Unknown",
        "Hx": "Unknown",
        "Sx": "Unknown",
    }
    lines += [f"# {key}: {value}" for key, value in said.items()]
    lines += [f"# {comment}" for comment in comments]
    _write(folder / f"{name}.mat", start + stored.tobytes())
    _write(folder / f"{name}.hea", ("\n".join(lines) + "\n").encode())


def _described(params: SynthesizeParams) -> dict[str, Any]:
    """Returns the options that say what a record is."""
    return params.model_dump(mode="json", exclude={"to", "records", "source", "jobs", "wfdb"})


def _begin(folder: Path, params: SynthesizeParams) -> None:
    """Makes the folder, or makes sure that what is in it was made with the same options."""
    about = json.dumps({"synthetic-ecg": VERSION, "options": _described(params)}, indent=2) + "\n"
    file = folder / ABOUT
    if file.is_file():
        if file.read_text(encoding="utf-8", errors="replace") != about:
            raise scalelab.DataError(
                f"{folder} holds records made with other options ({ABOUT}); give another --source or folder"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise scalelab.DataError(f"{folder} holds other files; give another --source or folder")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        _write(file, about.encode())


def _write_part(folder: Path, options: SyntheticEcgParams, indices: Sequence[int]) -> int:
    for index in indices:
        group, name = folder / group_of(index), record_name(index)
        if (group / f"{name}.hea").is_file():
            continue
        group.mkdir(exist_ok=True)
        record = make_record(options, "train", index)
        write_record(
            group, name, record, [f"Synthetic: {record.condition}, seed {options.seed}, record {index}"]
        )
    return len(indices)


def _write_lists(folder: Path, n: int) -> int:
    """Writes `RECORDS` into each group, and the groups into the top one; returns their number."""
    starts = range(0, n, GROUP)
    for start in starts:
        names = [record_name(index) for index in range(start, min(start + GROUP, n))]
        _write(folder / group_of(start) / "RECORDS", ("\n".join(names) + "\n").encode())
    top = folder.parent.parent
    file = top / "RECORDS"
    listed = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    groups = [f"{(folder / group_of(start)).relative_to(top).as_posix()}/" for start in starts]
    _write(file, ("\n".join(dict.fromkeys([*listed, *groups])) + "\n").encode())
    return len(starts)


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
