"""How runs were trained: settings and rates of each family, and how much seeds matter in each cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scalelab.amounts import counted
from scalelab.analysis.runs.columns import hashable
from scalelab.analysis.runs.designs import Family, averaged, seed_spread, split
from scalelab.analysis.runs.selection import symbol
from scalelab.report.names import family_names, law_symbol
from scalelab.report.numbers import percent, plain, short
from scalelab.report.parts import Table, same_in_all
from scalelab.report.runs import FAMILY
from scalelab.report.sections.topic import Topic

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.analyze import Analysis

_SETTINGS = {
    "batch": "batch_size", "steps": "n_steps", "epochs": "epochs", "learning rate": "optimizer_lr",
    "schedule": "schedule", "warmup": "training_warmup", "clip": "training_clip_norm",
    "weight decay": "optimizer_weight_decay", "precision": "precision", "device": "device",
}  # fmt: skip
_NAMED = 4
_MANY_STUDIES = 8


def _families(runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    own = [(Family(*map(str, key)), rows) for key, rows in split(runs, FAMILY)]
    name = family_names(family for family, _ in own)
    return [(name(family), rows) for family, rows in own]


def _tables(analysis: Analysis, whole: bool) -> Iterator[Table]:
    if not whole:
        return
    families = _families(analysis.runs)
    rows = [
        {"family": name, "study": study, **_settings(own)}
        for name, runs in families
        for study, own in _studies(runs)
    ]
    there = [head for head in rows[0] if any(row[head] for row in rows)]
    shown, notes = same_in_all([{head: row[head] for head in there} for row in rows], _SETTINGS)
    if "tuned" in there:
        notes.append("tuned: the option that each size was tuned in; Tuned options has the values")
    title = f"Training settings of each family{' and study' if 'study' in there else ''}"
    yield Table.of(title, shown, numbers=slice(0), notes=notes)
    yield from _rates(analysis)
    cells = [row for name, runs in families for row in _cells(name, runs)]
    if cells:
        note = (
            "pooled standard deviation of the log loss over the seeds of the designs of a cell, about the "
            "relative spread; freedom: repeats beyond the first that it rests on"
        )
        yield Table.of("Noise between seeds by cell", cells, notes=[note], folded=True)


def _studies(runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Returns the runs of a family by study, those of several studies by these; all as one of many."""
    if "studies" not in runs.columns:
        return [("", runs)]
    names = runs["studies"].map(", ".join)
    if names.nunique() > _MANY_STUDIES:
        return [(counted(names.nunique(), "studies"), runs)]
    return [(str(study), own) for study, own in runs.groupby(names, sort=True)]


def _rates(analysis: Analysis) -> Iterator[Table]:
    """Yields the learning rate of every point of the laws, and those that were tried for it."""
    name = family_names(law.family for law in analysis.fitted)
    rows = [
        {
            "family": name(law.family),
            "law": law_symbol(law),
            "at": ", ".join(f"{symbol(axis)} = {short(point[axis])}" for axis in law.points.axes),
            "learning rate": plain(chosen),
            "tried": f"{plain(low)} to {plain(high)}" if low < high else "no other",
            "study": ", ".join(point.get("studies", ())),
        }
        for law in analysis.fitted
        if (rates := law.points.rates) is not None
        for point, chosen, low, high in zip(
            law.points.rows.to_dict("records"), rates.chosen, rates.low, rates.high, strict=True
        )
    ]
    if rows:
        there = [head for head in rows[0] if any(row[head] for row in rows)]
        note = "tried: with its settings otherwise; where that is one rate, at its scale in its study"
        yield Table.of(
            "Learning rates behind the points of the laws",
            ({head: row[head] for head in there} for row in rows),
            numbers=slice(3, 4),
            notes=[note],
            folded=True,
        )


def _settings(runs: pd.DataFrame) -> dict[str, str]:
    return {
        "runs": f"{len(runs):,}",
        "seeds": _seeds(runs),
        **{head: _values(runs, column) for head, column in _SETTINGS.items()},
        "tuned": _values(runs, "tuned"),
    }


def _seeds(runs: pd.DataFrame) -> str:
    """Returns how many seeds there are, and which: `3 (0 to 2)`."""
    known = set(hashable(runs["seed"].dropna())) if "seed" in runs.columns else set()
    which = _values(runs, "seed").partition(" (")[0]
    return f"{len(known)} ({which})" if known else ""


def _values(runs: pd.DataFrame, column: str) -> str:
    """Returns the values of a column: one, some, or the ends of many."""
    if column not in runs.columns:
        return ""
    known = hashable(runs[column].dropna())
    values = sorted(set(known), key=lambda one: (isinstance(one, str), one))
    if not values:
        return ""
    if all(isinstance(one, (int, float, np.number)) for one in values):
        texts = [
            plain(float(one)) if float(one) != round(float(one)) else f"{float(one):,.0f}" for one in values
        ]
        return ", ".join(texts) if len(values) <= 2 else f"{texts[0]} to {texts[-1]} ({len(values)} values)"
    return _listed([str(one) for one in values])


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _cells(name: str, runs: pd.DataFrame) -> Iterator[dict[str, str]]:
    designs = averaged(runs)
    for (n_params, n_examples), cell in split(designs, ["n_params", "n_examples"]):
        spread = seed_spread(cell)
        if spread is not None:
            yield {
                "family": name,
                "parameters": short(float(n_params)),
                "examples": short(float(n_examples)),
                "designs": str(len(cell)),
                "seeds differ by": percent(spread),
                "freedom": str(int((cell["n_runs"] - 1).sum())),
            }


TOPIC = Topic("training", "How the runs were trained", tables=_tables)
