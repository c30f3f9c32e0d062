"""Sources in every layout, and records that lie in two of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from physionet_samples import REAL, header_lines, limb_consistent, needs_real, params, write
from scalelab_plugins.physionet2021 import record_index
from scalelab_plugins.physionet2021.inspection import inspect_records
from scalelab_plugins.physionet2021.layouts import NAMES, source_by_name, source_in
from scalelab_plugins.physionet2021.params import InspectParams
from scalelab_plugins.physionet2021.prepare import load
from scalelab_plugins.physionet2021.records import find_records, read_record, source_of
from scalelab_plugins.physionet2021.repeats import Copy, repeated
from scalelab_plugins.physionet2021.sources import SOURCES


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))


@needs_real
def test_names_of_the_real_records_tell_what_their_folders_say():
    headers = find_records(REAL)
    assert len(headers) == 113
    for header in headers:
        assert source_by_name(header.stem) == source_of(header) == header.parent.parent.name


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("A0001", "cpsc_2018"),
        ("A6877", "cpsc_2018"),
        ("A6878", None),
        ("Q0001", "cpsc_2018_extra"),
        ("I0001", "st_petersburg_incart"),
        ("S0549", "ptb"),
        ("HR00001", "ptb-xl"),
        ("HR21837", "ptb-xl"),
        ("HR21838", None),
        ("E10344", "georgia"),
        ("JS00001", "chapman_shaoxing"),
        ("JS10646", "chapman_shaoxing"),
        ("JS10647", "ningbo"),
        ("JS45551", "ningbo"),
        ("JS45552", None),
        *(
            (name, None)
            for name in ("A0000", "A1", "A00001", "E0001", "a0001", "R001", "XA0001", "", "A٠٠٠١")
        ),
    ],
)
def test_names_of_records(name, source):
    assert source_by_name(name) == source


def test_every_source_has_its_names():
    assert {source for ranges in NAMES.values() for source, _, _ in ranges} == set(SOURCES)


@pytest.mark.parametrize(
    ("folder", "record", "source"),
    [
        ("georgia/g1", "A0001", "georgia"),  # a published source's folder keeps its word
        ("georgia", "R1", "georgia"),
        ("WFDB_CPSC2018", "A0001", "cpsc_2018"),
        ("WFDB_CPSC2018_2", "Q0001", "cpsc_2018_extra"),
        ("WFDB_ChapmanShaoxing", "JS00001", "chapman_shaoxing"),
        ("WFDB_Ningbo/g7", "JS20000", "ningbo"),
        ("WFDB_Ga", "R1", "georgia"),
        ("Training_WFDB", "A0001", "cpsc_2018"),
        ("Training_2", "Q0001", "cpsc_2018_extra"),
        ("WFDB", "HR00001", "ptb-xl"),
        ("WFDB", "S0001", "ptb"),
        ("WFDB", "R1", "WFDB"),
        ("everything", "I0001", "st_petersburg_incart"),
        ("everything", "E00001", "georgia"),
        ("clinic/g1", "R001", "clinic"),
        ("clinic", "A00001", "clinic"),
    ],
)
def test_source_of_a_record(tmp_path, folder, record, source):
    assert source_of(tmp_path / folder / f"{record}.hea") == source


def put(folder, name, seed, codes="426783006", gain="1000.0(0)/mV"):
    samples = limb_consistent(1000, seed)
    lines = [line.replace("251146004,426783006", codes) for line in header_lines(name, samples)]
    return write(folder, name, samples, [line.replace("1000.0(0)/mV", gain) for line in lines])


CODES = ("426783006", "39732003", "164889003")


def fill(folder, layout):
    """Sixty records of three sources, in the folders that a layout has for each."""
    for i in range(60):
        source = i % 3
        name = (f"E{i + 1:05d}", f"A{i + 1:04d}", f"HR{i + 1:05d}")[source]
        put(folder / layout[source], name, i, CODES[i // 3 % 3])
    return folder


PHYSIONET = ("training/georgia/g1", "training/cpsc_2018/g1", "training/ptb-xl/g1")


@pytest.mark.parametrize(
    "layout",
    [("WFDB_Ga", "WFDB_CPSC2018", "WFDB_PTBXL"), ("E/WFDB", "CPSC/Training_WFDB", "PX/WFDB"), ("",) * 3],
)
def test_any_layout_is_the_same_dataset(tmp_path, layout):
    """Same content, sources and names: same fingerprint, same windows in the same order."""
    known = load(params(fill(tmp_path / "a", PHYSIONET)))
    other = load(params(fill(tmp_path / "b", layout)))
    assert other.key == known.key
    index = record_index(params(tmp_path / "b"))
    assert index.source.value_counts().to_dict() == {"georgia": 20, "cpsc_2018": 20, "ptb-xl": 20}
    some, all_of_it = (load(params(tmp_path / name, sources=("georgia",))) for name in "ab")
    assert some.key == all_of_it.key != known.key


def test_signal_file_of_another_name_counts_for_the_fingerprint_of_a_source(tmp_path):
    folder = fill(tmp_path / "all", ("",) * 3)
    (folder / "E00001.mat").rename(folder / "first.mat")
    header = folder / "E00001.hea"
    header.write_text(header.read_text(encoding="utf-8").replace("E00001.mat", "first.mat"))
    known = load(params(folder, sources=("georgia",))).key
    put(folder, "first", 99).unlink()
    assert load(params(folder, sources=("georgia",))).key != known


def test_files_of_other_sources_do_not_count_for_a_source(tmp_path):
    folder = fill(tmp_path / "all", PHYSIONET)
    known = load(params(folder, sources=("georgia",))).key
    put(folder / "clinic", "R1", 99)
    put(folder / "WFDB", "A0099", 98)
    assert load(params(folder, sources=("georgia",))).key == known
    assert load(params(folder)).key != known


def test_both_releases_side_by_side_count_once(tmp_path, monkeypatch):
    """The tarballs of 2020 and of 2021: Georgia's headers had another gain, and labels were changed."""
    folder = fill(tmp_path / "all", PHYSIONET)
    for i in range(0, 60, 3):
        put(folder / "2020" / "WFDB", f"E{i + 1:05d}", i, CODES[1], gain="4880/mV")
    put(folder / "2020" / "WFDB", "E00061", 61)
    index = record_index(params(folder))
    assert index.row.notna().sum() == 61
    left_out = index[index.row.isna()]
    assert set(left_out.record) == {f"E{i + 1:05d}" for i in range(0, 60, 3)}
    assert set(left_out.reason) == {"duplicate: another folder has this record, too"}
    digests = {window.tobytes() for window in load(params(folder)).inputs}
    assert len(digests) == 61
    found = inspect_records(InspectParams(folder=folder, jobs=1), lambda *_: None)
    (note,) = found.notes
    assert note.startswith("20 records lie in another folder, too, and are used once; left out: ")
    assert note.endswith(" and 15 more")
    # Which copy is used follows from what it holds, as the fingerprint does, not from its folder's name.
    key, inputs = load(params(folder)).key, load(params(folder)).inputs
    shutil.move(folder / "2020", folder / "x2020")
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "another-cache"))
    again = load(params(folder))
    assert again.key == key
    np.testing.assert_array_equal(again.inputs, inputs)


