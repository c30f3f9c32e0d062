"""`data download` against a server of our own, and `data inspect`."""

from __future__ import annotations

import os

import pytest
from ptbxl_samples import filename, rows_of, samples_of, write_database, write_record, write_table
from pydantic import ValidationError
from scalelab_plugins import http_transfer, physionet_files
from scalelab_plugins.ptbxl import PtbxlParams, open_ptbxl
from scalelab_plugins.ptbxl.download import plan_download
from scalelab_plugins.ptbxl.inspection import inspect_records
from scalelab_plugins.ptbxl.params import URL, DownloadParams, InspectParams

import scalelab

N = 60


@pytest.fixture(autouse=True)
def impatient(monkeypatch, tmp_path):
    monkeypatch.setattr(http_transfer, "FIRST_WAIT", 0.001)
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    folder = write_database(tmp_path_factory.mktemp("ptb-xl"), N)
    for ecg_id in range(1, 6):
        write_record(folder, ecg_id, 500)
    return folder


@pytest.fixture
def full(server, database):
    """A server that has the database."""
    for path in database.rglob("*"):
        if path.is_file():
            server.files[path.relative_to(database).as_posix()] = path.read_bytes()
    server.files["LICENSE.txt"] = b"Creative Commons Attribution 4.0"
    server.files["example_physionet.py"] = b"pass"
    server.add_sums()
    return server


def plan(server, folder, **options):
    return plan_download(DownloadParams(to=folder, url=server.url, **options), lambda *_: None)


def test_what_is_downloaded_opens(full, database, tmp_path):
    download = plan(full, tmp_path / "got")
    assert (download.n_files, download.exact) == (2 * N + 3, True)
    assert download.title.startswith(f"PTB-XL (records100), from {full.url} to ")
    assert download.fetch(lambda *_: None) == []
    assert "example_physionet.py" not in full.fetched
    assert not (tmp_path / "got" / "records500").exists()
    ours = open_ptbxl(PtbxlParams(path=tmp_path / "got"))
    assert ours.fingerprint == open_ptbxl(PtbxlParams(path=database)).fingerprint
    again = plan(full, tmp_path / "got")
    assert (again.n_files, again.notes) == (0, (f"{2 * N + 3} files are already complete",))


def test_rates_are_chosen(full, tmp_path):
    assert plan(full, tmp_path, rate=500).n_files == 2 * 5 + 3
    assert plan(full, tmp_path, rate="both").n_files == 2 * (N + 5) + 3


def test_interrupted_download_goes_on_and_replaces_what_is_damaged(full, tmp_path):
    file = f"{filename(3, 100)}.dat"
    full.faults[file] = ["cut", "404"]
    assert plan(full, tmp_path).fetch(lambda *_: None) == [f"{file}: 404 Not Found"]
    damaged = tmp_path / f"{filename(4, 100)}.dat"
    damaged.write_bytes(b"\1" + damaged.read_bytes()[1:])
    assert plan(full, tmp_path).n_files == 2
    assert plan(full, tmp_path).fetch(lambda *_: None) == []
    assert (tmp_path / file).read_bytes() == full.files[file]


def test_estimate_of_what_is_too_much_to_ask_for(full, tmp_path, monkeypatch):
    monkeypatch.setattr(physionet_files, "ASK_SIZES", 5)
    download = plan(full, tmp_path)
    assert not download.exact
    assert download.notes == ("the size is computed from the number of records and their length",)
    signals = sum(len(content) for path, content in full.files.items() if path.endswith("lr.dat"))
    headers = sum(len(content) for path, content in full.files.items() if path.endswith("lr.hea"))
    assert signals < download.n_bytes
    assert abs(download.n_bytes - signals - headers - 3 * 6_000_000) < 0.1 * headers


