"""`scalelab data inspect physionet2021`: every record of a folder, read as training would read it."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import scalelab

from ..inspection_tables import by_kind
from ..processes import in_processes
from .params import InspectParams
from .records import EcgRecord, find_records, read_record
from .repeats import Copy, repeated
from .sources import SOURCES, URL

_PART = 100
"""Records that a process reads before it reports."""
_LENGTHS = (
    (10.0, "below 10 s"),
    (10.001, "10 s"),
    (20.0, "10 to 20 s"),
    (60.0, "20 to 60 s"),
    (600.0, "1 to 10 min"),
    (float("inf"), "10 min and more"),
)
"""Lengths that are counted together, each with the bound that they lie below."""


def inspect_records(params: InspectParams, progress: scalelab.Progress) -> scalelab.Inspection:
    """Reads every record beneath a folder and counts what is there.

    Raises:
        scalelab.DataError: The folder is missing or holds no records.
    """
    folder = params.folder.expanduser().resolve()
    headers = find_records(folder)
    if not headers:
        raise scalelab.DataError(
            f"physionet2021: {folder} holds no records (*.hea); get them with "
            f"scalelab data download physionet2021 --to {params.folder}, or from {URL}"
        )
    found: list[EcgRecord] = []
    digests: list[str] = []
    for part in in_processes(_look, headers, jobs=params.jobs, size=_PART):
        for record, digest in part:
            found.append(record)
            digests.append(digest)
        progress(len(found), len(headers), "reading")
    tables = {
        "Records by source": _sources(found),
        "Records by rate and length": _lengths(found),
        "Records by label (scored classes first)": _labels(found),
        "Repairs": by_kind((record.name, record.repairs) for record in found),
        "Rejections": by_kind((record.name, (record.reason,)) for record in found if record.reason),
        "Notes": by_kind((record.name, record.notes) for record in found),
    }
    counts = Counter(record.status for record in found)
    return scalelab.Inspection(
        title=f"{folder}: {len(found):,} records: {counts['read']:,} read, {counts['repaired']:,} repaired, "
        f"{counts['rejected']:,} rejected",
        tables={title: rows for title, rows in tables.items() if rows},
        records=[_row(record, folder) for record in found],
        notes=(*_identical(found, digests), *_repeats(found, digests, folder)),
    )


def _look(headers: Sequence[Path]) -> list[tuple[EcgRecord, str]]:
    """Returns each record without its samples, and a digest of these; empty where it is rejected."""
    return [(replace(record, signal=None), _digest(record)) for record in map(read_record, headers)]


def _digest(record: EcgRecord) -> str:
    if record.signal is None:
        return ""
    return hashlib.blake2b(record.signal.tobytes(), digest_size=16).hexdigest()


def _rate(record: EcgRecord) -> float | None:
    return None if math.isnan(record.rate) else record.rate


def _by_source(found: Iterable[EcgRecord]) -> dict[str, list[EcgRecord]]:
    groups: dict[str, list[EcgRecord]] = {name: [] for name in SOURCES}
    for record in found:
        groups.setdefault(record.source, []).append(record)
    return {name: records for name, records in groups.items() if records}


def _sources(found: Sequence[EcgRecord]) -> list[scalelab.Row]:
    rows = [_source_row(name, records) for name, records in _by_source(found).items()]
    return rows if len(rows) < 2 else [*rows, _source_row("all", found)]


def _source_row(name: str, records: Sequence[EcgRecord]) -> scalelab.Row:
    counts = Counter(record.status for record in records)
    rates = sorted({rate for record in records if (rate := _rate(record))})
    seconds = [record.n_samples / record.rate for record in records if record.n_samples]
    ages = [record.age for record in records if record.age is not None]
    sexes = [record.sex for record in records if record.sex is not None]
    return {
        "source": name,
        "records": len(records),
        "read": counts["read"],
        "repaired": counts["repaired"],
        "rejected": counts["rejected"],
        "Hz": ", ".join(f"{rate:g}" for rate in rates),
        "shortest s": round(min(seconds), 2) if seconds else None,
        "longest s": round(max(seconds), 2) if seconds else None,
        "hours": round(sum(seconds) / 3600, 2),
        "median age": median(ages) if ages else None,
        "female %": round(100 * sexes.count("female") / len(sexes), 1) if sexes else None,
    }


def _lengths(found: Sequence[EcgRecord]) -> list[scalelab.Row]:
    counts: dict[tuple[float, int], int] = Counter()
    for record in found:
        if record.n_samples:
            seconds = record.n_samples / record.rate
            counts[record.rate, next(i for i, (end, _) in enumerate(_LENGTHS) if seconds < end)] += 1
    return [
        {"Hz": rate, "length": _LENGTHS[place][1], "records": n}
        for (rate, place), n in sorted(counts.items())
    ]


def _labels(found: Sequence[EcgRecord]) -> list[scalelab.Row]:
    """Counts records by code as the headers have it, a code of a scored class under the class's name."""
    from .classes import CLASSES

    scored = {code: scored for scored in CLASSES for code in scored.codes}
    groups = _by_source(found)
    each = {
        name: Counter(code for record in group for code in record.codes) for name, group in groups.items()
    }
    total: Counter[str] = sum(each.values(), Counter())
    order = [code for code in scored if code in total]
    order += [
        code for code, _ in sorted(total.items(), key=lambda item: (-item[1], item[0])) if code not in scored
    ]
    return [
        {
            "code": code,
            "class": scored[code].abbreviation if code in scored else "",
            "records": total[code],
            **{name: each[name][code] for name in groups if len(groups) > 1},
        }
        for code in order
    ]


def _identical(found: Sequence[EcgRecord], digests: Sequence[str]) -> list[str]:
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for record, digest in zip(found, digests, strict=True):
        if digest:
            groups[digest][record.name] = None
    alike = [" = ".join(names) for names in groups.values() if len(names) > 1]
    what = "identical signals under several names, kept on one side of a split"
    return [f"{what}: {_some(alike)}"] if alike else []


def _repeats(found: Sequence[EcgRecord], digests: Sequence[str], folder: Path) -> list[str]:
    """Names the records that lie in several folders, with the copies that training leaves out."""
    usable = [(record, digest) for record, digest in zip(found, digests, strict=True) if digest]
    again = repeated([Copy(record.source, record.name, digest, record.codes) for record, digest in usable])
    left_out = [
        record.path.relative_to(folder).as_posix()
        for (record, _), is_copy in zip(usable, again, strict=True)
        if is_copy
    ]
    what = f"{len(left_out):,} records lie in another folder, too, and are used once; left out"
    return [f"{what}: {_some(left_out)}"] if left_out else []


def _some(items: Sequence[str]) -> str:
    return "; ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")


def _row(record: EcgRecord, folder: Path) -> scalelab.Row:
    return {
        "record": record.name,
        "source": record.source,
        "status": record.status,
        "Hz": _rate(record),
        "samples": record.n_samples,
        "age": record.age,
        "sex": record.sex,
        "codes": ",".join(record.codes),
        "remarks": "; ".join(filter(None, (record.reason, *record.repairs, *record.notes))),
        "path": record.path.relative_to(folder).as_posix(),
    }
