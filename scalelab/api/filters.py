"""Which runs of a source a question is about: studies, names of components, a condition over columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from scalelab.api.source import opened
from scalelab.errors import InputError, brief, plain_line, suggest
from scalelab.records import UNSPECIFIED

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.api.source import Source
    from scalelab.records import Charge, On
    from scalelab.store import Store

KINDS = ("dataset", "architecture", "optimizer")
_PLACE = "place of the run in its table"


class Filters(TypedDict, total=False):
    """Which runs are meant, and which of their losses; what is left out or `None` filters nothing.

    Attributes:
        study: Only this study, or only these.
        dataset: Only this dataset; it may be named with the options that set it apart from another one.
        architecture: Only this architecture.
        optimizer: Only this optimizer.
        where: Only runs for which this SQL condition over the columns of `runs` is true, such as
            `n_params > 1e5 and seed = 0`; `loss` is that of the best validation in it, whatever `on` says.
        on: Losses and objectives of the best `validation` (the default), of the best step's weights on the
            `test` split, or of the `last` step.
        charge: Whether training FLOPs count all steps (`last`, the default) or those to the `best` one.
    """

    study: str | Sequence[str] | None
    dataset: str | None
    architecture: str | None
    optimizer: str | None
    where: str | None
    on: On | None
    charge: Charge | None


class Chosen(NamedTuple):
    """The runs that filters leave.

    Attributes:
        runs: Finished or not, one row per run of a trial in a study.
        planned: How many trials each study asks for; `None` where that is not known of what is left.
        said: What the filters but that of studies leave, in words; empty where there are none.
    """

    runs: pd.DataFrame
    planned: dict[str, int] | None
    said: str


def studies_named(study: str | Sequence[str] | None) -> list[str] | None:
    """Returns the names of the studies that are meant, each once; `None` for all."""
    if study is None:
        return None
    return list(dict.fromkeys([study] if isinstance(study, str) else study)) or None


def planned_trials(store: Store, study: str | Sequence[str] | None) -> dict[str, int]:
    """Returns how many trials each study asks for, after making sure that there is something to analyze.

    Raises:
        InputError: The store has no such study, or none of its runs is finished.
    """
    path = store.path
    known = {summary.study: summary for summary in store.studies()}
    names = studies_named(study)
    for name in names or ():
        if name not in known:
            raise InputError(
                f"{path} has no study {name!r}{suggest(name, known)}; it has {', '.join(known) or 'none'}"
            )
    wanted = known if names is None else {name: known[name] for name in names}
    if not any(summary.done for summary in wanted.values()):
        what = f"study {' or '.join(map(repr, names))} in {path}" if names else str(path)
        raise InputError(f"{what} has no finished runs yet; next: scalelab run STUDY.toml --store {path}")
    return {name: summary.planned for name, summary in wanted.items()}


def finished_runs(source: Source, **only: Unpack[Filters]) -> pd.DataFrame:
    """Returns the finished runs with a finite loss, one row per trial.

    Args:
        source: A store, its file, or a table of runs.
        only: Which runs are meant, and which of their losses, see `Filters`.

    Raises:
        InputError: There are none, or none of that name, or they do not record the loss that is meant.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.runs.outcomes import taken

    runs, where, _ = _all_runs(source, only.get("study"))
    on, charge = only.get("on"), only.get("charge")
    runs = taken(_finished(runs, only, _kept(runs, only)), on, charge)
    if runs.empty:
        raise InputError(f"{where} has no finished run with a finite loss that matches all of these filters")
    return runs


