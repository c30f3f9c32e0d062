"""Models and what they cost, by name."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from scalelab.cache import cached_arrays
from scalelab.components import Params, Shape, Task
from scalelab.errors import InputError, ScalelabError
from scalelab.plugins import Catalog, load_plugins
from scalelab.records import Cost, Trial, canonical_json
from scalelab.study.messages import describe

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


def resolve_params(model: type[Params], options: Params | Mapping[str, Any], where: str) -> Params:
    """Returns validated options.

    Raises:
        InputError: An option is unknown or out of its bounds; the message starts with `where`.
    """
    if isinstance(options, model):
        return options
    values = options.model_dump() if isinstance(options, Params) else dict(options)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{where}: {describe(error, model, 'options')}") from error


def build_model(
    architecture: str,
    params: Params | Mapping[str, Any],
    input_shape: Shape,
    n_outputs: int,
    *,
    catalog: Catalog | None = None,
) -> nn.Module:
    """Builds a freshly initialized model from torch's global random generator.

    Args:
        architecture: Its name, such as `"convnext1d"`.
        params: Its options; what is left out takes its default.
        input_shape: (channels, samples) of one example.
        n_outputs: Width of the output.
        catalog: The plugins to look in; the installed ones by default.

    Raises:
        PluginError: No healthy plugin provides the architecture.
        InputError: An option is wrong, or the options do not fit the input.

    Example::

        model = scalelab.build_model("convnext1d", {"width": 16}, (12, 1000), 9)
    """
    component = (catalog or load_plugins()).architecture(architecture)
    resolved = resolve_params(component.params, params, f"architecture {architecture!r}")
    try:
        return component.build(resolved, tuple(input_shape), n_outputs)
    except ScalelabError:
        raise
    except Exception as error:
        raise InputError(
            f"architecture {architecture!r} cannot be built for input {tuple(input_shape)} with "
            f"{params}: {type(error).__name__}: {error}"
        ) from error


def trial_model(trial: Trial, task: Task, catalog: Catalog) -> nn.Module:
    """Builds a trial's model to look at, leaving torch's global random generator as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        return build_model(
            trial.architecture.name,
            trial.architecture.params,
            task.input_shape,
            task.n_outputs,
            catalog=catalog,
        )


def costs(catalog: Catalog) -> Callable[[Trial, Task], Cost]:
    """Returns a function that gives what one example of a task costs a trial's model.

    A model is measured once and its cost kept in the cache, so that a finished isoFLOP study, which is
    sampled by cost, answers without importing torch. An entry counts only for the very source files that
    lie beside the architecture's builder and for this scalelab.
    """
    known: dict[str, Cost] = {}
    digests: dict[str, str | None] = {}

    def digest_of(architecture: str) -> str | None:
        if architecture not in digests:
            digests[architecture] = sources_of(catalog.architecture(architecture).build)
        return digests[architecture]

    def cost(trial: Trial, task: Task) -> Cost:
        key = canonical_json([trial.architecture.model_dump(mode="json"), task.input_shape, task.n_outputs])
        if key not in known:
            sources = digest_of(trial.architecture.name)
            if sources is None:
                known[key] = _measure(trial, task, catalog)
            else:
                digest = hashlib.sha256(f"{key}{sources}".encode()).hexdigest()[:32]
                entry = cached_arrays(f"cost-{digest}", lambda: _as_array(_measure(trial, task, catalog)))
                n_params, forward, train = entry["cost"].tolist()
                known[key] = Cost(
                    n_params=int(n_params), forward_flops=forward, train_flops_per_example=train
                )
        return known[key]

    return cost


def _measure(trial: Trial, task: Task, catalog: Catalog) -> Cost:
    from scalelab.measure import complexity

    measured = complexity(trial_model(trial, task, catalog), task.input_shape)
    return Cost(
        n_params=measured.n_params,
        forward_flops=measured.forward_flops,
        train_flops_per_example=measured.train_flops_per_example,
    )


def _as_array(cost: Cost) -> dict[str, np.ndarray]:
    import numpy as np

    return {"cost": np.array([cost.n_params, cost.forward_flops, cost.train_flops_per_example])}


def sources_of(build: Callable[..., object]) -> str | None:
    """Returns a digest of the code that builds and counts; `None` where the builder has no file."""
    from scalelab import measure

    try:
        source = inspect.getsourcefile(inspect.unwrap(build))
    except TypeError:
        return None
    if source is None or not Path(source).is_file():
        return None
    digest = hashlib.sha256(build.__qualname__.encode())
    for folder in (Path(source).parent, Path(measure.__file__).parent):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
