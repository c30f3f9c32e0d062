"""Laws of latency: how long a network takes on a target, from what its forward pass asks of a machine.

A law is for one target (backend, device, precision), machine, batch size and number of threads. Which of
three models it is (`scalelab.analysis.latency.models`) is decided by cross-validation over networks; how good
it is says another cross-validation around that, whose networks neither the choice nor the fit has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from scalelab.analysis.estimate import Refusal, attempt
from scalelab.analysis.latency.models import MODELS, NEEDED, Fitted
from scalelab.analysis.runs.designs import split
from scalelab.arrays import Array
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
    fitted, choices = _best(rows, seconds, place.batch_size)
    predicted = _held_out(lambda *known: _best(*known)[0], rows, seconds, place.batch_size, FOLDS, seed=0)
    kept = rows[["network_id", "architecture", *NEEDED, "latency"]].assign(predicted=predicted)
    return LatencyLaw(place, fitted, kept, choices)


def _best(rows: pd.DataFrame, seconds: Array, batch_size: int) -> tuple[Fitted, dict[str, float]]:
    """Fits the simplest model that none beats clearly; returns it, and the error of each."""
    medians = {}
    for name, fit in MODELS.items():
        found = _held_out(fit, rows, seconds, batch_size, INNER_FOLDS, seed=1)
        medians[name] = float(np.median(np.abs(found - seconds) / seconds))
    best = next(iter(medians))
    for name, error in medians.items():
        if error < EARNED * medians[best]:
            best = name
    return MODELS[best](rows, seconds, batch_size), medians


def _held_out(
    fit: Callable[[pd.DataFrame, Array, int], Fitted], rows: pd.DataFrame, seconds: Array, batch_size: int,
    n_folds: int, seed: int,
) -> Array:  # fmt: skip
    """Predicts each network by a model of those in the other folds, which are drawn at random; (rows,)."""
    predicted = np.empty(len(rows))
    for part in np.array_split(np.random.default_rng(seed).permutation(len(rows)), n_folds):
        test = np.isin(np.arange(len(rows)), part)
        fitted = fit(rows[~test], seconds[~test], batch_size)
        predicted[test] = fitted.predict(rows[test], batch_size)
    return predicted
