"""Kills at random moments, and several coordinators on one store: every acknowledged record is there once."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from store_samples import a_trial, coordinate, ingest_for_ever

from scalelab.store import Store

KILLS = 12


def wait_for_lines(path: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(lines(path)) < count:
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.002)


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_no_acknowledged_record_is_lost_or_doubled_by_kills(store, spawn, tmp_path):
    notes = tmp_path / "acknowledged"
    dice = random.Random(0)
    for kill in range(KILLS):
        before = len(lines(notes))
        process = spawn(ingest_for_ever, str(store.path), str(notes), kill * 1000)
        # The moment is counted in records, then in time, so that it falls into every part of an ingest.
        wait_for_lines(notes, before + dice.randint(1, 8))
        time.sleep(dice.random() * 0.1)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
    store.ingest()
    acknowledged = lines(notes)
    assert len(acknowledged) == len(set(acknowledged)) > KILLS
    there = [f"{row[0]}-{row[1]}" for row in store.rows("select trial_id, attempt from records")[1]]
    assert len(there) == len(set(there))
    assert set(acknowledged) <= set(there)
    # A record whose writer died between the file and its note may be there too: at most one a kill.
    assert len(set(there) - set(acknowledged)) <= KILLS
    points = store.rows("select trial_id, attempt, count(*) from curve_points group by all")[1]
    assert {row[2] for row in points} == {3}
    assert len(points) == len(there)
    report = store.check()
    assert report.healthy, report.problems
    assert report.pending == 0
    runs = store.runs()
    store.rebuild()
    assert sorted(store.runs().trial_id) == sorted(runs.trial_id)


def test_coordinators_share_a_store_without_doing_anything_twice(store, spawn, tmp_path):
    seeds = 24
    (tmp_path / "marks").mkdir()
    violations = tmp_path / "violations"
    store.register("s", "", [a_trial(seed) for seed in range(seeds)])
    arguments = (str(store.path), str(tmp_path / "marks"), seeds, str(violations))
    processes = [spawn(coordinate, *arguments, chance) for chance in range(3)]
    attempts = Path(f"{violations}.attempts")
    wait_for_lines(attempts, 4)
    os.kill(processes[0].pid, signal.SIGKILL)
    for process in processes:
        process.join(90)
    assert [process.exitcode for process in processes[1:]] == [0, 0]
    store.claims.reap()
    store.ingest()
    assert lines(violations) == []
    made = lines(attempts)
    assert len(made) == len(set(made))
    outcomes = store.outcomes()
    assert len(outcomes) == seeds
    assert {outcome.status for outcome in outcomes.values()} == {"done"}
    done = store.rows("select trial_id, count(*) from records where status = 'done' group by trial_id")[1]
    assert len(done) == seeds
    assert {row[1] for row in done} == {1}
    assert store.check().healthy
    assert store.claims.live() == []


def test_reading_works_while_a_coordinator_writes(store, spawn, tmp_path):
    notes = tmp_path / "acknowledged"
    process = spawn(ingest_for_ever, str(store.path), str(notes), 0)
    reader = Store(store.path, wait=20.0)
    wait_for_lines(notes, 4)
    seen = [len(reader.runs()) for _ in range(8)]
    process.kill()
    process.join()
    assert seen == sorted(seen)
    assert seen[-1] > 0
