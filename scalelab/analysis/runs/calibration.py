"""How far the probabilities of classifiers are from what happened, for the best run of each family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from scalelab.analysis.runs.designs import Family, split
from scalelab.arrays import Array
from scalelab.records import Calibration

if TYPE_CHECKING:
    import pandas as pd

Calibrations = dict[Literal["validation", "test"], Calibration]


@dataclass(frozen=True, eq=False)
class Reliability:
    """The calibration of a family's best run on one split, each class against the rest.

    Attributes:
        family: Whose.
        metric: By which objective its best run is the best.
        split: `validation` or `test`.
        trial_id: The run.
        n_params: Its parameters, NaN where unknown.
        n: Examples of the split that it was measured on.
        best: Whether it is the family's best run; else better ones do not record their calibration.
        classes: Expected calibration error of each class, the largest first.
        bins: A row a bin of predicted probability, pooled over classes: its ends `low` and `high`, `count`,
            mean `probability`, `positives`, their `part` of the count with the ends of its Wilson interval,
            `lower` and `upper`; NaN in an empty bin.
        level: Coverage of these intervals.
    """

    family: Family
    metric: str
    split: Literal["validation", "test"]
    trial_id: str
    n_params: float
    n: int
    best: bool
    classes: dict[str, float]
    bins: pd.DataFrame
    level: float

    json_fields: ClassVar = (
        "*family.shown", "metric", "split", "trial_id", "n_params", "n", "best", "ece", "classes", "bins",
    )  # fmt: skip

    @property
    def ece(self) -> float:
        """Expected calibration error, mean over classes."""
        return float(np.mean(list(self.classes.values())))


def reliabilities(done: pd.DataFrame, level: float) -> tuple[Reliability, ...]:
    """Returns the calibration of each family's best run that records one, a result a split.

    Args:
        done: What `scalelab.analysis.runs.designs.finished_runs` returned. A column `calibration` that holds
            something else than the store's is one of an imported table, and not read.
        level: Coverage of the intervals.

    Returns:
        By dataset, metric and then objective, the best first.
    """
    if "calibration" not in done.columns:
        return ()
    found: list[Reliability] = []
    for (_, _, direction), task in split(done, ["dataset_label", "metric", "direction"]):
        ranked = task.sort_values(
            "chosen_objective", ascending=direction == "minimize", kind="stable", na_position="last"
        )
        for _, own in ranked.groupby(["architecture", "optimizer"], sort=False):
            found += _of_best(own, level)
    return tuple(found)


def wilson(successes: Array, n: Array, level: float) -> tuple[Array, Array]:
    """Returns both ends of Wilson's interval of probabilities; NaN without trials.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.

    Args:
        successes: How often it happened, shape (k,).
        n: Out of how many trials, shape (k,).
        level: Coverage.
    """
    from scipy.special import ndtri

    z2 = float(ndtri(0.5 + level / 2)) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        center = (successes + z2 / 2) / (n + z2)
        half = np.sqrt(z2 * (successes * (n - successes) / n + z2 / 4)) / (n + z2)
    # Rounding must not move the ends of what never or always happened.
    lower, upper = np.where(successes == 0, 0.0, center - half), np.where(successes == n, 1.0, center + half)
    return np.where(n > 0, lower, np.nan), np.where(n > 0, upper, np.nan)


def _of_best(ranked: pd.DataFrame, level: float) -> Iterator[Reliability]:
    """Yields the calibration of the first run that records one."""
    for place in np.flatnonzero(ranked["calibration"].notna()):
        recorded = _read(ranked["calibration"].iloc[place])
        if recorded:
            run = ranked.iloc[place].to_dict()
            for name, told in recorded.items():
                yield Reliability(
                    Family(run["dataset_label"], run["architecture"], run["optimizer"]),
                    run["metric"],
                    name,
                    str(run.get("trial_id", "")),
                    float(run["n_params"]),
                    sum(told.counts) // len(told.ece),
                    bool(place == 0),
                    dict(sorted(told.ece.items(), key=lambda item: -item[1])),
                    _bins(told, level),
                    level,
                )
            return


def _read(text: object) -> Calibrations | None:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Calibrations).validate_json(text) if isinstance(text, str) else None
    except ValidationError:
        return None


def _bins(told: Calibration, level: float) -> pd.DataFrame:
    import pandas as pd

    edges = np.linspace(0, 1, len(told.counts) + 1)
    counts, positives = np.array(told.counts, dtype=float), np.array(told.positives, dtype=float)
    lower, upper = wilson(positives, counts, level)
    with np.errstate(invalid="ignore"):
        part = positives / counts
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "count": told.counts,
            "probability": np.array(told.probabilities, dtype=float),
            "positives": told.positives,
            "part": part,
            "lower": lower,
            "upper": upper,
        }
    )
