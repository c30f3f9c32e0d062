"""The whole analysis of a table of runs as one frozen result: what a report prints, draws and exports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from scalelab.amounts import counted, verb
from scalelab.analysis.cores import Progress
from scalelab.analysis.designspace.whole import DesignSpace, design_space
from scalelab.analysis.estimate import Refusal
from scalelab.analysis.families.ahead import Ahead, ahead
from scalelab.analysis.families.allocation import FamilyOptimum, family_optima
from scalelab.analysis.families.bought import bought
from scalelab.analysis.families.fitted import FittedLaw
from scalelab.analysis.families.laws import fit_families
from scalelab.analysis.families.pairs import Group, compare_families
from scalelab.analysis.families.verdicts import Verdicts
from scalelab.analysis.inference.bootstrap import check_level
from scalelab.analysis.runs.axes import with_axes
from scalelab.analysis.runs.calibration import Reliability, reliabilities
from scalelab.analysis.runs.designs import (
    Family,
    design_ids,
    designs,
    families,
    finished_runs,
    seed_spread,
    sweeps_and_designs,
)
from scalelab.analysis.runs.frontier import Front, pareto_fronts
from scalelab.analysis.runs.outcomes import taken
from scalelab.analysis.runs.recorded import cut_short, no_scales, unlike
from scalelab.analysis.runs.refits import Refitted, refits
from scalelab.analysis.runs.selection import JOINT
from scalelab.analysis.runs.sweeps import Sweep
from scalelab.analysis.trees.fit import tree_models
from scalelab.analysis.trees.result import TreeModel
from scalelab.errors import InputError
from scalelab.heap import kept_memory
from scalelab.law import Law
from scalelab.records import Charge, On

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.families.advice import Advice

MAX_GRID = 16


@dataclass(frozen=True, eq=False)
class ScaleTable:
    """The loss of one family by model size and data size.

    Attributes:
        family: Whose loss.
        loss: Mean over seeds of the best setting: a row per model size, a column per data size; NaN if none.
        seed_spread: Pooled standard deviation of the log loss over seeds; `None` without repeats.
    """

    family: Family
    loss: pd.DataFrame
    seed_spread: float | None

    json_fields: ClassVar = ("*family.shown", "seed_spread", "loss=cells")

    def cells(self) -> pd.DataFrame:
        """Returns the known losses, a row each: `n_params`, `n_examples`, `loss`."""
        long = self.loss.reset_index().melt("n_params", var_name="n_examples", value_name="loss").dropna()
        long = long.sort_values(["n_params", "n_examples"])
        # Imported counts may be beyond 64 bits.
        return long.assign(**{name: [int(n) for n in long[name]] for name in ("n_params", "n_examples")})


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that a report says about a table of runs. Never changes.

    Attributes:
        studies: One row per study: `study`, `dataset`, `metric`, `trials`, `done`, `diverged`,
            `failed`, `unfinished`, `designs`, `hours` (of training).
        warnings: What a reader should know before believing the rest, a line each.
        refits: What the best designs of studies reached when they were trained again.
        scales: Loss by model and data size, of families with a grid of at most `MAX_GRID` sizes each way.
        laws: A law a family and axis, refusals among them.
        sweeps: What studies tuned, size by size.
        comparisons: Families that differ in one thing, side by side.
        optima: How each family should spend compute, where its runs say; refusals among them.
        fronts: Pareto fronts of the objective.
        trees: Tree models, refusals among them.
        design: The design space; `None` where it was not asked for.
        runs: The finished runs that all this is about.
        curves: Their learning curves; `None` where they were not given.
        level: Coverage of all intervals.
        estimator: What the fits minimize.
        seed: Seed of everything random.
        on: Which losses and objectives all this is about, see `scalelab.analysis.runs.outcomes`.
        charge: Which training FLOPs, likewise.
        only: Which of all runs these are, in words; empty for all of them.
        along: Axes beside the usual scales that were asked for.
        verdicts: Registered predictions and what came; `None` where there are none.
        measured: How many measurements of latency stand beside these runs, which are not analyzed here.
    """

    studies: pd.DataFrame
    warnings: tuple[str, ...]
    refits: tuple[Refitted, ...]
    scales: tuple[ScaleTable, ...]
    laws: tuple[FittedLaw | Refusal, ...]
    sweeps: tuple[Sweep, ...]
    comparisons: tuple[Group | Refusal, ...]
    optima: tuple[FamilyOptimum | Refusal, ...]
    fronts: tuple[Front, ...]
    trees: tuple[TreeModel | Refusal, ...]
    design: DesignSpace | None
    runs: pd.DataFrame
    curves: pd.DataFrame | None
    level: float
    estimator: str
    seed: int
    on: On = "validation"
    charge: Charge = "last"
    only: str = ""
    along: tuple[str, ...] = ()
    verdicts: Verdicts | None = None
    measured: int = 0

    json_fields: ClassVar = (
        "level", "estimator", "seed", "on", "charge", "only", "ahead", "studies", "warnings", "refits",
        "loss_by_scale=scales", "laws", "*judged", "sweeps", "comparisons", "compute_optimal=optima",
        "fronts", "calibration=calibrations", "trees", "design",
    )  # fmt: skip

    @property
    def fitted(self) -> tuple[FittedLaw, ...]:
        """The laws that were not refused."""
        return tuple(law for law in self.laws if isinstance(law, FittedLaw))

    @property
    def judged(self) -> dict[str, Verdicts]:
        """The verdicts by their name in JSON, which is there only where predictions were registered."""
        return {} if self.verdicts is None else {"verdicts": self.verdicts}

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """The laws that were."""
        return tuple(law for law in self.laws if isinstance(law, Refusal))

    @cached_property
    def calibrations(self) -> tuple[Reliability, ...]:
        """How far the probabilities of each family's best run are right, of classifiers that record it."""
        return reliabilities(self.runs, self.level)

    @cached_property
    def ahead(self) -> tuple[Ahead, ...]:
        """What the runs on each dataset say to somebody who decides."""
        how: Any = {"estimator": self.estimator, "level": self.level, "seed": self.seed}
        # Designs of other axes are other designs.
        return ahead(self.runs, self._designs, **how, optima=() if self.along else self.optima)

    @cached_property
    def bought(self) -> dict[str, tuple[Advice, ...]]:
        """What a row of training budgets buys, by dataset; nothing where no advice is possible."""
        return {one.dataset: bought(one, self._designs) for one in self.ahead}

    @cached_property
    def _designs(self) -> pd.DataFrame:
        return designs(self.runs)

    @property
    def forests(self) -> tuple[TreeModel, ...]:
        """The tree models that were not refused."""
        return tuple(tree for tree in self.trees if isinstance(tree, TreeModel))


