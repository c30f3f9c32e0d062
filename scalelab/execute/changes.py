"""Finished trials that were made with other versions of the libraries behind their components."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from scalelab.plugins import Catalog
from scalelab.plugins.libraries import libraries_of_trial
from scalelab.records import Trial
from scalelab.trainers import components_of


def changed(
    trials: Iterable[Trial], libraries: Mapping[str, Mapping[str, str]], catalog: Catalog
) -> dict[str, tuple[str, ...]]:
    """Returns by trial what is another version now, such as `"torch 2.12.0 → 2.13.0"`.

    Libraries that one of the two does not name are left out: a plugin that imports more is another plugin.

    Args:
        trials: Finished ones.
        libraries: By trial what it was made with; those of before this was recorded are not there.
        catalog: The plugins.
    """
    found = {}
    known: dict[tuple[str, ...], dict[str, str]] = {}
    for trial in trials:
        before = libraries.get(trial.id)
        if not before:
            continue
        components = tuple(own.name for own in components_of(trial).values())
        if components not in known:
            known[components] = libraries_of_trial(catalog, trial)
        now = known[components]
        differ = [name for name in sorted(before.keys() & now.keys()) if before[name] != now[name]]
        if differ:
            found[trial.id] = tuple(f"{name} {before[name]} → {now[name]}" for name in differ)
    return found


def told(changes: Mapping[str, tuple[str, ...]], *, redo: bool) -> str:
    """Returns that in one line; empty where nothing changed."""
    if not changes:
        return ""
    counts = Counter(change for own in changes.values() for change in own)
    several = len(set(counts.values())) > 1
    words = [f"{change} ({count})" if several else change for change, count in counts.most_common()]
    listed = ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
    who = f"{len(changes)} done trial{'s were' if len(changes) > 1 else ' was'}"
    then = "run again now" if redo else "--redo-changed runs them again"
    return f"{who} made with other versions: {listed}; {then}"
