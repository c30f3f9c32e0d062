"""The two tables: what is read, and what is refused in one line."""

from __future__ import annotations

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
