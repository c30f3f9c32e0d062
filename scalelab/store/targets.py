"""The columns of `runs` that a foreign table may give, and how such a table is to be read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from scalelab.store.parameters import COMPONENTS, PREFIXES, SCALES

OUTCOMES = ("loss", "objective")
TESTED = ("test_loss", "test_objective")
WHOLE = ("seed", "n_steps", "batch_size")
TEXTS = (*COMPONENTS, "metric", "direction", "status", "error")
TARGETS = (*OUTCOMES, *TESTED, *SCALES, *WHOLE, "wall_seconds", *TEXTS)
KNOWN_AS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in TARGETS},
    "loss": ("loss", "val_loss", "final_loss"),
    "n_params": ("n_params", "params", "num_params", "parameters", "N"),
    "n_examples": ("n_examples", "examples", "n_tokens", "tokens", "D"),
    "train_flops": ("train_flops", "flops", "FLOPs", "compute", "C"),
    "wall_seconds": ("wall_seconds", "time_total_s", "Runtime"),
    "status": ("status", "state", "State", "done"),
}
"""By column of `runs`, the names under which it is known in tables from elsewhere."""
KEYS = ("run_id", "trial_id", "ID", "Name")
"""Columns that tell runs apart, and name the same one when a source is read again; the first that does it."""
LOSSES = (
    "val_loss", "eval_loss", "valid_loss", "validation_loss", "val/loss", "eval/loss", "valid/loss",
    "validation/loss", "loss/val", "loss/eval", "loss/valid", "loss/validation", "Loss/val",
    "Loss/validation", "val.loss", "validation/epoch_loss", "final_loss", "loss",
)  # fmt: skip
"""What the loss is called that a law is of; where there is one on validation data, it holds before `loss`."""
OPTION = re.compile(rf"({'|'.join(PREFIXES)})_\w+")


@dataclass(frozen=True)
class Wanted:
    """How foreign tables are to be read; see `scalelab.import_runs`."""

    study: str | None = None
    map: Mapping[str, str] = field(default_factory=dict)
    only: str | None = None
    metric: str | None = None
    direction: str | None = None
    rest: str | None = None
    join: str | None = None
    kind: str | None = None
    experiment: str | None = None
