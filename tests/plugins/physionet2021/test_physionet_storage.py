"""Signal files in other storage than the layout's: read where they hold what the header says, or why not."""

from __future__ import annotations

import gzip
import random
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from physionet_samples import header_lines, limb_consistent, matlab, write
from scalelab_plugins.physionet2021.records import read_record
from scipy.io import savemat

SAMPLES = limb_consistent(2000)
MILLIVOLTS = (SAMPLES.T / 1000).astype(np.float32)
CASES = Path(__file__).resolve().parents[4] / "shared" / "cases" / "ecg"


def saved(folder, variables, *, lines=None, **options):
    """A record whose signal file SciPy wrote."""
    header = write(folder, "A1", SAMPLES, lines)
    savemat(folder / "A1.mat", variables, **options)
    return read_record(header)


def unchecked():
    lines = header_lines("A1", SAMPLES)
    for place in range(1, 13):
        words = lines[place].split()
        lines[place] = " ".join([*words[:6], words[8]])
    return lines


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no cases in {CASES}")
@pytest.mark.parametrize(
    ("name", "repair"),
    [
        ("c05_trailcomment", "comment: '# noisy' left out at the end of 12 lines"),
        ("c10_mat5", "storage: MATLAB 5, 'val' is int16, 12 x 5000"),
        ("c18_dx", "code: 426783006 for '426783006.0' in Dx"),
    ],
)
def test_cases_are_repaired(name, repair):
    record = read_record(CASES / f"{name}.hea")
    assert (record.status, record.repairs, record.notes) == ("repaired", (repair,), ())
    assert "426783006" in record.codes


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("kind", ["<i2", ">i2", "<i4", ">i4", "<i8", "<f4", "<f8", ">f8"])
@pytest.mark.parametrize("options", [{}, {"do_compression": True}, {"format": "4"}], ids=["5", "7", "4"])
def test_every_kind_of_matrix(tmp_path, options, kind, transposed):
    if options == {"format": "4"} and kind == "<i8":
        pytest.skip("MATLAB 4 has no 64-bit integers")
    samples = SAMPLES if transposed else SAMPLES.T
    for lines in (None, unchecked()):
        record = saved(tmp_path, {"val": samples.astype(kind)}, lines=lines, **options)
        np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    plain = kind.endswith("i2") and not transposed and options == {"format": "4"}
    assert record.status == ("read" if plain else "repaired")
    if not plain:
        (repair,) = record.repairs
        assert repair.startswith(f"storage: MATLAB {options.get('format', 5)}, 'val' is ")
        assert repair.endswith(", 2000 x 12" if transposed else ", 12 x 2000")


@pytest.mark.parametrize("version", ["4", "5"])
def test_types_below_16_bits(tmp_path, version):
    samples = (SAMPLES // 512 + 100).astype(np.uint8)
    header = write(tmp_path, "A1", samples.astype("<i2"))
    savemat(tmp_path / "A1.mat", {"val": samples.T}, format=version)
    record = read_record(header)
    np.testing.assert_array_equal(record.signal, (samples.T / 1000).astype(np.float32))
    assert record.repairs == (f"storage: MATLAB {version}, 'val' is uint8, 12 x 2000",)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [0, 10, 20, 30])
def test_version_4_of_another_machine(tmp_path, order, kind):
    """As MATLAB on big-endian machines wrote it: a thousand in the type, and every number the other way."""
    width = {0: "f8", 10: "f4", 20: "i4", 30: "i2"}[kind]
    head = struct.pack(f"{order}5i", kind + 1000 * (order == ">"), 12, 2000, 0, 4) + b"val\0"
    header = write(tmp_path, "A1", SAMPLES)
    (tmp_path / "A1.mat").write_bytes(head + SAMPLES.astype(f"{order}{width}").tobytes())
    record = read_record(header)
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert record.status == ("read" if (order, kind) == ("<", 30) else "repaired")


def test_checksums_hold_for_every_storage(tmp_path):
    wrong = SAMPLES.astype(np.int32).T.copy()
    wrong[7, 100] += 1
    for options in ({}, {"format": "4"}):
        reason = saved(tmp_path, {"val": wrong}, **options).reason
        assert reason == "checksum: samples do not match the header's in V2"


def test_missing_samples_are_nan_in_floats(tmp_path):
    samples = SAMPLES.copy()
    samples[100:103, 6] = -(2**15)
    header = write(tmp_path, "A1", samples)
    savemat(tmp_path / "A1.mat", {"val": np.where(samples == -(2**15), np.nan, samples).T})
    assert read_record(header).repairs == (
        "storage: MATLAB 5, 'val' is float64, 12 x 2000",
        "missing samples: interpolated 3 in V1",
    )


def test_another_length_is_the_files(tmp_path):
    lines = header_lines("A1", SAMPLES)
    lines[0] = lines[0].replace("2000", "1500")
    record = saved(tmp_path, {"val": SAMPLES.T}, lines=lines)
    assert record.repairs[1] == "length: 2000 samples instead of 1500"


