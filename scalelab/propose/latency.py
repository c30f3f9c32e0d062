"""Networks that a latency limit can choose from, and the study file of the one that was chosen."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import InputError, StudyError
from scalelab.measure.costs import Costs
from scalelab.propose.budget import run_values, written
from scalelab.records import ComponentRef, Trial
from scalelab.study import Study
from scalelab.study.resolve import resolve
from scalelab.study.sampling import drawn_points, grid_points

if TYPE_CHECKING:
    from scalelab.plugins import Catalog

DRAWN = 128
"""Points of each architecture's design space that are looked at."""


def untrained(
    study: Study, trained: set[str], input_shape: tuple[int, ...], n_outputs: int, catalog: Catalog
) -> list[dict[str, Any]]:
    """Returns untrained networks of a study's design space, with what they ask of a machine.

    Args:
        study: Its spaces are drawn from; where an architecture has none, the component's own space is.
        trained: Canonical JSON of the options of the networks to leave out.
        input_shape: Of one example.
        n_outputs: Width of the output.
        catalog: The plugins.

    Returns:
        For each: `architecture`, `options` (a mapping) and the fields of a `scalelab.measurements.Footprint`.
        Points that cannot be built are left out.
    """
    cost = Costs(catalog)
    found = []
    for ref in _drawn(study, catalog):
        if json.dumps(ref.params, sort_keys=True) in trained:
            continue
        try:
            asked = cost(ref, input_shape, n_outputs).footprint
        except InputError:  # an architecture may refuse a point of its own space for this input
            continue
        found.append({"architecture": ref.name, "options": ref.params, **dict(asked)})
    return found


def _drawn(study: Study, catalog: Catalog) -> Iterator[ComponentRef]:
    """Yields points of every architecture's space, each once."""
    resolved = resolve(study, catalog)
    first = {name: dimension.from_unit(0.0) for name, dimension in resolved.dataset.space.items()}
    dataset = resolved.dataset.at(first)
    for architecture in resolved.architectures:
        dimensions = architecture.space.values()
        if not dimensions:
            continue
        if (
            any(one.continuous for one in dimensions)
            or math.prod(one.size(None) for one in dimensions) > DRAWN
        ):
            drawn = drawn_points(dataset, architecture, (), "sobol", DRAWN, 0)
        else:
            drawn = grid_points(dataset, architecture, (), None)
        for point in drawn.points:
            try:
                yield architecture.ref(point.architecture, dataset.known({}))
            except StudyError:  # the component refuses this combination
                continue


def study_of(
    start: Trial,
    study: Study,
    path: Path,
    *,
    architecture: str,
    options: Mapping[str, Any],
    limit: str,
    catalog: Catalog,
) -> str:
    """Returns the text of a study that trains one network as a known run was trained.

    Args:
        start: The run to take all other settings from.
        study: Its study.
        path: Where the file will stand.
        architecture: Name of the architecture.
        options: Its options.
        limit: The limit as text, for the description.
        catalog: The plugins.

    Raises:
        StudyError: A location of the dataset is not there.
    """
    values = run_values(start, study, path, catalog)
    values["name"] = f"{study.name[:80]}-within-limit"
    values["description"] = f"The network with the best expected objective {limit}"
    values["architecture"] = [{"name": architecture, "options": dict(options)}]
    return written(values, study, path, catalog)[0]
