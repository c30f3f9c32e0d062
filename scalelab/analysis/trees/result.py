"""What a tree model of the design is: a frozen result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.trees.learners import Setting

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"
"""The scope of a model over all optimizers."""

MEASURES = ("gini", "permutation", "shap")


@dataclass(frozen=True, eq=False, kw_only=True)
class TreeModel:
    """What a model makes of the design of one dataset's runs.

    Attributes:
        dataset: The dataset's label.
        scope: An optimizer's name, or `ALL`.
        metric: Name of the objective that is predicted.
        direction: Whether a lower or a higher objective is better.
        n_designs: Designs, that is groups of runs whose choices are the same.
        n_runs: Runs.
        learner: `forest`, `boosting` or `xgboost`.
        n_units: What folds and bootstrap keep together: networks, or designs where there are few networks.
        scores: `score` (`pearson`, `spearman`, `r2`, `rmse`), `value`, `lower`, `upper`: of
            predictions for held-out designs. R² is relative to the mean of the training designs.
        mean_rmse: RMSE of that mean on held-out designs: what a model must beat.
        importances: `measure` (one of `MEASURES`), `choice`, `importance`, `lower`, `upper`,
            `noise` (what the best of the shuffled copies of the choices reaches), `spearman` (of the
            choice with the objective; NaN for a choice without order), `matters` (`lower` is above
            `noise`); most important first within a measure.
        predictions: `observed` and `predicted` (held out, mean over the repeats) of every run.
        settings: The tree depth and number of rounds chosen for the outer folds, most frequent first; empty
            for a forest, which is not tuned.
    """

    dataset: str
    scope: str
    metric: str
    direction: str
    n_designs: int
    n_runs: int
    learner: str
    n_units: int
    scores: pd.DataFrame
    mean_rmse: float
    importances: pd.DataFrame
    predictions: pd.DataFrame
    settings: tuple[Setting, ...]

    refusal: ClassVar[None] = None
    json_fields: ClassVar = (
        "dataset", "metric", "scope", "refusal", "learner", "n_designs", "n_units", "n_runs", "scores",
        "mean_rmse", "beats_the_mean", "settings", "importances",
    )  # fmt: skip

    def score(self, name: str) -> Estimate:
        """Returns a score by its name."""
        return Estimate.of(*self.scores.set_index("score").loc[name, ["value", "lower", "upper"]])

    @property
    def beats_the_mean(self) -> bool:
        """Whether the interval of R² lies above zero."""
        return self.score("r2").ends[0] > 0

    def ranking(self, measure: str = "permutation") -> pd.DataFrame:
        """Returns the importances by one measure, most important first; empty where it was not taken."""
        return self.importances[self.importances["measure"] == measure].reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class Effect:
    """How predictions follow one choice, all others as they are (partial dependence, Friedman 2001).

    Attributes:
        choice: Its name.
        values: The values, shape (values,), as text where the choice has no order.
        mean: Mean prediction at each value, shape (values,); mean over refits.
        lower: Lower end of its interval over refits.
        upper: Upper end.
        ice_lower: Where a tenth of the single runs' curves (individual conditional expectation) lie below.
        ice_upper: Where a tenth of them lie above.
    """

    choice: str
    values: tuple[float | str, ...]
    mean: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    ice_lower: tuple[float, ...]
    ice_upper: tuple[float, ...]

    @property
    def ordered(self) -> bool:
        """Whether the values are numbers."""
        return not any(isinstance(value, str) for value in self.values)


@dataclass(frozen=True, eq=False)
class Effects:
    """How choices act, alone and together, in XGBoost models of one scope.

    Attributes:
        dataset: The dataset's label.
        scope: An optimizer's name, or `ALL`.
        metric: Name of the objective.
        interactions: `first`, `second` (choices), `strength` (mean absolute SHAP interaction value of
            the pair, in standard deviations of the objective), `lower`, `upper`, `noise` (what the pair
            reaches where nothing interacts), `matters` (`lower` is above `noise`); strongest first.
        partial: Partial dependence on the choices, most important first.
    """

    dataset: str
    scope: str
    metric: str
    interactions: pd.DataFrame
    partial: tuple[Effect, ...]

    json_fields: ClassVar = ("dataset", "metric", "scope", "interactions", "partial_dependence=partial")
