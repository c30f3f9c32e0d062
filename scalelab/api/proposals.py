"""What an answer proposes, written as a study file that `plan` and `run` take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.api.source import installed, opened
from scalelab.errors import InputError
from scalelab.study.write import make_folder, write_study

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.analyze import Analysis
    from scalelab.analysis.estimate import Estimate
    from scalelab.analysis.families.advice import Advice
    from scalelab.plugins import Catalog
    from scalelab.propose.budget import Proposal
    from scalelab.propose.script import ScriptProposal
    from scalelab.propose.space import Narrowed
    from scalelab.store import Store
    from scalelab.study import Study


def new_file(path: Path) -> None:
    """Makes sure that a proposal overwrites nothing, and makes its folder, from which locations are taken.

    Raises:
        InputError: The file already exists, or there can be no such folder.
    """
    if path.exists():
        raise InputError(f"{path} already exists; choose another name, or remove it first")
    make_folder(path)


def propose_run(
    advice: Advice,
    runs: pd.DataFrame,
    store: Store | Path | str,
    path: Path,
    *,
    study_file: Path | None = None,
    catalog: Catalog | None = None,
) -> Proposal | ScriptProposal:
    """Writes the run that an advice recommends, of its best family, as a study file.

    Args:
        advice: The advice.
        runs: The finished runs that it comes from, as `finished_runs` gives them.
        store: Their store.
        path: Where to write; nothing is overwritten.
        study_file: The study file of these runs, where the store's copy cannot find its dataset.
        catalog: The plugins; the installed ones by default.

    Raises:
        InputError: The runs are of no study, the file exists or cannot be written, the budget does not pay
            for one step, or the dataset has fewer examples than the run takes.
        StudyError: The study does not name the run's components, or the size cannot be reached.
    """
    new_file(path)
    proposal = proposal_of(advice, runs, store, path, study_file=study_file, catalog=catalog)
    write_study(path, proposal.text)
    return proposal


def proposal_of(
    advice: Advice,
    runs: pd.DataFrame,
    store: Store | Path | str,
    path: Path,
    *,
    study_file: Path | None = None,
    catalog: Catalog | None = None,
) -> Proposal | ScriptProposal:
    """Returns the run that an advice recommends as `propose_run` writes it, without writing it."""
    from scalelab.analysis.families.advice import best_run
    from scalelab.propose.budget import known_run, propose
    from scalelab.propose.script import of_script, propose_script

    best = advice.families[0]
    if best.lacks_data:
        raise InputError(f"{path} was not written: {best.supply.lack(best.n_examples)}")
    if "trial_id" not in runs.columns:
        raise InputError("these runs have no trials to take settings from; --write needs runs of a study")
    start, study = known_run(opened(store), best_run(best, runs), path.absolute().parent, study_file)
    if start.script is not None:
        return propose_script(
            start,
            of_script(start, study),
            runs,
            path,
            n_params=best.n_params.value,
            n_examples=best.n_examples,
            n_seen=best.n_seen.value,
            budget=advice.budget,
        )
    return propose(
        start,
        study,
        path,
        n_params=best.n_params.value,
        n_examples=best.n_examples,
        budget=advice.budget,
        catalog=catalog or installed(),
    )


def expected_loss(advice: Advice, proposal: Proposal | ScriptProposal) -> Estimate:
    """Returns the loss that an advice's best family is expected to reach with a proposed run."""
    n_params, n_seen, flops = proposal.n_params, proposal.n_seen, proposal.train_flops
    return advice.families[0].expect(n_params, n_seen, flops, advice.level)


def study_to_narrow(
    store: Store | Path | str, study: str | None, path: Path, study_file: Path | None, catalog: Catalog
) -> Study | None:
    """Returns the study whose space a proposal will narrow, checked before anything takes long.

    Args:
        store: The store of its runs.
        study: Its name; may be left out where the store has one only.
        path: Where the proposal will be written.
        study_file: The study file, where the store's copy cannot find its dataset.
        catalog: The plugins.

    Returns:
        The study; `None` where the runs were imported and belong to none.

    Raises:
        InputError: The file already exists, or the store has several studies.
        StudyError: The study is wrong.
        PluginError: One of its components is unknown.
    """
    from scalelab.propose.space import stored_study
    from scalelab.study.resolve import resolve

    new_file(path)
    known = stored_study(opened(store), study, path.absolute().parent, study_file)
    if known is not None:
        resolve(known, catalog)
    return known


def propose_space(
    analysis: Analysis, study: Study | None, path: Path, *, catalog: Catalog | None = None
) -> Narrowed:
    """Writes a study with the smaller space that holds the best models of an analysis.

    Args:
        analysis: The analysis, made with `design=True`.
        study: The study to narrow; `None` where there is none.
        path: Where to write; nothing is overwritten.
        catalog: The plugins; the installed ones by default.

    Raises:
        InputError: There is no study, the analysis has no design space, nothing becomes smaller, or the
            file exists or cannot be written.
        StudyError: No point of the smaller space satisfies the study's constraints.
    """
    from scalelab.propose.space import Limit, narrow

    new_file(path)
    if study is None:
        raise InputError(
            f"{path} was not written: imported runs have no study that a smaller space could be written "
            "into; the ranges of the analysis are all there is"
        )
    if analysis.design is None:
        raise InputError("the design space was not analyzed; analyze with design=True")
    limits = [
        Limit(one.component, one.owner, one.option, one.lower, one.upper, one.values)
        for one in analysis.design.narrowed
    ]
    found = narrow(study, limits, path, catalog or installed())
    write_study(path, found.text)
    return found
