"""The study that makes a refused answer possible: the same one with more sizes and a second seed.

Needs the text of a study alone, neither its plugins nor its data: `scalelab plan` says whether they take the
new values. The name stays, so that the trials that are done are kept and only new ones are trained.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scalelab.constraints import is_number
from scalelab.errors import StudyError
from scalelab.study import parse_study
from scalelab.study.write import study_text, without_heading


class Longer(NamedTuple):
    """New values of an option of an architecture."""

    architecture: str
    option: str
    values: tuple[float, ...]


class More(NamedTuple):
    """A study file with more runs.

    Attributes:
        text: The file.
        longer: Which options have new values.
        seed: The new seed; `None` where there is none.
        seeds: How many times as many seeds there are.
    """

    text: str
    longer: tuple[Longer, ...]
    seed: int | None
    seeds: float

    @property
    def changes(self) -> tuple[str, ...]:
        """What is new, a few words each."""
        words = (
            f"{one.option} {' and '.join(f'{value:g}' for value in one.values)} of {one.architecture}"
            for one in self.longer
        )
        return (*words, *(() if self.seed is None else (f"seed {self.seed}",)))


def more_runs(text: str, without: Collection[str] = (), *, repeats: bool = True) -> More | str:
    """Returns a study with more sizes and, where it has one seed, a second; or why that cannot be.

    Only the first numeric dimension of each architecture becomes longer, so that the number of trials stays
    within reach. Points that were drawn (Sobol, random) would all be others in a longer space: that stays.
    The comment that heads the file and the description give way to what is new.

    Args:
        text: The text of the study of the runs.
        without: Architectures that the new study leaves out.
        repeats: Whether another seed alone is an answer, too.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return "the store keeps no study of these runs that could be made longer"
    if "command" in values:
        return "which of a command's parameters are sizes is not known; give them more values in its study"
    if "trials" in values:
        return "its study lists its trials, so that it cannot grow; make longer the one that they are of"
    said = values.get("architecture", [])
    own = [one for one in ([said] if isinstance(said, dict) else said) if one.get("name") not in without]
    values["architecture"] = own
    longer: list[Longer] = []
    method = values.get("sampling", {}).get("method", "grid")
    if method == "grid":
        for one in own:
            longer += _lengthened(one)
    if not longer and not repeats:
        return (
            "no option has a next size; write a study with other sizes"
            if method == "grid"
            else f"the points of its study were drawn ({method}), so that it cannot grow; put them into "
            "a study of another name"
        )
    seeds = values.get("seeds", [0])
    added = [max(seeds) + 1] if len(seeds) == 1 or not longer else []
    values["seeds"] = [*seeds, *added]
    more = More("", tuple(longer), added[0] if added else None, len(values["seeds"]) / len(seeds))
    what = f"{values.get('name', '')} with {' and '.join(more.changes)}"
    values["description"] = f"More runs of {what}"
    head = f"# The study {what}, as scalelab analyze proposes it; runs that are done are kept.\n"
    new = head + study_text(values, without_heading(text))
    try:
        parse_study(new, Path("more.toml"))
    except StudyError as error:
        return str(error)
    return more._replace(text=new)


def _lengthened(architecture: dict[str, Any]) -> list[Longer]:
    """Makes the first numeric dimension of an architecture's space longer, and returns what is new."""
    space = architecture.get("space", {})
    for option, dimension in space.items():
        longer = _longer(dimension)
        if longer is not None:
            space[option], new = longer
            return [Longer(str(architecture.get("name", "")), option, tuple(new))]
    return []


def _longer(dimension: Any) -> tuple[Any, list[float]] | None:
    """Returns a dimension with a step more at each end, and the new values; `None` where it has no order."""
    if isinstance(dimension, Mapping) and dimension.get("type") == "doubling":
        low, high = dimension["low"], dimension["high"]
        below = low // 2 if isinstance(low, int) and low % 2 == 0 else low
        new = [*([below] if below < low else []), 2 * high]
        return {**dimension, "low": below, "high": 2 * high}, new
    if (
        isinstance(dimension, Sequence)
        and len(dimension) > 1
        and all(is_number(one) and one > 0 for one in dimension)
    ):
        ordered = sorted(dimension)
        step = ordered[-1] / ordered[-2]
        above = ordered[-1] * step
        beyond = round(above) if all(isinstance(one, int) for one in ordered) else above
        return [*dimension, beyond], [beyond]
    return None