@kept_memory()
def analyze(
    runs: pd.DataFrame,
    *,
    curves: pd.DataFrame | None = None,
    planned: Mapping[str, int] | None = None,
    law: str | Law | None = None, axes: Sequence[str] | None = None,
    estimator: str = "log-huber",
    level: float = 0.9, trees: bool = True, design: bool = False, seed: int = 0,
    on: On = "validation", charge: Charge = "last", only: str = "", measured: int = 0,
    progress: Progress | None = None,
) -> Analysis:  # fmt: skip
    """Analyzes a table of runs; what they cannot support is refused with the reason within the result.

    Args:
        runs: One row per trial, of the columns of the store's `runs` those that `finished_runs` asks for.
        curves: Learning curves, to be drawn; they are not analyzed.
        planned: How many trials each study asks for.
        law: A form or its name, see `scalelab.analysis.families.laws.fit_families`.
        axes: Which axes to fit along: scales, `joint`, or any other numeric column.
        estimator: What the fits minimize.
        level: Coverage of all intervals, between 0 and 1.
        trees: Whether to fit a tree model of the design.
        design: Whether to analyze the design space, with every kind of tree model.
        seed: Seed of everything random.
        on: Which losses and objectives, see `scalelab.analysis.runs.outcomes`.
        charge: Which training FLOPs, likewise.
        only: Which of all runs these are, in words.
        measured: How many measurements of latency stand beside them.
        progress: Is told what is being made, how many pieces of it are done, and how many there are.

    Raises:
        InputError: No run is finished, an option is wrong, or runs lack what is meant.
    """
    check_level(level)
    done, along = with_axes(taken(_finished(runs), on, charge), law, axes or ())
    swept, table = sweeps_and_designs(done, along)
    studies = _studies(runs, done, planned or {})
    how: Any = {"estimator": estimator, "level": level, "seed": seed}
    laws = fit_families(table, law=law, axes=axes, **how, progress=progress)
    split = axes is None or JOINT in axes
    optima = family_optima(table, **how, laws=laws, progress=progress) if split else ()
    space = design_space(done, level=level, seed=seed, progress=progress) if design else None
    given: Any = {**how, "curves": curves, "on": on, "charge": charge, "only": only, "measured": measured}
    return Analysis(
        studies=studies,
        warnings=(*_warnings(studies, runs, done, table, along, only), *_impossible(laws)),
        refits=refits(runs, done, level),
        scales=_scale_tables(table),
        laws=laws,
        sweeps=swept,
        comparisons=compare_families(laws, optima if law is None else (), level, progress),
        optima=optima,
        fronts=pareto_fronts(table),
        trees=_trees(space, done, level, seed, progress) if trees else (),
        design=space,
        runs=done,
        along=along,
        **given,
    )


def _finished(runs: pd.DataFrame) -> pd.DataFrame:
    done = finished_runs(runs)
    if done.empty:
        raise InputError(
            f"none of {len(runs)} trials is finished with a finite loss; run the study, then analyze it"
        )
    return done


