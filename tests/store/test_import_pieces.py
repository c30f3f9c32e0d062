"""Imported tables in pieces: the same runs, ids and digests as in one, in files of either format."""

from __future__ import annotations

import json
import math

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


def old_file(table, **changed) -> bytes:
    """A table's file as it was before rows were Parquet."""
    head = {**table.model_dump(mode="json"), **changed}
    return seal({"import": canonical_json(head), "rows": json.dumps(rows_of(table))})


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


def test_rows_that_are_no_parquet_are_refused_though_their_checksum_is_right(tmp_path):
    table = read().table
    table.rows.path.write_bytes(b"PAR1 and nothing else PAR1")
    with pytest.raises(TornError, match="its rows cannot be read"):
        IMPORTS.open("00000000000000001-a-t", IMPORTS.seal(table))
