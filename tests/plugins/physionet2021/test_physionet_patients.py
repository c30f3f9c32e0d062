"""A patient is on one side of a split: from a table, from headers, from neighbors of equal age and sex."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from physionet_samples import REAL, header_lines, limb_consistent, needs_real, params, write
from scalelab_plugins.physionet2021 import Physionet2021Params, open_physionet2021, record_index
from scalelab_plugins.physionet2021.chunks import Row
from scalelab_plugins.physionet2021.folds import assign_folds, joined
from scalelab_plugins.physionet2021.headers import parse_header
from scalelab_plugins.physionet2021.patients import patients_of, read_table

from scalelab import DataError
from scalelab.cli import main


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))


def put(folder, name, seed, *, age=56, sex="Female", comments=()):
    samples = limb_consistent(1000, seed)
    lines = [
        line.replace("Age: 56", f"Age: {age}").replace("Sex: Female", f"Sex: {sex}")
        for line in header_lines(name, samples)
    ]
    return write(folder, name, samples, [*lines, *comments])


@pytest.fixture
def folder(tmp_path):
    """Forty records of two sources that say nothing of patients."""
    folder = tmp_path / "records"
    for i in range(40):
        put(folder / ("georgia" if i % 2 else "ptb-xl") / "g1", f"HR{i + 1:05}", i)
    return folder


def table(folder, text, name="groups.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


KEYS = st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=3), min_size=4, max_size=60)


@given(KEYS)
def test_groups_are_the_connected_components(keys):
    found = joined(keys)
    reached = np.array([[bool(set(a) & set(b)) for b in keys] for a in keys])
    for _ in keys:
        reached = reached @ reached
    np.testing.assert_array_equal(found[:, None] == found, reached)
    assert list(dict.fromkeys(found.tolist())) == list(range(found.max() + 1))


@settings(max_examples=50, deadline=None)
@given(KEYS, st.integers(0, 2**63 - 1))
def test_two_records_of_a_patient_never_stand_on_two_sides(keys, seed):
    groups = joined(keys)
    targets = np.random.default_rng(seed % 1000).integers(0, 2, (len(keys), 26))
    folds = assign_folds(targets, ["a"] * len(keys), groups.tolist(), seed)
    for one, own in enumerate(keys):
        for other, others in enumerate(keys):
            if set(own) & set(others):
                assert folds[one] == folds[other]


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31), n_groups=st.integers(8, 25))
def test_a_table_keeps_its_groups_together(tmp_path_factory, seed, n_groups):
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.mktemp("table")
        patch.setenv("SCALELAB_CACHE", str(base / "cache"))
        draw = random.Random(seed)
        for i in range(30):
            put(base / "records" / "georgia" / "g1", f"E{i:05}", i)
        group = {f"E{i:05}": f"P {draw.randrange(n_groups)}" for i in range(30) if draw.random() < 0.9}
        text = "group,note,record\n" + "".join(f'{own},"x,y",{name}\n' for name, own in group.items())
        asked = params(base / "records", groups=table(base, text), seed=seed)
        index = record_index(asked).set_index("record")
        assert index.patient.dropna().to_dict() == group
        assert (index.loc[list(group)].groupby("patient").fold.nunique() == 1).all()
        data = open_physionet2021(asked)
        assert sum(map(len, (data.train, data.validation, data.test))) == 30


def test_the_content_of_a_table_counts_and_its_place_does_not(folder, tmp_path):
    text = "record,group\nHR00001,1\nHR00003,1\n"
    one = open_physionet2021(params(folder, groups=table(tmp_path, text)))
    moved = open_physionet2021(params(folder, groups=table(tmp_path, text, "elsewhere.csv")))
    changed = open_physionet2021(params(folder, groups=table(tmp_path, text.replace("3,1", "5,1"))))
    without = open_physionet2021(params(folder))
    assert one.fingerprint == moved.fingerprint
    assert len({one.fingerprint, changed.fingerprint, without.fingerprint}) == 3


def test_the_table_of_ptb_xl_is_read_as_it_is(folder, tmp_path):
    text = (
        "ecg_id,patient_id,age,sex,scp_codes\n"
        "1,15709.0,56.0,1,\"{'NORM': 100.0, 'LVOLT': 0.0}\"\n"
        "3.0,15709.0,56.0,1,{}\n"
        "7,9.0,56.0,1,{}\n"
        "21837,9.0,56.0,1,{}\n"
    )
    index = record_index(params(folder, groups=table(tmp_path, text))).set_index("record")
    assert index.fold["HR00001"] == index.fold["HR00003"]
    assert index.group["HR00001"] == index.group["HR00003"] != index.group["HR00007"]
    assert index.patient["HR00007"] == "9.0"
    refused = table(tmp_path, "ecg_id,patient_id\n90000,1\n")
    with pytest.raises(DataError, match="names no record of the folder"):
        open_physionet2021(params(folder, groups=refused))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "groups.csv is empty; it needs record and group"),
        ("\n\n", "is empty"),
        ("record,group,group\nHR00001,1,2\n", "has the column group 2 times"),
        ("Record,group,record\nHR00001,1,2\n", "has the column record 2 times"),
        ("record,group\nHR00001,nan\n", "row 1 lacks a record or its group"),
        ("record,group\nHR00001,1\nHR00003,NaN\n", "row 2 lacks a record or its group"),
        ('record,group\nHR00001,"1\nHR00003,2\n', "is not a CSV file in UTF-8: unexpected end"),
        ("ecg_id,patient_id\n1.5,1\n", "ecg_id is 1.5, not a whole number"),
        ("name,patient\nHR00001,1\n", "has the columns name, patient; it needs record and group"),
        ("record,group\nHR00001,1\nHR00001,2\n", "row 2: HR00001 has two different groups"),
        (
            "record,group\nHR00001,1\nnobody,1\n",
            "names 1 record that the folder does not have, nobody; leave it out",
        ),
        (
            "record,group\nno,1\none,1\n",
            "names 2 records that the folder does not have, such as no; leave them",
        ),
        ("record,group\nHR00001\n", "row 1 lacks a record or its group"),
        ("record,group\n,7\n", "row 1 lacks a record or its group"),
        ("record,group\n", "names no record of the folder"),
        ("ecg_id,patient_id\none,1\n", "ecg_id is one, not a whole number"),
        (b"\xff\xfe\x00record", "is not a CSV file in UTF-8"),
        ("record,group\n" + "x" * 200_000 + ",1\n", "is not a CSV file|does not have"),
    ],
)
def test_a_broken_table_is_one_clear_line(folder, tmp_path, text, says):
    with pytest.raises(DataError, match=says) as caught:
        open_physionet2021(params(folder, groups=table(tmp_path, text)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


CELLS = st.sampled_from(
    ["record", "group", "ecg_id", "patient_id", "HR00001", "HR00003", "1", "-1", "", '"', "\x00"]
)
LINES = st.lists(st.lists(CELLS, max_size=4).map(",".join), max_size=6)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | LINES.map(lambda lines: "\n".join(lines).encode()))
def test_whatever_is_in_a_table_ends_in_groups_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    names = {"HR00001", "HR00003"}
    try:
        groups = read_table(path, names)
    except DataError as error:
        assert str(error).isprintable()  # noqa: PT017 - most tables are refused, some are not
    else:
        assert names & set(groups)
        assert all(groups.values())


def test_a_table_that_is_not_there_or_huge(folder, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path, says in (
        (tmp_path / "no.csv", "cannot be read: No such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.csv", "is not a file"),
        (Path("/dev/null"), "is not a file"),
    ):
        with pytest.raises(DataError, match=says):
            open_physionet2021(params(folder, groups=path))
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(1 << 27)
    with pytest.raises(DataError, match=r"has 134,217,728 bytes, more than"):
        open_physionet2021(params(folder, groups=tmp_path / "huge.csv"))


STUDY = """
name = "patients"
[dataset]
name = "physionet2021"
options = { path = "records", groups = "groups.csv", window = 2.0, stride = 2.0, length = 256 }
[[architecture]]
name = "convnext1d"
options = { width = 4 }
[[optimizer]]
name = "adamw"
[training]
length = { steps = 1 }
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("record,group\nHR00001,a\nHR00003,a\n", None),
        ("record;group\nHR00001;a\n", "it needs record and group"),
    ],
)
def test_a_study_finds_its_table_beside_it(folder, tmp_path, capsys, monkeypatch, text, says):
    (tmp_path / "study.toml").write_text(STUDY)
    table(tmp_path, text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(
        "sys.argv", ["scalelab", "run", "../study.toml", "--store", "s.duckdb", "--workers", "0"]
    )
    with pytest.raises(SystemExit) as end:
        main()
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert (end.value.code, len(errors)) == ((0, 0) if says is None else (2, 1))
    assert says is None or says in errors[0]


@pytest.mark.parametrize(
    ("comment", "patient"),
    [
        ("# patient 12", "12"),
        ("#Patient: 12", "12"),
        ("# Patient ID: A-007", "A-007"),
        ("#patient_id = 3", "3"),
        ("# patient_5", "5"),
        ("# Patient-ID: 5", "5"),
        ("# Patient 5 (male)", "5"),
        ("# patient-no. 4; male, 50 years", "4"),
        ("# patient no. 4", "4"),
        ("# patient has a pacemaker since 2003", None),
        ("# the patient 12", None),
        ("# Patient: unknown", None),
        ("# patients 3", None),
        ("# patient 12 leads", None),
        ("# patient" + " " * 900_000 + "x", None),
    ],
)
def test_headers_name_patients(comment, patient):
    lines = header_lines("R1", limb_consistent(1000))
    assert parse_header("\n".join([*lines, comment])).patient == patient


def test_what_headers_name_stays_together_within_its_source(folder):
    for i in range(8):
        put(folder / "cpsc_2018" / "g1", f"A{i}", 100 + i, comments=[f"# patient {i % 2 + 1}"])
    put(folder / "chapman_shaoxing" / "g1", "JS1", 200, comments=["#Patient: 1"])
    index = record_index(params(folder)).set_index("record")
    assert index.group[["A0", "A2", "A4", "A6"]].nunique() == 1
    assert index.group[["A1", "A3", "A5", "A7"]].nunique() == 1
    assert index.group[["A0", "A1", "JS1"]].nunique() == 3
    assert index.patient["A0"] == "cpsc_2018 1"
    assert index.loc[index.source == "georgia"].patient.isna().all()


def test_folders_of_the_ptb_database_name_patients(tmp_path):
    for i in range(48):
        put(tmp_path / "ptb" / f"patient{i // 2:03}", f"s{i:04}", i, age=20 + i)
    index = record_index(params(tmp_path)).set_index("record")
    assert index.group["s0000"] == index.group["s0001"] != index.group["s0002"]


@pytest.mark.parametrize("source", ["st_petersburg_incart", "ptb"])
def test_neighbors_of_equal_age_and_sex_are_taken_for_one_patient(folder, source):
    ages = (65, 65, 65, 70, 70, "NaN", "NaN", 65)
    for i, age in enumerate(ages):
        sex = "Male" if i == 4 else "Female"
        put(folder / source / "g1", f"I{i:02}", 100 + i, age=age, sex=sex)
    index = record_index(params(folder)).set_index("record")
    groups = [int(index.group[f"I{i:02}"]) for i in range(8)]
    assert groups[0] == groups[1] == groups[2]
    assert groups[5] == groups[6] == groups[7]
    assert len(set(groups)) == 4
    assert index.patient["I02"] == f"{source} as I00"


def rows(*records, source="ptb"):
    """Rows of records: age, sex, patient and why they are left out."""
    return [
        Row(f"S{i:04}", source, (), 500.0, 1000, age, sex, patient, "read", (), reason)
        for i, (age, sex, patient, reason) in enumerate(records)
    ]


A, B = (65.0, "male", None, None), (70.0, "male", None, None)


@pytest.mark.parametrize(
    ("middle", "table"),
    [
        ((None, "male", None, None), {}),
        ((None, None, None, None), {}),
        ((65.0, None, None, None), {}),
        ((None, None, None, "header is empty"), {}),
        ((70.0, "female", None, "labels: none at all"), {}),
        ((65.0, "male", "7", None), {}),
        ((65.0, "male", None, None), {"S0001": "a"}),
        ((65.0, "male", None, None), {"S0000": "a", "S0001": "b"}),
    ],
)
def test_an_odd_record_in_the_middle_cuts_no_run(middle, table):
    first, own, last, other = patients_of(rows(A, middle, A, B), table)
    assert "ptb as S0000" in first
    assert "ptb as S0000" in last
    assert ("ptb as S0000" in own) == (middle[3] is None)
    assert other == ("ptb as S0003",)


def test_runs_end_where_age_or_sex_differ_and_do_not_count_where_all_is_told():
    start = (None, "male", None, None)
    assert patients_of(rows(start, A, A, start, B), {}) == [("ptb as S0000",)] * 4 + [("ptb as S0004",)]
    woman = (65.0, "female", None, None)
    assert patients_of(rows(A, woman, A), {}) == [("ptb as S0000",), ("ptb as S0001",), ("ptb as S0002",)]
    told = patients_of(rows(A, (65.0, "male", "7", None), B), {"S0000": "a"})
    assert told == [("a",), ("ptb 7",), ("ptb as S0002",)]
    silent = (None, None, None, None)
    assert patients_of(rows(silent, silent), {}) == [(), ()]
    assert patients_of(rows(A, A, source="georgia"), {}) == [(), ()]
    two = [*rows(A, source="ptb"), *rows(A, source="st_petersburg_incart")]
    assert len(set(patients_of(two, {}))) == 2


RECORDS = st.tuples(
    st.sampled_from([None, 60.0, 70.0]),
    st.sampled_from([None, "male", "female"]),
    st.sampled_from([None, None, "1", "2"]),
    st.sampled_from([None, None, None, "rejected"]),
)


@given(st.lists(RECORDS, max_size=12))
def test_neighbors_that_may_be_one_patient_and_are_not_both_told_share_a_key(records):
    """Equal known age and sex, and whoever stands between them may be of the same patient."""
    keys = patients_of(rows(*records), {})
    used = [(record, set(own)) for record, own in zip(records, keys, strict=True) if record[3] is None]
    for start, (first, own) in enumerate(used):
        if None in first[:2]:
            continue
        for record, others in used[start + 1 :]:
            if any(a is not None and a != b for b, a in zip(first[:2], record[:2], strict=True)):
                break
            if first[2] is None or record[2] is None:
                assert own & others


def test_a_table_overrules_age_and_sex(folder, tmp_path):
    for i in range(4):
        put(folder / "ptb" / "g1", f"S{i:04}", 100 + i)
    path = table(tmp_path, "record,group\nS0000,a\nS0001,a\nS0002,b\nS0003,b\n")
    index = record_index(params(folder, groups=path)).set_index("record")
    assert index.group["S0000"] == index.group["S0001"] != index.group["S0002"] == index.group["S0003"]


def test_an_identical_signal_joins_two_patients(folder, tmp_path):
    put(folder / "georgia" / "g2", "TWIN", 0)
    path = table(tmp_path, "record,group\nHR00001,a\nHR00003,a\nTWIN,b\nHR00005,b\n")
    index = record_index(params(folder, groups=path)).set_index("record")
    assert index.group[["HR00001", "HR00003", "TWIN", "HR00005"]].nunique() == 1


@needs_real
def test_the_three_records_of_ptb_are_one_patient():
    index = record_index(Physionet2021Params(path=REAL / "training")).set_index("record")
    assert index.loc[["S0001", "S0002", "S0003"]].group.nunique() == 1
    assert index.loc[["E07509", "E07510"]].group.nunique() == 1
    assert index.group.nunique() == 113 - 2 - 1
