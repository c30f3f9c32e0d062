"""The local executor's parts, without training."""

from __future__ import annotations

import pytest

from scalelab.execute.jobs import Finished, Lost, Progressed, event_from_json


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
