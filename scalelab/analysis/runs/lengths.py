"""How long runs were, in steps, passes over their data or examples seen: whether alike, and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scalelab.arrays import Array

if TYPE_CHECKING:
    import pandas as pd

_SAME = 1.02


def mixed_lengths(rows: pd.DataFrame) -> str:
    """Returns in what lengths rows differ, as text; empty where all made as many steps or as many passes."""
    spans = []
    for name, noun in (("n_steps", "steps"), ("epochs", "passes")):
        known = rows[name].dropna() if name in rows else rows["loss"].iloc[:0]
        if len(known) < len(rows) or known.max() <= _SAME * known.min():
            return ""
        spans.append(f"{known.min():,.4g} to {known.max():,.4g} {noun}")
    return ", ".join(spans)


def common_length(rows: pd.DataFrame) -> str:
    """Returns how long all rows were, and so those that a law of them predicts; empty where they differ."""
    if not {"n_examples", "epochs"} <= set(rows.columns):
        return ""
    passes = rows["epochs"].to_numpy(dtype=float)
    seen = passes * rows["n_examples"].to_numpy(dtype=float)
    pass_ = "one pass" if passes[0] == 1 else f"{passes[0]:.3g} passes"
    for made, words in ((passes, pass_), (seen, f"{seen[0]:,.0f} examples seen")):
        if made.max() <= _SAME * made.min():
            return f" of {words} each"
    return ""


def alike_passes(passes: Array) -> Array:
    """Returns numbers of passes, shape (n,), each as the least of those that lie within 2% one by one."""
    order = np.argsort(passes, kind="stable")
    starts = np.concatenate([[True], np.diff(np.log(passes[order])) > np.log(_SAME)])
    alike = np.empty_like(passes)
    alike[order] = passes[order][starts][np.cumsum(starts) - 1]
    return alike
