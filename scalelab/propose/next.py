"""The runs of a study that may be made next, and the study file of those that are to be."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import StudyError
from scalelab.params import locations
from scalelab.propose.budget import located, written
from scalelab.propose.script import command_folder
from scalelab.records import Trial
from scalelab.study import Study
from scalelab.study.resolve import resolve
from scalelab.study.write import place_from

if TYPE_CHECKING:
    from scalelab.plugins import Catalog

SUFFIX = "-next"
"""Runs that were chosen belong to a study of this name beside the one that they are of."""
MOST, TIMES = 1000, 4
"""Points that a drawn study is looked at with: so many times its own, and so many at most."""

_LONGEST = 100


def considered(study: Study) -> Study:
    """Returns a study with more of its own space: draws go on where they ended, and there is one more seed.

    A grid has the points that it has. Trials that the study has anyway keep their ids. A study that lists its
    trials has no others.

    Args:
        study: The study.
    """
    if study.trials is not None:
        return study
    more: dict[str, object] = {"seeds": (*study.seeds, max(study.seeds) + 1)}
    sampling = study.sampling
    if sampling.method in ("random", "sobol") and sampling.n is not None:
        n = max(sampling.n, min(TIMES * sampling.n, MOST))
        more["sampling"] = sampling.model_copy(update={"n": n})
    return study.model_copy(update=more)


def next_name(name: str) -> str:
    """Returns the name of the study that chosen runs belong to; a study of chosen runs keeps its own."""
    return name if name.endswith(SUFFIX) else f"{name[: _LONGEST - len(SUFFIX)]}{SUFFIX}"


def study_of_runs(chosen: Sequence[Trial], study: Study, path: Path, catalog: Catalog) -> str:
    """Returns the text of a study of some of a study's runs, which have the ids that they have there.

    It has the study's own space, rules and settings, and lists the runs.

    Args:
        chosen: The runs, trials of what `considered` returns.
        study: The study.
        path: Where the file will stand; relative locations are taken from there.
        catalog: The plugins.

    Raises:
        StudyError: The text of the study does not say these runs.
        InputError: A location of the study is not there.
    """
    if not study.text:
        raise StudyError(f"{study.source}: it was made without a file; write one, and choose from that")
    values = tomllib.loads(study.text) | {
        "name": next_name(study.name),
        "description": f"{len(chosen)} of the runs of {study.name}, chosen by scalelab next",
        "seeds": sorted({trial.seed for trial in chosen}),
        "trials": [trial.id for trial in chosen],
    }
    if "sampling" in values:
        values["sampling"]["n"] = considered(study).sampling.n
    script = chosen[0].script
    if script is not None:
        values["command"] |= {"name": script.name, "folder": command_folder(study, path)}
    else:
        options = values["dataset"].get("options", {})
        values["dataset"]["options"] = {**options, **located(study, path, catalog)}
        _move_files(values, study, path, catalog)
    return written(values, study, path, catalog)[0]


def _move_files(values: dict[str, Any], study: Study, path: Path, catalog: Catalog) -> None:
    """Names files among the options of networks, optimizers and trainer from where the new file stands."""
    beside = (study.path.parent if study.path else Path()).absolute()
    for own in resolve(study, catalog).with_files:
        kind, index = str(own.key[0]), int(own.key[1]) if len(own.key) > 1 else 0
        tables = values[kind] if isinstance(values[kind], list) else [values[kind]]
        for name in locations(own.component.params) & own.options.keys():
            given = str(own.options[name])
            if not (Path(given).is_absolute() or given.startswith("~")):
                tables[index]["options"][name] = place_from(path, beside / given)
