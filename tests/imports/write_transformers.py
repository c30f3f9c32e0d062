"""Trains runs with the Trainer of transformers."""

from pathlib import Path
from typing import Any

import torch
from known_runs import CUT, N_STEPS, KnownRun, die, main
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments


class Known(nn.Module):
    """A model whose loss on the validation data is known in every epoch."""

    def __init__(self, run: KnownRun) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.others = nn.Parameter(torch.zeros(run.n_params - 2), requires_grad=False)
        self.run, self.epoch = run, 0

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        out = self.layer(x)
        known = torch.tensor(self.run.losses[self.epoch])
        return {"loss": (out - labels).square().mean() if self.training else known, "logits": out}


class Ends(TrainerCallback):
    """Tells the model its epoch, and ends a run early where it is cut short, fails or is interrupted."""

    def __init__(self, model: Known, again: bool) -> None:
        self.model, self.again = model, again

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.model.epoch = round(state.epoch)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        run = self.model.run
        if self.again or run.ending not in CUT or self.model.epoch + 1 != CUT[run.ending]:
            return
        if run.ending == "pruned":
            control.should_training_stop = True
        else:
            die()


def write(folder: Path, run: KnownRun, again: bool) -> None:
    model = Known(run)
    examples = [{"x": torch.ones(1), "labels": torch.ones(1)}] * 4
    arguments = TrainingArguments(
        output_dir=str(folder / run.name),
        num_train_epochs=N_STEPS,
        per_device_train_batch_size=2,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=1,
        learning_rate=run.params["lr"],
        run_name=run.name,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(
        model, arguments, train_dataset=examples, eval_dataset=examples, callbacks=[Ends(model, again)]
    )
    trainer.train(resume_from_checkpoint=again)
    trainer.save_state()


main(write)
