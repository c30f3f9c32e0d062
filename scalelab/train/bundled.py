"""scalelab's own loop, as the trainer that it is; torch is loaded when it trains."""

from __future__ import annotations

from scalelab.params import Params
from scalelab.records import DEFAULT_TRAINER
from scalelab.trainers import Trainer, TrainerRun, TrainResult


def _train(_params: Params, run: TrainerRun) -> TrainResult:
    from scalelab.train.loop import train_model

    return train_model(
        run.trial,
        run.data,
        run.module,
        run.optimizer,
        closure=run.closure,
        evaluations=run.evaluations,
        device=run.device,
        precision=run.precision,
        checkpoint=run.checkpoint,
        on_progress=lambda progress: run.progress(progress.step, progress.loss),
        should_stop=run.should_stop,
        train_flops_per_example=run.flops,
    )


bundled_trainer = Trainer(
    name=DEFAULT_TRAINER.name, summary="scalelab's own training loop", train=_train, ignores=()
)
