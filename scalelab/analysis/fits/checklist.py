"""The reporting checklist of (Mis)Fitting, filled in from a fit.

Li et al. 2025, "(Mis)Fitting: A Survey of Scaling Laws" (arXiv:2502.18969), found that most papers do not
say enough to repeat their fits. Their questions come in four parts: the form, the training setup, data
collection, and the fitting algorithm. A fit knows the answers to the first and last, and to some of the
third; the rest is asked of the user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scalelab.analysis.fits.fit import Fit
from scalelab.errors import FitError

if TYPE_CHECKING:
    import pandas as pd

_ASKED = "not known to the fit; state it in your report"

USER_ITEMS = {
    "training setup": (
        "how parameters are counted (with embeddings or head?)",
        "how compute is counted (formula or measured?)",
        "how data is counted (unique or seen, units)",
        "architectures and their shapes at each size",
        "optimizer, schedule, and how hyper-parameters were chosen at each size",
        "training data and the data on which the loss was measured",
    ),
    "data collection": (
        "whether checkpoints of one run are used, and after what schedule",
        "which runs were excluded, and why",
    ),
}


def checklist(fit: Fit, answers: dict[str, str] | None = None, *, level: float = 0.9) -> pd.DataFrame:
    """Returns the checklist, one row per question.

    Args:
        fit: The fit.
        answers: Answers to questions that a fit cannot know, by question.
        level: Coverage of the intervals that it reports.

    Returns:
        Columns `part`, `question`, `answer` and `filled`.

    Raises:
        FitError: The fit is an average of several forms.
    """
    import pandas as pd

    if not isinstance(fit, Fit):
        raise FitError("the checklist is about one form, not an average; take one, such as fit.best")
    given = answers or {}
    table, origin, tried = fit.table, fit.provenance(), fit.starts
    params = ", ".join(f"{name} = {value:.6g}" for name, value in fit.params.items())
    ends = [f"{name} [{row.lower:.4g}, {row.upper:.4g}]" for name, row in fit.summary(level).iterrows()]
    residual = "log of the loss" if fit.estimator.log else "the loss itself"
    setup, collection = (
        [(part, question, given.get(question)) for question in questions]
        for part, questions in USER_ITEMS.items()
    )
    if origin["n_groups"] and collection[0][2] is None:
        collection[0] = (*collection[0][:2], f"{origin['n_groups']} groups, resampled as such")
    ranges = [
        (f"range of {axis}", f"{own.min():.4g} to {own.max():.4g} ({np.unique(own).size} values)")
        for axis, own in table.x.items()
    ]
    rows = [
        ("form", "power law and its variables", fit.law.equation),
        ("form", "where the form comes from", fit.law.paper),
        ("form", "parameters fitted", params),
        *setup,
        ("data collection", "how many runs", str(len(table))),
        *(("data collection", *pair) for pair in ranges),
        ("data collection", "range of the loss", f"{table.y.min():.4g} to {table.y.max():.4g}"),
        *collection,
        ("fitting", "objective", f"{fit.estimator.name}, on {residual}, summed: {fit.objective:.9g}"),
        ("fitting", "its options", f"delta = {fit.estimator.delta:g}, weights {origin['weights']}"),
        ("fitting", "algorithm", "damped Newton with analytic derivatives, from variable-projection starts"),
        (
            "fitting",
            "initialization",
            f"{tried.considered} considered, {tried.refined} refined, {tried.agreeing} agree",
        ),
        ("fitting", f"uncertainty ({level:.0%} intervals)", ", ".join(ends)),
        ("fitting", "seed and data", f"seed {origin['seed']}, SHA-256 {origin['data_hash'][:16]}"),
    ]
    frame = pd.DataFrame(rows, columns=["part", "question", "answer"])
    frame["filled"] = frame.answer.notna()
    frame["answer"] = frame.answer.fillna(_ASKED)
    return frame
