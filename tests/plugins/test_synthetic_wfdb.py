"""Synthetic records as files: wfdb and our own reader read back what the generator made."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import wfdb
from pydantic import ValidationError
from scalelab_plugins.physionet2021.leads import LEADS
from scalelab_plugins.physionet2021.records import find_records, read_record
from scalelab_plugins.synthetic_ecg import SynthesizeParams, SyntheticEcgParams, synthesize
from scalelab_plugins.synthetic_ecg.generate import SyntheticRecord, records
from scalelab_plugins.synthetic_ecg.wfdb import write_record

import scalelab


def write(folder, n, **options):
    said = []
    params = SynthesizeParams.model_validate({"to": folder, "records": n, "wfdb": True, "jobs": 1} | options)
    line = synthesize(params, lambda *progress: said.append(progress))
    assert said[-1][:2] == (n, n)
    return line


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_wfdb_and_our_reader_read_what_the_generator_made(tmp_path):
    line = write(tmp_path, 6, seed=3)
    assert line.startswith("6 records of 12 leads, 5,000 samples at 500 Hz in ")
    headers = find_records(tmp_path)
    assert [path.parent.relative_to(tmp_path).as_posix() for path in headers] == ["training/synthetic/g1"] * 6
    for header, made in zip(headers, records(6, SyntheticEcgParams(rate=500, seed=3)), strict=True):
        theirs = wfdb.rdrecord(str(header.with_suffix("")))
        assert theirs.sig_name == list(LEADS)
        assert (theirs.fs, theirs.sig_len, set(theirs.units)) == (500, 5000, {"mV"})
        np.testing.assert_allclose(theirs.p_signal.T, made.signal, atol=0.00051)
        stored = wfdb.rdrecord(str(header.with_suffix("")), physical=False)
        sums = zip(stored.checksum, stored.calc_checksum(), strict=True)
        assert all((said - found) % 65536 == 0 for said, found in sums)
        assert stored.init_value == stored.d_signal[0].tolist()
        ours = read_record(header)
        assert (ours.status, ours.source, ours.codes) == ("read", "synthetic", (made.snomed,))
        np.testing.assert_array_equal(ours.signal, theirs.p_signal.T.astype(np.float32))
        assert f"Synthetic: {made.condition}, seed 3" in " ".join(theirs.comments)


@pytest.mark.parametrize(
    ("rate", "seconds", "n_samples"), [(257, 1800.0, 462_600), (1000, 115.2, 115_200)], ids=["INCART", "PTB"]
)
def test_the_shapes_of_long_sources(tmp_path, rate, seconds, n_samples):
    write(tmp_path, 1, rate=rate, seconds=seconds, source="long")
    (header,) = find_records(tmp_path)
    theirs, ours = wfdb.rdrecord(str(header.with_suffix(""))), read_record(header)
    assert theirs.p_signal.shape == (n_samples, 12)
    assert (theirs.fs, ours.rate, ours.status) == (rate, rate, "read")
    np.testing.assert_array_equal(ours.signal, theirs.p_signal.T.astype(np.float32))
    parts = ours.signal[:, : n_samples // 10 * 10].reshape(12, 10, -1)
    assert (parts.std(axis=2) > 0.02).all(), "it beats from the beginning to the end"


def test_groups_of_a_thousand_and_their_lists(tmp_path):
    write(tmp_path, 1001, rate=50, seconds=2)
    assert (tmp_path / "RECORDS").read_text(
        encoding="utf-8"
    ) == "training/synthetic/g1/\ntraining/synthetic/g2/\n"
    for group, n in (("g1", 1000), ("g2", 1)):
        folder = tmp_path / "training" / "synthetic" / group
        listed = (folder / "RECORDS").read_text(encoding="utf-8").splitlines()
        assert listed == sorted(path.stem for path in folder.glob("*.hea"))
        assert len(listed) == n
    write(tmp_path, 1, source="another")
    assert (tmp_path / "RECORDS").read_text(encoding="utf-8").endswith("g2/\ntraining/another/g1/\n")


def test_more_records_and_more_processes_change_none(tmp_path):
    write(tmp_path / "one", 30)
    write(tmp_path / "two", 10)
    before = contents(tmp_path / "two")
    write(tmp_path / "two", 30, jobs=2)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    kept = {path for path in before if path.endswith((".hea", ".mat"))}
    assert len(kept) == 20
    assert all(contents(tmp_path / "two")[path] == before[path] for path in kept)


def test_a_run_that_was_killed_goes_on(tmp_path):
    write(tmp_path, 3)
    whole = contents(tmp_path)
    group = tmp_path / "training" / "synthetic" / "g1"
    (group / "SY00002.hea").unlink()
    (group / "SY00003.mat").rename(group / "SY00003.mat.part")
    (group / "SY00003.hea").unlink()
    write(tmp_path, 3)
    assert {
        path: digest for path, digest in contents(tmp_path).items() if not path.endswith(".part")
    } == whole


def test_other_options_and_other_files_are_not_mixed(tmp_path):
    write(tmp_path, 2)
    with pytest.raises(scalelab.DataError, match=r"made with other options .* give another --source"):
        write(tmp_path, 2, seed=1)
    real = tmp_path / "training" / "ptb"
    real.mkdir()
    (real / "S0001.hea").write_text("somebody's")
    with pytest.raises(scalelab.DataError, match="holds other files"):
        write(tmp_path, 2, source="ptb")


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "training").write_text("in the way")
    with pytest.raises(scalelab.DataError, match="cannot be written"):
        write(tmp_path, 2)
    with pytest.raises(scalelab.DataError, match="--wfdb"):
        write(tmp_path / "elsewhere", 2, wfdb=False)
    for source in ("../up", "a/b", "", "G", "x" * 99):
        with pytest.raises(ValidationError):
            write(tmp_path / "elsewhere", 2, source=source)


def test_amplitudes_beyond_16_bits_are_cut_off_and_never_missing(tmp_path):
    signal = np.tile(np.float32([[-40.0, 40.0, 0.0004, -32.768]]), (12, 1))
    record = SyntheticRecord(signal, LEADS, 500, 0, "sinus-rhythm", "426783006", np.zeros(0))
    write_record(tmp_path, "X1", record)
    stored = wfdb.rdrecord(str(tmp_path / "X1"), physical=False).d_signal
    assert stored[:, 0].tolist() == [-32767, 32767, 0, -32767]
