"""Where a question's runs come from: a store, its file, or a table; and which of its runs are meant."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from scalelab.amounts import amount
from scalelab.errors import InputError, suggest
from scalelab.records import UNSPECIFIED

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.law import Law
    from scalelab.plugins import Catalog
    from scalelab.records import Charge, On
    from scalelab.store import Store
    from scalelab.study import Study

    Source = Store | Path | str | pd.DataFrame
    """A store, the path of its file, or a table with the columns of a store's `runs`."""


class Filters(TypedDict, total=False):
    """Which runs are meant, and which of their losses; what is left out or `None` filters nothing.

    Attributes:
        study: Only this study.
        dataset: Only this dataset; it may be named with the options that set it apart from another one.
        architecture: Only this architecture.
        optimizer: Only this optimizer.
        on: Losses and objectives of the best `validation` (the default), of the best step's weights on the
            `test` split, or of the `last` step.
        charge: Whether training FLOPs count all steps (`last`, the default) or those to the `best` one.
    """

    study: str | None
    dataset: str | None
    architecture: str | None
    optimizer: str | None
    on: On | None
    charge: Charge | None


def opened(store: Store | Path | str, *, create: bool = False) -> Store:
    """Returns a store that is open already, or opens the one in a file.

    Args:
        store: The store, or the path of its file.
        create: Whether to make the file where it is missing.

    Raises:
        StoreError: There is none, or it cannot be read.
    """
    from scalelab.store import open_store

    return open_store(store, create=create) if isinstance(store, (str, Path)) else store


def planned_trials(store: Store, study: str | None) -> dict[str, int]:
    """Returns how many trials each study asks for, after making sure that there is something to analyze.

    Raises:
        InputError: The store has no such study, or none of its runs is finished.
    """
    path = store.path
    known = {summary.study: summary for summary in store.studies()}
    if study is not None and study not in known:
        raise InputError(
            f"{path} has no study {study!r}{suggest(study, known)}; it has {', '.join(known) or 'none'}"
        )
    wanted = known if study is None else {study: known[study]}
    if not any(summary.done for summary in wanted.values()):
        what = f"study {study!r} in {path}" if study else str(path)
        raise InputError(f"{what} has no finished runs yet; next: scalelab run STUDY.toml --store {path}")
    return {name: summary.planned for name, summary in wanted.items()}


def finished_runs(source: Source, **only: Unpack[Filters]) -> pd.DataFrame:
    """Returns the finished runs with a finite loss, one row per trial.

    Args:
        source: A store, its file, or a table of runs.
        only: Which runs are meant: `study`, `dataset` (which may be named with the options that set it apart
            from another one), `architecture`, `optimizer`; `on` and `charge` say which of their losses.

    Raises:
        InputError: There are none, or none of that name, or they do not record the loss that is meant.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.runs import designs
    from scalelab.analysis.runs.outcomes import taken

    runs, where = all_runs(source, only.pop("study", None))
    on, charge = only.pop("on", None), only.pop("charge", None)
    runs = taken(_of_names(designs.finished_runs(runs), only), on, charge)
    if runs.empty:
        raise InputError(f"{where} has no finished run with a finite loss that matches all of these filters")
    return runs


def all_runs(source: Source, study: str | None) -> tuple[pd.DataFrame, str]:
    """Returns the runs of a source, finished or not, one row per trial, and what the source is called.

    Raises:
        InputError: It has no such study, or none of the study's runs is finished.
        StoreError: The store cannot be read.
    """
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return source if study is None else source[source["study"] == study], "the table"
    store = opened(source)
    planned_trials(store, study)
    return store.runs(study), str(store.path)


def _of_names(runs: pd.DataFrame, only: Mapping[str, object]) -> pd.DataFrame:
    for kind, name in only.items():
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


def installed(plugins_dirs: Sequence[Path | str] = ()) -> Catalog:
    """Loads the plugins that `SCALELAB_PLUGINS` selects, all by default, and those of single-file folders."""
    from scalelab.plugins import load_plugins

    return load_plugins(
        plugins_dirs=tuple(map(Path, plugins_dirs)), select=os.environ.get("SCALELAB_PLUGINS")
    )


def law_named(law: str | Law | None, catalog: Catalog | None = None) -> str | Law | None:
    """Returns a law as analysis takes it; plugins are loaded only for a name that is not scalelab's own.

    Raises:
        FitError: No law has that name, or it is a formula that is wrong.
    """
    from scalelab.analysis.laws import LAWS, get_law, is_formula

    if not isinstance(law, str) or law == "auto" or law in LAWS:
        return law
    if is_formula(law):
        return get_law(law)
    found = catalog or installed()
    return get_law(law, {name: found.law(name) for name in found.names("law")})


def scale_table(file: Path | str, axes: Sequence[str]) -> pd.DataFrame:
    """Returns the columns of numbers of a CSV, Parquet or JSON lines file, under the names that imports give.

    Args:
        file: The file.
        axes: Those of the law, or all that may be one: in their columns every cell must be an amount.

    Raises:
        InputError: The file cannot be read, has no such column, or a column that is an axis has a cell that
            is empty or no amount.
    """
    import pandas as pd

    from scalelab.store.foreign import opened
    from scalelab.store.schema import quoted
    from scalelab.store.targets import KNOWN_AS

    names = {axis: KNOWN_AS.get(axis, (axis,)) for axis in (*KNOWN_AS, *axes)}
    wanted = {name for axis in axes for name in names[axis]}
    with opened(file) as source:
        columns: dict[str, list[float | None]] = {}
        for name, kind in source.kinds.items():
            if name in wanted:
                texts = source.texts(name, quoted(name))
                columns[name] = [
                    amount(text or "", f"row {row} of {source.name}: {name}")
                    for row, text in enumerate(source.listed(texts), 1)
                ]
            elif kind in ("BIGINT", "DOUBLE"):
                columns[name] = source.listed(source.numbers(name, quoted(name)))
        if not columns:
            raise InputError(f"{source.name} has no column of numbers (columns: {source.columns_named})")
    for target, known in names.items():
        there = [name for name in known if name in columns]
        if len(there) == 1:
            columns[target] = columns.pop(there[0])
    return pd.DataFrame(columns)


def stored_study(
    store: Store | Path | str, name: str | None = None, *, catalog: Catalog | None = None
) -> Study:
    """Returns a study as a store keeps it.

    Args:
        store: The store, or the path of its file.
        name: The study's name; may be left out where the store has one only.
        catalog: The plugins; the installed ones by default.

    Raises:
        InputError: The store has none of that name, none, or several.
        StudyError: The study is wrong.
        StoreError: The store cannot be read.
    """
    from scalelab.study import parse_study

    store = opened(store)
    stored = store.study(name)
    return parse_study(stored.text, f"study {stored.name!r} of {store.path}", catalog or installed())
