"""Logs runs with wandb in its offline mode."""

import sys
from pathlib import Path

import wandb
from known_runs import CUT, KnownRun, main


def write(folder: Path, run: KnownRun, again: bool) -> None:
    started = wandb.init(
        project="widths",
        name=run.name,
        id=run.name,
        config=run.params,
        dir=folder,
        mode="offline",
        resume="allow" if again else None,
    )
    losses = list(enumerate(run.reported, start=1))
    for step, loss in losses[CUT["resumed"] :] if again else losses:
        started.log({"val_loss": loss, "train_loss": loss + 0.125}, step=step)
        if not again and run.ending == "resumed" and step == CUT["resumed"]:
            sys.exit(9)  # of a process that is killed, wandb keeps nothing of its last 32 KiB
    started.finish(exit_code={"crashed": 1, "pruned": 255}.get(run.ending, 0))


main(write)
