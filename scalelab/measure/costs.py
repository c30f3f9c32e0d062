"""What an example costs networks: each design counted once, and kept in the cache.

So a finished isoFLOP study, which is sampled by cost, answers without importing torch, and the trials of a
design do not count it again. An entry counts only for the very modules of the architecture's plugin, for this
scalelab and for the versions of the libraries that build and count; a worker whose network has another number
of parameters counts it anew.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.cache import cached_arrays
from scalelab.components import Architecture, Shape
from scalelab.errors import DataError, InputError, brief, in_words
from scalelab.measure.models import network, params_of
from scalelab.measurements import Complexity
from scalelab.params import Params
from scalelab.plugins import Catalog
from scalelab.plugins.libraries import libraries_of, sources_of
from scalelab.records import ComponentRef, canonical_json

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

MOST_FLOPS = 1e60
TRAIN_TO_FORWARD = 3.0
"""FLOPs of forward and backward by those of forward, where a formula gives only these."""


class Costs:
    """Says what one example costs an architecture.

    Attributes:
        seconds: What counting took so far.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.seconds = 0.0
        self._catalog = catalog
        self._sources: dict[str, str | None] = {}
        self._known: dict[str, Complexity] = {}
        self._took: dict[str, float] = {}

    def __call__(self, architecture: ComponentRef, input_shape: Shape, n_outputs: int) -> Complexity:
        """Returns what a network costs that is built where it is not known yet.

        Raises:
            InputError: The network cannot be built, or does not run on such an input.
        """
        component = self._catalog.architecture(architecture.name)

        def built() -> nn.Module:
            return network(architecture, input_shape, n_outputs, self._catalog)

        key = _key(architecture, input_shape, n_outputs)
        found = self._counted(key, component, input_shape, n_outputs, built)
        if not found.uncounted:
            return found
        return completed(found, component, params_of(component, architecture.params), input_shape, n_outputs)

    def of_built(
        self,
        architecture: ComponentRef,
        input_shape: Shape,
        n_outputs: int,
        *,
        params: Params,
        module: nn.Module,
    ) -> Complexity:
        """Returns what a network costs that is built already, with the files that its options name.

        Args:
            architecture: Component and options.
            input_shape: Of one example.
            n_outputs: Width of the output.
            params: The options, files among them.
            module: The network; it is left untouched.

        Raises:
            InputError: The network does not run on such an input.
        """
        from scalelab.measure.flops import parameter_counts

        component = self._catalog.architecture(architecture.name)
        key = _key(architecture, input_shape, n_outputs, with_files=True)
        found = self._counted(key, component, input_shape, n_outputs, lambda: module)
        if found.n_params != parameter_counts(module, component.head)[0]:
            found = counted(module, component, input_shape, n_outputs)
        return completed(found, component, params, input_shape, n_outputs)

    def seconds_again(self, architecture: ComponentRef, input_shape: Shape, n_outputs: int) -> float:
        """Returns how long a worker will count a network for: 0.0 where the cache has its count."""
        key = _key(architecture, input_shape, n_outputs)
        known_to_workers = key == _key(architecture, input_shape, n_outputs, with_files=True)
        return 0.0 if known_to_workers and self._source(architecture.name) else self._took.get(key, 0.0)

    def _counted(
        self,
        key: str,
        component: Architecture,
        input_shape: Shape,
        n_outputs: int,
        built: Callable[[], nn.Module],
    ) -> Complexity:
        """Returns the count of a key: a known one, one of the cache, or a new one."""

        def count() -> Complexity:
            module, began = built(), time.perf_counter()
            found = counted(module, component, input_shape, n_outputs)
            self._took[key] = time.perf_counter() - began
            self.seconds += self._took[key]
            return found

        if key not in self._known:
            source = self._source(component.name)
            whole = f"{key}{component.head}{component.flops is None}{source}"
            self._known[key] = count() if source is None else _kept(whole, count)
        return self._known[key]

    def _source(self, architecture: str) -> str | None:
        if architecture not in self._sources:
            self._sources[architecture] = _sources_of(self._catalog.architecture(architecture).build)
        return self._sources[architecture]


