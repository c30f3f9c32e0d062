"""A database in PTB-XL's own layout, with made-up patients, statements and signals, of any size.

`python ptbxl_samples.py DIR [--records N]` writes one. Statements are SCP-ECG's, in the sets and diagnostic
classes that the database has them in.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

SUBCLASSES = {
    "NORM": {"NORM": "NORM"},
    "MI": {
        "IMI": "IMI ILMI IPLMI IPMI INJIN INJIL",
        "AMI": "ASMI AMI ALMI INJAS INJAL INJLA",
        "LMI": "LMI",
        "PMI": "PMI",
    },
    "STTC": {
        "STTC": "NDT DIG LNGQT ANEUR EL",
        "NST_": "NST_",
        "ISC_": "ISC_",
        "ISCA": "ISCAL ISCAS ISCLA ISCAN",
        "ISCI": "ISCIN ISCIL",
    },
    "CD": {
        "LAFB/LPFB": "LAFB LPFB",
        "IRBBB": "IRBBB",
        "_AVB": "1AVB 2AVB 3AVB",
        "IVCD": "IVCD",
        "CRBBB": "CRBBB",
        "CLBBB": "CLBBB",
        "WPW": "WPW",
        "ILBBB": "ILBBB",
    },
    "HYP": {"LVH": "LVH", "LAO/LAE": "LAO/LAE", "RVH": "RVH", "RAO/RAE": "RAO/RAE", "SEHYP": "SEHYP"},
}
"""Diagnostic statements by class and subclass."""
BOTH = ("NDT", "NST_", "DIG", "LNGQT")
"""Diagnostic statements that are also about form."""
FORM = (
    "ABQRS", "PVC", "STD_", "VCLVH", "QWAVE", "LOWT", "NT_", "PAC",
    "LPR", "INVT", "LVOLT", "HVOLT", "TAB_", "STE_", "PRC(S)",
)  # fmt: skip
RHYTHM = (
    "SR", "AFIB", "STACH", "SARRH", "SBRAD", "PACE", "SVARR", "BIGU",
    "AFLT", "SVTAC", "PSVT", "TRIGU",
)  # fmt: skip
DIAGNOSTIC = {
    code: (superclass, subclass)
    for superclass, subclasses in SUBCLASSES.items()
    for subclass, codes in subclasses.items()
    for code in codes.split()
}
CODES = [*DIAGNOSTIC, *FORM, *RHYTHM]
LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
_COLUMNS = [
    "ecg_id",
    "patient_id",
    "age",
    "sex",
    "report",
    "scp_codes",
    "strat_fold",
    "filename_lr",
    "filename_hr",
]


def write_statements(folder: Path) -> None:
    names = ["", "description", "diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"]
    with (folder / "scp_statements.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for code in CODES:
            form = "1.0" if code in FORM or code in BOTH else ""
            rhythm = "1.0" if code in RHYTHM else ""
            diagnostic = "1.0" if code in DIAGNOSTIC else ""
            writer.writerow(
                [code, f"{code}, in words", diagnostic, form, rhythm, *DIAGNOSTIC.get(code, ("", ""))]
            )


def filename(ecg_id: int, rate: int) -> str:
    return f"records{rate}/{ecg_id // 1000 * 1000:05d}/{ecg_id:05d}_{'lr' if rate == 100 else 'hr'}"


def samples_of(ecg_id: int, rate: int) -> np.ndarray:
    """int16 (10 s, 12): smooth noise whose limb leads obey Einthoven's and Goldberger's laws."""
    rng = np.random.default_rng((ecg_id, rate))
    free = rng.normal(size=(10 * rate, 8)).cumsum(axis=0) * 8
    free -= free.mean(axis=0)
    one, two = 4 * (free[:, :2] / 4).round().T
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.stack([*limb, *free[:, 2:].T], axis=1).clip(-30000, 30000).astype("<i2")


def write_record(folder: Path, ecg_id: int, rate: int, samples: np.ndarray | None = None) -> Path:
    """One record as the database has it; returns its header."""
    samples = samples_of(ecg_id, rate) if samples is None else samples
    base = folder / filename(ecg_id, rate)
    base.parent.mkdir(parents=True, exist_ok=True)
    sums = samples.sum(axis=0, dtype=np.uint16)
    lines = [
        f"{base.name} 12 {rate} {len(samples)}",
        *(
            f"{base.name}.dat 16 1000.0(0)/mV 16 0 {first} {total} 0 {lead}"
            for lead, first, total in zip(LEADS, samples[0], sums, strict=True)
        ),
    ]
    base.with_name(f"{base.name}.dat").write_bytes(samples.tobytes())
    header = base.with_name(f"{base.name}.hea")
    header.write_text("\n".join(lines) + "\n")
    return header


def rows_of(n: int, seed: int = 0) -> list[dict[str, object]]:
    """`n` rows of the table: one record in three is of a patient who has others; folds are the patients'."""
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, max(1, 3 * n), size=n)
    rows = []
    for ecg_id, patient in enumerate(patients.tolist(), 1):
        codes = {CODES[ecg_id % len(CODES)], *rng.choice(CODES, size=2).tolist()}
        likelihoods = {code: float(rng.choice([0.0, 15.0, 50.0, 100.0])) for code in sorted(codes)}
        rows.append(
            {
                "ecg_id": ecg_id,
                "patient_id": f"{patient}.0",
                "age": f"{rng.integers(18, 95)}.0",
                "sex": int(rng.integers(2)),
                "report": 'sinusrhythmus, überdrehter linkstyp; "unspezifisch"',
                "scp_codes": str(likelihoods),
                "strat_fold": patient % 10 + 1,
                "filename_lr": filename(ecg_id, 100),
                "filename_hr": filename(ecg_id, 500),
            }
        )
    return rows


def write_table(folder: Path, rows: list[dict[str, object]]) -> None:
    with (folder / "ptbxl_database.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def write_database(folder: Path, n: int, rates: tuple[int, ...] = (100,), seed: int = 0) -> Path:
    """Writes a database of `n` records; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_statements(folder)
    write_table(folder, rows_of(n, seed))
    for ecg_id in range(1, n + 1):
        for rate in rates:
            write_record(folder, ecg_id, rate)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int, default=100)
    parser.add_argument("--rate", type=int, default=100, choices=(100, 500))
    args = parser.parse_args()
    print(write_database(args.folder, args.records, (args.rate,)))
