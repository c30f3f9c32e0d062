"""What a page knows of each run beside what its tables say: settings, seed and loss, in few bytes.

A column has its different values and a number for each run, or a value for each where most differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scalelab.analysis.runs.columns import OPTION_PREFIXES
from scalelab.report.numbers import plain, short
from scalelab.report.runs import runs_of

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.analyze import Analysis

MOST_BYTES = 30_000
"""Of the 60 kB that script and data have; the last runs of a larger payload are left out."""

NO_RUNS = '{"repeats": [], "columns": []}'

_ID = 8


def payload(analysis: Analysis) -> str:
    """Returns the facts of an analysis' runs as JSON that can stand between the tags of a script.

    `repeats` has the number of runs of the designs r1, r2 … that `data-run` names; `columns` a list for each
    fact: its name, its different values, and for each run the number of its value. Where most differ, they
    are none, and the list ends with the values, one text with a bar between them.
    """
    table = runs_of(analysis).table
    text = _written(table)
    while len(text) > MOST_BYTES:
        table = table.head(int(len(table) * 0.9 * MOST_BYTES / len(text)))
        text = _written(table)
    return text


def _written(table: pd.DataFrame) -> str:
    columns = [_column(name, texts) for name, texts in _facts(table) if any(texts)]
    found: dict[str, Any] = {"repeats": table.groupby("key", sort=False).size().tolist(), "columns": columns}
    # No name can end the script element, or be anything but a text in it.
    return json.dumps(found, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")


def _facts(table: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Yields name and texts of what is known of runs: of settings those in which they differ."""
    if "trial_id" in table:
        yield "run", [str(name)[:_ID] for name in table["trial_id"]]
    if "train_flops" in table:
        yield "training FLOPs", [short(flops) for flops in table["train_flops"]]
    if "epochs" in table and table["epochs"].nunique() > 1:
        yield "epochs", [plain(epochs) for epochs in table["epochs"]]
    for name in table.columns:
        if name.startswith(OPTION_PREFIXES) and table[name].astype(str).nunique() > 1:
            yield name.partition("_")[2], [_text(value) for value in table[name]]
    if "seed" in table:
        yield "seed", [_text(seed) for seed in table["seed"]]
    yield "loss", [plain(loss, 4) for loss in table["loss"]]


def _text(value: Any) -> str:
    """Returns a setting as text; an empty one where the run has no such setting."""
    if value is None or value != value:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _column(name: str, texts: list[str]) -> list[Any]:
    texts = [str(text) for text in texts]
    known = list(dict.fromkeys(texts))
    if len(known) > len(texts) / 2:
        return [name, None, "|".join(text.replace("|", "/") for text in texts)]
    places = {text: place for place, text in enumerate(known)}
    return [name, known, [places[text] for text in texts]]
