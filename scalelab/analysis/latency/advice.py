"""The best network within a latency limit: trained ones by their objective, others by what a forest expects.

The forest (`scalelab.analysis.trees`) learns the objective from the design of the finished runs. It is asked
only where it beats the mean on held-out designs; its expectations are averages over runs, so that a network
that was never trained has to promise more than chance to be chosen before one that was. What the target's
precision costs is part of the objective: its own cost where a network was measured there with its trained
weights, else the mean over those of its architecture.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.latency.law import KEY, LatencyLaw, Place, fit_laws, measured
from scalelab.analysis.latency.models import NEEDED
from scalelab.analysis.latency.summary import objective_changes
from scalelab.analysis.runs.designs import finished_runs
from scalelab.arrays import Array
from scalelab.errors import FitError, InputError
from scalelab.records import Direction

if TYPE_CHECKING:
    import pandas as pd

MEASURED, PREDICTED = "measured", "predicted"
_SHOWN = ["architecture", "n_params", "forward_flops"]
_TIMES = ["latency", "lower", "upper"]


@dataclass(frozen=True, eq=False)
class LatencyAdvice:
    """The networks within a latency limit.

    Attributes:
        place: Where the limit holds.
        limit: Seconds.
        metric: Name of the objective.
        direction: Whether a lower or a higher objective is better.
        candidates: The networks within the limit, best first: `architecture`, `options` (JSON text),
            `objective` (on the target), `objective_from` (`measured` or `predicted`), `latency`,
            `lower`, `upper` (seconds), `latency_from`, `n_params`, `forward_flops` and `trial_id`
            (`None` where no run trained it).
        n_looked_at: Networks that were looked at, those beyond the limit too.
        law: The law of latency, or why there is none.
        notes: What was left out and why, a sentence each.
    """

    place: Place
    limit: float
    metric: str
    direction: Direction
    candidates: pd.DataFrame
    n_looked_at: int
    law: LatencyLaw | Refusal
    notes: tuple[str, ...]

    json_fields: ClassVar = (
        "*place", "limit_seconds=limit", "metric", "direction", "n_looked_at", "law", "notes",
        "candidates=networks",
    )  # fmt: skip

    def networks(self) -> list[dict[str, Any]]:
        """Returns the candidates as mappings, their options too."""
        options = self.candidates["options"].map(json.loads)
        rows: Any = self.candidates.assign(options=options).astype(object).to_dict("records")
        return list(rows)


def find_place(latencies: pd.DataFrame, target: str, batch_size: int, host: str) -> Place:
    """Returns the place of a target where most networks were measured, on this machine where it was.

    Raises:
        InputError: Nothing was measured there; the message names what was.
    """
    rows = measured(latencies)
    own = rows[(rows["target"].str.lower() == target.lower()) & (rows["batch_size"] == batch_size)]
    if own.empty:
        there = ", ".join(
            sorted({f"{t} (batch {b})" for t, b in zip(rows["target"], rows["batch_size"], strict=True)})
        )
        raise InputError(
            f"no latency was measured on {target} at batch size {batch_size}"
            + (f"; there is {there}" if there else "")
        )
    here = own[own["host"] == host]
    counted = (own if here.empty else here).groupby(list(KEY)).size()
    key: Any = counted.idxmax()
    return Place.of(key)


def advise_latency(
    latencies: pd.DataFrame,
    runs: pd.DataFrame,
    place: Place,
    limit: float,
    untrained: Sequence[dict[str, Any]] = (),
) -> LatencyAdvice:
    """Ranks the networks whose latency is within a limit.

    Args:
        latencies: One row per measurement, as the store's `latencies`.
        runs: The finished runs of the study that networks are chosen for.
        place: Where the limit holds.
        limit: Seconds of a call.
        untrained: Networks that no run trained: `architecture`, `options` and the fields of a footprint.

    Raises:
        InputError: No network is within the limit; the message says what the fastest takes.
    """
    import pandas as pd

    rows = measured(latencies)
    there = rows[(rows[list(KEY)] == list(place)).all(axis=1)]
    (law,) = fit_laws(there)
    trained = rows.dropna(subset=["objective"])
    trained = trained[trained["trial_id"].isin(runs["trial_id"])]
    if trained.empty:
        raise InputError(
            "none of the measured networks was trained, so that none has an objective; run the study"
        )
    metric, direction = str(trained["metric"].iloc[0]), trained["direction"].iloc[0]
    notes: list[str] = []
    tables = [_known(trained.drop_duplicates("network_id"), there, law)]
    if untrained:
        tables.append(_promised(pd.DataFrame(list(untrained)), runs, law, metric, notes))
    found = pd.concat([table for table in tables if len(table)], ignore_index=True)
    found, note = _at_its_precision(found, there, metric, place)
    notes += note
    if isinstance(law, Refusal):
        notes.append(f"only networks measured on {place.target} are considered: {law.reason}")
    within = found[found["latency"] <= limit]
    if within.empty:
        fastest = found["latency"].min()
        raise InputError(
            f"no network is within {1e3 * limit:g} ms on {place.target}: the fastest of {len(found)} takes "
            f"{1e3 * fastest:.3g} ms; allow more, or measure smaller ones with scalelab bench"
        )
    ranked = within.sort_values(
        ["objective", "latency"], ascending=[direction == "minimize", True], kind="stable", ignore_index=True
    )
    return LatencyAdvice(place, limit, metric, direction, ranked, len(found), law, tuple(notes))


def _known(trained: pd.DataFrame, there: pd.DataFrame, law: LatencyLaw | Refusal) -> pd.DataFrame:
    """Returns the trained networks with their latency: measured, or predicted of those measured elsewhere."""
    own = there.drop_duplicates("network_id", keep="last").set_index("network_id")
    here = trained["network_id"].isin(own.index).to_numpy()
    table = trained[[*_SHOWN, "network_id", "trial_id"]].assign(
        options=[_text(json.loads(options)) for options in trained["options"]],
        objective=trained["objective"].astype(float),
        objective_from=MEASURED,
        latency_from=np.where(here, MEASURED, PREDICTED),
    )
    known = own[["latency", "latency_low", "latency_high"]].astype(float).reindex(trained["network_id"])
    table[_TIMES] = known.to_numpy()
    if isinstance(law, Refusal):
        return table[here]
    if not here.all():
        table.loc[~here, _TIMES] = law.predict(trained[~here])[_TIMES].to_numpy()
    return table


def _at_its_precision(
    found: pd.DataFrame, there: pd.DataFrame, metric: str, place: Place
) -> tuple[pd.DataFrame, list[str]]:
    """Returns candidates whose objectives count what the target's precision costs, and a sentence on that."""
    precision = place.target.rpartition(":")[2]
    own = there.assign(change=objective_changes(there)).dropna(subset=["change"])
    if own.empty:
        unknown = (
            f"the effect of {precision} on {metric} is not known: scalelab run --keep-weights, then bench"
        )
        return found.drop(columns="network_id"), [] if precision == "f32" else [unknown]
    mean = float(own["change"].mean())
    change = found["network_id"].map(own.drop_duplicates("network_id").set_index("network_id")["change"])
    alike = found["architecture"].map(own.groupby("architecture")["change"].mean())
    change = change.fillna(alike).fillna(mean)
    counted = found.assign(objective=found["objective"] + change).drop(columns="network_id")
    note = f"{metric} includes the effect of {precision} ({mean:+.2g}, mean of {len(own)} trained networks)"
    return counted, [] if precision == "f32" else [note]


