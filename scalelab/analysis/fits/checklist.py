"""The reporting checklist of (Mis)Fitting, filled in from a fit.

Li et al. 2025, "(Mis)Fitting: A Survey of Scaling Laws" (arXiv:2502.18969), found that most papers do not
say enough to repeat their fits. Their questions come in four parts: the form, the training setup, data
collection, and the fitting algorithm. A fit knows the answers to the first and last, and to some of the
third; the rest is asked of the user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.fits.fit import Fit

_ASKED = "not known to the fit; say it in your report"

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
    """Returns the checklist, a row a question.

    Args:
        fit: The fit.
        answers: Answers to questions that a fit cannot know, by question.
        level: Coverage of the intervals that it reports.

    Returns:
        Columns `part`, `question`, `answer` and `filled`.
    """
    import pandas as pd

    answers = answers or {}
    rows: list[tuple[str, str, Any]] = []
    table, origin = fit.table, fit.provenance()
    rows.append(("form", "power law and its variables", fit.law.equation))
    rows.append(("form", "where the form comes from", fit.law.paper))
    rows.append(("form", "parameters fitted", ", ".join(f"{k} = {v:.6g}" for k, v in fit.params.items())))
    setup = "training setup"
    rows += [(setup, question, answers.get(question)) for question in USER_ITEMS[setup]]
    rows.append(("data collection", "how many runs", str(len(table))))
    for axis, column in table.x.items():
        places = np.unique(column).size
        rows.append(
            (
                "data collection",
                f"range of {axis}",
                f"{column.min():.4g} to {column.max():.4g} ({places} values)",
            )
        )
    rows.append(("data collection", "range of the loss", f"{table.y.min():.4g} to {table.y.max():.4g}"))
    for question in USER_ITEMS["data collection"]:
        known = (
            f"{origin['n_groups']} groups, resampled as such"
            if "checkpoints" in question and origin["n_groups"]
            else None
        )
        rows.append(("data collection", question, answers.get(question, known)))
    residual = "log of the loss" if fit.estimator.log else "the loss itself"
    rows.append(("fitting", "objective", f"{fit.estimator.name}, on {residual}, summed: {fit.objective:.9g}"))
    rows.append(("fitting", "its options", f"delta = {fit.estimator.delta:g}, weights {origin['weights']}"))
    rows.append(
        ("fitting", "algorithm", "damped Newton with analytic derivatives, from variable-projection starts")
    )
    tried = fit.starts
    starts = f"{tried.considered} considered, {tried.refined} refined, {tried.agreeing} agree"
    rows.append(("fitting", "initialization", starts))
    summary = fit.summary(level)
    ends = ", ".join(f"{name} [{row.lower:.4g}, {row.upper:.4g}]" for name, row in summary.iterrows())
    rows.append(("fitting", f"uncertainty ({level:.0%} intervals)", ends))
    rows.append(("fitting", "seed and data", f"seed {origin['seed']}, SHA-256 {origin['data_hash'][:16]}"))
    frame = pd.DataFrame(rows, columns=["part", "question", "answer"])
    frame["filled"] = frame.answer.notna()
    frame["answer"] = frame.answer.fillna(_ASKED)
    return frame