def test_copy_that_cannot_be_read_gives_way(tmp_path):
    folder = fill(tmp_path / "all", PHYSIONET)
    broken = put(folder / "2020" / "WFDB", "E00001", 0)
    broken.with_suffix(".mat").unlink()
    index = record_index(params(folder))
    used = index[index.record == "E00001"]
    assert sorted(used.reason.dropna()) == ["no signal file: 'E00001.mat' is missing"]
    assert used.row.notna().sum() == 1


def test_equal_names_in_folders_of_ones_own_are_other_records(tmp_path):
    for i in range(40):
        put(tmp_path / "all" / "clinic" / f"g{i % 2}", f"R{i // 2}", i)
    assert record_index(params(tmp_path / "all")).row.notna().all()
    put(tmp_path / "all" / "clinic" / "g2", "R0", 0)
    index = record_index(params(tmp_path / "all"))
    assert index.row.notna().sum() == 40
    (reason,) = index.reason.dropna()
    assert reason.startswith("duplicate: ")


def test_copies_are_told_by_source_name_and_content():
    published = [Copy("ptb", "S0001", "b", ()), Copy("ptb", "S0001", "a", ()), Copy("ptb", "S0002", "a", ())]
    assert repeated(published) == [True, False, False]
    own = [Copy("mine", "S0001", "b", ()), Copy("mine", "S0001", "a", ()), Copy("mine", "S0001", "a", ())]
    assert repeated(own) == [False, False, True]
    assert repeated([Copy("a", "R1", "x", ()), Copy("b", "R1", "x", ())]) == [False, False]
    assert repeated([]) == []


def test_source_is_the_callers_where_it_is_given(tmp_path):
    header = put(tmp_path / "WFDB", "E00001", 0)
    assert read_record(header, source="mine").source == "mine"
    assert np.isfinite(read_record(header).signal).all()
    assert source_in("g1", "clinic", "R1") == "clinic"


def test_documentation_has_the_names():
    page = (Path(__file__).resolve().parents[3] / "docs" / "physionet2021.md").read_text(encoding="utf-8")
    for pattern, ranges in NAMES.items():
        letters, digits = pattern.rstrip("0"), pattern.count("0")
        for source, first, last in ranges:
            line = f"| `{letters}{first:0{digits}}` to `{letters}{last:0{digits}}` | `{source}` |"
            assert line in page
