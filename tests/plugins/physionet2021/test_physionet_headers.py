"""Both generations of headers, and what people write into them."""

from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from physionet_samples import REAL, header_lines, limb_consistent, needs_real
from scalelab_plugins.physionet2021.headers import header_text, parse_header
from scalelab_plugins.physionet2021.leads import LEADS
from scalelab_plugins.physionet2021.records import find_records, read_record

import scalelab

SAMPLES = limb_consistent(600)


def header(*, old=False, **replaced):
    """A header with some of its comments replaced."""
    lines = [line for line in header_lines("A1", SAMPLES, old=old) if not line.startswith("#")]
    said = {"Age": "56", "Sex": "Female", "Dx": "251146004"} | replaced
    return "\n".join([*lines, *(f"#{'' if old else ' '}{key}: {value}" for key, value in said.items())])


@pytest.mark.parametrize("old", [True, False], ids=["2020", "2021"])
def test_both_generations_say_the_same(old):
    found = parse_header(header(old=old))
    assert (found.name, found.rate, found.n_samples) == ("A1", 500.0, 600)
    assert tuple(line.lead for line in found.signals) == LEADS
    assert {
        (line.file, line.format, line.offset, line.gain, line.baseline, line.units) for line in found.signals
    } == {("A1.mat", "16", 24, 1000.0, 0, "mV")}
    assert [line.initial for line in found.signals] == SAMPLES[0].tolist()
    assert [line.checksum % 65536 for line in found.signals] == (
        SAMPLES.astype(int).sum(axis=0) % 65536
    ).tolist()
    assert (found.codes, found.age, found.sex, found.notes) == (("251146004",), 56.0, "female", ())


@needs_real
def test_real_headers_agree_with_wfdb():
    import wfdb

    headers = find_records(REAL)
    assert len(headers) == 113
    for path in headers:
        ours, theirs = parse_header(header_text(path)), wfdb.rdheader(str(path.with_suffix("")))
        assert (ours.name, ours.rate, ours.n_samples) == (theirs.record_name, theirs.fs, theirs.sig_len)
        for field, expected in (
            ("file", theirs.file_name),
            ("format", theirs.fmt),
            ("offset", theirs.byte_offset),
            ("gain", theirs.adc_gain),
            ("baseline", theirs.baseline),
            ("units", theirs.units),
            ("initial", theirs.init_value),
            ("checksum", theirs.checksum),
            ("lead", theirs.sig_name),
        ):
            assert [getattr(line, field) for line in ours.signals] == expected, (path, field)
        (dx,) = [line for line in theirs.comments if line.startswith("Dx")]
        assert ",".join(ours.codes) == dx.split(":")[1].strip()


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("426783006", ("426783006",)),
        ("426783006,164889003", ("426783006", "164889003")),
        ("164889003 , 426783006", ("164889003", "426783006")),
        (",426783006,,164889003,,", ("426783006", "164889003")),
        ("426783006,164889003,426783006", ("426783006", "164889003")),
        ("426783006;164889003\t270492004", ("426783006", "164889003", "270492004")),
        ("10370003,123456789012345678", ("10370003", "123456789012345678")),
        ("", ()),
        (",", ()),
        ("NaN", ()),
        ("Unknown", ()),
    ],
)
def test_diagnoses(text, codes):
    found = parse_header(header(Dx=text))
    assert found.codes == codes
    assert found.notes == (() if codes else ("no diagnosis",))


def test_diagnosis_that_is_no_code_is_left_out_and_noted():
    found = parse_header(header(Dx="426783006,AF,12"))
    assert found.codes == ("426783006",)
    assert found.notes == ("no SNOMED CT code: 'AF', '12' in Dx",)


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("426783006.0", "426783006"),
        ("426783006.", "426783006"),
        ("4.26783006E8", "426783006"),
        ("4.26783006e+08", "426783006"),
        ("'426783006'", "426783006"),
        ("['426783006']", "426783006"),
        ("(426783006.00)", "426783006"),
        ("123456789012345678.0", "123456789012345678"),
        ("4.27E8", None),  # digits are lost
        ("4.26783E8", None),
        ("426783006.5", None),
        ("12.0", None),
        ("4.26783006E99", None),
        ("-426783006.0", None),
        ("426783006.0.0", None),
        ("nan.0", None),
    ],
)
def test_codes_that_were_written_as_numbers_or_texts(word, code):
    found = parse_header(header(Dx=f"164889003,{word}"))
    assert found.codes == ("164889003", *([code] if code else []))
    assert found.repairs == ((f"code: {code} for {word!r} in Dx".replace('"', "'"),) if code else ())
    assert found.notes == (() if code else (f"no SNOMED CT code: '{word}' in Dx",))


def test_codes_of_all_lines_count():
    lines = [*header_lines("A1", SAMPLES), "#Dx: 164889003,426783006", "# Age: 80", "#dx:"]
    found = parse_header("\n".join(lines))
    assert found.codes == ("251146004", "426783006", "164889003")
    assert found.repairs == ("diagnoses: the codes of 3 lines with Dx taken together",)
    assert found.age == 56.0


def test_comments_behind_a_line_are_left_out():
    lines = header_lines("A1", SAMPLES)
    lines[0] += " # of 2020"
    lines[3] += "\t#noisy # very"
    lines[4] += "#"
    found = parse_header("\n".join(lines))
    assert tuple(line.lead for line in found.signals) == LEADS
    assert (found.n_samples, found.codes) == (600, ("251146004", "426783006"))
    assert found.repairs == ("comment: '# of 2020' left out at the end of 3 lines",)
    named = "\n".join(header_lines("A#1", SAMPLES))
    assert parse_header(named).repairs == ()
    assert parse_header(named).signals[0].file == "A#1.mat"