def _text(options: dict[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


def _promised(
    networks: pd.DataFrame,
    runs: pd.DataFrame,
    law: LatencyLaw | Refusal,
    metric: str,
    notes: list[str],
) -> pd.DataFrame:
    """Returns untrained networks, with the latency and the objective that are expected of them."""
    if isinstance(law, Refusal):
        return networks.head(0)
    try:
        objective = expected_objectives(runs, networks, metric)
    except FitError as refusal:
        notes.append(f"untrained networks are left out: {refusal}")
        return networks.head(0)
    return networks[_SHOWN].assign(
        network_id=None,
        trial_id=None,
        options=networks["options"].map(_text),
        objective=objective,
        objective_from=PREDICTED,
        latency_from=PREDICTED,
        **law.predict(networks[list(NEEDED)]),
    )


def expected_objectives(runs: pd.DataFrame, networks: pd.DataFrame, metric: str) -> Array:
    """Returns the objective that a forest expects of networks, trained as the best runs were.

    Args:
        runs: Finished runs.
        networks: Columns `architecture` and `options` (mappings).
        metric: Name of the objective.

    Returns:
        Shape (networks,).

    Raises:
        FitError: The runs support no forest, or it does not beat the mean on held-out designs.
    """
    import pandas as pd

    from scalelab.analysis.trees.design import design_of
    from scalelab.analysis.trees.fit import tree_model
    from scalelab.analysis.trees.learners import FOREST
    from scalelab.analysis.trees.result import ALL

    done = finished_runs(runs)
    done = done[done["metric"] == metric].reset_index(drop=True)
    judged = tree_model(done, str(done["space_label"].iloc[0]), ALL, metric, measures=("gini",))
    if isinstance(judged, Refusal):
        raise FitError(judged.reason)
    if not judged.beats_the_mean:
        raise FitError("the design's effect on the objective is not distinguishable from noise in these runs")
    sign = 1.0 if judged.direction == "minimize" else -1.0
    best = done.loc[(sign * done["objective"]).groupby(done["architecture"]).idxmin()].set_index(
        "architecture"
    )
    asked = []
    for architecture, options in zip(networks["architecture"], networks["options"], strict=True):
        if architecture not in best.index:
            raise FitError(f"no run trained a {architecture}")
        own = {f"architecture_{name}": value for name, value in options.items()}
        asked.append({**best.loc[architecture].to_dict(), "architecture": architecture, **own})
    both = pd.concat(
        [done, pd.DataFrame(asked)[[c for c in done.columns if c in asked[0]]]], ignore_index=True
    )
    matrix = design_of(both).matrix
    fitted = FOREST.fit(matrix[: len(done)], done["objective"].to_numpy(dtype=float), None, 0)
    return np.asarray(fitted.predict(matrix[len(done) :]))
