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
    claim = a_claim(host="elsewhere/boot/x", pid=77, started_at=time.time() - 1e6)
    late = time.time() - HEARTBEAT_LIMIT - 5
    put(store.claims, claim)
    assert store.claims.live() == [claim], "its own file is its first beat, by the clock that stamps files"
    os.utime(store.claims._path(TRIAL.id), (late, late))
    assert store.claims.dead() == [claim]
    heart = store.claims._heart(claim.host, claim.pid)
    heart.touch()
    assert store.claims.live() == [claim]
    assert store.claims.claim(TRIAL.id, "s", 1) is None
    os.utime(heart, (late, late))
    assert store.claims.live() == []
    assert len(store.claims.reap()) == 1
    assert not heart.exists()


def beaten(claims: Claims, claim: Claim, seconds_ago: float) -> Claim:
    """Puts a claim whose last beat was so long ago."""
    put(claims, claim)
    heart = claims._heart(claim.host, claim.pid)
    at = time.time() - seconds_ago
    heart.touch()
    os.utime(heart, (at, at))
    return claim


def test_what_a_host_takes_for_the_time_plays_no_part(store, monkeypatch):
    beating = beaten(store.claims, a_claim(host="elsewhere/boot/x", pid=77), 20)
    for wrong in (-1e5, 1e5):
        monkeypatch.setattr(time, "time", lambda wrong=wrong: 1.8e9 + wrong)
        assert store.claims.live() == [beating]
    monkeypatch.undo()
    beaten(store.claims, beating, HEARTBEAT_LIMIT + 5)
    for wrong in (-1e5, 1e5):
        monkeypatch.setattr(time, "time", lambda wrong=wrong: 1.8e9 + wrong)
        assert store.claims.live() == []


def test_a_beat_of_before_the_clock_was_set_back_does_not_live_for_ever(store):
    beaten(store.claims, a_claim(host="elsewhere/boot/x", pid=77), -1e5)
    assert store.claims.live() == []


def test_looking_at_the_clock_leaves_nothing_behind(store):
    claim = beaten(store.claims, a_claim(host="elsewhere/boot/x", pid=77), 20)
    before = sorted(store.claims.folder.iterdir())
    assert store.claims.live() == [claim]
    assert sorted(store.claims.folder.iterdir()) == before


def elsewhere(**parts: str) -> str:
    """The name of a place that differs from this one in some parts."""
    name, boot, namespace = this_place().split("/", 2)
    return "/".join({"name": name, "boot": boot, "namespace": namespace, **parts}.values())


@pytest.mark.skipif(sys.platform != "linux", reason="boots and namespaces are told apart on Linux")
@pytest.mark.parametrize("part", ["boot", "namespace"])
def test_hosts_and_containers_of_one_name_are_told_apart(store, dead_pid, part):
    place = elsewhere(**{part: "another"})
    start = f"{place.split('/')[1]}:1.00"
    claim = beaten(store.claims, a_claim(host=place, pid=dead_pid, pid_start=start), 0)
    assert store.claims.live() == [claim], "its process is not ours to see, and its heart beats"
    assert store.claims.claim(TRIAL.id, "s", 1) is None
    beaten(store.claims, claim, HEARTBEAT_LIMIT + 5)
    assert store.claims.live() == []


@pytest.mark.skipif(sys.platform != "linux", reason="a boot is told from another on Linux")
def test_a_host_is_the_same_under_another_name_and_not_after_a_boot(store, dead_pid, monkeypatch):
    put(store.claims, a_claim(host=elsewhere(name="renamed")))
    assert len(store.claims.live()) == 1, "by its process"
    beaten(store.claims, a_claim(host=elsewhere(name="renamed"), pid=dead_pid), 0)
    assert store.claims.live() == [], "likewise"
    before = a_claim(host=elsewhere(boot="another"), pid_start="another:1.00")
    monkeypatch.setattr("scalelab.store.processes._uptime", lambda: 60.0)
    beaten(store.claims, before, 90)
    assert store.claims.live() == [], "this machine has booted since"
    beaten(store.claims, before, 30)
    assert store.claims.live() == [before], "then it is another one of that name"


@pytest.mark.skipif(sys.platform != "linux", reason="a boot is told from another on Linux")
def test_claims_without_a_boot_in_their_place_are_read(store, dead_pid):
    name, boot, namespace = this_place().split("/", 2)
    put(store.claims, a_claim(host=f"{name}/{namespace}"))
    assert len(store.claims.live()) == 1
    put(store.claims, a_claim(host=f"{name}/{namespace}", pid=dead_pid, pid_start=f"{boot}:1.00"))
    assert store.claims.live() == []
    clone = a_claim(host=f"{name}/{namespace}", pid=dead_pid, pid_start="another:1.00")
    assert beaten(store.claims, clone, 0) in store.claims.live()


