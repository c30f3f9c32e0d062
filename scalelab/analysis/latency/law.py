"""Laws of latency: how long a network takes on a target, from what its forward pass asks of a machine.

A law is for one target (backend, device, precision), machine, batch size and number of threads. Which of
three models it is (`scalelab.analysis.latency.models`) is decided by cross-validation over networks; how good
it is says another cross-validation around that, whose networks neither the choice nor the fit has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from scalelab.analysis.estimate import Refusal, attempt
from scalelab.analysis.latency.models import MODELS, NEEDED, Fitted
from scalelab.analysis.runs.designs import split
from scalelab.arrays import Array, Index
from scalelab.errors import FitError

if TYPE_CHECKING:
    import pandas as pd


FEWEST = 16
"""Networks without which there is no law."""

FOLDS = 8
INNER_FOLDS = 5
EARNED = 0.9
"""A more flexible model must bring the error down to this part of a simpler one's to be taken."""

COVERAGE = 0.9


class Place(NamedTuple):
    """What has a law of its own."""

    host: str
    target: str
    batch_size: int
    threads: int

    @classmethod
    def of(cls, key: Sequence[Any]) -> Place:
        """Returns the place of a row's columns `KEY`."""
        host, target, batch_size, threads = key
        return cls(str(host), str(target), int(batch_size), int(threads))


KEY = Place._fields


@dataclass(frozen=True, eq=False)
class LatencyLaw:
    """A law of latency.

    Attributes:
        place: Of which target, machine, batch size and number of threads.
        fitted: The model, fitted to all networks.
        networks: What it was fitted to: columns `network_id`, `architecture`, those of
            `scalelab.analysis.latency.models.NEEDED`, `latency`, and `predicted` (held out, in seconds).
        choices: By name of a model, its median relative error in the cross-validation that chose.
    """

    place: Place
    fitted: Fitted
    networks: pd.DataFrame
    choices: dict[str, float]

    refusal: ClassVar[None] = None
    json_fields: ClassVar = (
        "*place", "model=fitted.name", "n_networks", "median_relative_error=median_error",
        "p90_relative_error=p90_error", "chosen_among=choices", "coefficients=fitted.coefficients",
        "intervals=fitted.intervals",
    )  # fmt: skip

    @property
    def n_networks(self) -> int:
        """How many networks it was fitted to."""
        return len(self.networks)

    @property
    def errors(self) -> Array:
        """Relative errors of the held-out predictions, shape (networks,)."""
        latency = self.networks["latency"].to_numpy(dtype=float)
        return np.asarray(np.abs(self.networks["predicted"].to_numpy(dtype=float) - latency) / latency)

    @property
    def median_error(self) -> float:
        """The median relative error on held-out networks."""
        return float(np.median(self.errors))

    @property
    def p90_error(self) -> float:
        """The 90th percentile of the relative error on held-out networks."""
        return float(np.quantile(self.errors, 0.9))

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Predicts the latency of networks.

        Args:
            rows: One row per network, with the columns `NEEDED`.

        Returns:
            Columns `latency`, `lower` and `upper` in seconds, the last two a 90% interval from the errors
            of the held-out predictions (split-conformal: Lei et al. 2018, "Distribution-free predictive
            inference").
        """
        import pandas as pd

        center = self.fitted.predict(rows, self.place.batch_size)
        lower, upper = self._spread()
        return pd.DataFrame(
            {"latency": center, "lower": center * lower, "upper": center * upper}, index=rows.index
        )

    def _spread(self) -> tuple[float, float]:
        """Returns the ends of the interval of what is measured over what is predicted."""
        ratio = np.sort(
            self.networks["latency"].to_numpy(dtype=float) / self.networks["predicted"].to_numpy(dtype=float)
        )
        n, tail = ratio.size, (1 - COVERAGE) / 2
        below = max(0, int(np.floor((n + 1) * tail)) - 1)
        above = min(n - 1, int(np.ceil((n + 1) * (1 - tail))) - 1)
        return float(min(ratio[below], 1.0)), float(max(ratio[above], 1.0))


def fit_laws(latencies: pd.DataFrame) -> tuple[LatencyLaw | Refusal, ...]:
    """Fits a law for every target, machine, batch size and number of threads that was measured.

    Args:
        latencies: One row per measurement, as the store's `latencies`.
    """
    found = [(Place.of(key), rows) for key, rows in split(measured(latencies), list(KEY))]
    return tuple(attempt({"place": place}, fit_law, rows, place) for place, rows in found)


def measured(latencies: pd.DataFrame) -> pd.DataFrame:
    """Returns the successful measurements, the last one of each network at each place."""
    good = latencies[(latencies["status"] == "ok") & latencies["latency"].notna()]
    good = good.dropna(subset=[*NEEDED, "threads"])
    return good.sort_values("finished_at", kind="stable").drop_duplicates([*KEY, "network_id"], keep="last")


def fit_law(rows: pd.DataFrame, place: Place) -> LatencyLaw:
    """Chooses, fits and judges the law of one place.

    Args:
        rows: One row per network, as `measured` returns them.
        place: The place.

    Raises:
        FitError: There are too few networks, or all ask for the same.
    """
    rows = rows.sort_values("network_id", kind="stable").reset_index(drop=True)
    if len(rows) < FEWEST:
        raise FitError(
            f"a law needs {FEWEST} networks of different sizes, {len(rows)} were measured; "
            "measure more with scalelab bench"
        )
    if rows["forward_flops"].nunique() < FEWEST // 2:
        raise FitError("the networks are too similar for a law; measure other sizes")
    seconds = rows["latency"].to_numpy(dtype=float)
    predicted = np.empty(len(rows))
    for held_out in _folds(len(rows), FOLDS, seed=0):
        learn = np.setdiff1d(np.arange(len(rows)), held_out)
        own = rows.iloc[learn]
        name, _ = _choose(own, seconds[learn], place.batch_size)
        fitted = MODELS[name](own, seconds[learn], place.batch_size)
        predicted[held_out] = fitted.predict(rows.iloc[held_out], place.batch_size)
    name, choices = _choose(rows, seconds, place.batch_size)
    kept = rows[["network_id", "architecture", *NEEDED, "latency"]].assign(predicted=predicted)
    return LatencyLaw(place, MODELS[name](rows, seconds, place.batch_size), kept, choices)


def _choose(rows: pd.DataFrame, seconds: Array, batch_size: int) -> tuple[str, dict[str, float]]:
    """Returns the name of the simplest model that none beats clearly, and the error of each."""
    errors: dict[str, list[Array]] = {name: [] for name in MODELS}
    for held_out in _folds(len(rows), INNER_FOLDS, seed=1):
        learn = np.setdiff1d(np.arange(len(rows)), held_out)
        for name, fit in MODELS.items():
            found = fit(rows.iloc[learn], seconds[learn], batch_size).predict(rows.iloc[held_out], batch_size)
            errors[name].append(np.abs(found - seconds[held_out]) / seconds[held_out])
    medians = {name: float(np.median(np.concatenate(found))) for name, found in errors.items()}
    best = next(iter(medians))
    for name, error in medians.items():
        if error < EARNED * medians[best]:
            best = name
    return best, medians


def _folds(n: int, k: int, seed: int) -> list[Index]:
    """Returns k parts of the numbers below n, drawn at random; each network is in one of them."""
    return [np.sort(part) for part in np.array_split(np.random.default_rng(seed).permutation(n), k)]
