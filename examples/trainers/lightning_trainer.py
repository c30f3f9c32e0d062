"""The trainer `lightning`: its loop and autocast train what scalelab validates and records."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pydantic import Field

import scalelab


class LightningParams(scalelab.Params):
    """Options of `lightning`."""

    clip_algorithm: str = Field(
        "norm", pattern="^(norm|value)$", description="what clip_norm bounds: the norm, or each value"
    )


def train(params: LightningParams, run: scalelab.TrainerRun) -> scalelab.TrainResult:
    """Trains with `lightning.Trainer`; a resumed run is another fit, of the steps that are left."""
    import lightning
    import torch

    if run.closure is not None:
        raise scalelab.InputError("lightning gives optimizers a closure of its own; take one without")
    before, _ = run.resume()
    taken, status = before, "done"

    class Batches(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return map(run.batch, range(before + 1, run.n_steps + 1))

    class Fit(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = run.module

        def configure_optimizers(self) -> Any:
            return run.optimizer

        def on_train_batch_start(self, _batch: Any, index: int) -> int | None:
            nonlocal status
            if run.should_stop():
                status = "interrupted"
            run.save(taken)
            if status != "done":
                return -1  # ends the epoch, which is the fit
            run.begin(before + index + 1)
            return None

        def configure_gradient_clipping(self, _optimizer: Any, *_limits: Any, **_named: Any) -> None:
            # Lightning's own refuses fused optimizers, as AdamW is, under autocast.
            limit, own = run.trial.training.clip_norm, run.module.parameters()
            if limit is not None and params.clip_algorithm == "value":
                torch.nn.utils.clip_grad_value_(own, limit)
            elif limit is not None:
                torch.nn.utils.clip_grad_norm_(own, limit)

        def training_step(self, batch: Any, _index: int) -> Any:
            inputs, targets = batch
            return run.loss(self.network(inputs).float(), targets)

        def on_train_batch_end(self, outputs: Any, _batch: Any, index: int) -> None:
            nonlocal taken, status
            taken = before + index + 1
            loss = float(outputs["loss"])
            run.progress(taken, loss)
            if taken in run.validations and not math.isfinite(run.report(taken, loss).loss):
                status = "diverged"

    kind, _, number = run.device.partition(":")
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(kind, kind),
        devices=[int(number)] if number else 1,
        precision="bf16-mixed" if run.precision == "bf16" else "32-true",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Fit(), torch.utils.data.DataLoader(Batches(), batch_size=None))
    return run.result(status, taken)


@scalelab.hookimpl
def scalelab_trainers() -> list[scalelab.Trainer]:
    """Registers the trainer with scalelab."""
    return [
        scalelab.Trainer(
            name="lightning", summary="The loop of Lightning", train=train, params=LightningParams
        )
    ]
