"""Predictions that were registered: what was said of a run, from which runs, and when.

A `RegisteredPrediction` is named by a hash of what it says. When it was registered, and which runs were there
by then, stand beside that: the same prediction registered later is the same prediction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import Field

from scalelab.records import IDENTITY_VERSION, Charge, Frozen, On, canonical_json

LAW, LAST, LINE, SQUARES = "law", "last value", "log-log line", "least squares"
BASELINES = (LAST, LINE, SQUARES)
NAMES = ("dataset", "fingerprint", "architecture", "optimizer")
"""Columns of `runs` whose values a run that answers shares, beside options and sizes."""


class Guess(Frozen):
    """The loss of one run at a scale, as one rule says it.

    Attributes:
        rule: `law`, or one of `BASELINES`.
        value: The loss.
        lower: Lower end of its prediction interval.
        upper: Upper end.
        slopes: By axis, what the loss gains while the natural logarithm of the scale grows by one.
    """

    rule: str
    value: float
    lower: float
    upper: float
    slopes: dict[str, float]

    def moved(self, logs: Mapping[str, float]) -> Guess:
        """Returns the same said of a scale nearby.

        Args:
            logs: By axis, the natural logarithm of that scale over the one that this is of.
        """
        shift = sum(slope * logs.get(axis, 0.0) for axis, slope in self.slopes.items())
        ends = {name: getattr(self, name) + shift for name in ("value", "lower", "upper")}
        return self.model_copy(update=ends)


class Source(Frozen):
    """What a prediction was made from.

    Attributes:
        law: The form, `auto` for several.
        equation: The same in symbols.
        estimator: What was minimized.
        seed: Of everything random.
        on: Which losses, see `scalelab.analysis.runs.outcomes`.
        charge: Which training FLOPs, likewise.
        filters: Which runs were asked for, by name of the filter; those that were not given are left out.
        studies: Of the runs behind the law's points.
        n_points: Points of the law.
        selection: How they were chosen, in words.
        data_hash: SHA-256 of the rows that the law was fitted to.
    """

    law: str
    equation: str
    estimator: str
    seed: int
    on: On
    charge: Charge
    filters: dict[str, Any]
    studies: tuple[str, ...]
    n_points: int = Field(ge=1)
    selection: str
    data_hash: str


class Settings(Frozen):
    """Which runs a prediction is of, beside their scale.

    Attributes:
        same: By column of `runs` the value that all points of the law share; `None` where none has one.
        free: Columns in which the points differ: any value will do.
        n_params: Of a prediction at a compute budget, the least and the largest network that spends it as the
            law's points do; `None` where that is not known.
    """

    same: dict[str, str | float | bool | None]
    free: tuple[str, ...]
    n_params: tuple[float, float] | None = None


class RegisteredPrediction(Frozen):
    """The loss of one run that was predicted and registered. Never changes.

    Attributes:
        dataset: What the family's dataset was called then.
        architecture: Name of the architecture.
        optimizer: Name of the optimizer.
        at: The scale, by axis.
        settings: Which runs answer it.
        level: Coverage of the intervals.
        law: The prediction, with the interval of one run.
        baselines: What plainer rules said of it from the same points, each with its own interval.
        refused: By baseline why there is none.
        warnings: What was to be distrusted, a sentence each.
        source: What it was made from.
        registered_at: Seconds since the epoch.
        known: Trials that answered it when it was registered.
        scalelab_version: What registered it.
    """

    dataset: str
    architecture: str
    optimizer: str
    at: dict[str, float]
    settings: Settings
    level: float = Field(gt=0, lt=1)
    law: Guess
    baselines: tuple[Guess, ...]
    refused: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    source: Source
    registered_at: float = Field(0.0, ge=0, lt=9e10)
    known: tuple[str, ...] = ()
    scalelab_version: str = ""

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of all that it says.

        Not of when and by what it was registered, nor of the filters that led to its rows: whoever asks for
        the same rows in other words says the same.
        """
        apart = dict.fromkeys(("dataset", "registered_at", "known", "scalelab_version"), True)
        own = self.model_dump(mode="json", exclude={**apart, "source": {"filters", "studies"}})
        content = {"identity": IDENTITY_VERSION, **own}
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]

    @property
    def guesses(self) -> tuple[Guess, ...]:
        """The law's, then those of the baselines."""
        return (self.law, *self.baselines)
