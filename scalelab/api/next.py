"""What to train next, as the text of a study: the advised run, or the runs that make advice possible."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.families.advice import Advice
from scalelab.analysis.families.price import price_of_more, price_of_runs
from scalelab.api.proposals import proposal_of
from scalelab.api.source import opened
from scalelab.errors import ScalelabError
from scalelab.propose.budget import Proposal
from scalelab.propose.next import SUFFIX
from scalelab.report.sections.answer import NextStudy

if TYPE_CHECKING:
    from scalelab.analysis.analyze import Analysis
    from scalelab.analysis.families.ahead import Ahead
    from scalelab.plugins import Catalog
    from scalelab.store import Store


def next_studies(
    analysis: Analysis,
    store: Store | Path | str,
    *,
    build: bool = True,
    catalog: Catalog | None = None,
) -> dict[str, NextStudy]:
    """Returns what to train next on each dataset of an analysis, as studies that `plan` and `run` take.

    Where the runs support a prediction at ten times their largest compute that is the run which the advice
    recommends; where they do not, the study of the best run with more sizes and another seed, of the
    architectures analyzed. A study that cannot be written, for its plugins or its data are not here, says
    why. Each has its price, by what the runs that there are cost.

    Args:
        analysis: The analysis.
        store: The store of its runs.
        build: Whether to write the advised run, for which its dataset is opened and its model built; without
            that a dataset whose runs support advice has the price of that run alone.
        catalog: The plugins; the installed ones by default.

    Raises:
        StoreError: The store cannot be read.
    """
    known = opened(store)
    return {one.dataset: _next(one, analysis, known, catalog, build=build) for one in analysis.ahead}


def _next(one: Ahead, analysis: Analysis, store: Store, catalog: Catalog | None, *, build: bool) -> NextStudy:
    if not isinstance(one.answer, Advice):
        return _more(one, one.answer, analysis, store)
    price = price_of_runs(one.budget, analysis.runs)
    if store.trial(one.best[0].trial) is None:
        reason = "the runs were imported, and no study says how such a model is trained"
        return NextStudy(reason=reason, price=price)
    if not build:
        return NextStudy(price=price)
    try:
        made = proposal_of(one.answer, analysis.runs, store, Path("next.toml"), catalog=catalog)
    except ScalelabError as error:
        return NextStudy(reason=str(error), price=price)
    if isinstance(made, Proposal):
        price = price_of_runs(made.train_flops, analysis.runs, made.n_trials)
    return NextStudy(text=made.text, price=price)


def _more(one: Ahead, refusal: Refusal, analysis: Analysis, store: Store) -> NextStudy:
    from scalelab.propose.more import more_runs

    known = {study.name: study for study in store.stored_studies() if study.text}
    found = [study for study in store.stored_studies(trial_id=one.best[0].trial) if study.text]
    # Runs that were chosen for a study are more of that study.
    studies = [known.get(study.name.removesuffix(SUFFIX), study) for study in found]
    if not studies:
        return NextStudy(reason="the store keeps no study of these runs that could be made longer")
    runs = store.runs(studies[-1].name)
    asked = runs["architecture"].isin(analysis.runs["architecture"].unique())
    more = more_runs(
        studies[-1].text, set(runs["architecture"][~asked]), repeats="repeats" in refusal.remedies
    )
    if isinstance(more, str):
        return NextStudy(reason=more)
    price = price_of_more(runs[asked], more.longer, more.seeds)
    return NextStudy(text=more.text, changes=more.changes, price=price, grown=studies[-1].name)
