"""Which loss of a run is meant, and which FLOPs it is charged.

A run has three losses: the best of its validations, which is chosen among several and so looks a little
better than it is; that of its last step, which nothing was chosen by; and that of the best step's weights on
the test split, which nothing was chosen by either and is what a paper should report. The first is the
default, because every run has it, on the whole split, and the next run will be judged by it, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np

from scalelab.analysis.runs.designs import CHOSEN
from scalelab.errors import InputError, brief
from scalelab.records import Charge, On

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: dict[On, tuple[str, str]] = {
    "validation": ("loss", "objective"),
    "test": ("test_loss", "test_objective"),
    "last": ("loss_last", "objective_last"),
}


def taken(done: pd.DataFrame, on: On | None = None, charge: Charge | None = None) -> pd.DataFrame:
    """Returns finished runs with the loss and the objective that are asked for, and the FLOPs charged.

    Args:
        done: What `scalelab.analysis.runs.designs.finished_runs` returned.
        on: `validation` (the best of a run), `test` (of the weights of the best step) or `last` (the
            validation at the last step); default the first.
        charge: Whether `train_flops` counts all steps (`last`) or those to the best one (`best`); default
            the first.

    Raises:
        InputError: There is no such choice, or a run does not record what is asked for.
    """
    for name, value, choices in (("on", on, get_args(On)), ("charge", charge, get_args(Charge))):
        if value not in (None, *choices):
            raise InputError(f"{name} must be one of {', '.join(choices)}, got {brief(value)}")
    if on not in (None, "validation") and len(done):
        done = _on(done, on)
    if charge == "best" and len(done):
        recorded = numbers(done, "best_step") / numbers(done, "n_steps")
        _refuse_missing(recorded, "best step", "charge their last step, which is the default")
        done = done.assign(train_flops=done["train_flops"] * recorded)
    return done


def _on(done: pd.DataFrame, on: On) -> pd.DataFrame:
    loss, objective = (numbers(done, name) for name in _COLUMNS[on])
    what = "test loss" if on == "test" else "loss of their last step"
    _refuse_missing(
        loss.where(done["loss"].notna(), objective), what, "choose those that do, or ask on validation"
    )
    objective = objective.fillna(loss.where(done["metric"] == "loss"))
    changed = {"loss": loss, "objective": objective}
    if on == "test":
        # The best constant answer to the validation split is none to the test split.
        changed["constant_loss"] = loss * np.nan
    else:
        changed |= {CHOSEN["loss"]: loss, CHOSEN["objective"]: objective}
        if "n_steps" in done.columns:
            changed["best_step"] = done["n_steps"]
    return done.assign(**changed)


def numbers(done: pd.DataFrame, name: str) -> pd.Series:
    """Returns a column as numbers, NaN where it has none or is not there."""
    import pandas as pd

    if name not in done.columns:
        return pd.Series(np.nan, index=done.index)
    return pd.to_numeric(done[name], errors="coerce").astype(float)


def _refuse_missing(values: pd.Series, what: str, remedy: str) -> None:
    missing = int((~np.isfinite(values)).sum())
    if missing:
        raise InputError(f"{missing} of {len(values)} finished runs do not record the {what}; {remedy}")
