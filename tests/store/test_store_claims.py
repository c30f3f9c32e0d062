"""Claims: live while a process is, dead with it, and never two on one trial."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest
from store_samples import a_record, a_trial

from scalelab.errors import StoreLockedError
from scalelab.store import Claim, Claims, Store
from scalelab.store.claims import HEARTBEAT_LIMIT
from scalelab.store.processes import is_alive, started, this_place

TRIAL = a_trial(0)


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


def put(claims: Claims, claim: Claim) -> None:
    claims.folder.mkdir(parents=True, exist_ok=True)
    (claims.folder / f"{claim.trial_id}.json").write_text(json.dumps(asdict(claim)))


def a_claim(**changes) -> Claim:
    mine = Claim(
        TRIAL.id, "s", 1, this_place(), os.getpid(), started(os.getpid()), None, None, time.time() - 5
    )
    return replace(mine, **changes)


def test_a_claim_keeps_others_out_until_it_is_released(store):
    claim = store.claims.claim(TRIAL.id, "s", 1)
    assert claim is not None
    assert (claim.trial_id, claim.study, claim.attempt, claim.pid) == (TRIAL.id, "s", 1, os.getpid())
    other = Store(store.path)
    assert other.claims.claim(TRIAL.id, "other", 1) is None
    assert other.claims.live() == [claim]
    assert other.claims.reap() == []
    store.claims.release(claim)
    assert store.claims.live() == []
    assert other.claims.claim(TRIAL.id, "s", 1) is not None


def test_releasing_somebody_elses_claim_does_nothing(store):
    mine = store.claims.claim(TRIAL.id, "s", 1)
    store.claims.release(replace(mine, pid=1))
    assert store.claims.live() == [mine]
    store.claims.release(replace(mine, trial_id="0" * 16))


def test_an_attempt_that_has_a_record_cannot_be_claimed(store):
    store.journal.write(a_record(TRIAL))
    assert store.claims.claim(TRIAL.id, "s", 1) is None
    store.ingest()
    assert store.claims.claim(TRIAL.id, "s", 1) is None
    assert store.claims.claim(TRIAL.id, "s", 2) is not None


@pytest.mark.parametrize("start", [None, "another:1.00"])
def test_a_dead_claim_becomes_an_interrupted_record(store, dead_pid, start):
    store.register("s", "", [TRIAL])
    pid = dead_pid if start is None else os.getpid()
    put(store.claims, a_claim(pid=pid, pid_start=start))
    assert store.check().dead_claims == [TRIAL.id]
    assert store.claims.live() == []
    (dead,) = store.claims.reap()
    assert dead.pid == pid
    assert store.ingest() == 1
    assert store.outcomes()[TRIAL.id][:5] == ("interrupted", 1, "its process has ended", None, None)
    assert store.claims.reap() == []
    assert store.studies()[0].interrupted == 1


def test_claiming_over_a_dead_claim_records_it_first(store, dead_pid):
    store.register("s", "", [TRIAL])
    put(store.claims, a_claim(pid=dead_pid, pid_start="x"))
    assert store.claims.claim(TRIAL.id, "s", 1) is None
    assert store.ingest() == 1
    assert store.claims.claim(TRIAL.id, "s", 2) is not None


def test_a_dead_claim_whose_record_was_written_is_only_removed(store, dead_pid):
    store.register("s", "", [TRIAL])
    store.journal.write(a_record(TRIAL))
    put(store.claims, a_claim(pid=dead_pid))
    assert len(store.claims.reap()) == 1
    store.ingest()
    assert store.outcomes()[TRIAL.id].status == "done"
    put(store.claims, a_claim(pid=dead_pid))
    store.journal.folder.rename(store.journal.folder.with_suffix(".away"))
    put(store.claims, a_claim(pid=dead_pid))
    assert len(store.claims.reap()) == 1
    assert store.ingest() == 0


def test_a_dead_claim_on_an_unknown_trial_is_only_removed(store, dead_pid):
    put(store.claims, a_claim(pid=dead_pid))
    assert len(store.claims.reap()) == 1
    assert store.ingest() == 0


def test_a_claim_stays_where_the_attempt_cannot_be_recorded(store, dead_pid, monkeypatch):
    def full(_claim):
        raise StoreLockedError("locked")

    put(store.claims, a_claim(pid=dead_pid))
    claims = Claims(store.journal, full)
    with pytest.raises(StoreLockedError):
        claims.reap()
    assert len(claims.dead()) == 1


def test_a_claim_lives_as_long_as_its_worker(store, dead_pid):
    worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    put(store.claims, a_claim(pid=dead_pid, worker_pid=worker.pid, worker_start=started(worker.pid)))
    assert len(store.claims.live()) == 1
    worker.kill()
    # A zombie until somebody waits for it, which counts as gone.
    while is_alive(worker.pid, started(worker.pid)):
        time.sleep(0.01)
    assert store.claims.live() == []
    worker.wait()
    assert len(store.claims.dead()) == 1


def test_the_worker_is_named_with_its_start(store):
    claim = store.claims.claim(TRIAL.id, "s", 1, worker_pid=os.getppid())
    assert (claim.worker_pid, claim.worker_start) == (os.getppid(), started(os.getppid()))


def test_another_host_is_trusted_while_its_heart_beats(store):
    claim = a_claim(host="elsewhere/x", pid=77, started_at=time.time() - 1e6)
    put(store.claims, claim)
    assert store.claims.dead() == [claim]
    heart = store.claims._heart(claim.host, claim.pid)
    heart.touch()
    assert store.claims.live() == [claim]
    assert store.claims.claim(TRIAL.id, "s", 1) is None
    late = time.time() - HEARTBEAT_LIMIT - 5
    os.utime(heart, (late, late))
    assert store.claims.live() == []
    assert len(store.claims.reap()) == 1
    assert not heart.exists()


def test_a_heart_beats_only_now_and_then(store):
    store.claims.claim(TRIAL.id, "s", 1)
    heart = store.claims._heart(this_place(), os.getpid())
    os.utime(heart, (1, 1))
    store.claims.beat()
    assert heart.stat().st_mtime == 1
    store.claims._beaten = float("-inf")
    store.claims.beat()
    assert heart.stat().st_mtime > 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"trial_id": "x"}'])
def test_a_claim_that_cannot_be_read_is_set_aside(store, content, caplog):
    store.claims.folder.mkdir(parents=True)
    (store.claims.folder / f"{TRIAL.id}.json").write_text(content)
    assert store.claims.live() == []
    assert store.claims.reap() == []
    assert "cannot be read" in caplog.text
    assert len(store.journal.quarantined()) == 1
    assert store.claims.claim(TRIAL.id, "s", 1) is not None


def test_looking_at_claims_makes_no_folders(tmp_path):
    store = Store(tmp_path / "x.duckdb")
    assert store.claims.live() == store.claims.dead() == store.claims.reap() == []
    assert list(tmp_path.iterdir()) == []


def test_a_process_is_told_from_a_later_one_of_its_id():
    assert is_alive(os.getpid(), started(os.getpid()))
    assert not is_alive(os.getpid(), "another:1.00")
    assert not is_alive(None, None)
    assert started(2**22 + 5) is None
