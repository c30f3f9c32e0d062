"""From runs to points: finished runs, designs (a mean over seeds each) and families.

A *design* is everything a trial fixes except its seeds: components, their options, training options, data
size. Runs of one design differ by chance only, so they are averaged before anything is fitted or ranked, and
their spread is the noise that a reader should know of. A *family* is one architecture trained by one
optimizer on one dataset: what has a scaling law.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from scalelab.analysis.estimate import Refusal, named
from scalelab.analysis.runs import rates, sweeps
from scalelab.analysis.runs.columns import option_columns, row_ids
from scalelab.analysis.runs.datasets import dataset_labels, space_labels
from scalelab.analysis.runs.sweeps import tuned, with_sweeps
from scalelab.analysis.runs.uncounted import operators
from scalelab.arrays import Index
from scalelab.errors import InputError
from scalelab.records import UNSPECIFIED

if TYPE_CHECKING:
    import pandas as pd
    from pandas.core.groupby import DataFrameGroupBy, SeriesGroupBy

SCALES = ("n_params", "n_examples", "epochs", "forward_flops", "train_flops")
_REQUIRED = ("status", "dataset", "architecture", "optimizer", "loss")
_OUTCOMES = ("loss", "objective")
_NAMES = ("dataset_label", "architecture", "optimizer", "metric", "direction")
_MARKS = (*rates.FACTS, *sweeps.FACTS)
FACTS = (
    "first_run", "precision", "schedule", "n_steps", "best_share", "constant_loss", "peak_rate", "uncounted",
    "studies", "n_available", *_MARKS,
)  # fmt: skip
CHOSEN = {"loss": "chosen", "objective": "chosen_objective"}
"""By outcome, the column by which designs are chosen: that of the validation, whatever is then reported."""
_MEANS = (
    "loss", "loss_std", "losses", "objective", "objective_std", "log_loss_var", "n_runs", "loss_error",
    *CHOSEN.values(),
)  # fmt: skip


class Family(NamedTuple):
    """What has a scaling law of its own.

    Attributes:
        dataset: Name of the dataset, with those of its options that differ among the runs.
        architecture: Name of the architecture.
        optimizer: Name of the optimizer.
    """

    dataset: str
    architecture: str
    optimizer: str

    @property
    def shown(self) -> dict[str, str | None]:
        """The names by kind; `None` where the runs do not say."""
        return {kind: named(name) for kind, name in self._asdict().items()}


class OfFamily(Protocol):
    """A result about a family."""

    @property
    def family(self) -> Family:
        """Whose."""
        ...


def family_of(result: OfFamily | Refusal) -> Family:
    """Returns the family that a result is about, or that a refusal was asked about."""
    family: Family = result.subject["family"] if isinstance(result, Refusal) else result.family
    return family


def finished_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Returns the runs that ended well and have a finite loss, one row a trial, in a clean index.

    The result has every column of `SCALES`, `objective`, `metric`, `direction`, `dataset_label`,
    `space_label` (see `scalelab.analysis.runs.datasets`) and `CHOSEN`, made up where the table lacks them
    (the loss is then the objective); a scale that is no positive number counts as not recorded. Of a study
    in which no run has a loss, such as an imported table of another metric, a finite objective is enough.
    Where there are several studies `studies` has the names of those that a run is of, a tuple each.

    Args:
        runs: One row per trial, as the store's `runs`.

    Raises:
        InputError: A column that nothing can be said without is missing.
    """
    import pandas as pd

    twice = sorted(set(runs.columns[runs.columns.duplicated()]))
    if twice:
        raise InputError(f"the table of runs has several columns of one name: {', '.join(map(str, twice))}")
    missing = [name for name in _REQUIRED if name not in runs.columns]
    if missing:
        raise InputError(f"the table of runs lacks the columns {', '.join(missing)}; map or add them")
    done: pd.DataFrame = runs[(runs["status"] == "done") & _has_outcome(runs)].reset_index(drop=True)
    if "trial_id" in done.columns:
        if "study" in done.columns and done["study"].nunique() > 1:
            done["studies"] = _studies(done)
        if "tuned" in done.columns:
            # A trial of several studies is of the sweep that one of them has it in.
            done = done.sort_values("tuned", kind="stable", na_position="last")
        done = done.drop_duplicates("trial_id").sort_index().reset_index(drop=True)
    if "objective" not in done.columns:
        done["objective"] = done["loss"]
    for name in (*SCALES, *_OUTCOMES):
        done[name] = (
            pd.to_numeric(done[name], errors="coerce").astype(float) if name in done.columns else np.nan
        )
    done = done.assign(**{chosen: done[name] for name, chosen in CHOSEN.items()})
    for name in SCALES:
        # What is no positive number is no scale: it counts as not recorded.
        done[name] = done[name].where(np.isfinite(done[name]) & (done[name] > 0))
    for name in ("dataset", "architecture", "optimizer"):
        done[name] = done[name].fillna(UNSPECIFIED)
    for name, default in (("metric", "loss"), ("direction", "minimize")):
        done[name] = done[name].fillna(default) if name in done.columns else default
    done["dataset_label"] = dataset_labels(done)
    done["space_label"] = space_labels(done)
    return rates.with_rates(runs, with_sweeps(runs, done))


