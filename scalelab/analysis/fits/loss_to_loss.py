"""From one loss to another, with the errors of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from scalelab.analysis.fits.fit import Fit, FitOptions, fit_law
from scalelab.analysis.laws.loss_to_loss import LossToLoss
from scalelab.errors import FitError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


def loss_to_loss(first: Any, second: Any, *, error_ratio: float = 1.0, **options: Unpack[FitOptions]) -> Fit:
    """Fits `second = K * (first - E0)^kappa + E1` to pairs of losses, counting the errors of both.

    A plain fit takes the first loss for exact, which makes the law too flat. Here a residual is that of the
    logarithm of the second loss over `sqrt(1 + (error_ratio * slope)^2)`, with the slope of the law between
    logarithms: the distance to the curve (effective variance; Deming 1943, Orear 1982). The two errors are
    those around the law and are taken as independent of each other, in the simulations behind the intervals
    too.

    Args:
        first: The loss to predict from, of the validation data or another dataset, say; n numbers.
        second: The loss to predict, of the same runs or of runs of the same size and data; n numbers.
        error_ratio: Relative error of the first loss in units of that of the second; zero for a plain fit.
        options: As for `scalelab.fit_law`; the estimator must be one of log residuals.

    Returns:
        The fit, along the axis `loss`, which `scalelab.chain` takes as a link.

    Raises:
        FitError: The pairs are malformed, or cannot support the law.
    """
    fit: Fit = fit_law(LossToLoss(error_ratio), {"loss": first}, second, **options)
    return fit


def pair_losses(
    runs: pd.DataFrame,
    first: str,
    second: str,
    *,
    on: Sequence[str] = ("architecture", "optimizer", "n_params_body", "n_examples", "seed"),
) -> pd.DataFrame:
    """Pairs the losses of runs on two datasets.

    Args:
        runs: Finished runs, one row each, with `dataset`, `loss` and the columns of `on`.
        first: Name of the dataset of the first loss.
        second: Name of the other one.
        on: Columns in which the runs of a pair agree; runs that agree in them and the dataset are averaged.

    Returns:
        One row per pair: the columns of `on`, `first` and `second`.

    Raises:
        InputError: The table lacks a column.
        FitError: No runs of the two datasets agree.
    """
    columns = list(on)
    missing = [name for name in ("dataset", "loss", *columns) if name not in runs.columns]
    if missing:
        raise InputError(f"the table of runs lacks the columns {', '.join(missing)}; give others as on=")
    means = [
        runs[runs["dataset"] == name].groupby(columns)["loss"].mean().rename(side).reset_index()
        for side, name in (("first", first), ("second", second))
    ]
    pairs = means[0].merge(means[1], on=columns)
    if pairs.empty:
        raise FitError(
            f"no run on {first!r} agrees with one on {second!r} in {', '.join(columns)}; "
            "train the same networks on both, or pair on fewer columns"
        )
    return pairs
