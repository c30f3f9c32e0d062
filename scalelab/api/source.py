"""Where a question's runs come from, and what else it names: plugins, laws, scales, studies."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.amounts import amount
from scalelab.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.law import Law
    from scalelab.plugins import Catalog
    from scalelab.store import Store
    from scalelab.study import Study

    Source = Store | Path | str | pd.DataFrame
    """A store, the path of its file, or a table with the columns of a store's `runs`."""


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


def scale_table(file: Path | str, axes: Sequence[str], *, texts: Collection[str] = ()) -> pd.DataFrame:
    """Returns the columns of numbers of a CSV, Parquet or JSON lines file, under the names that imports give.

    Args:
        file: The file.
        axes: Those of the law, or all that may be one: in their columns every cell must be an amount.
        texts: Columns that are texts, where they are there.

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
    with opened([file]) as source:
        columns: dict[str, list[float | str | None]] = {}
        for name, kind in source.kinds.items():
            if name in wanted:
                cells = source.listed(source.texts(name, quoted(name)))
                columns[name] = [
                    amount(text or "", f"row {row} of {source.name}: {name}")
                    for row, text in enumerate(cells, 1)
                ]
            elif name in texts:
                columns[name] = source.listed(source.texts(name, quoted(name)))
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
