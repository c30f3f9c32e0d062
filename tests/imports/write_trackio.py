"""Writes runs with Trackio into TRACKIO_DIR."""

import time
from pathlib import Path

import trackio
from known_runs import CUT, KnownRun, die, main


def write(folder: Path, run: KnownRun, again: bool) -> None:
    start = CUT["resumed"] if again else 0
    trackio.init(project="widths", name=run.name, config=run.params, resume="must" if again else "never")
    for step, loss in list(enumerate(run.reported, start=1))[start:]:
        trackio.log({"train_loss": loss + 0.125, "val": {"loss": loss}, "epoch": step}, step=step)
        if not again and run.ending in ("crashed", "resumed") and step == CUT[run.ending]:
            time.sleep(3)  # a thread of Trackio writes every half second
            die()
    trackio.finish()


main(write)