def chosen_runs(source: Source, **only: Unpack[Filters]) -> Chosen:
    """Returns the runs that filters leave, finished or not, and how to say so.

    Raises:
        InputError: A filter names what is not there, or leaves no finished run.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.runs.designs import finished_runs

    runs, _, planned = _all_runs(source, only.get("study"))
    words = _in_words(only)
    if not words:
        return Chosen(runs, planned, "")
    kept = _kept(runs, only)
    done = _finished(runs, only, kept)
    left = _as_named(runs, only)
    if kept is not None:
        left &= kept
    if "trial_id" in runs.columns:
        left = left.where(runs["status"] != "done", runs["trial_id"].isin(done["trial_id"]))
    said = f"{words}: {len(done):,} of {len(finished_runs(runs)):,} finished runs"
    n_not_begun = _n_not_begun(runs, planned or {})
    if n_not_begun:
        said += f"; {n_not_begun:,} trials have not begun, which of these would be taken is not known"
    return Chosen(runs[left], None, said)


def _in_words(only: Mapping[str, Any]) -> str:
    names = ", ".join(f"{kind} {only[kind]}" for kind in KINDS if only.get(kind))
    where = f"where {plain_line(only['where'])}" if only.get("where") else ""
    with_names = f"with {names}" if names else ""
    return " ".join(["only runs", *filter(None, [with_names, where])]) if names or where else ""


def _n_not_begun(runs: pd.DataFrame, planned: Mapping[str, int]) -> int:
    """Returns how many trials of studies have no attempt yet."""
    if not planned:
        return 0
    begun = runs[runs["planned"].astype(bool)].groupby("study").size()
    return sum(max(0, n_trials - int(begun.get(study, 0))) for study, n_trials in planned.items())


def _all_runs(
    source: Source, study: str | Sequence[str] | None
) -> tuple[pd.DataFrame, str, dict[str, int] | None]:
    """Returns the runs of a source, what it is called, and how many trials its studies ask for.

    Raises:
        InputError: It has no such study, or none of the studies' runs is finished.
        StoreError: The store cannot be read.
    """
    import pandas as pd

    names = studies_named(study)
    if isinstance(source, pd.DataFrame):
        return source if names is None else source[source["study"].isin(names)], "the table", None
    store = opened(source)
    planned = planned_trials(store, names)
    if names is None or len(names) == 1:
        return store.runs(names[0] if names else None), str(store.path), planned
    runs = store.runs()
    return runs[runs["study"].isin(names)].reset_index(drop=True), str(store.path), planned


def _finished(runs: pd.DataFrame, only: Mapping[str, Any], kept: pd.Series | None) -> pd.DataFrame:
    """Returns the finished runs that the filters leave, but for that of studies.

    Args:
        runs: The runs.
        only: The filters.
        kept: For which runs their condition is true, as `_kept` says.
    """
    from scalelab.analysis.runs import designs

    if kept is not None:
        runs = runs.assign(**{_PLACE: kept.to_numpy()})
    done = _of_names(designs.finished_runs(runs), only)
    if kept is None or done.empty:
        return done
    left: pd.DataFrame = done[done[_PLACE]].drop(columns=_PLACE)
    if left.empty:
        where = str(only["where"])
        raise InputError(f"no finished run satisfies where {brief(where)}; {_what_there_is(done, where)}")
    return left


def _kept(runs: pd.DataFrame, only: Mapping[str, Any]) -> pd.Series | None:
    """Returns for which runs the condition of filters is true; `None` where there is none."""
    import pandas as pd

    from scalelab.store.foreign import opened

    where = only.get("where")
    if not where or runs.empty:
        return None
    with opened([runs]) as table:
        return pd.Series(table.listed(table.condition("where", where)), index=runs.index).eq(True)


def _what_there_is(done: pd.DataFrame, where: str) -> str:
    """Returns the values of the columns that a condition names."""
    import pandas as pd

    named = [name for name in dict.fromkeys(re.findall(r"\w+", where)) if name in done.columns]
    found = []
    for name in named:
        values = done[name].dropna()
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values) and len(values):
            found.append(f"{name} is {values.min():.6g} to {values.max():.6g}")
        else:
            found.append(f"{name} is {brief(', '.join(sorted(map(str, values.unique()))), 200)}")
    return f"in {len(done):,} finished runs {'; '.join(found)}" if found else "it names no column"


def _as_named(runs: pd.DataFrame, only: Mapping[str, Any]) -> pd.Series:
    """Returns which runs, finished or not, have the names of their components; options are not looked at."""
    import pandas as pd

    left = pd.Series(True, index=runs.index)
    for kind in KINDS:
        if only.get(kind):
            named = str(only[kind])
            names = {named, named.split(" ")[0]} if kind == "dataset" else {named}
            left &= runs[kind].astype(str).isin(names)
    return left


def _of_names(runs: pd.DataFrame, only: Mapping[str, Any]) -> pd.DataFrame:
    for kind in KINDS:
        name = only.get(kind)
        if name is None:
            continue
        columns = ["dataset", "dataset_label"] if kind == "dataset" else [kind]
        found = {str(value) for column in columns for value in runs[column].unique()}
        known = sorted(found - {UNSPECIFIED})
        if name not in known:
            there = f"there are {', '.join(known)}" if known else f"the runs name no {kind}"
            raise InputError(f"no finished run has the {kind} {name!r}{suggest(str(name), known)}; {there}")
        runs = runs[(runs[columns].astype(str) == name).any(axis=1)]
    return runs
