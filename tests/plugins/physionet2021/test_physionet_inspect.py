"""What the inspection counts, on real records and on ones with every kind of fault."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from physionet_samples import REAL, header_lines, limb_consistent, needs_real, write
from scalelab_plugins.physionet2021.inspection import inspect_records
from scalelab_plugins.physionet2021.params import InspectParams

import scalelab


def inspect(folder, jobs=1):
    said = []
    found = inspect_records(InspectParams(folder=folder, jobs=jobs), lambda *progress: said.append(progress))
    assert said[-1][:2] == (len(found.records), len(found.records))
    return found


@needs_real
def test_table_of_the_real_records():
    found = inspect(REAL)
    assert found.title == f"{REAL.resolve()}: 113 records: 113 read, 0 repaired, 0 rejected"
    sources = {row["source"]: row for row in found.tables["Records by source"]}
    assert {name: row["records"] for name, row in sources.items()} == {
        "cpsc_2018": 10, "cpsc_2018_extra": 10, "ptb": 3, "ptb-xl": 20, "georgia": 30, "chapman_shaoxing": 10,
        "ningbo": 30, "all": 113,
    }  # fmt: skip
    assert (sources["ptb"]["Hz"], sources["ptb"]["shortest s"], sources["ptb"]["longest s"]) == (
        "1000",
        38.4,
        115.2,
    )
    # Dx lines of the headers, counted apart from our reader
    codes = Counter(
        code
        for path in REAL.rglob("*.hea")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "Dx:" in line
        for code in line.split(":")[1].strip().split(",")
    )
    labels = found.tables["Records by label (scored classes first)"]
    assert {row["code"]: row["records"] for row in labels} == codes
    assert next(row for row in labels if row["code"] == "426783006")["class"] == "NSR"
    for row in labels:
        assert sum(row[name] for name in sources if name != "all") == row["records"]
    assert sum(row["records"] for row in found.tables["Records by rate and length"]) == 113
    assert found.tables["Notes"] == [
        {"what": "flat leads", "records": 5, "for example": "JS20004: V2, V4, V6"}
    ]
    assert "E07509 = E07510" in found.notes[0]


@pytest.fixture
def faulty(tmp_path):
    samples = limb_consistent(2000)
    folder = tmp_path / "training" / "mine" / "g1"
    write(folder, "R1", samples)
    gaps = samples.copy()
    gaps[100:103, 6] = -(2**15)
    write(folder, "R2", gaps)
    lines = header_lines("R3", gaps)
    write(
        folder, "R3", gaps, [line.replace("1000.0(0)", "4880").replace("Dx: ", "Dx: ,AF,") for line in lines]
    )
    write(folder, "R4", samples)
    (folder / "R4.mat").unlink()
    write(folder, "R5", samples)
    with (folder / "R5.mat").open("r+b") as file:
        file.seek(1000)
        file.write(b"\x55")
    (folder / "R6.hea").write_text("nothing")
    write(tmp_path / "other", "R7", limb_consistent(3000, seed=3))
    return tmp_path


def test_every_record_ends_as_something(faulty):
    found = inspect(faulty)
    assert found.title.endswith("7 records: 2 read, 2 repaired, 3 rejected")
    rows = {row["record"]: row for row in found.records}
    assert {name: row["status"] for name, row in rows.items()} == {
        "R1": "read", "R2": "repaired", "R3": "repaired", "R4": "rejected", "R5": "rejected",
        "R6": "rejected", "R7": "read",
    }  # fmt: skip
    assert rows["R2"]["remarks"] == "missing samples: interpolated 3 in V1"
    assert rows["R3"]["remarks"] == (
        "gain: 1000/mV instead of 4880/mV; missing samples: interpolated 3 in V1; "
        "no SNOMED CT code: 'AF' in Dx"
    )
    assert rows["R6"]["Hz"] is None
    assert rows["R7"]["source"] == "other"
    assert found.tables["Repairs"] == [
        {"what": "missing samples", "records": 2, "for example": "R2: interpolated 3 in V1"},
        {"what": "gain", "records": 1, "for example": "R3: 1000/mV instead of 4880/mV"},
    ]
    assert {row["what"]: row["records"] for row in found.tables["Rejections"]} == {
        "checksum": 1, "no signal file": 1, "record line": 1,
    }  # fmt: skip
    lengths = [tuple(row.values()) for row in found.tables["Records by rate and length"]]
    assert lengths == [(500.0, "below 10 s", 6)]


def test_processes_find_the_same(faulty):
    for number in range(120):
        write(faulty / "training" / "many" / "g1", f"M{number:03d}", limb_consistent(500, seed=number))
    one, two = inspect(faulty, jobs=1), inspect(faulty, jobs=2)
    assert one == two
    assert len(one.records) == 127


def test_folder_without_records(tmp_path):
    with pytest.raises(scalelab.DataError, match=r"holds no records .* scalelab data download physionet2021"):
        inspect(tmp_path)
    with pytest.raises(scalelab.DataError, match="there is no folder"):
        inspect(tmp_path / "nowhere")


def test_identical_signals_are_found_whatever_their_headers_say(tmp_path):
    samples = limb_consistent(600)
    write(tmp_path, "A", samples)
    write(tmp_path, "B", samples, [line.replace("/mV", "/mv") for line in header_lines("B", samples)])
    write(tmp_path, "C", np.roll(samples, 1, axis=0))
    (note,) = inspect(tmp_path).notes
    assert note.endswith(": A = B")
