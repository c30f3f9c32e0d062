"""A run of transformers reports to scalelab: `transformers.Trainer(callbacks=[ScalelabCallback()], …)`."""

from __future__ import annotations

from typing import Any

import transformers

import scalelab

TIMINGS = {"runtime", "samples_per_second", "steps_per_second", "epoch"}


class ScalelabCallback(transformers.TrainerCallback):
    """Reports evaluations as points of the curve, and at the end epochs and FLOPs."""

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **rest: Any) -> None:
        """Reports the size of the model and of the data."""
        if state.is_world_process_zero:
            n_params = sum(p.numel() for p in rest["model"].parameters() if p.requires_grad)
            scalelab.log(n_params=n_params, n_examples=len(rest["train_dataloader"].dataset))

    def on_evaluate(self, _args: Any, state: Any, _control: Any, **rest: Any) -> None:
        """Reports a point of the curve: `eval_loss`, the last training loss, the metrics."""
        if state.is_world_process_zero:
            values = {name.removeprefix("eval_"): value for name, value in rest["metrics"].items()}
            losses = [{"train_loss": line["loss"]} for line in state.log_history if "loss" in line]
            own = {name: value for name, value in values.items() if name not in TIMINGS}
            scalelab.log(step=state.global_step, **own, **(losses[-1] if losses else {}))

    def on_train_end(self, _args: Any, state: Any, _control: Any, **_rest: Any) -> None:
        """Reports what the training took, FLOPs where transformers knows them."""
        if state.is_world_process_zero:
            scalelab.log(
                epochs=state.epoch, **({"train_flops": state.total_flos} if state.total_flos else {})
            )
