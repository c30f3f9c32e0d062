"""Which columns of runs are the axes of a law: any numeric one, a scale, an option or a fact.

An axis goes by the name of its column, or by that name without its prefix: `n_experts` means
`feature_n_experts` where there is no column of that very name and no other option or fact is called so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from scalelab.analysis.laws import get_law
from scalelab.analysis.laws.formula import Formula
from scalelab.analysis.runs import rates, sweeps
from scalelab.analysis.runs.columns import OPTION_PREFIXES
from scalelab.analysis.runs.datasets import dataset_labels
from scalelab.analysis.runs.designs import CHOSEN, SCALES
from scalelab.analysis.runs.selection import JOINT
from scalelab.errors import FitError, InputError, suggest
from scalelab.law import ALIASES, Law

if TYPE_CHECKING:
    import pandas as pd

PREFIXES = (*OPTION_PREFIXES, "feature_")
ANY = (("x",), ("...",))
"""What laws of any axis say that their axes are."""
_NO_AXES = (
    "loss", "loss_last", "objective", "objective_last", "seed", "data_seed", "attempt", "attempts",
    *CHOSEN.values(), *rates.FACTS, *sweeps.FACTS,
)  # fmt: skip
_OF_TEST = "test_"
_SHOWN = 12


def own_axes(law: str | Law | None) -> tuple[str, ...]:
    """Returns the axes that a law names itself; none for one of any axis, or a formula not yet `formed`."""
    return () if law is None or isinstance(law, str) or law.axes in ANY else law.axes


def formed(law: str | Law, axes: Iterable[str]) -> Law:
    """Returns the form of a name; a formula along those of these axes that it names.

    Raises:
        FitError: There is no such form, or the formula determines no law.
        InputError: A formula names none of the axes.
    """
    form = get_law(law)
    if not isinstance(form, Formula) or form.axes not in ANY:
        return form
    known = list(axes)
    along = tuple(name for name in form.names if name in known)
    meant = "".join(suggest(name, known) for name in form.names if name not in known)
    if not along:
        raise InputError(
            f"law {form.name!r} names no axis: its names are {', '.join(form.names)}"
            + (meant or f", and the runs have {', '.join(known)}")
        )
    try:
        return form.specialize(along)
    except FitError as error:
        raise FitError(f"{error}{meant}") from error


def with_axes(
    done: pd.DataFrame, law: str | Law | None, axes: Iterable[str] = ()
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Adds the axes of a question to the table of runs, each under the name by which it is asked for.

    Args:
        done: What `scalelab.analysis.runs.designs.finished_runs` returned.
        law: The law; the names in a formula that are columns are axes.
        axes: Names of more axes, which must be columns.

    Returns:
        The table, and the names of the axes that are not among `SCALES`.

    Raises:
        InputError: There is no numeric column of an axis's name, or there are several.
        FitError: There is no such law, or the formula is wrong.
    """
    form = None if law is None or law == "auto" else get_law(law)
    needed = [*own_axes(form), *(axis for axis in axes if axis != JOINT)]
    wanted = [*(form.names if isinstance(form, Formula) else ()), *needed]
    found = {axis: _column(done, axis, required=axis in needed) for axis in wanted if axis not in SCALES}
    extra = {axis: column for axis, column in found.items() if column is not None}
    if isinstance(form, Formula) and not extra and not set(form.names) & set(SCALES):
        formed(form, numeric_columns(done))
    known = done.assign(**{axis: done[column].astype(float) for axis, column in extra.items()})
    of_data = {column for column in extra.values() if column.startswith("dataset_")}
    if of_data:  # runs that differ along the axis are of one family
        known["dataset_label"] = dataset_labels(done, without=of_data)
    return known, tuple(extra)


def numeric_columns(done: pd.DataFrame) -> list[str]:
    """Returns the columns that may be axes: the scales that the runs have, then options and facts."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return [
        name
        for name in (*SCALES, *(own for own in done.columns if own not in SCALES))
        if name in done.columns
        and name not in _NO_AXES
        and not name.startswith(_OF_TEST)
        and is_numeric_dtype(done[name])
        and not is_bool_dtype(done[name])
        and done[name].notna().any()
    ]


def _column(done: pd.DataFrame, axis: str, *, required: bool) -> str | None:
    """Returns the column of an axis; `None` where there is none and none is required."""
    columns = numeric_columns(done)
    alias = next((name for name, other in ALIASES.items() if other == axis), axis)
    for name in (axis, alias):
        if name in columns:
            return name
    ends = [prefix + axis for prefix in PREFIXES if prefix + axis in columns]
    if len(ends) > 1:
        raise InputError(f"axis {axis!r} may be {' or '.join(ends)}; write the whole name")
    if ends or not required:
        return ends[0] if ends else None
    if axis in done.columns:
        raise InputError(f"column {axis!r} of the runs is no axis: that is a column of numbers, no outcome")
    shown = ", ".join(columns[:_SHOWN]) + (" …" if len(columns) > _SHOWN else "")
    hint = suggest(axis, [*columns, *(own.partition("_")[2] for own in columns if own.startswith(PREFIXES))])
    raise InputError(f"unknown axis {axis!r}{hint}; the runs have {shown}, and joint is their grid")
