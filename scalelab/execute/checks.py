"""What is checked of pending trials before any of them is trained."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from scalelab.errors import DataError, InputError, ScalelabError, StudyError, brief, in_words
from scalelab.measure.models import check_files
from scalelab.plugins import Catalog
from scalelab.records import Trial
from scalelab.study import Expansion, Study
from scalelab.study.expansion import Place
from scalelab.study.messages import one_line
from scalelab.train.classes import check_classes
from scalelab.train.metrics import objective_of
from scalelab.train.soundness import check_data


def check_trials(study: Study, trials: Sequence[Trial], expansion: Expansion, catalog: Catalog) -> None:
    """Makes sure that datasets have what training asks for, and that networks start from files that fit.

    Args:
        study: The study, for messages.
        trials: Those of the expansion that are to be trained.
        expansion: Of the study.
        catalog: The plugins.

    Raises:
        InputError: One cannot be trained.
    """
    if expansion.place is not None:
        check_program(study, expansion.place)
        return
    for opened in {id(found): found for found in map(expansion.opened, trials)}.values():
        try:
            check_data(opened.data)
            check_classes(study.training, opened.data.task)
            objective_of(opened.data.task, study.training.objective)
        except InputError as error:
            what = f"{study.source}: dataset {study.dataset.name!r}"
            raise type(error)(one_line(f"{what}: {error}")) from error
        except ScalelabError:
            raise
        except Exception as error:  # what a dataset gives may raise whatever is asked of it
            what = f"{study.source}: dataset {study.dataset.name!r} cannot be looked at"
            raise DataError(f"{what}: {in_words(error)}") from error
    check_files(trials, expansion, catalog)


def check_program(study: Study, place: Place) -> None:
    """Makes sure that a study's command can be started here.

    Raises:
        StudyError: There is no such program.
    """
    beside = Path(place.folder, place.program)
    if "{" not in place.program and not shutil.which(beside if os.sep in place.program else place.program):
        what = f"{study.source}: command.run[0] = {brief(place.program)}: there is no such program"
        remedy = "give one in PATH, a path, or '{python}' for the Python that runs scalelab"
        raise StudyError(one_line(f"{what}; {remedy}"))
