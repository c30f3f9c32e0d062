"""The trainer `hugging-face`: the Trainer of transformers trains what scalelab validates and records."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from typing import Any

import scalelab


def train(_params: scalelab.NoParams, run: scalelab.TrainerRun) -> scalelab.TrainResult:
    """Trains with `transformers.Trainer`; a resumed run is another one, of the steps that are left."""
    import torch
    import transformers

    if run.closure is not None:
        raise scalelab.InputError("the Trainer of transformers gives optimizers no closure; take one without")
    before, _ = run.resume()
    taken, status = before, "done"

    class Batches(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            for step in range(before + 1, run.n_steps + 1):
                inputs, targets = run.batch(step)
                yield {"inputs": inputs, "targets": targets}

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.loss = run.module, math.nan

        def forward(self, inputs: Any, targets: Any) -> Any:
            loss = run.loss(self.network(inputs).float(), targets)
            self.loss = loss.detach()
            return {"loss": loss}

    class Told(transformers.TrainerCallback):
        def on_step_begin(self, _args: Any, state: Any, _control: Any, **_rest: Any) -> None:
            run.begin(before + state.global_step + 1)

        def on_step_end(self, _args: Any, state: Any, control: Any, **_rest: Any) -> None:
            nonlocal taken, status
            taken, loss = before + state.global_step, float(model.loss)
            run.progress(taken, loss)
            if taken in run.validations and not math.isfinite(run.report(taken, loss).loss):
                status = "diverged"
            elif taken < run.n_steps and run.should_stop():
                status = "interrupted"
            run.save(taken)
            control.should_training_stop |= status != "done"

    model = Model()
    if run.should_stop() or before == run.n_steps:
        run.save(before)
        return run.result("interrupted" if run.should_stop() else "done", before)
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            max_steps=run.n_steps - before,
            per_device_train_batch_size=1,  # of batches
            max_grad_norm=run.trial.training.clip_norm or 0.0,
            bf16=run.precision == "bf16",
            use_cpu=run.device == "cpu",
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        flat = torch.optim.lr_scheduler.LambdaLR(run.optimizer, lambda _: 1.0)  # run.begin sets the rates
        transformers.Trainer(
            model=model,
            args=arguments,
            train_dataset=Batches(),
            data_collator=lambda batches: batches[0],
            optimizers=(run.optimizer, flat),
            callbacks=[Told()],
        ).train()
    return run.result(status, taken)


@scalelab.hookimpl
def scalelab_trainers() -> list[scalelab.Trainer]:
    """Registers the trainer with scalelab."""
    return [scalelab.Trainer(name="hugging-face", summary="The Trainer of transformers", train=train)]
