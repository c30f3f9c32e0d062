"""What losses and objectives are called, by which of them a report is about."""

from __future__ import annotations

from collections.abc import Iterator

from scalelab.records import Charge, On

WORDS: dict[On, str] = {"validation": "", "test": "test ", "last": "last "}
"""What stands before the name of a loss or an objective."""

_LABELS: dict[On, str] = {
    "validation": "Validation loss",
    "test": "Test loss",
    "last": "Validation loss of the last step",
}
_MEANING: dict[On, str] = {
    "validation": "",
    "test": "losses and objectives are those of the best step's weights on the test split",
    "last": "losses and objectives are those of the last step",
}


def axis_label(metric: str, on: On = "validation") -> str:
    """Returns what a vertical axis of a loss or of an objective is called."""
    return _LABELS[on] if metric == "loss" else f"{WORDS[on].capitalize()}{metric}"


def meaning(on: On, charge: Charge) -> Iterator[str]:
    """Yields what is meant where it is not the usual: which losses, which FLOPs."""
    if _MEANING[on]:
        yield _MEANING[on]
    if charge == "best":
        yield "training FLOPs are counted to the best step"
