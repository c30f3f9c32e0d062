"""scalelab: how performance grows with model size, data, compute and design, and what to train next.

Everything here is the public API, imported only when it is first used, so that `import scalelab` costs
nothing. Plugins import from here and from `scalelab.testing`, and from nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalelab.lazy import lazy_names

__version__ = "0.1.0"

_ROOMS = {
    "scalelab.components": (
        "Architecture", "Backend", "BackendParams", "Dataset", "Device", "Download", "Executable",
        "FileCommand", "Inspection", "Location", "Metric", "NoParams", "OpenDataset", "Optimizer",
        "Params", "Progress", "Row", "Split", "Task",
    ),
    "scalelab.law": ("Frame", "Law"),
    "scalelab.space": ("Choice", "Doubling", "Float", "Int"),
    "scalelab.errors": (
        "BackendError", "DataError", "FitError", "InputError", "PluginError", "ScalelabError",
        "StoreDamagedError", "StoreError", "StoreLockedError", "StoreNewerError", "StudyError",
        "TrainingError",
    ),
    "scalelab.records": ("Complexity", "Length", "Record", "Trial", "TrainingOptions"),
    "scalelab.cache": ("cache_dir", "cached_arrays"),
    "scalelab.hookspecs": ("hookimpl",),
    "scalelab.plugins": ("Catalog", "load_plugins"),
    "scalelab.study": ("Study", "load_study"),
    "scalelab.store": ("Store", "open_store"),
    "scalelab.measure.flops": ("complexity",),
    "scalelab.measure.machine": ("machine_facts",),
    "scalelab.measure.models": ("build_model",),
    "scalelab.train.groups": ("parameter_groups",),
    "scalelab.execute": ("RunSummary", "run_study"),
    "scalelab.analysis.fits.fit": ("Fit", "fit_law"),
    "scalelab.analysis.laws": ("get_law",),
    "scalelab.analysis.laws.starts": ("solve_offset",),
}  # fmt: skip

__all__ = [
    "Architecture",
    "Backend",
    "BackendError",
    "BackendParams",
    "Catalog",
    "Choice",
    "Complexity",
    "DataError",
    "Dataset",
    "Device",
    "Doubling",
    "Download",
    "Executable",
    "FileCommand",
    "Fit",
    "FitError",
    "Float",
    "Frame",
    "InputError",
    "Inspection",
    "Int",
    "Law",
    "Length",
    "Location",
    "Metric",
    "NoParams",
    "OpenDataset",
    "Optimizer",
    "Params",
    "PluginError",
    "Progress",
    "Record",
    "Row",
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
    "get_law",
    "hookimpl",
    "load_plugins",
    "load_study",
    "machine_facts",
    "open_store",
    "parameter_groups",
    "run_study",
    "solve_offset",
]


__getattr__ = lazy_names(__name__, _ROOMS)


def __dir__() -> list[str]:
    return list(__all__)


if TYPE_CHECKING:
    from scalelab.analysis.fits.fit import Fit, fit_law
    from scalelab.analysis.laws import get_law
    from scalelab.analysis.laws.starts import solve_offset
    from scalelab.cache import cache_dir, cached_arrays
    from scalelab.components import (
        Architecture,
        Backend,
        BackendParams,
        Dataset,
        Device,
        Download,
        Executable,
        FileCommand,
        Inspection,
        Location,
        Metric,
        NoParams,
        OpenDataset,
        Optimizer,
        Params,
        Progress,
        Row,
        Split,
        Task,
    )
    from scalelab.errors import (
        BackendError,
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
    from scalelab.execute import RunSummary, run_study
    from scalelab.hookspecs import hookimpl
    from scalelab.law import Frame, Law
    from scalelab.measure.flops import complexity
    from scalelab.measure.machine import machine_facts
    from scalelab.measure.models import build_model
    from scalelab.plugins import Catalog, load_plugins
    from scalelab.records import Complexity, Length, Record, TrainingOptions, Trial
    from scalelab.space import Choice, Doubling, Float, Int
    from scalelab.store import Store, open_store
    from scalelab.study import Study, load_study
    from scalelab.train.groups import parameter_groups
