"""Trains runs with Keras, which writes their histories both ways, by CSVLogger and as JSON at the end."""

import json
from pathlib import Path

import keras
import numpy as np
from known_runs import CUT, N_STEPS, KnownRun, die, main


class Known(keras.callbacks.Callback):
    """Gives a known validation loss at the end of every epoch."""

    def __init__(self, run: KnownRun) -> None:
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None
        logs["val_loss"] = self.run.losses[epoch]


class Ends(Known):
    """Ends a run early where it is cut short, fails or is interrupted."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.run.ending in CUT and epoch + 1 == CUT[self.run.ending]:
            if self.run.ending == "pruned":
                self.model.stop_training = True
            else:
                die()


def write(folder: Path, run: KnownRun, again: bool) -> None:
    for way in ("csv", "json"):
        (folder / way / run.name).mkdir(parents=True, exist_ok=True)
        (folder / way / run.name / "params.json").write_text(json.dumps(run.params), encoding="utf-8")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    logger = keras.callbacks.CSVLogger(folder / "csv" / run.name / "training.csv", append=again)
    history = model.fit(
        np.ones((4, 1)),
        np.ones((4, 1)),
        initial_epoch=CUT["resumed"] if again else 0,
        epochs=N_STEPS,
        verbose=0,
        callbacks=[Known(run), logger, Ends(run)],
    )
    (folder / "json" / run.name / "history.json").write_text(json.dumps(history.history), encoding="utf-8")


main(write)
