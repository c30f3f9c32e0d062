"""Records as they are, as they were in older releases, and as they should not be."""

from __future__ import annotations

import os

import numpy as np
import pytest
from physionet_samples import header_lines, limb_consistent, matlab, write
from scalelab_plugins.physionet2021.leads import LEADS
from scalelab_plugins.physionet2021.records import find_records, read_record, source_of

import scalelab

SAMPLES = limb_consistent(2000)
MILLIVOLTS = (SAMPLES.T / 1000).astype(np.float32)


def changed(old, new, *, count=-1, name="A1", samples=SAMPLES):
    """Header lines with a text replaced in the signal lines (the first `count` of them)."""
    lines = header_lines(name, samples)
    n = 0
    for place in range(1, 13):
        if old in lines[place] and n != count:
            lines[place] = lines[place].replace(old, new, 1)
            n += 1
    assert n
    return lines


def test_float32_division_is_what_rounding_float64_gives():
    """The fast way of `in_millivolts`, for every 16-bit integer and the gains that occur."""
    every = np.arange(-(2**15), 2**15, dtype=np.int16)
    for gain in (1000.0, 200.0, 4880.0):
        np.testing.assert_array_equal(every / np.float32(gain), (every / gain).astype(np.float32))


@pytest.mark.parametrize("old", [True, False], ids=["2020", "2021"])
def test_made_up_record(tmp_path, old):
    header = write(tmp_path / "training/ptb/g3", "A1", SAMPLES, header_lines("A1", SAMPLES, old=old))
    record = read_record(header)
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert (record.name, record.source, record.path, record.rate) == ("A1", "ptb", header, 500.0)
    assert (record.codes, record.age, record.sex) == (("251146004", "426783006"), 56.0, "female")
    assert (record.status, record.repairs, record.notes, record.reason) == ("read", (), (), None)


def test_source_comes_from_the_folder_or_the_caller(tmp_path):
    header = write(tmp_path / "training/mine/g12", "A1", SAMPLES)
    assert source_of(header) == "mine"
    assert source_of(write(tmp_path / "flat", "A1", SAMPLES)) == "flat"
    assert read_record(header, source="other").source == "other"


def test_finds_every_header_at_any_depth_in_order(tmp_path):
    for folder, name in (("b/g1", "B1"), ("a", "A2"), ("a", "A1"), (".git", "no")):
        write(tmp_path / folder, name, SAMPLES)
    (tmp_path / "a" / "A3.hea.part").write_text("half")
    assert [path.stem for path in find_records(tmp_path)] == ["A1", "A2", "B1"]
    with pytest.raises(scalelab.DataError, match="there is no folder"):
        find_records(tmp_path / "nowhere")


def test_old_georgia_header_has_the_wrong_gain_and_a_name_that_wfdb_refuses(tmp_path):
    """As released in 2020: `E00001.mat 12 500 …` and 4880/mV, with samples at 1000/mV."""
    import wfdb

    lines = header_lines("A1", SAMPLES, old=True)
    lines = [line.replace("1000/mV", "4880/mV") for line in lines]
    lines[0] = lines[0].replace("A1 ", "A1.mat ", 1)
    header = write(tmp_path, "A1", SAMPLES, lines)
    with pytest.raises(wfdb.io.header.HeaderSyntaxError):
        wfdb.rdrecord(str(header.with_suffix("")))
    record = read_record(header)
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert (record.status, record.repairs) == ("repaired", ("gain: 1000/mV instead of 4880/mV",))


@pytest.mark.parametrize(
    ("units", "gain"), [("mV", 1000), ("mv", 1000), ("MV", 1000), ("uV", 1), ("V", 1_000_000), ("µV", 1)]
)
def test_units_of_voltage(tmp_path, units, gain):
    lines = changed("1000.0(0)/mV", f"{gain}/{units}")
    header = write(tmp_path, "A1", SAMPLES)
    header.write_text("\n".join(lines), encoding="utf-8")
    record = read_record(header)
    np.testing.assert_allclose(record.signal, MILLIVOLTS, rtol=1e-6)
    assert record.status == "read"


def test_other_gains_and_baselines_are_those_of_wfdb(tmp_path):
    import wfdb

    lines = changed("1000.0(0)", "204.8(17)", count=5)
    header = write(tmp_path, "A1", SAMPLES, lines)
    expected = wfdb.rdrecord(str(header.with_suffix(""))).p_signal.T
    np.testing.assert_array_equal(read_record(header).signal, expected.astype(np.float32))


