"""``scalelab analyze --propose``: the smaller space as a study file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.cli.context import say

if TYPE_CHECKING:
    from scalelab.analysis.summary import Analysis
    from scalelab.plugins import Catalogue
    from scalelab.store import Store


def check_proposal(path: Path | None, source: Path | None) -> None:
    """Makes sure, before anything takes long, that a study file can be written.

    Raises:
        InputError: The file is there already, or ``--from`` has nothing to go with.
    """
    from scalelab.errors import InputError

    if source is not None and path is None:
        raise InputError("--from goes with --propose: it says where the new study's settings come from")
    if path is not None and path.exists():
        raise InputError(f"{path} is there already; choose another name, or remove it first")


def write_proposal(
    analysis: Analysis, store: Store, study: str | None, path: Path, source: Path | None, catalogue: Catalogue
) -> None:
    """Writes the study with the space that holds the best models, and says what changed.

    Raises:
        InputError: There is no study, nothing becomes smaller, or the file cannot be written.
        StudyError: The study is wrong.
    """
    from scalelab.errors import InputError
    from scalelab.execute.narrowing import Limit, narrow, stored_study

    known = stored_study(store, study, path.absolute().parent, source)
    limits = [
        Limit(one.component, one.owner, one.option, one.low, one.high, one.values)
        for one in (analysis.design.narrowed if analysis.design else ())
    ]
    found = narrow(known, limits, path, catalogue)
    try:
        path.write_text(found.text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"the study cannot be written to {path}: {error.strerror or error}") from error
    for line in found.changes:
        say(line)
    say(f"wrote {path}: {found.n_trials:,} trials; next: scalelab plan {path}")
