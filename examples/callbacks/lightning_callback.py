"""A run of Lightning reports to scalelab: `lightning.Trainer(callbacks=[ScalelabCallback()])`."""

from __future__ import annotations

from typing import Any

import lightning

import scalelab


class ScalelabCallback(lightning.Callback):
    """Reports what a module logs as `val_loss` and `train_loss`, and its other values as metrics."""

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Reports the number of parameters."""
        if trainer.is_global_zero:
            scalelab.log(n_params=sum(p.numel() for p in module.parameters() if p.requires_grad))

    def on_validation_end(self, trainer: Any, _module: Any) -> None:
        """Reports a point of the curve."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            values = {name: float(value) for name, value in trainer.callback_metrics.items()}
            scalelab.log(step=trainer.global_step, loss=values.pop("val_loss"), **values)

    def on_fit_end(self, trainer: Any, _module: Any) -> None:
        """Reports the passes over the data, and how many examples they have."""
        if trainer.is_global_zero:
            examples = len(trainer.train_dataloader.dataset)
            scalelab.log(epochs=trainer.current_epoch, n_examples=examples)
