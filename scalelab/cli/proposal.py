"""`scalelab analyze --propose`: the smaller space as a study file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.cli.context import say

if TYPE_CHECKING:
    from scalelab.analysis.analyze import Analysis
    from scalelab.plugins import Catalog
    from scalelab.store import Store
    from scalelab.study import Study


def study_to_narrow(
    store: Store, study: str | None, path: Path | None, source: Path | None, plugins: Catalog | None
) -> Study | None:
    """Returns the study whose space is to be narrowed, checked before anything takes long.

    Returns:
        The study; `None` where there is nothing to write, or the store has no study's text.

    Raises:
        InputError: The file is there already, `--from` has nothing to go with, or studies are several.
        StudyError: The study is wrong.
        PluginError: One of its components is unknown.
    """
    from scalelab.errors import InputError
    from scalelab.propose.space import stored_study
    from scalelab.study.resolve import resolve

    if path is None or plugins is None:
        if source is not None:
            raise InputError("--from goes with --propose: it says where the new study's settings come from")
        return None
    if path.exists():
        raise InputError(f"{path} is there already; choose another name, or remove it first")
    known = stored_study(store, study, path.absolute().parent, source)
    if known is not None:
        resolve(known, plugins)
    return known


def write_proposal(analysis: Analysis, study: Study | None, path: Path, plugins: Catalog) -> None:
    """Writes the study with the space that holds the best models, and says what changed.

    Raises:
        InputError: There is no study, nothing becomes smaller, or the file cannot be written.
        StudyError: No point of the smaller space satisfies the study's constraints.
    """
    from scalelab.errors import InputError
    from scalelab.propose.space import Limit, narrow

    if study is None:
        raise InputError(
            f"{path} was not written: imported runs have no study that a smaller space could be written "
            "into; the ranges above are all there is"
        )
    limits = [
        Limit(one.component, one.owner, one.option, one.lower, one.upper, one.values)
        for one in (analysis.design.narrowed if analysis.design else ())
    ]
    found = narrow(study, limits, path, plugins)
    try:
        path.write_text(found.text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"the study cannot be written to {path}: {error.strerror or error}") from error
    for line in found.changes:
        say(line)
    say(f"wrote {path}: {found.n_trials:,} trials; next: scalelab plan {path}")
