"""Runs whose FLOPs are lower bounds, because an operator of their network has no formula."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

COMPUTE = ("train_flops", "forward_flops")


def operators(done: pd.DataFrame) -> pd.Series:
    """Returns by run the operators that its FLOPs leave out, as one text; empty where there is none.

    Args:
        done: Runs, as the store's `runs`; tables from elsewhere do not say.
    """
    import pandas as pd

    if "uncounted" not in done.columns:
        return pd.Series("", index=done.index, dtype=object)
    return done["uncounted"].map(_text).astype(object)


def _text(value: Any) -> str:
    names = json.loads(value) if isinstance(value, str) and value else value
    return ", ".join(names) if isinstance(names, list) else ""


def compute_doubts(rows: pd.DataFrame) -> tuple[str, ...]:
    """Returns what is to be said of compute that designs spent: nothing where all of it is counted.

    Args:
        rows: Designs, with the column `uncounted`.
    """
    known = rows["uncounted"].fillna("") if "uncounted" in rows else None
    short = None if known is None else known[known != ""]
    if short is None or not len(short):
        return ()
    names = sorted({name for text in short for name in str(text).split(", ")})
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (
        f"compute is a lower bound for {len(short)} of {len(rows)} designs, whose FLOPs leave out {listed}: "
        "at least so much was spent; give their architecture flops= and run them again with --redo-changed",
    )
