"""What a model must do with the leads of a record: 26 answers, scored as the Challenge scores them."""

from __future__ import annotations

import scalelab

from .classes import ABBREVIATIONS, N_CLASSES
from .leads import SETS
from .losses import asymmetric_loss
from .metrics import challenge_metrics
from .params import Physionet2021Params


def make_task(params: Physionet2021Params) -> scalelab.Task:
    """Returns the task; its objective is the challenge metric."""
    return scalelab.Task(
        input_shape=(len(SETS[params.leads]), params.length),
        n_outputs=N_CLASSES,
        loss="bce"
        if params.loss == "bce"
        else asymmetric_loss(params.gamma_negative, params.gamma_positive, params.margin),
        metrics=(*challenge_metrics(params.threshold), "ece"),
        objective="challenge-metric",
        classes=ABBREVIATIONS,
    )
