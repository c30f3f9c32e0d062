"""The finished runs of a store, as the commands that read them ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.store import Store

StudyOption = Annotated[str | None, typer.Option("--study", help="Only this study; all by default.")]
DatasetOption = Annotated[str | None, typer.Option("--dataset", help="Only this dataset.")]
ArchitectureOption = Annotated[str | None, typer.Option("--architecture", help="Only this architecture.")]
OptimizerOption = Annotated[str | None, typer.Option("--optimizer", help="Only this optimizer.")]
EstimatorOption = Annotated[str, typer.Option("--estimator", help="What the fits minimize.")]
LevelOption = Annotated[float, typer.Option("--level", help="Coverage of the intervals.")]


def planned_trials(opened: Store, path: Path, study: str | None) -> dict[str, int]:
    """Returns how many trials each study asks for, after making sure that there is something to analyze."""
    from scalelab.errors import InputError, suggest

    known = {summary.study: summary for summary in opened.studies()}
    if study is not None and study not in known:
        raise InputError(
            f"{path} has no study {study!r}{suggest(study, known)}; it has {', '.join(known) or 'none'}"
        )
    wanted = known if study is None else {study: known[study]}
    if not any(summary.done for summary in wanted.values()):
        what = f"study {study!r} in {path}" if study else str(path)
        raise InputError(f"{what} has no finished runs yet; next: scalelab run STUDY.toml --store {path}")
    return {name: summary.planned for name, summary in wanted.items()}


def finished(store: Store, path: Path, study: str | None, only: Mapping[str, str | None]) -> pd.DataFrame:
    """Returns the finished runs, a row a trial.

    Args:
        store: The store.
        path: Its file, for messages.
        study: Only this study.
        only: The value that `dataset`, `architecture` or `optimizer` must have, where one is given. A
            dataset may be named with the options that tell it from another one.

    Raises:
        InputError: There are none, or none of that name.
    """
    from scalelab.analysis.runs.designs import finished_runs
    from scalelab.errors import InputError, suggest

    planned_trials(store, path, study)
    runs = finished_runs(store.runs(study))
    for kind, name in only.items():
        if name is None:
            continue
        columns = ["dataset", "dataset_label"] if kind == "dataset" else [kind]
        there = sorted({str(value) for column in columns for value in runs[column].unique()})
        if name not in there:
            raise InputError(
                f"no finished run has the {kind} {name!r}{suggest(name, there)}; there are {', '.join(there)}"
            )
        runs = runs[(runs[columns].astype(str) == name).any(axis=1)]
    if runs.empty:
        raise InputError(f"{path} has no finished run with a finite loss that is all of these")
    return runs