def counted(module: nn.Module, component: Architecture, input_shape: Shape, n_outputs: int) -> Complexity:
    """Returns the count of a network, as far as it can be counted; `completed` gives the rest.

    Where a network runs neither without values nor on the CPU, as kernels for CUDA alone do, and its
    architecture has a formula, parameters are all that is counted: `uncounted` names the whole network, and
    what a machine is asked for beside FLOPs (bytes, operations, layers, grouped FLOPs) is 0.

    Args:
        module: The network; it is left untouched.
        component: The architecture.
        input_shape: Of one example.
        n_outputs: Width of the output.

    Raises:
        InputError: The network does not run on such an input, and there is no formula; or its output is
            another one.
    """
    from scalelab.measure.flops import CountingError, complexity, parameter_counts

    try:
        return complexity(module, input_shape, head=component.head, n_outputs=n_outputs)
    except CountingError as error:
        if component.flops is None:
            raise InputError(
                f"architecture {component.name!r}: {error}; where it runs on another device, give the "
                "architecture flops="
            ) from error
    except InputError as error:
        raise InputError(f"architecture {component.name!r}: {error}") from error
    total, body = parameter_counts(module, component.head)
    return Complexity(
        n_params=total,
        n_params_body=body,
        forward_flops=0,
        train_flops_per_example=0,
        uncounted=(type(module).__name__,),
    )


def completed(
    found: Complexity, component: Architecture, params: Params, input_shape: Shape, n_outputs: int
) -> Complexity:
    """Returns a count, completed by the architecture's own formula where it has one and the count lacks some.

    A complete count stands. Where operators are left out, the formula gives the forward FLOPs, training takes
    three times those (a backward pass has two products for each of the forward pass), and nothing is fixed.
    What is counted beside FLOPs stays as it is: 0 where nothing could be counted (`counted`).

    Args:
        found: What was counted.
        component: The architecture.
        params: Its options.
        input_shape: Of one example.
        n_outputs: Width of the output.

    Raises:
        InputError: The formula fails, gives no positive number, or less than what was counted.
    """
    if not found.uncounted or component.flops is None:
        return found
    flops = formula_flops(component, params, input_shape, n_outputs)
    if flops < found.forward_flops:
        raise InputError(
            f"architecture {component.name!r}: flops() gives {flops:,.0f} for input {tuple(input_shape)}, "
            f"less than the {found.forward_flops:,.0f} FLOPs counted without {', '.join(found.uncounted)}"
        )
    return found.model_copy(
        update={
            "forward_flops": flops,
            "train_flops_per_example": TRAIN_TO_FORWARD * flops,
            "fixed_forward_flops": 0.0,
            "fixed_train_flops": 0.0,
            "uncounted": (),
        }
    )


def formula_flops(component: Architecture, params: Params, input_shape: Shape, n_outputs: int) -> float:
    """Returns the forward FLOPs of one example by the architecture's own formula, which it must have.

    Raises:
        InputError: The formula fails, or gives no positive number.
    """
    assert component.flops is not None
    where = f"architecture {component.name!r}: flops() for input {tuple(input_shape)}"
    try:
        flops = component.flops(params, input_shape, n_outputs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InputError(f"{where} fails: {in_words(error)}") from error
    if isinstance(flops, bool) or not isinstance(flops, (int, float)) or not 0 < flops < MOST_FLOPS:
        raise InputError(
            f"{where} gives {brief(flops)}: give the FLOPs of one example's forward pass, above 0"
        )
    return float(flops)


def _key(architecture: ComponentRef, input_shape: Shape, n_outputs: int, *, with_files: bool = False) -> str:
    """Returns what names a design; with its files a network may be another one, frozen in part, say."""
    whole = with_files and bool(architecture.content)
    return canonical_json([architecture.model_dump(mode="json"), input_shape, n_outputs, whole])


def _kept(key: str, count: Callable[[], Complexity]) -> Complexity:
    """Returns a count from the cache, where it is put if it is not there; from nowhere if that is no use."""
    names = [name for name in Complexity.model_fields if name != "uncounted"]
    count = cache(count)

    def arrays() -> dict[str, np.ndarray]:
        import numpy as np

        found = count()
        values = [getattr(found, name) for name in names]
        return {
            "counts": np.array([math.nan if value is None else float(value) for value in values]),
            "uncounted": np.array([" ".join(found.uncounted)]),
        }

    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    try:
        kept = cached_arrays(f"complexity-{digest}", arrays)
    except DataError:  # no room, no rights, damaged: counting is always possible
        return count()
    counts = dict(zip(names, kept["counts"].tolist(), strict=True))
    counts = {name: None if math.isnan(value) else value for name, value in counts.items()}
    return Complexity.model_validate({**counts, "uncounted": tuple(str(kept["uncounted"][0]).split())})


def _libraries(build: Callable[..., object]) -> dict[str, str]:
    """Returns the versions of the libraries that build and count, without importing them."""
    return {"torch": version("torch"), **libraries_of(build)}


def _sources_of(build: Callable[..., object]) -> str | None:
    """Returns a digest of the code that builds and counts; `None` where the builder has no file."""
    sources = sources_of(build)
    if not sources:
        return None
    name = getattr(build, "__qualname__", type(build).__qualname__)
    digest = hashlib.sha256(canonical_json([name, _libraries(build), dict(sources)]).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
