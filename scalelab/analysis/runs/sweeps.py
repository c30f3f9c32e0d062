"""Sweeps of a learning rate (or another option) that a study tuned: what each size reached at its best value.

A law takes one point of each sweep: the loss at the minimum between the values that were tried. A parabola
through the logarithms of the best value and its two neighbours says where it lies; the minimum brings an
error of its own, from the noise between seeds and from what a parabola may miss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from scalelab.analysis.runs.columns import option_columns, row_ids
from scalelab.arrays import Array, Index
from scalelab.records import FINAL_STATUSES

if TYPE_CHECKING:
    import pandas as pd

FACTS = ("sweep", "swept", "swept_value", "swept_low", "swept_high", "swept_lost")
"""Columns of designs: number of the sweep, its option, the design's value of it, the ends of those tried, and
the values at which runs diverged, as a tuple."""

End = Literal["low", "high"]


@dataclass(frozen=True, eq=False)
class Sweep:
    """What one size, with everything else fixed, reached over the values of one option.

    Attributes:
        dataset: Label of the dataset.
        architecture: Name of the architecture.
        optimizer: Name of the optimizer.
        n_params: Parameters of the network; NaN where unknown.
        n_examples: Training examples.
        n_steps: Optimizer steps; NaN where unknown.
        option: The option of the optimizer that was swept.
        rows: By rising value: `value`, `loss` (mean over seeds), `loss_std`, `n_runs` and `first_run`, the
            trial of the first run; a value at which runs diverged has no loss and no run.
        best: The value between those tried at which the loss is least.
        loss: The loss there.
        error: Its relative standard error.
        noise: The standard deviation of the log loss of one run, which is part of it; `None` where nothing
            near the best values of the family was run twice, and the error lacks it.
        end: The end of the values at which the best one lies, with nothing beyond it; `None` where the best
            is bracketed.
        studies: Whose it is, where the runs are of several studies.
    """

    dataset: str
    architecture: str
    optimizer: str
    n_params: float
    n_examples: float
    n_steps: float
    option: str
    rows: pd.DataFrame
    best: float
    loss: float
    error: float
    noise: float | None
    end: End | None
    studies: tuple[str, ...] = ()

    json_fields: ClassVar = (
        "dataset", "architecture", "optimizer", "n_params", "n_examples", "n_steps", "option", "best", "loss",
        "error", "noise", "end", "studies", "values=rows",
    )  # fmt: skip


def with_sweeps(runs: pd.DataFrame, done: pd.DataFrame) -> pd.DataFrame:
    """Marks the finished runs that belong to a sweep.

    Args:
        runs: All runs; a value at which one diverged bounds a sweep, too.
        done: The finished ones, with `trial_id`.

    Returns:
        The latter with the columns of `FACTS`, where any run is of a sweep.
    """
    import pandas as pd

    if "tuned" not in runs.columns or "trial_id" not in done.columns or runs["tuned"].isna().all():
        return done
    ended = runs[runs["tuned"].notna() & runs["status"].isin(FINAL_STATUSES)].drop_duplicates("trial_id")
    marks, number = [], 0
    for option, own in ended.groupby("tuned", sort=True):
        column = f"optimizer_{option}"
        values = pd.to_numeric(own[column], errors="coerce").astype(float)
        cells = number + alike(own, column)
        ends = values.groupby(cells).agg(["min", "max"])
        lost: dict[int, set[float]] = {}
        for cell, value, status in zip(cells, values, own["status"], strict=True):
            lost.setdefault(int(cell), set()).update([value] if status == "diverged" else [])
        marks.append(
            pd.DataFrame(
                {
                    "trial_id": own["trial_id"].to_numpy(),
                    "sweep": cells.astype(float),
                    "swept": str(option),
                    "swept_value": values.to_numpy(),
                    "swept_low": ends["min"].loc[cells].to_numpy(),
                    "swept_high": ends["max"].loc[cells].to_numpy(),
                    "swept_lost": [tuple(sorted(lost[int(cell)])) for cell in cells],
                }
            )
        )
        number = int(cells.max()) + 1
    marked = done.drop(columns=[name for name in FACTS if name in done.columns])
    return marked.merge(pd.concat(marks), on="trial_id", how="left")


def alike(runs: pd.DataFrame, column: str) -> Index:
    """Numbers the settings of runs, but for one option: shape (runs,).

    Args:
        runs: The runs.
        column: The option in which runs of one number may differ, beside their seeds.
    """
    names = [name for name in option_columns(runs) if name != column]
    fixed = ["dataset", "fingerprint", "architecture", "optimizer", "n_params", "n_examples", *names]
    return row_ids(runs, [name for name in fixed if name in runs.columns])


def sweeps_of(designs: pd.DataFrame) -> list[tuple[Sweep, dict[str, Any]]]:
    """Returns the sweeps of a table of designs, each with the row that a law takes in the place of its rows.

    Args:
        designs: One row for each value of a sweep, with the columns of `FACTS`.
    """
    if "sweep" not in designs.columns:
        return []
    noise = _noise(designs)
    return [
        _swept(rows.sort_values("swept_value"), noise.get(_family(rows)))
        for _, rows in designs.groupby("sweep", sort=True)
    ]


def tuned(designs: pd.DataFrame, found: list[tuple[Sweep, dict[str, Any]]]) -> pd.DataFrame:
    """Returns designs with one row for each sweep, and `loss_error`, which is 0 where nothing was swept.

    Args:
        designs: One row for each value of a sweep.
        found: What `sweeps_of` returned of them.
    """
    import pandas as pd

    if not found:
        return designs.assign(loss_error=0.0)
    rest = designs[designs["sweep"].isna()].assign(loss_error=0.0)
    kinds = {name: kind for name, kind in designs.dtypes.items() if name in found[0][1]}
    rows = pd.DataFrame([row for _, row in found]).astype(kinds)
    return pd.concat([rest, rows], ignore_index=True)


def _family(rows: pd.DataFrame) -> tuple[str, ...]:
    return tuple(str(rows[name].iloc[0]) for name in ("dataset", "architecture", "optimizer"))


def _noise(designs: pd.DataFrame) -> dict[tuple[str, ...], float]:
    """Returns by family the variance of the log loss of one run near the best values of its sweeps.

    Far above them, where some seeds diverge or nearly do, runs differ by much more.
    """
    found: dict[tuple[str, ...], list[tuple[float, int]]] = {}
    for _, rows in designs.groupby("sweep", sort=True):
        ordered = rows.sort_values("swept_value")
        best = int(np.argmin(ordered["chosen"].to_numpy(dtype=float)))
        near = ordered.iloc[max(best - 1, 0) : best + 2]
        repeated = near[(near["n_runs"] > 1) & near["log_loss_var"].notna()]
        pairs = zip(repeated["log_loss_var"], repeated["n_runs"] - 1, strict=True)
        found.setdefault(_family(rows), []).extend(pairs)
    return {
        family: float(np.average([one for one, _ in own], weights=[n for _, n in own]))
        for family, own in found.items()
        if own
    }


def _swept(rows: pd.DataFrame, noise: float | None) -> tuple[Sweep, dict[str, Any]]:
    """Returns a sweep and the row that stands for it, given the variance of the log loss of one run."""
    values, chosen = (rows[name].to_numpy(dtype=float) for name in ("swept_value", "chosen"))
    best = int(np.argmin(chosen))
    low, high = float(rows["swept_low"].iloc[0]), float(rows["swept_high"].iloc[0])
    end: End | None = "low" if values[best] <= low else "high" if values[best] >= high else None
    around = slice(best - 1, best + 2)
    if 0 < best < len(values) - 1 and (chosen[around] > 0).all():
        at, weights, missed = _minimum(np.log(values[around]), np.log(chosen[around]))
        variance = (noise or 0.0) * float(np.sum(weights**2 / rows["n_runs"].to_numpy(dtype=float)[around]))
        ratio = _reported(rows, around, weights) / float(rows["loss"].iloc[best])
        error = float(np.sqrt(variance + missed**2))
    else:
        at, ratio = float(np.log(values[best])), 1.0
        error = _beside(chosen, best, inside=end is None)
    value = float(values[best]) if ratio == 1.0 else float(np.exp(at))
    # A mapping: pandas would make a number of an array of one.
    row = {str(name): one for name, one in rows.iloc[best].items()}
    row |= {name: row[name] * ratio for name in ("loss", "chosen", "losses")}
    row["loss_error"] = error
    if row.get("peak_rate") == row["swept_value"]:
        row["peak_rate"] = value
    diverged = [value for value in rows["swept_lost"].iloc[0] if value not in values]
    sweep = Sweep(
        dataset=str(row["dataset"]),
        architecture=str(row["architecture"]),
        optimizer=str(row["optimizer"]),
        n_params=float(row["n_params"]),
        n_examples=float(row["n_examples"]),
        n_steps=float(row.get("n_steps", np.nan)),
        option=str(row["swept"]),
        rows=_tried(rows, diverged),
        best=value,
        loss=float(row["loss"]),
        error=error,
        noise=None if noise is None else float(np.sqrt(noise)),
        end=end,
        studies=_studies(rows),
    )
    return sweep, row


def _studies(rows: pd.DataFrame) -> tuple[str, ...]:
    """Returns the studies that have all values of a sweep; where none has, those that have any."""
    if "studies" not in rows:
        return ()
    own = [set(names) for names in rows["studies"]]
    return tuple(sorted(set.intersection(*own) or set.union(*own)))


def _minimum(x: Array, y: Array) -> tuple[float, Array, float]:
    """Returns where a parabola through three points is least, the points' weights there, and an error.

    The middle point is the lowest. The value there is the weighted sum, by Lagrange; half of what it lies
    below the middle point is taken as the error of a parabola's shape.
    """
    steps = np.diff(x)
    slopes = np.diff(y) / steps
    bend = float(np.diff(slopes)[0] / (x[2] - x[0]))
    at = float(x[1]) if bend <= 0 else float(0.5 * (x[0] + x[1]) - slopes[0] / (2.0 * bend))
    weights = np.array([np.prod([(at - x[j]) / (x[i] - x[j]) for j in range(3) if j != i]) for i in range(3)])
    return at, weights, 0.5 * float(y[1] - weights @ y)


def _reported(rows: pd.DataFrame, around: slice, weights: Array) -> float:
    """Returns the loss that is reported at the minimum: of the test split, say, where validation chose."""
    loss = rows["loss"].to_numpy(dtype=float)[around]
    return float(np.exp(weights @ np.log(loss))) if (loss > 0).all() else float(weights @ loss)


def _beside(chosen: Array, best: int, *, inside: bool) -> float:
    """Returns the error of a best value that has no finite loss on both sides.

    At an end the loss may fall on beyond it as it fell last. Inside, beside a value at which runs diverged,
    a parabola as steep on that side as on the other is a quarter of that lower at most.
    """
    fell = [
        abs(float(np.log(chosen[i] / chosen[best]))) for i in (best - 1, best + 1) if 0 <= i < len(chosen)
    ]
    return max(fell, default=0.0) * (0.25 if inside else 1.0)


def _tried(rows: pd.DataFrame, diverged: list[Any]) -> pd.DataFrame:
    import pandas as pd

    shown = rows.rename(columns={"swept_value": "value"})[
        ["value", "loss", "loss_std", "n_runs", "first_run"]
    ]
    beyond = pd.DataFrame(
        {"value": diverged, "loss": np.nan, "loss_std": np.nan, "n_runs": 0, "first_run": ""}
    )
    every = pd.concat([shown, beyond]) if diverged else shown
    return every.sort_values("value", ignore_index=True)