def test_a_process_of_unknown_start_lives_while_its_heart_beats(store, dead_pid):
    assert beaten(store.claims, a_claim(pid_start=None), 0) in store.claims.live()
    beaten(store.claims, a_claim(pid_start=None), HEARTBEAT_LIMIT + 5)
    assert store.claims.live() == []
    beaten(store.claims, a_claim(pid=dead_pid, pid_start=None), 0)
    assert store.claims.live() == [], "no process has its id"


def test_a_process_of_another_user_that_cannot_be_seen_is_not_dead(monkeypatch):
    monkeypatch.setattr("scalelab.store.processes.started", lambda _pid: None)
    assert is_alive(os.getpid(), "boot:1.00") is False

    def refuse(_pid, _signal):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert is_alive(os.getpid(), "boot:1.00") is None


def test_a_coordinator_that_lost_its_claim_changes_nothing_of_the_new_owners(store):
    store.register("s", "", [TRIAL])
    slept = beaten(
        store.claims, a_claim(host="elsewhere/boot/x", pid=77, pid_start="boot:1.00"), HEARTBEAT_LIMIT + 5
    )
    assert store.claims.claim(TRIAL.id, "s", 1) is None, "the attempt is recorded as interrupted"
    store.ingest()
    mine = store.claims.claim(TRIAL.id, "s", 2)
    store.claims.release(slept)
    assert store.claims.live() == [mine]
    store.journal.write(a_record(TRIAL, attempt=2))
    store.claims.release(mine)
    store.ingest()
    assert store.outcomes()[TRIAL.id][:2] == ("done", 2)


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


@pytest.mark.parametrize(
    "forged",
    [
        {"host": 5},
        {"started_at": "now"},
        {"started_at": float("nan")},
        {"run": [1]},
        {"run": "../../elsewhere"},
        {"attempt": 0},
        {"attempt": "1"},
        {"pid": -1},
        {"pid": 2**70},
        {"worker_pid": True},
        {"trial_id": "../../victim"},
        {"trial_id": "0" * 16},
    ],
    ids=str,
)
def test_a_forged_claim_is_set_aside_and_touches_nothing_else(store, forged, caplog):
    victim = store.path.parent / "victim.json"
    victim.write_text("mine")
    kept = store.claims.claim(a_trial(1).id, "s", 1)
    content = asdict(a_claim(pid=2**22, pid_start="boot:1.00")) | forged
    (store.claims.folder / f"{TRIAL.id}.json").write_text(json.dumps(content))
    assert store.claims.live() == [kept]
    assert len(store.claims.unreadable()) == 1
    assert store.claims.reap() == []
    assert "cannot be read" in caplog.text
    assert victim.read_text() == "mine"
    assert store.claims.claim(TRIAL.id, "s", 1) is not None


def test_many_dead_claims_are_read_a_few_times_each(store, monkeypatch):
    dead = [a_claim(trial_id=a_trial(seed).id, pid_start="boot:1.00") for seed in range(40)]
    for claim in dead:
        put(store.claims, claim)
    store.claims.beat()
    read, count = Claims._read, []
    monkeypatch.setattr(Claims, "_read", staticmethod(lambda path: count.append(path) or read(path)))
    assert {claim.trial_id for claim in store.claims.reap()} == {claim.trial_id for claim in dead}
    assert len(count) <= 5 * len(dead)
    assert list(store.claims.folder.glob("*.beat")) == [], "its claims were its last"


def test_who_rests_leaves_no_heart(store):
    claim = store.claims.claim(TRIAL.id, "s", 1)
    store.claims.release(claim)
    store.claims.rest()
    assert list(store.claims.folder.glob("*.beat")) == []
    store.claims.claim(TRIAL.id, "s", 1)
    assert len(list(store.claims.folder.glob("*.beat"))) == 1


def test_looking_at_claims_makes_no_folders(tmp_path):
    store = Store(tmp_path / "x.duckdb")
    assert store.claims.live() == store.claims.dead() == store.claims.reap() == []
    assert list(tmp_path.iterdir()) == []


def test_a_process_is_told_from_a_later_one_of_its_id():
    assert is_alive(os.getpid(), started(os.getpid()))
    assert not is_alive(os.getpid(), "another:1.00")
    assert not is_alive(None, None)
    assert started(2**22 + 5) is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere psutil is asked")
def test_the_start_is_what_the_kernel_counts(monkeypatch):
    """Whatever this version of psutil takes for the time of the boot, or a process has for a name."""
    monkeypatch.setitem(sys.modules, "psutil", None)
    code = "open('/proc/self/comm', 'w').write('a) Z 1 (b'); print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    since = float(started(process.pid).partition(":")[2])
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert now - 60 < since <= now + 0.02
    process.kill()
    process.wait()
    assert started(process.pid) is None
