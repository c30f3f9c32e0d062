"""Metrics in which work on AAMI classes is reported, beside those that every classification has.

Accuracy says little where nine beats of ten are normal, and macro-F1 over all classes hangs on F, whose beats
one patient of each side of DS1/DS2 has nearly alone. So papers give sensitivity and positive predictive value
of S and of V (de Chazal et al. 2004), and F1 averaged over N, S and V.
"""

from __future__ import annotations

from functools import partial

import numpy as np

import scalelab


def sensitivity(outputs: np.ndarray, targets: np.ndarray, label: int) -> float:
    """Fraction of the beats of a class that are found; NaN where there is none."""
    of_class = targets == label
    return float((outputs.argmax(1) == label)[of_class].mean()) if of_class.any() else float("nan")


def positive_predictive_value(outputs: np.ndarray, targets: np.ndarray, label: int) -> float:
    """Fraction of the beats taken for a class that are of it; NaN where none is."""
    found = outputs.argmax(1) == label
    return float((targets == label)[found].mean()) if found.any() else float("nan")


def mean_f1(outputs: np.ndarray, targets: np.ndarray, n_classes: int) -> float:
    """Mean of F1 over the first `n_classes` classes; those that are neither there nor found are left out.

    Beats of the other classes count where they are taken for one of the first.
    """
    found = outputs.argmax(1)
    scores = []
    for label in range(n_classes):
        either = int((targets == label).sum() + (found == label).sum())
        if either:
            scores.append(2 * int(((targets == label) & (found == label)).sum()) / either)
    return float(np.mean(scores)) if scores else float("nan")


def metrics_of(classes: str) -> tuple[scalelab.Metric, ...]:
    """Returns the metrics of AAMI classes; none where the classes are annotation symbols."""
    if classes == "symbols":
        return ()
    computed = {"macro-f1-nsv": partial(mean_f1, n_classes=3)}
    for label, name in ((1, "S"), (2, "V")):
        computed[f"sensitivity-{name}"] = partial(sensitivity, label=label)
        computed[f"ppv-{name}"] = partial(positive_predictive_value, label=label)
    return tuple(
        scalelab.Metric(name=name, compute=compute, bounds=(0.0, 1.0)) for name, compute in computed.items()
    )