def test_gain_that_is_not_given_is_the_databases(tmp_path):
    record = read_record(write(tmp_path, "A1", SAMPLES, changed("1000.0(0)/mV", "0")))
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert record.repairs == ("gain: 1000/mV where the header gives none",)


def test_leads_in_another_order_and_another_spelling(tmp_path):
    order = [11, 3, 4, 0, 1, 2, 5, 6, 7, 8, 9, 10]
    lines = header_lines("A1", SAMPLES)
    lines[1:13] = [lines[1 + place] for place in order]
    lines = [line.replace(" aVR", " AVR").replace(" V6", " Lead v6") for line in lines]
    record = read_record(write(tmp_path, "A1", np.ascontiguousarray(SAMPLES[:, order]), lines))
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    (repair,) = record.repairs
    assert repair == "lead order: the file's is V6 aVR aVL I II III aVF V1 V2 V3 V4 V5"


def without(*leads):
    keep = [place for place, lead in enumerate(LEADS) if lead not in leads]
    lines = header_lines("A1", SAMPLES)
    kept = [lines[0].replace("A1 12", f"A1 {len(keep)}"), *(lines[1 + place] for place in keep), *lines[13:]]
    return np.ascontiguousarray(SAMPLES[:, keep]), kept


@pytest.mark.parametrize("leads", [("I",), ("II",), ("III",), ("III", "aVR", "aVL", "aVF"), ("I", "aVL")])
def test_missing_limb_leads_follow_from_the_others(tmp_path, leads):
    record = read_record(write(tmp_path, "A1", *without(*leads)))
    np.testing.assert_allclose(record.signal, MILLIVOLTS, atol=2e-6)
    assert (record.status, record.repairs) == ("repaired", (f"leads derived: {', '.join(leads)}",))


@pytest.mark.parametrize(
    ("leads", "reason"),
    [
        (("V2",), "leads: V2 missing"),
        (("V5", "V6", "aVR"), "leads: V5, V6 missing"),
        (("I", "II"), "leads: I, II missing"),
        (LEADS[:6], "leads: I, II, III missing"),
    ],
)
def test_leads_that_cannot_be_derived(tmp_path, leads, reason):
    record = read_record(write(tmp_path, "A1", *without(*leads)))
    assert (record.status, record.signal, record.reason) == ("rejected", None, reason)
    assert record.repairs == ()
    assert (record.rate, record.n_samples) == (500.0, 2000)


def test_leads_of_unknown_names_are_named(tmp_path):
    lines = header_lines("A1", SAMPLES)
    lines[7] = lines[7].removesuffix("V1") + "C1"
    record = read_record(write(tmp_path, "A1", SAMPLES, lines))
    assert record.reason == "leads: V1 missing (not known as leads: 'C1')"


def test_more_leads_than_twelve_are_left_out(tmp_path):
    samples = np.concatenate([SAMPLES, SAMPLES[:, :1]], axis=1)
    lines = header_lines("A1", SAMPLES)
    lines[0] = lines[0].replace(" 12 ", " 13 ")
    lines.insert(13, lines[1].removesuffix(" I") + " Vx")
    record = read_record(write(tmp_path, "A1", samples, lines))
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert record.notes == ("other leads: 1 left out",)


def test_lead_that_is_there_twice(tmp_path):
    lines = header_lines("A1", SAMPLES)
    lines[3] = lines[3].removesuffix("III") + "II"
    assert read_record(write(tmp_path, "A1", SAMPLES, lines)).reason == "leads: II is listed twice"


def with_gaps(*gaps):
    """Samples with (lead, start, stop) missing."""
    samples = SAMPLES.copy()
    for lead, start, stop in gaps:
        samples[start:stop, LEADS.index(lead)] = -(2**15)
    return samples


def test_short_gaps_become_straight_lines_and_touch_nothing_else(tmp_path):
    samples = with_gaps(("V1", 100, 103), ("V1", 900, 901), ("II", 0, 4), ("V6", 1990, 2000))
    record = read_record(write(tmp_path, "A1", samples))
    assert record.repairs == ("missing samples: interpolated 4 in II, 4 in V1, 10 in V6",)
    assert np.isfinite(record.signal).all()
    kept = samples.T != -(2**15)
    np.testing.assert_array_equal(record.signal[kept], MILLIVOLTS[kept])
    v1 = record.signal[6]
    np.testing.assert_allclose(v1[99:104], np.linspace(v1[99], v1[103], 5), rtol=1e-6)
    assert (record.signal[1, :4] == record.signal[1, 4]).all()
    assert (record.signal[11, 1990:] == record.signal[11, 1989]).all()


