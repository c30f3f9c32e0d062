"""What a reader should know of runs as they were recorded, before anything is fitted: a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scalelab.amounts import counted, verb
from scalelab.analysis.runs.columns import OUTCOME_WORDS, hashable
from scalelab.analysis.runs.designs import SCALES, design_ids

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 4


def cut_short(runs: pd.DataFrame) -> int:
    """Returns how many runs were cut short that no run of a study here takes up again."""
    ended = runs[runs["status"] == "interrupted"]
    return int(ended["scalelab_version"].isna().sum()) if "scalelab_version" in ended.columns else len(ended)


def no_scales(runs: pd.DataFrame, done: pd.DataFrame) -> list[str]:
    """Returns a line for each scale that some runs record as no positive number."""
    import pandas as pd

    own = runs[runs["status"] == "done"]
    counts = {
        name: int((pd.to_numeric(own[name], errors="coerce").notna()).sum() - done[name].notna().sum())
        for name in SCALES
        if name in own.columns and len(own) == len(done)
    }
    return [
        f"{counted(count, 'runs')} {verb(count, 'record')} a {name} that is not a positive number; "
        "it is taken as unknown"
        for name, count in counts.items()
        if count > 0
    ]


def unlike(done: pd.DataFrame, along: Sequence[str]) -> list[str]:
    """Returns a line on the facts of imported runs in which those of one design differ, or of one family."""
    foreign = done[done["fingerprint"].isna()] if "fingerprint" in done.columns else done
    facts = {
        name: hashable(foreign[name])
        for name in foreign.columns
        if name.startswith("feature_") and not OUTCOME_WORDS & set(name.lower().split("_"))
    }
    # What differs in every run names the runs.
    shared = {name: values for name, values in facts.items() if values.nunique() < len(foreign)}
    if not shared:
        return []
    design = design_ids(foreign, along)
    differ = [name for name, values in shared.items() if (values.groupby(design).nunique() > 1).any()]
    lines = [
        f"runs that count as repeats of one design differ in {', '.join(differ)}: if that is no outcome, "
        "import it as what it is (--map architecture=COLUMN for families of their own, --rest architecture "
        "for options) or ask along it (--axis)"
    ]
    families = foreign["architecture"].nunique()
    return lines * bool(differ) + [
        _one_family(name.removeprefix("feature_"), values)
        for name, values in shared.items()
        if name not in differ and families == 1 and _are_kinds(values)
    ]


def _are_kinds(values: pd.Series) -> bool:
    """Whether a fact has a few names, each of several runs."""
    known = values.dropna()
    texts = all(isinstance(one, str) for one in known)
    return texts and 2 <= known.nunique() <= len(known) / 2


def _one_family(name: str, values: pd.Series) -> str:
    kinds = sorted(set(values.dropna()))
    shown = ", ".join(kinds[:_SHOWN]) + (" …" if len(kinds) > _SHOWN else "")
    return (
        f"runs that differ in {name} ({shown}) are one family here: if these are models of their own, import "
        f"it as such (--map architecture={name})"
    )
