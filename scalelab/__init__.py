"""scalelab: how performance grows with model size, data, compute and design, and what to train next.

Everything here is the public API, imported only when it is first used, so that ``import scalelab`` costs
nothing. Plugins import from here and from `scalelab.testing`, and from nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalelab.lazy import lazy_names

__version__ = "0.1.0"

_ROOMS = {
    "scalelab.components": (
        "Architecture", "Backend", "Dataset", "Device", "Location", "Metric", "NoParams", "OpenDataset",
        "Optimizer", "Params", "Split", "Task",
    ),
    "scalelab.space": ("Choice", "Doubling", "Float", "Int"),
    "scalelab.errors": (
        "DataError", "FitError", "InputError", "PluginError", "ScalelabError", "StoreDamagedError",
        "StoreError", "StoreLockedError", "StoreNewerError", "StudyError", "TrainingError",
    ),
    "scalelab.records": ("Length", "Record", "Trial", "TrainingOptions"),
    "scalelab.cache": ("cache_dir", "cached_arrays"),
    "scalelab.hookspecs": ("hookimpl",),
    "scalelab.plugins": ("Catalogue", "load_plugins"),
    "scalelab.study": ("Study", "load_study"),
    "scalelab.store": ("Store", "open_store"),
    "scalelab.measure": ("Complexity", "complexity"),
    "scalelab.train": ("parameter_groups",),
    "scalelab.execute": ("RunSummary", "build_model", "run_study"),
    "scalelab.analysis.fit": ("Fit", "fit_law"),
}  # fmt: skip

__all__ = [
    "Architecture",
    "Backend",
    "Catalogue",
    "Choice",
    "Complexity",
    "DataError",
    "Dataset",
    "Device",
    "Doubling",
    "Fit",
    "FitError",
    "Float",
    "InputError",
    "Int",
    "Length",
    "Location",
    "Metric",
    "NoParams",
    "OpenDataset",
    "Optimizer",
    "Params",
    "PluginError",
    "Record",
    "RunSummary",
    "ScalelabError",
    "Split",
    "Store",
    "StoreDamagedError",
    "StoreError",
    "StoreLockedError",
    "StoreNewerError",
    "Study",
    "StudyError",
    "Task",
    "TrainingError",
    "TrainingOptions",
    "Trial",
    "__version__",
    "build_model",
    "cache_dir",
    "cached_arrays",
    "complexity",
    "fit_law",
    "hookimpl",
    "load_plugins",
    "load_study",
    "open_store",
    "parameter_groups",
    "run_study",
]


__getattr__ = lazy_names(__name__, _ROOMS)


def __dir__() -> list[str]:
    return list(__all__)


if TYPE_CHECKING:
    from scalelab.analysis.fit import Fit, fit_law
    from scalelab.cache import cache_dir, cached_arrays
    from scalelab.components import (
        Architecture,
        Backend,
        Dataset,
        Device,
        Location,
        Metric,
        NoParams,
        OpenDataset,
        Optimizer,
        Params,
        Split,
        Task,
    )
    from scalelab.errors import (
        DataError,
        FitError,
        InputError,
        PluginError,
        ScalelabError,
        StoreDamagedError,
        StoreError,
        StoreLockedError,
        StoreNewerError,
        StudyError,
        TrainingError,
    )
    from scalelab.execute import RunSummary, build_model, run_study
    from scalelab.hookspecs import hookimpl
    from scalelab.measure import Complexity, complexity
    from scalelab.plugins import Catalogue, load_plugins
    from scalelab.records import Length, Record, TrainingOptions, Trial
    from scalelab.space import Choice, Doubling, Float, Int
    from scalelab.store import Store, open_store
    from scalelab.study import Study, load_study
    from scalelab.train import parameter_groups
