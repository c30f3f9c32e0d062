"""The two tables: what is read, and what is refused in one line."""

from __future__ import annotations

import os

import pytest
from ptbxl_samples import CODES, rows_of, write_statements, write_table
from scalelab_plugins.ptbxl.database import labels_by_code, read_database, read_statements

import scalelab


@pytest.fixture
def folder(tmp_path):
    write_statements(tmp_path)
    write_table(tmp_path, rows_of(30))
    return tmp_path


def test_entries_are_what_the_table_says(folder):
    rows, entries = rows_of(30), read_database(folder, 100)
    assert [entry.ecg_id for entry in entries] == list(range(1, 31))
    for row, entry in zip(rows, entries, strict=True):
        assert f"{entry.patient}.0" == row["patient_id"]
        assert entry.fold == row["strat_fold"]
        assert entry.file == row["filename_lr"]
        assert set(entry.codes) == set(eval(row["scp_codes"]))
    assert read_database(folder, 500)[4].file == "records500/00000/00005_hr"


@pytest.mark.parametrize(
    ("labels", "n"),
    [
        ("all", 71),
        ("diagnostic", 44),
        ("subdiagnostic", 23),
        ("superdiagnostic", 5),
        ("form", 19),
        ("rhythm", 12),
    ],
)
def test_sets_of_labels_have_the_published_sizes(folder, labels, n):
    """Strodthoff et al. 2021, table I."""
    label_of = labels_by_code(read_statements(folder), labels)
    assert len(set(label_of.values())) == n
    assert set(label_of) <= set(CODES)


def test_statements_that_are_in_two_sets(folder):
    statements = read_statements(folder)
    both = set(labels_by_code(statements, "diagnostic")) & set(labels_by_code(statements, "form"))
    assert both == {"NDT", "NST_", "DIG", "LNGQT"}
    assert labels_by_code(statements, "superdiagnostic")["ILMI"] == "MI"
    assert labels_by_code(statements, "subdiagnostic")["ILMI"] == "IMI"
    assert "SR" not in labels_by_code(statements, "superdiagnostic")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("strat_fold", "", "line 4: strat_fold '' is not a whole number"),
        ("strat_fold", "11", "line 4: strat_fold 11 is not between 1 and 10"),
        ("strat_fold", "1.5", "line 4: strat_fold '1.5' is not a whole number"),
        ("patient_id", "", "line 4: patient_id '' is not a whole number"),
        ("patient_id", "nan", "line 4: patient_id 'nan'"),
        ("ecg_id", "²", "line 4: ecg_id '²' is not a whole number"),
        ("ecg_id", "2", "line 4: a second ecg_id 2"),
        ("scp_codes", "", "line 4: scp_codes '' are not a dictionary of codes"),
        ("scp_codes", "{'NORM': 100.0", "are not a dictionary of codes"),
        ("scp_codes", "['NORM']", "are not a dictionary of codes"),
        ("scp_codes", "{1: 2}", "are not a dictionary of codes"),
        ("scp_codes", "__import__('os')", "are not a dictionary of codes"),
        ("filename_lr", "", "line 4: filename_lr '' is not a file within the folder"),
        ("filename_lr", "../x", "is not a file within the folder"),
        ("filename_lr", "/etc/passwd", "is not a file within the folder"),
    ],
)
def test_broken_cells_are_named_with_their_line(folder, column, value, says):
    rows = rows_of(30)
    rows[2][column] = value
    write_table(folder, rows)
    with pytest.raises(scalelab.DataError) as caught:
        read_database(folder, 100)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("{'NORM': 100.0, 'SR': 0.0}", ("NORM", "SR")),
        ("{'PRC(S)': 100, 'LAO/LAE': 0.0}", ("PRC(S)", "LAO/LAE")),
        ("{}", ()),
        ('{"NORM": 100.0}', ("NORM",)),
        (" {'NORM' : 1e2,'SR':0} ", ("NORM", "SR")),
        ("{'SR': 0.0, 'SR': 50.0}", ("SR",)),
    ],
)
def test_codes_in_any_spelling_of_a_dictionary(folder, text, codes):
    rows = rows_of(30)
    rows[2]["scp_codes"] = text
    write_table(folder, rows)
    assert read_database(folder, 100)[2].codes == codes


def test_patient_in_two_folds_is_refused(folder):
    rows = rows_of(30)
    for row in rows[3:6]:
        row["patient_id"] = "7.0"
    for row, fold in zip(rows[3:6], (2, 10, 2), strict=True):
        row["strat_fold"] = fold
    write_table(folder, rows)
    with pytest.raises(
        scalelab.DataError, match=r"1 patients have records in several folds, such as patient 7 in 2 and 10"
    ):
        read_database(folder, 100)


@pytest.mark.parametrize("name", ["ptbxl_database.csv", "scp_statements.csv"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[:-40], "is the file cut off|not a CSV file"),
        (lambda text: text.replace(b"strat_fold", b"x").replace(b"diagnostic_class", b"x"), "has no column"),
        (lambda text: b"", "has no column"),
        (lambda text: b"\xff\xfe" + text, "not a CSV file in UTF-8"),
        (lambda text: b"<!DOCTYPE html>\n<html></html>", "has no column"),
        (lambda text: text.replace(b'"', b'""""', 1), "columns where|not a CSV file|are not a dictionary"),
    ],
)  # fmt: skip
def test_tables_that_are_none(folder, name, change, says):
    path = folder / name
    path.write_bytes(change(path.read_bytes() + (b'"x"\n' if name.startswith("scp") else b"")))
    with pytest.raises(scalelab.DataError, match=says) as caught:
        read_database(folder, 100) if name.startswith("ptbxl") else read_statements(folder)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tables_that_other_programs_saved_again(folder):
    """Excel begins UTF-8 with a mark, pandas names the first column and writes folds as decimals."""
    known = read_database(folder, 100), read_statements(folder)
    for name, old, new in (
        ("ptbxl_database.csv", b"ecg_id,", b"\xef\xbb\xbfecg_id,"),
        ("scp_statements.csv", b",description", b"Unnamed: 0,description"),
    ):
        path = folder / name
        content = path.read_bytes()
        assert content.startswith(old)
        path.write_bytes(content.replace(old, new, 1))
    assert (read_database(folder, 100), read_statements(folder)) == known
    rows = [row | {"strat_fold": f"{row['strat_fold']}.0"} for row in rows_of(30)]
    write_table(folder, rows)
    assert read_database(folder, 100) == known[0]


