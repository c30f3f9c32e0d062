"""`scalelab data inspect ptbxl`: every record of the database, read as training would read it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import scalelab

from ..inspection_tables import by_kind
from ..physionet2021.records import EcgRecord, read_record
from ..processes import in_processes
from .database import Entry, Statement, check_codes, folder_of, labels_by_code, read_database, read_statements
from .params import FOLDS, InspectParams, LabelSet
from .prepare import of_database

_PART = 200
"""Records that a process reads before it reports."""


def inspect_records(params: InspectParams, progress: scalelab.Progress) -> scalelab.Inspection:
    """Reads every record of the database and counts what is there.

    Raises:
        scalelab.DataError: A table is missing or not the database's.
    """
    folder = folder_of(params.folder)
    entries, statements = read_database(folder, params.rate), read_statements(folder)
    check_codes(entries, statements, folder)
    found: list[EcgRecord] = []
    headers = [folder / f"{entry.file}.hea" for entry in entries]
    for part in in_processes(_look, headers, jobs=params.jobs, size=_PART):
        found += [of_database(record, params.rate) for record in part]
        progress(len(found), len(entries), "reading")
    tables = {
        "Records by fold": _folds(entries, found),
        "Records by set of labels": _sets(entries, statements),
        "Records by statement": _statements(entries, statements),
        "Repairs": by_kind((record.name, record.repairs) for record in found),
        "Rejections": by_kind((record.name, (record.reason,)) for record in found if record.reason),
        "Notes": by_kind((record.name, record.notes) for record in found),
    }
    counts = Counter(record.status for record in found)
    n_patients = len({entry.patient for entry in entries})
    return scalelab.Inspection(
        title=f"{folder}: {len(found):,} records of {n_patients:,} patients at {params.rate} Hz: "
        f"{counts['read']:,} read, {counts['repaired']:,} repaired, {counts['rejected']:,} rejected",
        tables={title: rows for title, rows in tables.items() if rows},
        records=[_row(entry, record) for entry, record in zip(entries, found, strict=True)],
    )


def _look(headers: Sequence[Path]) -> list[EcgRecord]:
    """Returns each record without its samples and without a diagnosis, which is in the tables."""
    records = [read_record(header, source="ptb-xl") for header in headers]
    return [
        replace(record, signal=None, notes=tuple(note for note in record.notes if note != "no diagnosis"))
        for record in records
    ]


def _folds(entries: Sequence[Entry], found: Sequence[EcgRecord]) -> list[scalelab.Row]:
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    patients: dict[int, set[int]] = defaultdict(set)
    for entry, record in zip(entries, found, strict=True):
        counts[entry.fold][record.status] += 1
        patients[entry.fold].add(entry.patient)
    return [
        {
            "strat_fold": fold,
            "records": counts[fold].total(),
            "patients": len(patients[fold]),
            **{status: counts[fold][status] for status in ("read", "repaired", "rejected")},
        }
        for fold in FOLDS
    ]


def _sets(entries: Sequence[Entry], statements: Mapping[str, Statement]) -> list[scalelab.Row]:
    """Counts the labels of each set, those that occur, and the records that have one."""
    rows: list[scalelab.Row] = []
    for labels in get_args(LabelSet):
        label_of = labels_by_code(statements, labels)
        used = [{label_of[code] for code in entry.codes if code in label_of} for entry in entries]
        rows.append(
            {
                "set": labels,
                "labels": len(set(label_of.values())),
                "that occur": len(set().union(*used)),
                "records": sum(map(bool, used)),
            }
        )
    return rows


def _statements(entries: Sequence[Entry], statements: Mapping[str, Statement]) -> list[scalelab.Row]:
    counts = Counter(code for entry in entries for code in entry.codes)
    return [
        {
            "code": code,
            "kind": ", ".join(sorted(statements[code].kinds)),
            "class": statements[code].superclass,
            "subclass": statements[code].subclass,
            "records": n,
        }
        for code, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _row(entry: Entry, record: EcgRecord) -> scalelab.Row:
    return {
        "ecg_id": entry.ecg_id,
        "patient": entry.patient,
        "strat_fold": entry.fold,
        "status": record.status,
        "codes": ",".join(entry.codes),
        "remarks": "; ".join(filter(None, (record.reason, *record.repairs, *record.notes))),
        "path": entry.file,
    }
