"""What a run knows of trials that other coordinators are at."""

from __future__ import annotations

import pytest

from scalelab import open_store, run_study
from scalelab.execute.ledger import Ledger
from scalelab.store.kinds import RECORDS


@pytest.fixture
def finished(lab, tmp_path):
    """The name and the text of a record that is done."""
    store = tmp_path / "other.duckdb"
    run_study(lab.study(), store, workers=0, threads=1, catalog=lab.catalog())
    path = open_store(store).journal.taken(RECORDS)[0]
    return path.name.removesuffix(RECORDS.suffix), path.read_bytes()


@pytest.mark.parametrize("ingested", [True, False])
def test_what_another_finishes_while_one_looks_is_not_made_again(lab, finished, monkeypatch, ingested):
    name, text = finished
    trial_id = name.rpartition("-")[0]
    store = open_store(lab.store, create=True)
    ledger = Ledger(study=None, store=store, catalog=None, elsewhere={trial_id})

    def finish():
        store.journal.adopt(name, text, RECORDS, durable=False)
        if ingested:
            store.ingest()
        return []

    monkeypatch.setattr(store.claims, "live", finish)
    ledger.look_elsewhere()
    if ingested:
        assert not ledger.pending
        assert ledger.reached.keys() == {trial_id}
        assert ledger.count["kept"] == 1
    else:  # the claim of an attempt that the journal has is refused, and the next look finds it
        assert store.claims.claim(trial_id, "tiny", ledger.attempts[trial_id] + 1) is None