def test_missing_tables_say_where_to_get_them(folder, tmp_path):
    with pytest.raises(
        scalelab.DataError, match=r"there is no folder .*nowhere; get the files with 'scalelab data"
    ):
        read_database(tmp_path / "nowhere", 100)
    (folder / "ptbxl_database.csv").unlink()
    with pytest.raises(scalelab.DataError, match=r"has no ptbxl_database\.csv; get the files"):
        read_database(folder, 100)
    (folder / "1.0.3").mkdir()
    write_table(folder / "1.0.3", rows_of(3))
    with pytest.raises(scalelab.DataError, match=r"there is one in .*1\.0\.3: set path to that"):
        read_database(folder, 100)
    write_table(folder, [])
    with pytest.raises(scalelab.DataError, match="has no rows"):
        read_database(folder, 100)


def broken(read, folder, says):
    with pytest.raises(scalelab.DataError, match=says) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


def read_at_100(folder):
    return read_database(folder, 100)


@pytest.mark.parametrize("slip", ["", "./", "/"])
def test_two_records_of_one_file_are_refused(folder, slip):
    rows = rows_of(30)
    for rate, column in ((100, "filename_lr"), (500, "filename_hr")):
        changed = [*rows]
        changed[4] = rows[4] | {column: str(rows[1][column]).replace("/", f"/{slip}", 1)}
        write_table(folder, changed)
        broken(
            lambda folder, rate=rate: read_database(folder, rate),
            folder,
            f"line 6: {column} 'records{rate}/00000/00002_.r' is that of ecg_id 2 already",
        )


@pytest.mark.parametrize(
    "likelihood", ["-1", "101", "100.5", "1e3", "1e999", "'80'", "None", "True", "1j", "[50]", "''"]
)
def test_likelihoods_are_numbers_from_0_to_100(folder, likelihood):
    rows = rows_of(30)
    rows[2]["scp_codes"] = f"{{'SR': 0.0, 'NORM': {likelihood}}}"
    write_table(folder, rows)
    broken(
        read_at_100,
        folder,
        "line 4: scp_codes give 'NORM' the likelihood .*, which is not a number from 0 to 100",
    )


@pytest.mark.parametrize(
    "text", ["{'NORM': 1.2.3}", "{[1]: 2}", "{'NORM': nan}", "{'NORM'}", "{'NORM': 007}"]
)
def test_codes_that_are_no_dictionary(folder, text):
    rows = rows_of(30)
    rows[2]["scp_codes"] = text
    write_table(folder, rows)
    broken(read_at_100, folder, "line 4: scp_codes .* are not a dictionary of codes")


def test_likelihoods_at_their_bounds(folder):
    rows = rows_of(30)
    rows[2]["scp_codes"] = "{'NORM': 100.0, 'SR': 0, 'PVC': 99.5, 'LVH': 1e2, 'LMI': 100}"
    write_table(folder, rows)
    assert read_at_100(folder)[2].codes == ("NORM", "SR", "PVC", "LVH", "LMI")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("1.0,,,NORM,NORM", "1.0,,,Norm,NORM", "diagnostic_class 'Norm' is none of NORM, MI, STTC, CD, HYP"),
        ("1.0,,,NORM,NORM", "1.0,,,,NORM", "the diagnostic statement 'NORM' has no diagnostic_class"),
        ("1.0,,,NORM,NORM", "yes,,,NORM,NORM", "diagnostic 'yes' is neither empty nor 1 nor 0"),
        ("1.0,,,NORM,NORM", "1.0,2,,NORM,NORM", "form '2' is neither empty nor 1 nor 0"),
        ("1.0,,,NORM,NORM", "1.0,,nan,NORM,NORM", "rhythm 'nan' is neither empty nor 1 nor 0"),
        ('NORM,"NORM, in words"', 'SR,"NORM, in words"', "a second statement 'SR'"),
        ('NORM,"NORM, in words"', ',"NORM, in words"', "no statement in the first column"),
    ],
)
def test_broken_statements_are_named_with_their_line(folder, old, new, says):
    path = folder / "scp_statements.csv"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    broken(read_statements, folder, rf"scp_statements\.csv, line \d+: {says}")


def test_flags_may_be_whole_numbers(folder):
    known = read_statements(folder)
    path = folder / "scp_statements.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("1.0,,,NORM", "1,0,0.0,NORM"), encoding="utf-8")
    assert read_statements(folder) == known


def odd(path, kind):
    """Puts something in a file's place that is none."""
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_tables_that_are_no_regular_files(folder, kind):
    for name, read in (("ptbxl_database.csv", read_at_100), ("scp_statements.csv", read_statements)):
        odd(folder / name, kind)
        broken(read, folder, f"{name} is not a regular file; get the files")


def test_path_of_a_file(folder):
    for read in (read_at_100, read_statements):
        broken(read, folder / "scp_statements.csv", r"scp_statements\.csv is not a folder; get the files")
        broken(read, folder / "scp_statements.csv" / "x", "there is no folder")
