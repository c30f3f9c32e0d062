"""What networks ask of a machine, by name, kept in the cache as their costs are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from scalelab.cache import cached_arrays
from scalelab.components import Shape
from scalelab.measure.models import build_model, sources_of
from scalelab.records import ComponentRef, Footprint, canonical_json

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from scalelab.plugins import Catalog

FootprintFunction = Callable[[ComponentRef, Shape, int], Footprint]


def footprints(catalog: Catalog) -> FootprintFunction:
    """Returns a function that gives what a network of some options asks for one example.

    A network is traced once; an entry counts only for the very source files that lie beside the
    architecture's builder and for this scalelab.
    """

    def counted(architecture: ComponentRef, input_shape: Shape, n_outputs: int) -> Footprint:
        sources = sources_of(catalog.architecture(architecture.name).build)
        if sources is None:
            return _trace(architecture, input_shape, n_outputs, catalog)
        key = canonical_json([architecture.model_dump(mode="json"), list(input_shape), n_outputs])
        digest = hashlib.sha256(f"{key}{sources}".encode()).hexdigest()[:32]

        entry = cached_arrays(
            f"footprint-{digest}", lambda: _as_array(_trace(architecture, input_shape, n_outputs, catalog))
        )
        return Footprint(**dict(zip(Footprint.model_fields, entry["footprint"].tolist(), strict=True)))

    return counted


def _as_array(found: Footprint) -> dict[str, np.ndarray]:
    import numpy as np

    return {"footprint": np.array([float(value) for _, value in found])}


def network(architecture: ComponentRef, input_shape: Shape, n_outputs: int, catalog: Catalog) -> nn.Module:
    """Builds a network to look at, leaving torch's global random generator as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        return build_model(architecture.name, architecture.params, input_shape, n_outputs, catalog=catalog)


def _trace(architecture: ComponentRef, input_shape: Shape, n_outputs: int, catalog: Catalog) -> Footprint:
    from scalelab.measure.footprint import footprint

    return footprint(network(architecture, input_shape, n_outputs, catalog), input_shape)