def test_variable_of_another_name(tmp_path):
    record = saved(tmp_path, {"fs": 500.0, "ecg": SAMPLES.T, "leads": np.array(["I"], dtype=object)})
    assert record.repairs == ("storage: MATLAB 5, 'ecg' is int16, 12 x 2000",)
    record = saved(tmp_path, {"ecg": -SAMPLES.T, "val": SAMPLES.T})
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert record.repairs == ("storage: MATLAB 5, 'val' is int16, 12 x 2000",)
    assert saved(tmp_path, {"a": SAMPLES.T, "b": SAMPLES.T}).reason == (
        "storage: the MATLAB file has several matrices of 12 leads, those of the header (in the file: "
        "a (12 x 2000), b (12 x 2000))"
    )


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"val": SAMPLES[:, :8].T}, "no matrix of 12 leads, those of the header .in the file: val .8 x 2000"),
        ({"val": SAMPLES.T[None]}, r"no matrix of 12 leads, .*val .1 x 12 x 2000"),
        ({"name": "A1"}, "no matrix of 12 leads, .*no numbers"),
        ({"val": SAMPLES.T / 1000}, "float64 samples with fractions instead of whole ADC units"),
        ({"val": SAMPLES.T * 2.0**70}, "does not fit into 16 bits"),
        ({"val": np.where(SAMPLES > 900, np.inf, SAMPLES).T}, "inf does not fit into 16 bits"),
        ({"val": SAMPLES.T.astype(np.int32) + 100_000}, "a sample of [0-9]+ does not fit into 16 bits"),
        ({"val": SAMPLES.T * 1j}, "complex samples instead of real numbers"),
    ],
)
@pytest.mark.parametrize("version", ["4", "5"])
def test_what_is_not_the_record_is_refused_with_the_reason(tmp_path, version, variables, reason):
    if version == "4" and any(np.ndim(value) > 2 for value in variables.values()):
        pytest.skip("MATLAB 4 has two dimensions")
    if version == "4" and variables.keys() == {"name"}:
        pytest.skip("a text is no matrix of numbers there")
    record = saved(tmp_path, variables, format=version)
    assert record.status == "rejected"
    assert record.reason.startswith("storage: ")
    assert re.search(reason, record.reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(600), "a MATLAB 7.3 (HDF5) file; save it"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "an HDF5 file"),
        (gzip.compress(matlab(SAMPLES)), "a gzip file"),
        (b"PK\x03\x04" + bytes(99), "a zip file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (b"\x93NUMPY\x01\x00", "a NumPy file"),
    ],
)  # fmt: skip
def test_foreign_files_are_called_what_they_are(tmp_path, content, reason):
    header = write(tmp_path, "A1", SAMPLES)
    (tmp_path / "A1.mat").write_bytes(content)
    assert read_record(header).reason.startswith(f"storage: the signal file is {reason}")


def test_empty_matrix_is_no_record(tmp_path):
    assert "no matrix of 12 leads" in saved(tmp_path, {"val": SAMPLES[:0].T}).reason


def test_matrix_of_a_size_below_zero_is_damaged(tmp_path):
    header = write(tmp_path, "A1", SAMPLES)
    savemat(tmp_path / "A1.mat", {"val": SAMPLES.T})
    content = (tmp_path / "A1.mat").read_bytes()
    assert content.count(struct.pack("<2i", 12, 2000)) == 1
    (tmp_path / "A1.mat").write_bytes(
        content.replace(struct.pack("<2i", 12, 2000), struct.pack("<2i", 12, -1))
    )
    assert read_record(header).reason == (
        "signal file: a MATLAB 5 file that is damaged (a matrix of negative size)"
    )


def test_damaged_matlab_files_raise_nothing(tmp_path):
    """Cut anywhere, bytes flipped (which crashes SciPy's reader): rejected, or equal to what was written."""
    header = write(tmp_path, "A1", SAMPLES)
    rng = random.Random(0)
    for options in ({}, {"do_compression": True}, {"format": "4"}):
        savemat(tmp_path / "A1.mat", {"name": "A1", "val": SAMPLES.T.astype(np.int32)}, **options)
        whole = (tmp_path / "A1.mat").read_bytes()
        for case in range(150):
            content = bytearray(whole)
            for _ in range(rng.choice((1, 3))):
                content[rng.randrange(min(len(content), 400 if case % 2 else len(content)))] = rng.randrange(
                    256
                )
            (tmp_path / "A1.mat").write_bytes(
                content[: rng.randrange(1, len(content))] if case % 3 else content
            )
            record = read_record(header)
            if record.status == "rejected":
                assert record.reason.isprintable()
            else:
                np.testing.assert_array_equal(record.signal, MILLIVOLTS)