def _trees(
    space: DesignSpace | None, done: pd.DataFrame, level: float, seed: int, progress: Progress | None
) -> tuple[TreeModel | Refusal, ...]:
    if space is None:
        return tree_models(done, level=level, seed=seed, progress=progress)
    return tuple(one for one in space.trees.results if isinstance(one, Refusal) or one.learner == "forest")


def _studies(runs: pd.DataFrame, done: pd.DataFrame, planned: Mapping[str, int]) -> pd.DataFrame:
    import pandas as pd

    names = runs["study"].fillna("-") if "study" in runs.columns else pd.Series("-", index=runs.index)
    finished_in = dict(tuple(_by_study(done).groupby("name")))
    rows = []
    for study, group in runs.groupby(names, sort=True):
        finished = finished_in.get(study, done.head(0).assign(design=0))
        counts = group["status"].value_counts()
        kept = {status: int(counts.get(status, 0)) for status in ("done", "diverged", "failed")}
        dropped = int((~group["planned"].astype(bool)).sum()) if "planned" in group.columns else 0
        trials = max(len(group), planned.get(str(study), 0) + dropped)
        hours = group["wall_seconds"].sum() / 3600 if "wall_seconds" in group.columns else math.nan
        rows.append(
            {
                "study": str(study),
                "dataset": ", ".join(sorted(group["dataset"].dropna().astype(str).unique())),
                "metric": ", ".join(sorted(finished["metric"].unique())),
                "trials": trials,
                **kept,
                "unfinished": trials - sum(kept.values()),
                "designs": finished["design"].nunique(),
                "hours": float(hours),
            }
        )
    return pd.DataFrame(rows)


def _by_study(done: pd.DataFrame) -> pd.DataFrame:
    """Returns the finished runs with their design and the `name` of a study: a row for each that has it."""
    table = done.assign(design=design_ids(done))
    if "studies" in done.columns:
        return table.assign(name=done["studies"]).explode("name")
    return table.assign(name=done["study"].fillna("-") if "study" in done.columns else "-")


def _warnings(
    studies: pd.DataFrame,
    raw: pd.DataFrame,
    done: pd.DataFrame,
    table: pd.DataFrame,
    along: Sequence[str],
    only: str,
) -> tuple[str, ...]:
    lines = [only] if only else []
    trials, diverged, failed, unfinished = (
        int(studies[name].sum()) for name in ("trials", "diverged", "failed", "unfinished")
    )
    if diverged:
        lines.append(
            f"{diverged} of {trials} trials diverged, left out here, which biases the remaining runs toward "
            "lower loss"
        )
    if failed:
        lines.append(f"{failed} of {trials} trials failed, left out here; see: scalelab status")
    cut = cut_short(raw)
    if cut:
        lines.append(
            f"{cut} of {trials} runs made elsewhere {verb(cut, 'were')} cut short, as if pruned; left out"
        )
    if (left := unfinished - cut) > 0:
        lines.append(
            f"{left} of {trials} trials {verb(left, 'are')} not finished yet; the numbers below will change"
        )
    if (table["n_runs"] == 1).all():
        lines.append(
            "no design was run with two seeds: how much of a difference is noise between seeds is not known"
        )
    lines += no_scales(raw, done)
    lines += unlike(done, along)
    mixed = [name for name in ("precision", "device") if name in done.columns and done[name].nunique() > 1]
    for name in mixed:
        values = ", ".join(sorted(map(str, done[name].dropna().unique())))
        lines.append(f"runs of several kinds of {name} are analyzed together: {values}")
    if low := int((done["loss"] <= 0).sum()):
        lines.append(
            f"{counted(low, 'runs')} {verb(low, 'have')} a loss of zero or less, which only a formula can "
            "describe, such as --law 'E + A*n_params^-alpha'"
        )
    return tuple(lines)


def _impossible(laws: Sequence[FittedLaw | Refusal]) -> list[str]:
    """Returns a line where a law of one axis ends below what the law of both says nothing can be below."""
    floors = {
        (law.family, law.axis): law.irreducible.ends
        for law in laws
        if isinstance(law, FittedLaw) and law.irreducible is not None
    }
    return [
        f"{', '.join(filter(None, family.shown.values()))}: the law of {axis} ends below the irreducible "
        "loss of the law of both axes, which cannot be: one of the two has the wrong shape"
        for (family, axis), (_, highest) in floors.items()
        if highest < floors.get((family, JOINT), (-math.inf, 0.0))[0]
    ]


def _scale_tables(table: pd.DataFrame) -> tuple[ScaleTable, ...]:
    scales = []
    for family, rows in families(table):
        loss = rows.pivot_table(index="n_params", columns="n_examples", values="loss", aggfunc="min")
        if loss.size and max(loss.shape) <= MAX_GRID:
            scales.append(ScaleTable(family, loss, seed_spread(rows)))
    return tuple(scales)
