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
    "wall_seconds": ("wall_seconds", "time_total_s"),
    "status": ("status", "state", "done"),
}
"""By column of `runs`, the names under which it is known in tables from elsewhere."""
OPTION = re.compile(rf"({'|'.join(PREFIXES)})_\w+")


@dataclass(frozen=True)
class Wanted:
    """How a foreign table is to be read; see `scalelab.import_runs`."""

    study: str | None = None
    map: Mapping[str, str] = field(default_factory=dict)
    only: str | None = None
    metric: str | None = None
    direction: str | None = None
    rest: str = "feature"
