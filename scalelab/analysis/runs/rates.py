"""Learning rates of the points of a law: whether they were varied, and their optimum bracketed.

The best rate moves with size and data. Where every size had one rate, or the best of those it had lies at an
end of them, the exponent of a law is in part that of the rate. What counts for a point are the rates that its
own settings were run with: those of another initialization, say, tell nothing of its optimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalelab.analysis.runs.sweeps import alike
from scalelab.arrays import Array
from scalelab.records import FINAL_STATUSES

if TYPE_CHECKING:
    import pandas as pd

FACTS = ("rate_low", "rate_high")
"""Columns of runs and designs: the ends of the rates that runs of otherwise the same settings had."""
_RATE = "optimizer_lr"


@dataclass(frozen=True, eq=False)
class Rates:
    """The learning rates behind the points of a law.

    Attributes:
        chosen: Those of the points, shape (points,).
        low: The lowest that was tried for each: with its settings, else at its scale in its studies.
        high: The highest.
    """

    chosen: Array
    low: Array
    high: Array

    @property
    def varied(self) -> bool:
        """Whether any point was chosen among several rates."""
        return bool((self.low < self.high).any())

    @property
    def inside(self) -> int:
        """How many points have a rate with others tried below it and above it."""
        return int(((self.chosen > self.low) & (self.chosen < self.high)).sum())

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is to be said against the law because of them."""
        if not self.varied:
            rates = sorted(set(self.chosen))
            one = f" ({rates[0]:.3g})" if len(rates) == 1 else ""
            return (
                f"no size was run with a second learning rate{one}: the best rate moves with size, and the "
                "exponent may be that of the rate",
            )
        at_end = len(self.chosen) - self.inside
        if not at_end:
            return ()
        return (
            f"the best learning rate of {at_end} of {len(self.chosen)} points lies at an end of those tried: "
            "a better one may lie beyond, and the exponent may be that of the rate",
        )


def with_rates(runs: pd.DataFrame, done: pd.DataFrame) -> pd.DataFrame:
    """Adds `FACTS` to the finished runs, where they record learning rates.

    Args:
        runs: All runs; a rate at which one diverged bounds the others, too.
        done: The finished ones, with `trial_id`.
    """
    import pandas as pd

    if not {_RATE, "trial_id"} <= {*runs.columns} or "trial_id" not in done.columns:
        return done
    ended = runs[runs["status"].isin(FINAL_STATUSES)].drop_duplicates("trial_id")
    rates = pd.to_numeric(ended[_RATE], errors="coerce").astype(float)
    own = rates.groupby(alike(ended, _RATE))
    both = zip(FACTS, (own.transform("min"), own.transform("max")), strict=True)
    ends = {name: pd.Series(column.to_numpy(), index=ended["trial_id"]) for name, column in both}
    return done.assign(**{name: done["trial_id"].map(values) for name, values in ends.items()})


def rates_of(rows: pd.DataFrame, best: pd.DataFrame, axes: tuple[str, ...]) -> Rates | None:
    """Returns the learning rates of a law's points; `None` where they are not recorded or are too few.

    Args:
        rows: The designs that the points were chosen from, with the column `peak_rate`.
        best: The points: of each scale the best design.
        axes: The law's axes.
    """
    if "peak_rate" not in rows or rows["peak_rate"].isna().any() or len(best) < 2:
        return None
    tried, own = _tried(rows), _tried(best)
    by_scale = tried.groupby(list(axes))
    for at in np.flatnonzero(own["least"] == own["most"]):
        point = own.iloc[at]
        there = by_scale.get_group(tuple(point[name] for name in axes))
        if "studies" in there:
            there = there[[not {*names}.isdisjoint(point["studies"]) for names in there["studies"]]]
        own.loc[at, ["least", "most"]] = there["least"].min(), there["most"].max()
    return Rates(*(own[name].to_numpy(dtype=float) for name in ("peak_rate", "least", "most")))


def _tried(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds to designs the ends of the rates that were tried with their settings: `least` and `most`."""
    own = [rows[name] if name in rows else rows["peak_rate"] for name in FACTS]
    least, most = (ends.fillna(rows["peak_rate"]) for ends in own)
    if "swept" in rows:
        swept = rows["swept"] == "lr"
        least, most = least.mask(swept, rows["swept_low"]), most.mask(swept, rows["swept_high"])
    return rows.assign(least=least, most=most)
