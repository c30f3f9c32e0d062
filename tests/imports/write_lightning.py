"""Trains runs with Lightning, which writes them with its CSVLogger."""

from pathlib import Path

import pytorch_lightning as lightning
import torch
from known_runs import CUT, N_STEPS, KnownRun, by_name, die, main
from pytorch_lightning.loggers import CSVLogger
from torch import nn


class Known(lightning.LightningModule):
    """A model whose validation loss is known in every epoch."""

    def __init__(self, width: int, lr: float, n_params: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(1, 1)
        self.run = by_name(f"width-{width}")

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        loss = self.layer(batch).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: torch.Tensor) -> None:
        self.log("val_loss", torch.tensor(self.run.losses[self.current_epoch]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])


class Ends(lightning.Callback):
    """Ends a run early where it is cut short, fails or is interrupted."""

    def __init__(self, run: KnownRun, checkpoint: Path) -> None:
        self.run, self.checkpoint = run, checkpoint

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.run.ending not in CUT or trainer.current_epoch + 1 != CUT[self.run.ending]:
            return
        if self.run.ending == "pruned":
            trainer.should_stop = True
        elif not self.checkpoint.exists():
            trainer.save_checkpoint(self.checkpoint)
            trainer.logger.save()
            die()


def write(folder: Path, run: KnownRun, again: bool) -> None:
    checkpoint = folder / f"{run.name}.ckpt"
    trainer = lightning.Trainer(
        max_epochs=N_STEPS,
        logger=CSVLogger(folder, name="lightning_logs", version=f"{run.name}-again" if again else run.name),
        log_every_n_steps=1,
        accelerator="cpu",
        num_sanity_val_steps=0,
        callbacks=[Ends(run, checkpoint)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batches = torch.utils.data.DataLoader(torch.ones(2, 1), batch_size=1)
    trainer.fit(Known(**run.params), batches, batches, ckpt_path=checkpoint if again else None)


main(write)
