"""Refits: what the best design of a cross-validation reached when it was trained again, over its seeds.

The interval of a mean over seeds is Student's: it says how the mean would move with other seeds, on the same
examples. What other patients or other recordings would give is in no table of runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from scalelab.analysis.estimate import Estimate
from scalelab.records import Direction

if TYPE_CHECKING:
    import pandas as pd

Part = Literal["validation", "test"]


@dataclass(frozen=True)
class Score:
    """One number of the refitted trials of a study.

    Attributes:
        split: Where it was measured.
        name: `loss`, or the name of a metric.
        mean: Over the seeds, with its interval; without one of a single seed.
        deviation: Standard deviation over the seeds; `None` of a single one.
        lowest: Of a seed.
        highest: Of a seed.
        values: Of each seed, in the order of the seeds.
        n_examples: Examples that it was measured on.
    """

    split: Part
    name: str
    mean: Estimate
    deviation: float | None
    lowest: float
    highest: float
    values: tuple[float, ...]
    n_examples: int | None


@dataclass(frozen=True)
class Refitted:
    """The best design of a study, trained again.

    Attributes:
        study: The study.
        dataset: Name of the dataset, with those of its options that differ among the runs.
        architecture: Name of the architecture.
        optimizer: Name of the optimizer.
        n_params: Parameters of the network.
        seeds: Of its trials.
        chosen_by: The objective whose mean chose it among the study's designs.
        direction: Which way that is better.
        scores: On validation and test.
    """

    study: str
    dataset: str
    architecture: str
    optimizer: str
    n_params: int | None
    seeds: tuple[int, ...]
    chosen_by: str
    direction: Direction
    scores: tuple[Score, ...]

    json_fields: ClassVar[tuple[str, ...]] = (
        "study", "dataset", "architecture", "optimizer", "n_params", "seeds", "chosen_by", "direction",
        "scores",
    )  # fmt: skip


def refits(runs: pd.DataFrame, done: pd.DataFrame, level: float) -> tuple[Refitted, ...]:
    """Returns what the refits of studies reached, by study.

    Args:
        runs: One row per trial of a study, as the store's `runs`.
        done: What `finished_runs` made of them.
        level: Coverage of the intervals of means.
    """
    if "refitted" not in runs.columns or "trial_id" not in runs.columns:
        return ()
    labels = dict(zip(done["trial_id"], done["dataset_label"], strict=True))
    own = runs[runs["refitted"].fillna(False).astype(bool) & runs["trial_id"].isin(list(labels))]
    if "planned" in own.columns:
        own = own[own["planned"].astype(bool)]
    return tuple(
        _refitted(str(study), group.sort_values("seed"), labels, level)
        for study, group in own.groupby("study", sort=True)
    )


def _refitted(study: str, group: pd.DataFrame, labels: Mapping[str, str], level: float) -> Refitted:
    first = group.iloc[0]
    return Refitted(
        study=study,
        dataset=labels[first["trial_id"]],
        architecture=str(first["architecture"]),
        optimizer=str(first["optimizer"]),
        n_params=int(first["n_params"]) if math.isfinite(float(first["n_params"])) else None,
        seeds=tuple(int(seed) for seed in group["seed"]),
        chosen_by=str(first["metric"]),
        direction=first["direction"],
        scores=tuple(_scores(group, level)),
    )


def _scores(group: pd.DataFrame, level: float) -> Iterator[Score]:
    tables: tuple[tuple[Part, str, str, str], ...] = (
        ("validation", "loss", "metrics", "n_validated"),
        ("test", "test_loss", "test_metrics", "n_tested"),
    )
    for split, loss, metrics, counted in tables:
        rows = [{"loss": row[loss], **_read(row[metrics])} for row in group.to_dict("records")]
        sizes = {int(n) for n in group[counted].dropna()}
        for name in rows[0]:
            values = [float("nan") if row.get(name) is None else float(row[name]) for row in rows]
            if all(map(math.isfinite, values)):
                yield _score(split, name, values, sizes.pop() if len(sizes) == 1 else None, level)


def _read(metrics: Any) -> dict[str, float | None]:
    found: dict[str, float | None] = json.loads(metrics) if isinstance(metrics, str) else metrics or {}
    return found


def _score(split: Part, name: str, values: Sequence[float], n_examples: int | None, level: float) -> Score:
    numbers = np.asarray(values)
    n, mean = len(numbers), float(numbers.mean())
    deviation = float(numbers.std(ddof=1)) if n > 1 else None
    estimate = mean_of(mean, deviation, n, level)
    ends = float(numbers.min()), float(numbers.max())
    return Score(split, name, estimate, deviation, *ends, tuple(values), n_examples)


def mean_of(mean: float, deviation: float | None, n: int, level: float) -> Estimate:
    """Returns a mean over seeds with Student's interval, which one seed does not have.

    Args:
        mean: The mean.
        deviation: The standard deviation over seeds; of one seed it does not matter.
        n: How many there are.
        level: Coverage of the interval.
    """
    from scipy.stats import t

    if n < 2 or deviation is None:
        return Estimate(mean)
    half = float(t.ppf(0.5 + level / 2, n - 1)) * deviation / math.sqrt(n)
    return Estimate.of(mean, mean - half, mean + half)
