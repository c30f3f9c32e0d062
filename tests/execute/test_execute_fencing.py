"""A coordinator that was taken for dead (suspended, its host cut off) and wakes up."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace

from scalelab import run_study
from scalelab.execute.inline import InlineExecutor
from scalelab.execute.jobs import Lost
from scalelab.store import Claim, Store


class Overtaken(InlineExecutor):
    """Loses its first job while another coordinator takes the trial over."""

    def __init__(self, lab) -> None:
        super().__init__(lab.catalog(), threads=1)
        self.store = Store(lab.store)
        self.theirs: Claim | None = None

    def poll(self, timeout):
        if self._job is None or self.theirs is not None:
            return super().poll(timeout)
        job, self._job = self._job, None
        claims = self.store.claims
        (mine,) = claims.live()
        self.store.journal.write(mine.record(job.trial, "interrupted", "its process has ended"))
        self.theirs = replace(
            mine, attempt=2, host="elsewhere/boot/x", pid=77, pid_start="boot:1.00", started_at=time.time()
        )
        (claims.folder / f"{job.trial.id}.json").write_text(json.dumps(asdict(self.theirs)))
        return [Lost(trial_id=job.trial.id, reason="woke up late")]


def test_it_changes_nothing_of_the_new_owners(lab):
    executor = Overtaken(lab)
    summary = run_study(lab.study(), lab.store, catalog=lab.catalog(), executor=executor)
    assert (summary.done, summary.elsewhere, summary.failed) == (3, 1, {})
    store, theirs = executor.store, executor.theirs
    assert store.claims.live() == [theirs]
    assert not store.journal.has(theirs.record_id)
    assert store.outcomes()[theirs.trial_id][:3] == ("interrupted", 1, "its process has ended")


def test_it_records_no_end_of_an_attempt_that_is_anothers(lab):
    """Nobody has recorded the attempt: the new owner makes it."""
    executor = Overtaken(lab)
    executor.store.journal.write = lambda _record: None
    summary = run_study(lab.study(), lab.store, catalog=lab.catalog(), executor=executor)
    assert (summary.done, summary.elsewhere) == (3, 1)
    assert executor.theirs.trial_id not in executor.store.outcomes()
    assert executor.store.claims.stands(executor.theirs)
