"""Models by name."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from scalelab.cache import file_digest
from scalelab.components import Architecture, Backend, Dataset, Optimizer, Shape
from scalelab.errors import InputError, PluginError, ScalelabError, in_words
from scalelab.params import Params
from scalelab.plugins import Catalog, load_plugins
from scalelab.records import ComponentRef, Trial, canonical_json
from scalelab.study import Expansion
from scalelab.study.messages import describe, one_line
from scalelab.trainers import Trainer

if TYPE_CHECKING:
    from torch import nn


def params_of(
    component: Dataset | Architecture | Optimizer | Backend | Trainer, options: Params | Mapping[str, Any]
) -> Params:
    """Returns a component's validated options.

    Raises:
        InputError: An option is unknown or out of its bounds.
    """
    if isinstance(options, component.params):
        return options
    values = options.model_dump() if isinstance(options, Params) else dict(options)
    try:
        return component.params.model_validate(values)
    except ValidationError as error:
        what = f"{type(component).__name__.lower()} {component.name!r}"
        raise InputError(f"{what}: {describe(error, component.params, 'options')}") from error


def options_with_files(component: ComponentRef, files: Mapping[str, str]) -> dict[str, Any]:
    """Returns a trial's options of a component, the files that it names by their content among them.

    Args:
        component: The component.
        files: Paths by the digest of the files' content.

    Raises:
        InputError: A file is not given, missing, or another one by now.
    """
    found = dict(component.params)
    for option, digest in component.content.items():
        path = Path(files.get(digest, ""))
        if digest not in files or not path.is_file() or file_digest(path) != digest:
            raise InputError(
                f"{component.name}: the file of {option} ({digest[:12]}…) is missing or another one by now: "
                f"{files.get(digest, 'not given')}; put it back, or run its study again"
            )
        found[option] = path
    return found


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

    Example:
        model = scalelab.build_model("convnext1d", {"width": 16}, (12, 1000), 9)
    """
    component = (catalog or load_plugins()).architecture(architecture)
    resolved = params_of(component, params)
    try:
        built: Any = component.build(resolved, tuple(input_shape), n_outputs)
    except ScalelabError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InputError(
            f"architecture {architecture!r} cannot be built for input {tuple(input_shape)} with "
            f"{params}: {in_words(error)}"
        ) from error
    _check_built(built, architecture)
    return without_graphs(built)


def _check_built(built: Any, architecture: str) -> None:
    from torch import nn
    from torch.nn.parameter import is_lazy

    where = f"build() of architecture {architecture!r}"
    if not isinstance(built, nn.Module):
        raise PluginError(f"{where} returned {type(built).__name__}, expected torch.nn.Module")
    lazy = [name for name, value in built.named_parameters() if is_lazy(value)]
    if lazy:
        raise PluginError(
            f"{where} left {', '.join(lazy[:3])} without a shape: run zeros through lazy layers there"
        )


def without_graphs(module: nn.Module) -> nn.Module:
    """Cuts plain tensors that building left behind off their graphs, so that the network can be copied.

    `torch.nn.utils.weight_norm` keeps one, which it makes anew at each forward pass.
    """
    import torch

    for child in module.modules():
        for name, value in vars(child).items():
            if isinstance(value, torch.Tensor) and value.grad_fn is not None:
                vars(child)[name] = value.detach()
    return module


def network(architecture: ComponentRef, input_shape: Shape, n_outputs: int, catalog: Catalog) -> nn.Module:
    """Builds a network to look at, leaving torch's global random generator as it was."""
    import torch

    # Results alone go to standard output, whatever the network prints.
    with torch.random.fork_rng(devices=[]), redirect_stdout(sys.stderr):
        return build_model(architecture.name, architecture.params, input_shape, n_outputs, catalog=catalog)


def check_files(trials: Iterable[Trial], expansion: Expansion, catalog: Catalog) -> None:
    """Builds every network that starts from a file once, so that a foreign file is told before any training.

    Args:
        trials: Those of the expansion that are to be trained.
        expansion: Of their study.
        catalog: The plugins.

    Raises:
        InputError: A file is missing, or its network cannot be built with it.
    """
    started = {
        canonical_json(one.architecture.model_dump()): one for one in trials if one.architecture.content
    }
    for trial in started.values():
        ref, task = trial.architecture, expansion.opened(trial).data.task
        whole = ref.model_copy(update={"params": options_with_files(ref, expansion.files)})
        try:
            network(whole, tuple(task.input_shape), task.n_outputs, catalog)
        except InputError as error:
            raise InputError(one_line(str(error))) from error
