"""Imported tables in pieces: the same runs, ids and digests as in one, in files of either format."""

from __future__ import annotations

import json
import logging
import math

import duckdb
import pandas as pd
import pytest
from store_samples import rows_of

from scalelab.records import canonical_json
from scalelab.store import foreign, imports, rows
from scalelab.store.envelope import TornError, check_file, seal
from scalelab.store.kinds import IMPORTS
from scalelab.store.mapping import read_runs
from scalelab.store.targets import Wanted

TABLE = pd.DataFrame(
    {
        "N": [10, 20, 40, 10],
        "D": [100.0, 200.0, 400.5, 100.0],
        "loss": [3.0, 2.5, 2.25, 3.0],
        "lr": [0.1, 1e22, None, 0.1],
        "note": ["a", None, 'q"\n"', "a"],
    }
)
REPORTS = pd.DataFrame(
    {
        "trial_id": ["a", "b", "a", None, "a"],
        "step": [2, 1, 1, 1, 3],
        "val_loss": [2.0, 4.0, 3.0, math.inf, 2.5],
        "params": [100, 200, 100, 300, 100],
        "Größe": ["ä", "b", "c", "d", "e"],
    }
)


def read(table=TABLE):
    return read_runs(table, Wanted(study="t"))


def old_file(table, lists=None, **changed) -> bytes:
    """A table's file as it was before rows were Parquet."""
    head = {**table.model_dump(mode="json"), **changed}
    return seal({"import": canonical_json(head), "rows": json.dumps(lists or rows_of(table))})


def test_the_digest_of_a_table_is_what_it_was():
    assert read().table.digest == "82debab90c61a155"


@pytest.mark.parametrize("table", [TABLE, REPORTS], ids=["runs", "reports"])
def test_a_table_in_pieces_is_the_same(monkeypatch, table):
    whole = read(table)
    monkeypatch.setattr(foreign, "PIECE_VALUES", 1)
    monkeypatch.setattr(rows, "PIECE_ROWS", 2)
    pieces = read(table)
    assert pieces.table.digest == whole.table.digest
    assert rows_of(pieces.table) == rows_of(whole.table)
    assert (pieces.notes, pieces.statuses) == (whole.notes, whole.statuses)


def test_a_file_of_format_1_is_still_read(store, monkeypatch):
    monkeypatch.setattr(imports, "PIECE_ROWS", 3)
    table = read().table.after(None)
    store.journal.place(table).parent.mkdir(parents=True, exist_ok=True)
    store.journal.place(table).write_bytes(old_file(table))
    store.ingest()
    assert len(store.runs("t")) == 4
    assert store.check().healthy
    before = store.rows("select * from imported_runs order by position")
    store.rebuild()
    assert store.rows("select * from imported_runs order by position") == before
    assert store.take_import(read()).outcome == "unchanged"


@pytest.mark.parametrize("n_runs", [3, 5, 10**12, -1])
def test_a_number_of_runs_that_is_not_that_of_the_rows_is_refused(tmp_path, n_runs):
    table = read().table.after(None)
    name = IMPORTS.name_of(table)
    with pytest.raises(TornError):
        IMPORTS.open(name, old_file(table, n_runs=n_runs))
    with pytest.raises(TornError):
        IMPORTS.open(name, IMPORTS.seal(table.model_copy(update={"n_runs": n_runs})))


def test_every_byte_of_a_file_is_checked(tmp_path):
    table = read().table
    path = IMPORTS.seal(table)
    check_file(path)
    whole = path.read_bytes()
    for damaged in (
        whole[:-1],
        whole + b"x",
        whole[:-9] + b"x" + whole[-8:],
        whole[:100],
        whole[:-1] + b"\0",
    ):
        (tmp_path / "t").write_bytes(damaged)
        with pytest.raises(TornError):
            check_file(tmp_path / "t")
        with pytest.raises(TornError):
            IMPORTS.open("00000000000000001-a-t", tmp_path / "t")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select *, 7 as file_row_number from rows", "'file_row_number' of type INTEGER"),
        ("select *, 'other' as study from rows", "'study'"),
        ("select * replace ('abc' as loss) from rows", "'loss' of type VARCHAR"),
        ("select * replace ([loss] as loss) from rows", "'loss'"),
        ("select * exclude (trial_id) from rows", "cannot be read"),
        ("select * replace (nullif(seed, 2) as trial_id) from rows", "'trial_id'"),
        ("select * replace (nullif(trial_id, max(trial_id) over ()) as trial_id) from rows", "name"),
        ("select * replace ('{' as extra) from rows", "the database refuses it"),
    ],
)
def test_a_forged_table_is_set_aside_alone_with_one_line(store, caplog, query, says):
    store.take_import(read_runs(TABLE, Wanted(study="good")))
    table = read(TABLE.assign(seed=[1, 2, 3, 4])).table.after(None)
    beside = table.rows.folder / "forged.parquet"
    duckdb.sql(query.replace("rows", f"'{table.rows.path}'")).write_parquet(str(beside))
    beside.replace(table.rows.path)
    place = store.journal.place(table)
    place.write_bytes(IMPORTS.seal(table).read_bytes())
    with caplog.at_level(logging.WARNING):
        store.ingest()
    (said,) = caplog.messages
    assert says in said
    assert "\n" not in said
    assert [path.name for path in store.journal.quarantined()] == [place.name]
    assert len(store.runs()) == len(store.runs("good")) == 4
    assert store.check().healthy


FORGED = {
    "text": {"loss": ["a"] * 4},
    "truth": {"loss": [True] * 4},
    "fraction": {"seed": [1.5] * 4},
    "large": {"seed": [2**63] * 4},
    "huge": {"n_params": [10**400] * 4},
    "short": {"loss": [1.0]},
    "number": {"status": [1] * 4},
    "half a character": {"error": ["\ud800"] * 4},
    "not finite": {"extra": [{"a": math.nan}] * 4},
}


@pytest.mark.parametrize("lists", FORGED.values(), ids=FORGED)
def test_forged_lists_of_format_1_are_refused(lists):
    table = read().table.after(None)
    with pytest.raises(TornError) as refusal:
        IMPORTS.open(IMPORTS.name_of(table), old_file(table, {**rows_of(table), **lists}))
    assert "\n" not in str(refusal.value)


def test_a_table_of_many_columns_has_small_pieces(monkeypatch):
    monkeypatch.setattr(foreign, "PIECE_VALUES", 500)
    facts = pd.DataFrame({f"fact_{i}": [i, math.inf, -math.inf, None] for i in range(400)})
    wide = pd.concat([TABLE, facts], axis=1)
    found = rows_of(read(wide).table)
    assert [len(own) for own in found["extra"]] == [402, 402, 402, 402]
    assert [own["feature_fact_7"] for own in found["extra"]] == [7, None, None, None]


def test_rows_that_are_no_parquet_are_refused_though_their_checksum_is_right(tmp_path):
    table = read().table
    table.rows.path.write_bytes(b"PAR1 and nothing else PAR1")
    with pytest.raises(TornError, match="its rows cannot be read"):
        IMPORTS.open("00000000000000001-a-t", IMPORTS.seal(table))
