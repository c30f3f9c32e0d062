"""What a reader should know of an imported table before believing an analysis of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalelab.store.parameters import COMPONENTS, SCALES


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def notes_on_names(renamed: Mapping[str, str]) -> list[str]:
    """Returns what columns are called here that SQL would take for others."""
    return [
        f"column {name!r} differs from another one in capital letters only, which SQL does not tell apart; "
        f"it is called {free!r} here"
        for free, name in renamed.items()
    ]


def notes_on(columns: Mapping[str, list[Any]], extra: Mapping[str, list[Any]]) -> tuple[str, ...]:
    """Returns what a reader should know before believing an analysis of these runs."""
    notes = []
    bad = sum(status == "diverged" for status in columns["status"])
    cut = sum(status in ("failed", "interrupted") for status in columns["status"])
    if cut:
        notes.append(f"runs that failed or were cut short, such as pruned ones, left out of every fit: {cut}")
    if bad:
        notes.append(f"runs without a finite outcome, diverged and left out of every fit: {bad}")
    if not columns.keys() & set(SCALES):
        numbers = [name for name, values in extra.items() if any(_is_number(value) for value in values)]
        notes.append(
            f"no column is a scale by a known name: laws need --law or --axis over {', '.join(numbers)}, or "
            f"map one of {', '.join(SCALES)}"
        )
    if "loss" not in columns:
        notes.append("there is no loss: fronts and tree models can be made, laws need --map loss=…")
    designs = [columns[name] for name in (*COMPONENTS, *SCALES) if name in columns]
    facts_too = not columns.keys() & set(SCALES)
    designs += [values for name, values in extra.items() if facts_too or not name.startswith("feature_")]
    repeats = len(columns["status"]) - len(set(zip(*designs, strict=True)))
    if repeats and "seed" not in columns:
        notes.append(
            f"runs with the scales and options of another one, which count as its repeats: {repeats}; "
            "where they differ in a choice, map it, such as --map optimizer_lr=lr, or name it in a law"
        )
    return tuple(notes)
