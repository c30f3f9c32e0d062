"""Records say which libraries made them; a run says what changed since, and runs it again on request."""

from __future__ import annotations

import json

import pytest

from scalelab.execute import changes, worker
from scalelab.execute.coordinator import run_study
from scalelab.plugins import load_plugins
from scalelab.plugins.libraries import libraries_of_trial
from scalelab.store import open_store


@pytest.fixture
def versions(monkeypatch):
    """Lets a test say which versions are installed."""
    now: dict[str, str] = {}

    def libraries(catalog, trial):
        return {**libraries_of_trial(catalog, trial), **now}

    monkeypatch.setattr(worker, "libraries_of_trial", libraries)
    monkeypatch.setattr(changes, "libraries_of_trial", libraries)
    return now


def test_a_changed_library_is_told_and_redone_on_request(lab, versions):
    catalog = load_plugins(plugins_dirs=[lab.plugins], select="toys")
    study, store = lab.study(seeds=1), lab.folder / "changes.duckdb"
    said: list[str] = []

    def run(**options):
        said.clear()

        def hear(event):
            if hasattr(event, "changed"):
                said.append(event.changed)

        return run_study(study, store, workers=0, catalog=catalog, on_event=hear, **options)

    versions["wavelets"] = "1.0"
    first = run()
    assert (first.done, said) == (4, [""])
    recorded = open_store(store).runs()["libraries"].map(json.loads)
    assert all({"torch", "numpy", "toys.py", "wavelets"} <= set(one) for one in recorded)

    versions["wavelets"] = "1.1"
    kept = run()
    assert (kept.kept, kept.done) == (4, 0)
    assert said == [
        "4 done trials were made with other versions: wavelets 1.0 → 1.1; --redo-changed runs them again"
    ]
    again = run(redo_changed=True)
    assert (again.kept, again.done) == (0, 4)
    assert said[0].endswith("wavelets 1.0 → 1.1; run again now")
    runs = open_store(store).runs()
    assert list(runs["attempt"]) == [2] * 4
    after = run(redo_changed=True)
    assert (after.kept, after.done, said) == (4, 0, [""])


def test_what_is_told_is_one_line(versions):
    found = {str(n): (f"a 1 → {n % 2 + 2}", *(f"b{i} 1 → 2" for i in range(n))) for n in range(1, 7)}
    line = changes.told(found, redo=False)
    assert line.startswith("6 done trials were made with other versions: b0 1 → 2 (6), b1 1 → 2 (5)")
    assert " and 3 more; --redo-changed" in line
    assert changes.told({}, redo=False) == ""
