"""scalelab's own training loop, which trains where a study names no trainer."""

from __future__ import annotations

import scalelab


@scalelab.hookimpl
def scalelab_trainers() -> list[scalelab.Trainer]:
    """Registers the loop with scalelab."""
    return [scalelab.bundled_trainer]
