"""Files: those of datasets (download, inspect, synthesize), of plugins, and runs to import and export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from scalelab.api.source import installed, opened
from scalelab.errors import InputError, suggest
from scalelab.regular_files import expanded

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.components import Download, FileCommand, Inspection, Progress
    from scalelab.params import Params
    from scalelab.plugins import Catalog
    from scalelab.records import Direction
    from scalelab.store import Store
    from scalelab.store.mapping import Import
    from scalelab.store.merge import MergeReport


def plan_download(
    dataset: str,
    to: Path | str,
    *,
    catalog: Catalog | None = None,
    on_progress: Progress | None = None,
    **options: Any,
) -> Download:
    """Looks up which of a dataset's files are missing; the result's `fetch` downloads them.

    Args:
        dataset: The dataset's name.
        to: The folder for its files.
        catalog: The plugins; the installed ones by default.
        on_progress: `(done, total, what)`, called now and then.
        options: Further options, as the dataset has them, such as `sources`, `url` and `jobs`.

    Raises:
        PluginError: There is no such dataset.
        InputError: It has nothing to download, or an option is wrong.
        DataError: The files cannot be listed.
    """
    return cast("Download", _run(dataset, "download", {"to": to, **options}, catalog, on_progress))


def inspect_data(
    dataset: str,
    folder: Path | str,
    *,
    catalog: Catalog | None = None,
    on_progress: Progress | None = None,
    **options: Any,
) -> Inspection:
    """Reads all files of a dataset and counts them by source, label, rate, length, repair and rejection.

    Args:
        dataset: The dataset's name.
        folder: The folder with its files.
        catalog: The plugins; the installed ones by default.
        on_progress: `(done, total, what)`, called now and then.
        options: Further options, as the dataset has them, such as `jobs`.

    Raises:
        PluginError: There is no such dataset.
        InputError: It has nothing to inspect, or an option is wrong.
        DataError: The folder does not hold the dataset.
    """
    return cast("Inspection", _run(dataset, "inspect", {"folder": folder, **options}, catalog, on_progress))


def synthesize_data(
    dataset: str,
    to: Path | str,
    records: int,
    *,
    catalog: Catalog | None = None,
    on_progress: Progress | None = None,
    **options: Any,
) -> str:
    """Writes synthetic records as files, so that everything that reads real ones can be tested at any size.

    Args:
        dataset: The dataset's name.
        to: The folder to write to; made where it is missing.
        records: Number of records.
        catalog: The plugins; the installed ones by default.
        on_progress: `(done, total, what)`, called now and then.
        options: Further options, as the dataset has them, such as `seed`, `rate` and `seconds`.

    Returns:
        What was written, in a sentence.

    Raises:
        PluginError: There is no such dataset.
        InputError: It has nothing to synthesize, or an option is wrong.
        DataError: A file cannot be written.
    """
    values = {"to": to, "records": records, **options}
    return str(_run(dataset, "synthesize", values, catalog, on_progress))


def _run(
    dataset: str, what: str, values: Mapping[str, Any], catalog: Catalog | None, on_progress: Progress | None
) -> object:
    command = _command(catalog or installed(), dataset, what)
    return command.run(_params(command, dataset, values), on_progress or (lambda *_: None))


def _command(catalog: Catalog, name: str, what: str) -> FileCommand:
    command: FileCommand | None = getattr(catalog.dataset(name), what)
    if command is not None:
        return command
    others = [other for other in catalog.names("dataset") if getattr(catalog.dataset(other), what)]
    raise InputError(f"dataset {name!r} has nothing to {what}; these have: {', '.join(others) or 'none'}")


def _params(command: FileCommand, dataset: str, values: Mapping[str, Any]) -> Params:
    from pydantic import ValidationError

    from scalelab.study.messages import describe

    given = {key: value for key, value in values.items() if value is not None}
    known = command.params.model_fields
    for key in given:
        if key not in known:
            shown = suggest(key, known) or f"; its options: {', '.join(known)}"
            raise InputError(f"dataset {dataset!r} has no option {key!r} here{shown}")
    try:
        params = command.params.model_validate(given)
    except ValidationError as error:
        raise InputError(f"dataset {dataset!r}: {describe(error, command.params)}") from None
    for value in vars(params).values():
        if isinstance(value, Path):
            expanded(value)
    return params


def new_plugin(name: str, kind: str, to: Path | str = ".", *, catalog: Catalog | None = None) -> Path:
    """Writes a new plugin: a small distribution that installs and passes its contract tests as it is.

    Args:
        name: What the component will be called, such as `wavelet-net`.
        kind: `dataset`, `architecture`, `optimizer`, `backend`, `law` or `trainer`.
        to: The folder to put it into; made where it is missing.
        catalog: What is installed: a name that is taken would make both plugins useless.

    Returns:
        The folder of the distribution.

    Raises:
        InputError: The name or the kind is wrong, the name is taken, or the folder exists or cannot be
            written; nothing was written then.
    """
    from scalelab.plugins.scaffold import write_plugin

    return write_plugin(name, kind, Path(to), catalog or installed())


def import_runs(
    table: pd.DataFrame | Path | str | Sequence[pd.DataFrame | Path | str],
    store: Store | Path | str,
    *,
    study: str | None = None,
    map: Mapping[str, str] | None = None,
    only: str | None = None,
    metric: str | None = None,
    direction: Direction | None = None,
    rest: str | None = None,
    join: str | None = None,
    kind: str | None = None,
    experiment: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
) -> Import:
    """Takes runs that were made elsewhere into a store, so that they can be analyzed like its own.

    Args:
        table: A DataFrame, a CSV, Parquet or JSON-lines file, or the file or folder of a tool that tracks
            runs, such as an Optuna database; several are joined.
        store: The store, or the path of its file, which is made where it is missing.
        study: The name to analyze them by; by default the file's or the experiment's.
        map: By column of `runs`, an SQL expression over the table's columns.
        only: An SQL condition: which rows to take.
        metric: Name of the objective, where it is not the loss.
        direction: `minimize` or `maximize`; said with `metric`.
        rest: What columns that were not mapped are: `feature` (a fact), or `architecture`, `optimizer`,
            `training` or `dataset` (options of the design). By default those of a table are facts, and the
            parameters of a tracker's runs options of the architecture; all else of such runs is a fact.
        join: The column whose values say which rows of several tables belong together.
        kind: What wrote the source, where it is not recognized, such as `optuna`; or `table`.
        experiment: Which study or experiment of a tracker to take, where it has several.
        replace: Whether to replace what was imported under that name before.
        dry_run: Whether to read and check the table only; the store is not touched.

    Returns:
        What was mapped, taken and left out.

    Raises:
        InputError: The table or an expression is wrong, or the name is taken; nothing was changed.
        StoreError: The store cannot be written.
    """
    from scalelab.store.mapping import read_runs
    from scalelab.store.targets import Wanted

    # Read before the store is opened, which makes it where it is missing.
    wanted = Wanted(study, dict(map or {}), only, metric, direction, rest, join, kind, experiment)
    read = read_runs(table, wanted)
    return read if dry_run else opened(store, create=True).take_import(read, replace=replace)


def merge_stores(store: Store | Path | str, other: Path | str, *, replace: bool = False) -> MergeReport:
    """Takes over what another store holds, each record once; the other one is not changed.

    Args:
        store: The store that takes over, or the path of its file, which is made where it is missing.
        other: The other store's file.
        replace: Whether of two different imported tables of one name the one imported last may hold.

    Returns:
        What was taken over.

    Raises:
        InputError: It is the same store, no file, or a name means different things in both; nothing was
            changed.
        StoreError: One of the two cannot be read or written.
    """
    from scalelab.store import Store
    from scalelab.store.other import Other

    # Looked at before the store is opened, which makes it where it is missing.
    found = Other(other, Store(store).wait if isinstance(store, (Path, str)) else store.wait)
    return opened(store, create=True).merge(found, replace=replace)


def export_runs(
    store: Store | Path | str, folder: Path | str, study: str | None = None, *, anonymous: bool = False
) -> list[Path]:
    """Writes runs, curves, trials, studies and latencies as Parquet files.

    Args:
        store: The store, or the path of its file.
        folder: Where to write; made where it is missing.
        study: Only this study; all by default.
        anonymous: Whether to leave out hosts, users and paths.

    Returns:
        The files.

    Raises:
        InputError: The store has no such study, or the folder cannot be written.
        StoreError: The store cannot be read.
    """
    return opened(store).export(folder, study, anonymous=anonymous)