def test_wfdb_calls_the_same_samples_missing(tmp_path):
    import wfdb

    samples = with_gaps(("V1", 100, 103), ("I", 0, 4))
    header = write(tmp_path, "A1", samples)
    theirs = wfdb.rdrecord(str(header.with_suffix(""))).p_signal.T
    assert np.isnan(theirs).sum() == 7
    ours, there = read_record(header).signal, np.isfinite(theirs)
    np.testing.assert_array_equal(ours[there], theirs[there].astype(np.float32))


def test_limb_lead_with_too_much_missing_is_derived(tmp_path):
    record = read_record(write(tmp_path, "A1", with_gaps(("aVF", 0, 2000), ("III", 100, 400))))
    np.testing.assert_allclose(record.signal, MILLIVOLTS, atol=2e-6)
    assert record.repairs == ("leads derived: III, aVF",)


@pytest.mark.parametrize(
    "gap",
    [("V1", 0, 2000), ("V1", 0, 101), ("V1", 1000, 1101)],
    ids=["all", "over 5 % at the start", "over 5 %"],
)
def test_chest_lead_with_too_much_missing_rejects_the_record(tmp_path, gap):
    record = read_record(write(tmp_path, "A1", with_gaps(gap)))
    assert record.reason == "missing samples: more than 5% or 0.5 s at a time in V1"


def test_gap_of_more_than_half_a_second_in_a_long_record(tmp_path):
    samples = limb_consistent(20_000)
    samples[5000:5251, 8] = -(2**15)
    assert read_record(write(tmp_path, "A1", samples)).status == "rejected"
    samples[5000, 8] = 1
    assert read_record(write(tmp_path, "A2", samples)).status == "repaired"


def test_flat_leads(tmp_path):
    samples = SAMPLES.copy()
    samples[:, [3, 7]] = (0, -55)
    record = read_record(write(tmp_path, "A1", samples))
    assert (record.status, record.notes) == ("read", ("flat leads: aVR, V2",))
    record = read_record(write(tmp_path, "A2", np.full_like(SAMPLES, 5)))
    assert record.reason == "flat leads: all twelve, there is no signal"


def test_wrong_samples_are_rejected(tmp_path):
    header = write(tmp_path, "A1", SAMPLES)
    samples = SAMPLES.copy()
    samples[1234, 6] += 1
    (tmp_path / "A1.mat").write_bytes(matlab(samples))
    assert read_record(header).reason == "checksum: samples do not match the header's in V1"


def test_samples_without_a_checksum_are_read_and_noted(tmp_path):
    lines = header_lines("A1", SAMPLES)
    for place in range(1, 13):
        words = lines[place].split()
        lines[place] = " ".join([*words[:6], words[8]])
    record = read_record(write(tmp_path, "A1", SAMPLES, lines))
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert record.notes == ("no checksum: the samples cannot be checked",)


def test_header_with_some_checksums_only_is_damaged(tmp_path):
    lines = header_lines("A1", SAMPLES)
    words = lines[7].split()
    lines[7] = " ".join([*words[:6], words[8]])
    record = read_record(write(tmp_path, "A1", SAMPLES, lines))
    assert record.reason == "checksum: the header has those of 11 leads only, of 12"


def test_first_value_that_is_not_the_headers_is_noted(tmp_path):
    lines = header_lines("A1", SAMPLES)
    words = lines[5].split()
    lines[5] = " ".join([*words[:5], str(int(words[5]) + 1), *words[6:]])
    assert read_record(write(tmp_path, "A1", SAMPLES, lines)).notes == (
        "first sample: differs from the header's in 1 leads",
    )


def test_missing_signal_file(tmp_path):
    header = write(tmp_path, "A1", SAMPLES)
    (tmp_path / "A1.mat").unlink()
    record = read_record(header)
    assert (record.status, record.reason) == ("rejected", "no signal file: 'A1.mat' is missing")
    assert record.codes == ("251146004", "426783006")


def test_signal_file_of_another_name(tmp_path):
    """The header names a file that is missing, or another record's; its own lies beside it."""
    lines = header_lines("B7", SAMPLES)
    header = write(tmp_path, "A1", SAMPLES, lines)
    record = read_record(header)
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert record.repairs == ("signal file: A1.mat instead of 'B7.mat'",)
    write(tmp_path, "B7", limb_consistent(2000, seed=9))
    record = read_record(header)
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert record.repairs == ("signal file: A1.mat instead of 'B7.mat'",)
    (tmp_path / "A1.mat").unlink()
    assert read_record(header).reason.startswith("checksum: ")


