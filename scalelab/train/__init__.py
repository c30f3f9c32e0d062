"""Training: one loop, and what it is made of.

Names are imported when they are first used: planning a study needs `resolve_steps` and must not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalelab.lazy import lazy_names

_ROOMS = {
    "scalelab.train.loop": ("train",),
    "scalelab.train.checkpoint": ("load_weights", "save_weights"),
    "scalelab.train.results": ("Progress", "TrainResult"),
    "scalelab.train.schedules": ("lr_factor", "resolve_steps", "validation_steps"),
    "scalelab.train.losses": ("resolve_loss",),
    "scalelab.train.metrics": ("objective_of", "resolve_metric", "resolve_metrics"),
    "scalelab.train.groups": ("parameter_groups",),
    "scalelab.train.device": ("PeakMemory", "resolve_device", "resolve_precision", "seed_everything"),
}

__all__ = [
    "PeakMemory",
    "Progress",
    "TrainResult",
    "load_weights",
    "lr_factor",
    "objective_of",
    "parameter_groups",
    "resolve_device",
    "resolve_loss",
    "resolve_metric",
    "resolve_metrics",
    "resolve_precision",
    "resolve_steps",
    "save_weights",
    "seed_everything",
    "train",
    "validation_steps",
]


__getattr__ = lazy_names(__name__, _ROOMS)


if TYPE_CHECKING:
    from scalelab.train.checkpoint import load_weights, save_weights
    from scalelab.train.device import PeakMemory, resolve_device, resolve_precision, seed_everything
    from scalelab.train.groups import parameter_groups
    from scalelab.train.loop import train
    from scalelab.train.losses import resolve_loss
    from scalelab.train.metrics import objective_of, resolve_metric, resolve_metrics
    from scalelab.train.results import Progress, TrainResult
    from scalelab.train.schedules import lr_factor, resolve_steps, validation_steps
