"""What the office of a run on Ray keeps, without Ray."""

from __future__ import annotations

import json

import pytest

from scalelab.execute.cluster.ray_office import Office

pytest.importorskip("ray", reason="ray is not installed: pip install 'scalelab[ray]'")


def said(office, after=0):
    return [(number, agent, message, files) for number, agent, message, files in office.hear(after)]


def test_of_an_attempts_progress_only_the_last_is_kept_until_it_is_heard():
    office = Office()
    office.tell("a", "taken")
    for step in range(1000):
        office.progress("a", f"a at {step}", "t-1")
        office.progress("b", f"b at {step}", "u-1")
    office.tell("a", "ended", "t-1")
    assert [(message, number) for number, _, message, _ in said(office)] == [
        ("taken", 1), ("a at 999", 2000), ("b at 999", 2001), ("ended", 2002)
    ]  # fmt: skip
    office.progress("b", "b at 1000", "u-1")
    assert [message for _, _, message, _ in said(office, 2001)] == ["ended", "b at 1000"]
    assert said(office, 2003) == []


def test_of_a_trials_checkpoints_only_the_last_is_kept_until_it_is_heard():
    office = Office()
    for n in range(5):
        office.hand_in("a", {"checkpoints/t.pt": b"%d" % n})
    office.put_back("a", "t-1", "t-2", "{}", {"checkpoints/t.pt": b"last", "logs/t-1.txt": b"log"})
    office.tell("b", "ended", "u-1", {"new/u-1.json": b"record", "checkpoints/u.pt": b"u"})
    assert [files for _, _, _, files in said(office)] == [
        {"checkpoints/t.pt": b"last", "logs/t-1.txt": b"log"},
        {"new/u-1.json": b"record", "checkpoints/u.pt": b"u"},
    ]
    office.hand_in("b", {"checkpoints/t.pt": b"later"})
    assert [files for _, _, _, files in said(office)] == [
        {"logs/t-1.txt": b"log"},
        {"new/u-1.json": b"record", "checkpoints/u.pt": b"u"},
        {"checkpoints/t.pt": b"later"},
    ]
    assert office.take("b") == ("t-2", "{}", b"later")


def test_an_attempt_that_is_put_back_waits_at_the_head():
    office = Office()
    office.post([(f"{name}-1", json.dumps(name), None) for name in "tuv"])
    assert office.take("a") == ("t-1", '"t"', None)
    office.put_back("a", "t-1", "t-2", '"t"', {})
    assert office.waiting() == ["t-2", "u-1", "v-1"]
    assert office.withdraw() == ["t-2", "u-1", "v-1"]
    assert office.take("a") is None