def test_header_without_diagnosis():
    text = "\n".join(line for line in header().split("\n") if "Dx" not in line)
    assert parse_header(text).codes == ()


@pytest.mark.parametrize(
    ("text", "age", "noted"),
    [
        ("56", 56.0, False),
        ("56.5", 56.5, False),
        ("0", 0.0, False),
        ("63Y", 63.0, False),
        ("NaN", None, False),
        ("nan", None, False),
        ("", None, False),
        ("Unknown", None, False),
        ("-1", None, True),
        ("300", None, True),
        ("inf", None, True),
        ("1e400", None, True),
        ("forty", None, True),
        ("5_6", None, True),
        ("²", None, True),
    ],
)
def test_ages(text, age, noted):
    found = parse_header(header(Age=text))
    assert (found.age, bool(found.notes)) == (age, noted)


@pytest.mark.parametrize(
    ("text", "sex", "noted"),
    [
        ("Male", "male", False), ("male", "male", False), ("M", "male", False), ("m", "male", False),
        ("Female", "female", False), ("FEMALE", "female", False), ("F", "female", False),
        ("Unknown", None, False), ("", None, False), ("NaN", None, False), ("other", None, True),
    ],
)  # fmt: skip
def test_sexes(text, sex, noted):
    found = parse_header(header(Sex=text))
    assert (found.sex, bool(found.notes)) == (sex, noted)


def lines_with(place, old, new):
    lines = header_lines("A1", SAMPLES)
    assert old in lines[place]
    lines[place] = lines[place].replace(old, new, 1)
    return "\n".join(lines)


def test_fields_that_wfdb_leaves_optional():
    (lead, *_) = parse_header(lines_with(1, "16x1+24 1000.0(0)/mV", "16+24 200")).signals
    assert (lead.gain, lead.baseline, lead.units) == (200.0, 0, "mV")
    (lead, *_) = parse_header(lines_with(1, "1000.0(0)/mV 16 0", "1000.0/uV 16 7")).signals
    assert (lead.baseline, lead.units) == (7, "uV")  # the ADC's zero, where there is no baseline
    (lead, *_) = parse_header(lines_with(1, "1000.0(0)", "-2.5e2(-12)")).signals
    assert (lead.gain, lead.baseline) == (-250.0, -12)
    (lead, *_) = parse_header(lines_with(1, "1000.0(0)", "0")).signals
    assert lead.gain is None
    assert parse_header(lines_with(0, " 600", "")).n_samples is None
    assert parse_header(lines_with(0, " 500 ", " 500/500(0) ")).rate == 500.0
    assert parse_header(lines_with(0, " 500 ", " 257.5 ")).rate == 257.5
    text = "# a comment first\r\n\r\n" + "\r\n".join(header_lines("A1", SAMPLES)) + "\r\n\r\n"
    assert parse_header(text).codes == ("251146004", "426783006")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "header is empty"),
        ("\0" * 50, "record line: it gives no number of leads"),
        ("# only\n# comments", "header is empty"),
        (lines_with(0, "A1", "A1/3"), "several segments"),
        (lines_with(0, "12 ", "x "), "no number of leads"),
        (lines_with(0, "12 ", "0 "), "no number of leads"),
        (lines_with(0, "12 ", "13 "), "12 signal lines where its first line says 13"),
        (lines_with(0, "12 ", "1_2 "), "no number of leads"),
        (lines_with(0, "500", "abc"), "no sampling rate"),
        (lines_with(0, "500", "-500"), "no sampling rate"),
        (lines_with(0, "500", "0"), "sampling rate: 0 Hz"),
        (lines_with(0, "500", "5e9"), "no sampling rate"),
        (lines_with(0, "500", "999999"), "sampling rate: 999999 Hz"),
        (lines_with(0, "600", "-600"), "not a number of samples"),
        (lines_with(0, "600", "x"), "not a number of samples"),
        (lines_with(3, "16x1+24", "x16"), "no storage format"),
        (lines_with(3, "1000.0(0)", "1000,0"), "is not a gain"),
        (lines_with(3, "1000.0(0)", "nan"), "is not a gain"),
        (lines_with(3, "1000.0(0)", "1e999(0)"), "is not a gain"),
    ],
)
def test_what_is_no_header_is_said_in_one_line(text, reason):
    with pytest.raises(scalelab.DataError, match=reason.replace("(", r"\(")) as caught:
        parse_header(text)
    assert "\n" not in str(caught.value)


def test_reading_says_what_is_wrong(tmp_path):
    with pytest.raises(scalelab.DataError, match="header cannot be read"):
        header_text(tmp_path / "gone.hea")
    os.mkfifo(tmp_path / "pipe.hea")
    assert find_records(tmp_path) == [tmp_path / "pipe.hea"]
    record = read_record(tmp_path / "pipe.hea")
    assert (record.status, record.reason) == ("rejected", "header cannot be read: it is not a regular file")
    (tmp_path / "big.hea").write_bytes(b"x" * 2_000_000)
    with pytest.raises(scalelab.DataError, match="more than a million bytes"):
        header_text(tmp_path / "big.hea")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_a_header_or_a_data_error(text):
    with contextlib.suppress(scalelab.DataError):
        parse_header(text)
