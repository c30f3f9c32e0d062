"""Writes runs with torch.utils.tensorboard."""

from pathlib import Path

from known_runs import CUT, KnownRun, die, main
from torch.utils.tensorboard import SummaryWriter


def write(folder: Path, run: KnownRun, again: bool) -> None:
    start = CUT["resumed"] if again else 0
    writer = SummaryWriter(str(folder / run.name), purge_step=start + 1 if start else None)
    if not start:
        writer.add_hparams(run.params, {}, run_name=".")
    for step, loss in list(enumerate(run.reported, start=1))[start:]:
        writer.add_scalar("loss/train", loss + 0.125, step)
        writer.add_scalar("loss/val", loss, step)
        if not again and run.ending in ("crashed", "resumed") and step == CUT[run.ending]:
            writer.flush()
            die()
    writer.close()


main(write)