def _studies(done: pd.DataFrame) -> pd.Series:
    """Returns for each run the names of the studies that its trial is of."""
    names = done["study"].fillna("-").astype(str)
    several = done["trial_id"].duplicated(keep=False)
    shared = {trial: tuple(dict.fromkeys(own)) for trial, own in names[several].groupby(done["trial_id"])}
    return names.map(lambda name: (name,)).where(~several, done["trial_id"].map(shared))


def _has_outcome(runs: pd.DataFrame) -> pd.Series:
    import pandas as pd

    def finite(name: str) -> pd.Series:
        values = pd.to_numeric(runs[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        return pd.Series(np.isfinite(values), index=runs.index)

    has_loss = finite("loss")
    if "objective" not in runs.columns:
        return has_loss
    studies = runs["study"].fillna("-") if "study" in runs.columns else pd.Series("-", index=runs.index)
    return has_loss | (finite("objective") & ~has_loss.groupby(studies).transform("any"))


def design_ids(done: pd.DataFrame, axes: Sequence[str] = ()) -> Index:
    """Numbers the designs: runs with the same number differ in their seeds at most.

    Args:
        done: What `finished_runs` returned, n rows.
        axes: More columns in which designs differ.

    Returns:
        Whole numbers from 0, shape (n,).
    """
    names = ["dataset_label", "architecture", "optimizer", *SCALES, *option_columns(done), *axes]
    return row_ids(done, names)


def designs(done: pd.DataFrame, axes: Sequence[str] = ()) -> pd.DataFrame:
    """Averages over seeds: one row a design, and a row in all for a sweep (`scalelab.analysis.runs.sweeps`).

    The columns are those of `averaged`, and `loss_error`, the relative standard error of a sweep's minimum.

    Args:
        done: What `finished_runs` returned.
        axes: Columns that are axes beside `SCALES`; designs differ in them, be they options or facts.
    """
    return sweeps_and_designs(done, axes)[1]


def sweeps_and_designs(
    done: pd.DataFrame, axes: Sequence[str] = ()
) -> tuple[tuple[sweeps.Sweep, ...], pd.DataFrame]:
    """Returns the sweeps of finished runs, and their `designs`."""
    values = averaged(done, axes)
    found = sweeps.sweeps_of(values)
    return tuple(sweep for sweep, _ in found), tuned(values, found)


def averaged(done: pd.DataFrame, axes: Sequence[str] = ()) -> pd.DataFrame:
    """Averages over seeds: one row a design, the values of a sweep each on its own.

    Args:
        done: What `finished_runs` returned.
        axes: Columns that are axes beside `SCALES`; designs differ in them, be they options or facts.

    Returns:
        Columns `dataset` (the label), `architecture`, `optimizer`, `metric`, `direction`, those of
        `SCALES` and of the axes, `loss`, `objective` and `CHOSEN` (means), `losses` (of the single runs, an
        array each), `loss_std` and `objective_std` (over seeds; NaN for one run), `log_loss_var` (variance of
        the log loss over seeds), `n_runs`, and `FACTS`: `first_run`, the trial of its first
        run, `precision`, `schedule`, `n_steps`, `best_share`, the part of its steps after which a run was at
        its best, `constant_loss`, what knowing nothing costs, `peak_rate`, the learning rate of the
        optimizer's options, `uncounted`, what its FLOPs leave out, `n_available`, how many training examples
        its dataset has, and `studies`, those with a run of it.
    """
    grouped = done.assign(
        design=design_ids(done, axes), log_loss=np.log(done["loss"].where(done["loss"] > 0))
    ).groupby("design", sort=True)
    labels = [*_NAMES, *SCALES, *axes]
    table = grouped[labels].first().rename(columns={"dataset_label": "dataset"})
    for name in _OUTCOMES:
        table[name] = grouped[name].mean()
        table[f"{name}_std"] = grouped[name].std()
        table[CHOSEN[name]] = grouped[CHOSEN[name]].mean()
    table["losses"] = _apart(grouped["loss"])
    table["log_loss_var"] = grouped["log_loss"].var()
    table["n_runs"] = grouped.size()
    return table.assign(**_facts(done, grouped)).reset_index(drop=True)


def _facts(done: pd.DataFrame, grouped: DataFrameGroupBy[Any, Any]) -> dict[str, Any]:
    """Returns `FACTS` of each design; NaN where no run records them."""
    import pandas as pd

    def recorded(name: str) -> pd.Series:
        # Imported tables have what they say of it as an option or a fact.
        names = (own for own in (name, f"training_{name}", f"feature_{name}") if own in done.columns)
        return next((done[own] for own in names if done[own].notna().any()), empty)

    empty = pd.Series(np.nan, index=done.index)
    of_design = grouped.ngroup()
    steps, best, constant, rate, available = (
        pd.to_numeric(recorded(name), errors="coerce").astype(float)
        for name in ("n_steps", "best_step", "constant_loss", "optimizer_lr", "n_available")
    )
    first = done["trial_id"] if "trial_id" in done.columns else done.index.to_series()
    return {
        "first_run": first.astype(str).groupby(of_design).first(),
        "precision": recorded("precision").groupby(of_design).first(),
        "schedule": recorded("schedule").groupby(of_design).first(),
        "n_steps": steps.groupby(of_design).first(),
        "best_share": (best / steps).groupby(of_design).mean(),
        "constant_loss": constant.groupby(of_design).first(),
        "peak_rate": rate.groupby(of_design).first(),
        "uncounted": operators(done).groupby(of_design).first(),
        "n_available": available.groupby(of_design).max(),
        **{name: done[name].groupby(of_design).first() for name in _MARKS if name in done.columns},
        **({"studies": done["studies"].groupby(of_design).agg(_union)} if "studies" in done.columns else {}),
    }


def _union(names: pd.Series) -> tuple[str, ...]:
    return tuple(sorted({name for own in names for name in own}))


def _apart(losses: SeriesGroupBy[Any, Any]) -> pd.Series:
    """Returns an array of the losses of each design's runs."""
    import pandas as pd

    own = losses.obj.to_numpy(dtype=float)[np.argsort(losses.ngroup().to_numpy(), kind="stable")]
    sizes = losses.count()
    parts = np.split(own[np.isfinite(own)], np.cumsum(sizes)[:-1])
    return pd.Series(parts, index=sizes.index, dtype=object)


def axes_of(table: pd.DataFrame) -> list[str]:
    """Returns the axes of a table of designs: its scales, and the others that it was made with."""
    return [name for name in table.columns if name not in (*_NAMES, *_MEANS, *FACTS, "dataset")]


def split(table: pd.DataFrame, by: list[str]) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Yields the rows of every combination of values, with the values as a tuple, in their order."""
    yield from table.groupby(by, sort=True)


def families(table: pd.DataFrame) -> list[tuple[Family, pd.DataFrame]]:
    """Splits designs by family, in alphabetical order."""
    by = ["dataset", "architecture", "optimizer"]
    return [(Family(*map(str, key)), rows) for key, rows in split(table, by)]


def seed_spread(table: pd.DataFrame) -> float | None:
    """Returns the pooled standard deviation of the log loss over seeds, about the loss's relative spread.

    `None` where no design was run twice.
    """
    repeated = table[table["n_runs"] > 1]
    freedom = (repeated["n_runs"] - 1).to_numpy(dtype=float)
    if not freedom.sum():
        return None
    return float(np.sqrt(np.average(repeated["log_loss_var"].fillna(0.0), weights=freedom)))
