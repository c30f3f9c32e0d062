"""The runs of a study that may be made next, and the study file of one that is to be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.errors import StudyError
from scalelab.propose.budget import run_values, written
from scalelab.propose.script import script_text
from scalelab.records import Trial
from scalelab.study import Study, parse_study
from scalelab.study.command import expand_command

if TYPE_CHECKING:
    from scalelab.plugins import Catalog

SUFFIX = "-next"
"""Runs that were chosen belong to a study of this name beside the one that they are of."""
MOST, TIMES = 1000, 4
"""Points that a drawn study is looked at with: so many times its own, and so many at most."""

_LONGEST = 100


def considered(study: Study) -> Study:
    """Returns a study with more of its own space: draws go on where they ended, and there is one more seed.

    A grid has the points that it has. Trials that the study has anyway keep their ids.

    Args:
        study: The study.
    """
    more: dict[str, object] = {"seeds": (*study.seeds, max(study.seeds) + 1)}
    sampling = study.sampling
    if sampling.method in ("random", "sobol") and sampling.n is not None:
        n = max(sampling.n, min(TIMES * sampling.n, MOST))
        more["sampling"] = sampling.model_copy(update={"n": n})
    return study.model_copy(update=more)


def next_name(name: str) -> str:
    """Returns the name of the study that chosen runs belong to; a study of chosen runs keeps its own."""
    return name if name.endswith(SUFFIX) else f"{name[: _LONGEST - len(SUFFIX)]}{SUFFIX}"


def study_of_run(trial: Trial, study: Study, path: Path, catalog: Catalog) -> str:
    """Returns the text of a study of one run, which has the id that it has in the study that it is of.

    Args:
        trial: The run.
        study: The study.
        path: Where the file will stand; relative locations are taken from there.
        catalog: The plugins.

    Raises:
        StudyError: Such a run cannot be written as a study of its own.
        InputError: A location of the study is not there.
    """
    head = {"name": next_name(study.name), "description": f"A run of {study.name}, chosen by scalelab next"}
    if trial.script is not None:
        text = script_text(study, trial, trial.architecture.params, head, path)
        trials = expand_command(parse_study(text, path)).trials
    else:
        text, expansion = written(run_values(trial, study, path, catalog) | head, study, path, catalog)
        trials = expansion.trials
    if [one.id for one in trials] != [trial.id]:
        raise StudyError(
            f"{study.source}: run {trial.id} cannot be written as a study of its own: something in it "
            "depends on the rest of the study; run the study itself"
        )
    return text