def test_address_of_something_else(server, tmp_path):
    server.files["training/a.hea"] = b"x"
    server.add_sums()
    with pytest.raises(
        scalelab.DataError, match=r"lists no ptbxl_database\.csv, scp_statements\.csv, records100"
    ):
        plan(server, tmp_path)
    with pytest.raises(ValidationError, match="address of a web server"):
        DownloadParams(to=tmp_path, url="physionet.org")
    assert DownloadParams(to=tmp_path).url == URL


def inspect(folder, **options):
    said = []
    found = inspect_records(
        InspectParams(folder=folder, jobs=1, **options), lambda *progress: said.append(progress)
    )
    assert said[-1] == (len(found.records), len(found.records), "reading")
    return found


def test_inspection_counts_folds_sets_and_statements(database):
    found = inspect(database)
    rows = rows_of(N)
    patients = len({row["patient_id"] for row in rows})
    assert found.title.endswith(
        f"{N} records of {patients} patients at 100 Hz: {N} read, 0 repaired, 0 rejected"
    )
    folds = found.tables["Records by fold"]
    assert [row["strat_fold"] for row in folds] == list(range(1, 11))
    assert sum(row["records"] for row in folds) == N
    assert sum(row["patients"] for row in folds) == patients
    sets = {row["set"]: row for row in found.tables["Records by set of labels"]}
    assert {name: row["labels"] for name, row in sets.items()} == {
        "all": 71, "diagnostic": 44, "subdiagnostic": 23, "superdiagnostic": 5, "form": 19, "rhythm": 12,
    }  # fmt: skip
    assert sets["all"]["records"] == N
    counts = {row["code"]: row["records"] for row in found.tables["Records by statement"]}
    assert sum(counts.values()) == sum(len(eval(row["scp_codes"])) for row in rows)
    assert set(found.tables) == {"Records by fold", "Records by set of labels", "Records by statement"}


def test_inspection_names_what_is_wrong_with_records(tmp_path):
    folder = write_database(tmp_path / "some", 12)
    (folder / f"{filename(1, 100)}.dat").unlink()
    (folder / f"{filename(2, 100)}.hea").unlink()
    write_record(folder, 3, 100, samples_of(3, 100)[:500])
    samples = samples_of(4, 100)
    samples[50:53, 6] = -(2**15)
    write_record(folder, 4, 100, samples)
    found = inspect(folder)
    assert found.title.endswith("8 read, 1 repaired, 3 rejected")
    rejections = {row["what"]: row["for example"] for row in found.tables["Rejections"]}
    assert rejections == {
        "no signal file": "00001_lr: '00001_lr.dat' is missing",
        "header cannot be read": "00002_lr: No such file or directory",
        "length": "00003_lr: 500 samples at 100 Hz instead of 1000 at 100 Hz",
    }
    assert found.records[3]["remarks"] == "missing samples: interpolated 3 in V1"
    assert inspect_records(InspectParams(folder=folder, jobs=2), lambda *_: None) == found


def test_inspection_does_not_wait_for_pipes(tmp_path):
    folder = write_database(tmp_path / "some", 4)
    for ecg_id, ending in ((1, "hea"), (2, "dat")):
        file = folder / f"{filename(ecg_id, 100)}.{ending}"
        file.unlink()
        os.mkfifo(file)
    found = inspect(folder)
    assert found.title.endswith("2 read, 0 repaired, 2 rejected")
    assert found.records[0]["remarks"] == "header cannot be read: it is not a regular file"


def test_inspection_of_folders_that_hold_no_database(tmp_path):
    with pytest.raises(scalelab.DataError, match="there is no folder"):
        inspect(tmp_path / "nowhere")
    with pytest.raises(scalelab.DataError, match=r"has no ptbxl_database\.csv"):
        inspect(tmp_path)
    folder = write_database(tmp_path / "some", 4, ())
    write_table(folder, rows_of(4))
    assert inspect(folder, rate=500).title.endswith("0 read, 0 repaired, 4 rejected")
