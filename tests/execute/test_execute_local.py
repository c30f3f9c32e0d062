"""The local executor's parts, without training."""

from __future__ import annotations

import pytest

from scalelab.execute.jobs import Finished, Lost, Progressed, event_from_json
from scalelab.execute.local import threads_per_worker


@pytest.mark.parametrize(
    ("workers", "cores", "threads"), [(1, 2, 2), (2, 2, 1), (3, 2, 1), (2, 16, 8), (3, 16, 5), (0, 4, 4)]
)
def test_threads_share_the_cores(workers, cores, threads):
    assert threads_per_worker(workers, cores) == threads


@pytest.mark.parametrize(
    "event",
    [
        Progressed(trial_id="a", step=1, n_steps=2, loss=0.5),
        Finished(trial_id="a", status="done", wall_seconds=1.5, loss=None),
        Lost(trial_id="a", reason="gone"),
    ],
)
def test_events_survive_json(event):
    assert event_from_json(event.model_dump_json()) == event
