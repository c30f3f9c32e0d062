"""The dataset as studies use it: its contract, its folds and labels, and what is refused."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from ptbxl_samples import (
    CODES,
    DIAGNOSTIC,
    filename,
    rows_of,
    samples_of,
    write_database,
    write_record,
    write_table,
)
from pydantic import ValidationError
from scalelab_plugins.ptbxl import PtbxlParams, open_ptbxl, scalelab_datasets
from scalelab_plugins.ptbxl.prepare import load

import scalelab
from scalelab.testing import DatasetContract

N = 120


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return write_database(tmp_path_factory.mktemp("ptb-xl"), N)


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def copy(database, tmp_path):
    """A copy that may be broken."""
    return shutil.copytree(database, tmp_path / "copy")


def codes_of(row):
    return set(eval(row["scp_codes"]))


class TestContract(DatasetContract):
    @pytest.fixture
    def dataset(self):
        return scalelab_datasets()[0]

    @pytest.fixture
    def params(self, database):
        return PtbxlParams(path=database, labels="superdiagnostic", leads=4, crop=2.5)


def expected_rows(*folds, within=None):
    """Rows of the table in the order of the dataset: by fold, then as in the file."""
    rows = [row for row in rows_of(N) if within is None or codes_of(row) & set(within)]
    return [row for fold in folds for row in rows if row["strat_fold"] == fold]


def test_folds_labels_and_signals_are_the_databases(database):
    data = open_ptbxl(PtbxlParams(path=database))
    assert data.task.classes == tuple(sorted(CODES))
    assert (data.task.n_outputs, data.task.input_shape) == (71, (12, 1000))
    assert (data.task.loss, data.task.objective) == ("bce", "auroc")
    for split, folds in ((data.train, range(1, 9)), (data.validation, [9]), (data.test, [10])):
        rows = expected_rows(*folds)
        assert len(split) == len(rows) > 0
        for inputs, targets, row in zip(split.inputs, split.targets, rows, strict=True):
            assert {data.task.classes[place] for place in np.flatnonzero(targets)} == codes_of(row)
            signal = samples_of(row["ecg_id"], 100).T / 1000
            signal = (signal - signal.mean(axis=1, keepdims=True)) / signal.std(axis=1, keepdims=True)
            np.testing.assert_allclose(inputs, signal, atol=4e-3)


def test_no_patient_is_on_two_sides(database):
    folds = {}
    for row in rows_of(N):
        folds.setdefault(row["patient_id"], set()).add(row["strat_fold"])
    assert all(len(of) == 1 for of in folds.values())
    assert any(sum(row["patient_id"] == patient for row in rows_of(N)) > 1 for patient in folds), (
        "some patients have several records"
    )


@pytest.mark.parametrize("labels", ["diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm"])
def test_only_records_with_a_label_of_the_set_are_used(database, labels):
    data = open_ptbxl(PtbxlParams(path=database, labels=labels))
    for split in (data.train, data.validation, data.test):
        assert split.targets.any(axis=1).all()
    if labels == "superdiagnostic":
        rows = expected_rows(9, within=DIAGNOSTIC)
        assert data.task.classes == ("CD", "HYP", "MI", "NORM", "STTC")
        assert len(data.validation) == len(rows)
        for targets, row in zip(data.validation.targets, rows, strict=True):
            named = {DIAGNOSTIC[code][0] for code in codes_of(row) if code in DIAGNOSTIC}
            assert {data.task.classes[place] for place in np.flatnonzero(targets)} == named


def test_other_folds_share_the_entry_and_leave_nothing_out(database):
    default, other = (PtbxlParams(path=database, **options) for options in ({}, {"validation_fold": 3}))
    assert load(default).key == load(other).key
    data = open_ptbxl(other)
    assert data.fingerprint != open_ptbxl(default).fingerprint
    rows = expected_rows(1, 2, 4, 5, 6, 7, 8, 9)
    assert len(data.train) == len(rows)
    np.testing.assert_array_equal(data.train.inputs[:5], open_ptbxl(default).train.inputs[:5])
    first_of_4 = sum(row["strat_fold"] < 3 for row in rows)
    np.testing.assert_array_equal(data.train.inputs[first_of_4], load(default).folds(4).inputs[0])
    assert len(data.validation) == len(expected_rows(3))


@pytest.mark.parametrize(
    ("leads", "rows"), [(12, range(12)), (6, range(6)), (4, [0, 1, 2, 7]), (3, [0, 1, 7]), (2, [0, 1])]
)
def test_leads_and_units(database, leads, rows):
    data = open_ptbxl(PtbxlParams(path=database, leads=leads, normalise="none"))
    assert data.task.input_shape == (leads, 1000)
    (row, *_) = expected_rows(9)
    signal = samples_of(row["ecg_id"], 100).T[list(rows)] / 1000
    np.testing.assert_allclose(data.validation.inputs[0], signal, atol=1e-2)


def test_record_is_normalized_as_a_whole(database):
    data = open_ptbxl(PtbxlParams(path=database, normalise="record"))
    inputs = data.train.inputs.astype(np.float32)
    np.testing.assert_allclose(inputs.mean(axis=(1, 2)), 0, atol=1e-2)
    np.testing.assert_allclose(inputs.std(axis=(1, 2)), 1, atol=1e-2)
    assert np.ptp(inputs.std(axis=2), axis=1).min() > 0.01, "leads keep their sizes relative to each other"


def test_rate_of_500(tmp_path):
    folder = write_database(tmp_path / "hr", 40, (500,))
    data = open_ptbxl(PtbxlParams(path=folder, rate=500, crop=2.5, validation_fold=8))
    assert data.task.input_shape == (12, 1250)
    assert data.train.inputs.shape[1:] == (12, 5000)


def test_flat_leads_and_records_stay(copy):
    (row, *_) = expected_rows(10)
    samples = samples_of(row["ecg_id"], 100)
    samples[:, 4] = 3
    write_record(copy, row["ecg_id"], 100, samples)
    data = open_ptbxl(PtbxlParams(path=copy))
    assert (data.test.inputs[0, 4] == 0).all()
    write_record(copy, row["ecg_id"], 100, np.full_like(samples, 5))
    data = open_ptbxl(PtbxlParams(path=copy))
    assert (data.test.inputs[0] == 0).all()
    assert len(data.test) == len(expected_rows(10))


def test_fingerprint_is_of_content(database, copy):
    first = open_ptbxl(PtbxlParams(path=database)).fingerprint
    assert open_ptbxl(PtbxlParams(path=copy, augment=0, crop=5)).fingerprint == first
    (row, *_) = expected_rows(1)
    write_record(copy, row["ecg_id"], 100, -samples_of(row["ecg_id"], 100))
    assert open_ptbxl(PtbxlParams(path=copy)).fingerprint != first


def test_an_entry_that_is_there_is_opened_without_preparing(database, monkeypatch):
    import scalelab_plugins.ptbxl.prepare as preparing

    first = open_ptbxl(PtbxlParams(path=database))
    monkeypatch.setattr(preparing, "_prepare", None)
    again = open_ptbxl(PtbxlParams(path=database))
    assert again.fingerprint == first.fingerprint
    assert isinstance(again.train.inputs, np.memmap)


def refused(folder, pattern, **options):
    with pytest.raises(scalelab.DataError, match=pattern) as caught:
        open_ptbxl(PtbxlParams(path=folder, **options))
    assert "\n" not in str(caught.value)


def test_damaged_and_missing_records_are_named(copy):
    file = copy / f"{filename(17, 100)}.dat"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    refused(copy, r"record 17 .records100/00000/00017_lr. .*truncated.*scalelab data download ptbxl")
    file.write_bytes(b"\1" + content[1:])
    refused(copy, "record 17 .*checksum: samples do not match the header's in I;")
    write_record(copy, 17, 100, samples_of(17, 100)[:900])
    refused(copy, "record 17 .*900 samples at 100 Hz instead of 1000 at 100 Hz")
    file.unlink()
    refused(copy, r"00017_lr\.dat is missing .*scalelab data download ptbxl")
    refused(copy, r"records500.*_hr\.hea is missing", rate=500)


@pytest.mark.parametrize("ending", ["hea", "dat"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_records_that_are_no_regular_files(copy, kind, ending):
    file = copy / f"{filename(17, 100)}.{ending}"
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        file.mkdir()
    refused(copy, rf"00017_lr\.{ending} is not a regular file; get the files")


def test_statements_are_checked_where_an_entry_is_there_already(copy, monkeypatch):
    import scalelab_plugins.ptbxl.prepare as preparing

    open_ptbxl(PtbxlParams(path=copy))
    monkeypatch.setattr(preparing, "content_digest", None)
    statements = copy / "scp_statements.csv"
    statements.write_text(statements.read_text().replace("1.0,,,NORM,NORM", "1.0,,,NONE,NORM"))
    refused(copy, "diagnostic_class 'NONE' is none of")


def test_paths_that_stand_for_no_folder(tmp_path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    refused("~no-such-user/ptb-xl", "'~no-such-user/ptb-xl' is not a folder: ")
    refused("ptb\0xl", "is not a folder: ")
    refused(tmp_path / "circle", "circle.*(is not a folder|cannot be read)")


def test_unknown_code(copy):
    rows = rows_of(N)
    rows[50]["scp_codes"] = "{'NORM': 100.0, 'XYZ': 0.0}"
    write_table(copy, rows)
    refused(copy, "record 51 has the code 'XYZ', which scp_statements.csv does not list")


def test_folds_without_records(copy):
    def keep(*folds):
        write_table(copy, [row for row in rows_of(N) if row["strat_fold"] in folds])

    keep(1, 2, 10)
    refused(copy, "has no record of strat_fold 9 with a label of the set 'all'")
    keep(9, 10)
    refused(copy, "no record to train on .*the strat_folds 1, 2, 3, 4, 5, 6, 7, 8 are empty")
    keep(1, 9)
    refused(copy, "has no record of strat_fold 10")
    write_table(copy, [row | {"scp_codes": "{'SR': 0.0}"} for row in rows_of(N)])
    refused(copy, "no record of .* has a label of the set 'form'", labels="form")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"validation_fold": 10}, "validation_fold and test_fold are both 10"),
        ({"test_fold": 11}, "test_fold"),
        ({"labels": "superclass"}, "labels"),
        ({"rate": 250}, "rate"),
        ({"leads": 8}, "leads"),
        ({"crop": 11}, "crop"),
        ({"normalise": "beat"}, "normalise"),
    ],
)
def test_silly_options_are_refused(options, says):
    with pytest.raises(ValidationError, match=says):
        PtbxlParams(path=".", **options)


def test_augmentation_is_off_at_0_and_fits_every_choice(database):
    import torch

    for options in ({"augment": 0}, {"augment": 5, "leads": 2, "normalise": "none"}, {"crop": 1}):
        data = open_ptbxl(PtbxlParams(path=database, labels="form", **options))
        batch = torch.from_numpy(data.train.inputs[:8].astype(np.float32))
        made = data.augment(batch, torch.Generator().manual_seed(0))
        assert made.shape == (8, *data.task.input_shape)
        assert torch.isfinite(made).all()
        if options == {"augment": 0}:
            assert torch.equal(made, batch)


def test_a_study_trains(database, tmp_path):
    (tmp_path / "study.toml").write_text(f"""
name = "ptbxl"
[dataset]
name = "ptbxl"
options = {{ path = "{database}", labels = "superdiagnostic", crop = 2.5 }}
[[architecture]]
name = "convnext1d"
options = {{ width = 4 }}
[[optimizer]]
name = "adamw"
[training]
length = {{ steps = 4 }}
batch_size = 8
validations = 1
""")
    summary = scalelab.run_study(tmp_path / "study.toml", tmp_path / "store.duckdb", workers=0)
    assert summary.complete
    done = scalelab.open_store(tmp_path / "store.duckdb").runs("ptbxl").iloc[0]
    assert done.status == "done"
    assert 0 <= done.objective <= 1