def test_signal_file_named_otherwise_is_fine(tmp_path):
    header = write(tmp_path, "A1", SAMPLES, header_lines("B7", SAMPLES))
    (tmp_path / "A1.mat").rename(tmp_path / "B7.mat")
    assert (read_record(header).status, read_record(header).repairs) == ("read", ())


def test_paths_out_of_the_folder_are_not_followed(tmp_path):
    write(tmp_path / "elsewhere", "A1", SAMPLES)
    lines = [line.replace("A1.mat", "../elsewhere/A1.mat") for line in header_lines("A1", SAMPLES)]
    header = write(tmp_path / "here", "A1", SAMPLES, lines)
    (tmp_path / "here" / "A1.mat").unlink()
    assert read_record(header).reason == "no signal file: '../elsewhere/A1.mat' is missing"


def test_length_that_is_wrong_in_the_header(tmp_path):
    for said, words in (
        ("1999", "instead of 1999"),
        ("2001", "instead of 2001"),
        ("", "instead of no length"),
    ):
        lines = header_lines("A1", SAMPLES)
        lines[0] = f"A1 12 500 {said}"
        record = read_record(write(tmp_path, "A1", SAMPLES, lines))
        np.testing.assert_array_equal(record.signal, MILLIVOLTS)
        assert record.repairs == (f"length: 2000 samples {words}",)


def test_byte_offset_that_is_not_given(tmp_path):
    record = read_record(write(tmp_path, "A1", SAMPLES, changed("16x1+24", "16")))
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert record.repairs == ("byte offset: 24 instead of 0",)


def test_raw_file_without_a_matlab_header(tmp_path):
    lines = [line.replace("+24", "").replace("A1.mat", "A1.dat") for line in header_lines("A1", SAMPLES)]
    header = write(tmp_path, "A1", SAMPLES, lines)
    (tmp_path / "A1.dat").write_bytes(SAMPLES.tobytes())
    record = read_record(header)
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert record.repairs == ()


def test_truncated_and_lengthened_files(tmp_path):
    header = write(tmp_path, "A1", SAMPLES)
    content = (tmp_path / "A1.mat").read_bytes()
    (tmp_path / "A1.mat").write_bytes(content[:-1])
    assert read_record(header).reason == "signal file: truncated, 1999 samples instead of 2000"
    (tmp_path / "A1.mat").write_bytes(b"")
    assert read_record(header).reason == "signal file: truncated, 0 samples instead of 2000"
    (tmp_path / "A1.mat").write_bytes(content + b"\0" * 10)
    record = read_record(header)
    np.testing.assert_array_equal(record.signal, MILLIVOLTS)
    assert record.repairs == ("length: 10 bytes behind the last sample left out",)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("16x1+24", "212", "storage: format 212"),
        ("16x1+24", "16x2+24", "storage: leads with frames"),
        ("16x1+24", "16x1:3+24", "storage: leads with frames"),
        ("/mV", "/mmHg", "units: 'mmHg'"),
        ("1000.0(0)", "1e-9", "gain: "),
        ("1000.0(0)", "1e30", "gain: "),
        ("(0)", "(99999999)", "baseline: "),
    ],
)
def test_storage_that_is_not_this_layouts(tmp_path, old, new, reason):
    record = read_record(write(tmp_path, "A1", SAMPLES, changed(old, new, count=1)))
    assert record.status == "rejected"
    assert record.reason.startswith(reason)


def test_leads_in_several_files(tmp_path):
    record = read_record(write(tmp_path, "A1", SAMPLES, changed("A1.mat", "A2.mat", count=3)))
    assert record.reason == "storage: the leads lie in several signal files"


def test_record_shorter_than_a_second(tmp_path):
    record = read_record(write(tmp_path, "A1", limb_consistent(499)))
    assert record.reason == "length: 1.00 s are shorter than 1 s"


def test_header_that_is_none(tmp_path):
    (tmp_path / "A1.hea").write_bytes(bytes(range(256)))
    record = read_record(tmp_path / "A1.hea")
    assert (record.status, record.signal, record.n_samples) == ("rejected", None, 0)
    assert np.isnan(record.rate)
    assert read_record(tmp_path / "gone.hea").reason == "header cannot be read: No such file or directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_that_may_not_be_read(tmp_path):
    header = write(tmp_path, "A1", SAMPLES)
    (tmp_path / "A1.mat").chmod(0)
    assert read_record(header).reason == "signal file: cannot be read (Permission denied)"
