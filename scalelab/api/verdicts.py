"""Predictions that are registered before the run exists, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from scalelab.api.answers import AskedOfLaw, Scale, predict, verdicts_of
from scalelab.api.filters import Filters, finished_runs
from scalelab.api.source import opened
from scalelab.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.estimate import Refusal
    from scalelab.analysis.families.prediction import Forecast
    from scalelab.analysis.families.verdicts import Verdicts
    from scalelab.predictions import RegisteredPrediction
    from scalelab.store import Store


class Registered(NamedTuple):
    """What `register` wrote.

    Attributes:
        forecasts: By family and scale what was predicted, or refused, as `predict` gives it.
        predictions: What was registered.
        refused: Forecasts that could not be registered, with the reason.
    """

    forecasts: tuple[Forecast | Refusal, ...]
    predictions: tuple[RegisteredPrediction, ...]
    refused: tuple[Refusal, ...]


def register(
    source: Store | Path | str,
    at: Scale | Sequence[Scale] | pd.DataFrame | Path,
    **asked: Unpack[AskedOfLaw],
) -> Registered:
    """Predicts the loss of one run at a scale, or at several, and registers that in the store for good.

    Args:
        source: A store, or its file.
        at: The scale, by axis of the law; several; or a table or its file, as `predict` takes it.
        asked: Which runs are meant and how their laws are fitted, see `AskedOfLaw`.

    Raises:
        InputError: What `predict` refuses; a prediction is registered already; or none can be registered.
        StoreError: The store cannot be read or written.
    """
    from scalelab.analysis.estimate import Refusal, attempt
    from scalelab.analysis.families.registration import prepared
    from scalelab.analysis.families.verdicts import answering

    store = opened(source)
    store.ingest()
    forecasts = predict(store, at, **asked)
    filters: dict[str, Any] = {name: asked.get(name) for name in Filters.__annotations__}
    done = finished_runs(store, **filters)
    how: Any = {
        "estimator": asked.get("estimator", "log-huber"),
        "level": asked.get("level", 0.9),
        "seed": asked.get("seed", 0),
    }
    made = [
        attempt({"family": one.family, "at": one.at}, prepared, one, done, **how, filters=filters)
        for one in forecasts
        if not isinstance(one, Refusal)
    ]
    refused = tuple(one for one in made if isinstance(one, Refusal))
    predictions = [one for one in made if not isinstance(one, Refusal)]
    if not predictions:
        reasons = dict.fromkeys(one.reason for one in (*forecasts, *refused) if isinstance(one, Refusal))
        raise InputError(f"no prediction can be registered: {'; '.join(reasons)}")
    runs = store.runs()
    known = [
        one.model_copy(update={"known": tuple(sorted(answering(one, runs)["trial_id"]))})
        for one in predictions
    ]
    return Registered(forecasts, store.register_predictions(known), refused)


def verdicts(source: Store | Path | str) -> Verdicts:
    """Holds every registered prediction of a store against the runs that came.

    Args:
        source: A store, or its file.

    Returns:
        A verdict for each prediction, those registered first at the front, and how law and baselines did over
        all of them.

    Raises:
        InputError: No prediction was registered.
        StoreError: The store cannot be read.
    """
    store = opened(source)
    found = verdicts_of(store)
    if found is None:
        raise InputError(
            f"{store.path} has no registered prediction; "
            f"next: scalelab predict --at AXIS=NUMBER --register --store {store.path}"
        )
    return found
