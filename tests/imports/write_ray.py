"""Runs an experiment of Ray Tune; a scheduler cuts one trial short, two fail, one of which is resumed."""

import sys
import tempfile
from pathlib import Path

import ray
from known_runs import CUT, KnownRun, by_name
from ray import tune


class Cut(tune.schedulers.FIFOScheduler):
    """Stops a trial that is cut short, as ASHA would."""

    def on_trial_result(self, tune_controller: object, trial: tune.experiment.Trial, result: dict) -> str:
        run = by_name(f"width-{trial.config['width']}")
        short = run.ending == "pruned" and result["training_iteration"] == CUT["pruned"]
        return self.STOP if short else self.CONTINUE


def train(config: dict[str, float]) -> None:
    """Reports the losses of the run of a width, from where it was interrupted."""
    run = by_name(f"width-{config['width']}")
    again = tune.get_checkpoint() is not None
    for step, loss in list(enumerate(run.losses, start=1))[CUT["resumed"] if again else 0 :]:
        with tempfile.TemporaryDirectory() as folder:
            tune.report(
                {"loss": loss, "n_params": run.n_params}, checkpoint=tune.Checkpoint.from_directory(folder)
            )
        if run.ending in ("crashed", "resumed") and step == CUT[run.ending]:
            raise RuntimeError("out of luck")
    if run.ending == "crashed":
        raise RuntimeError("out of luck again")


def write(folder: Path, runs: list[KnownRun], again: bool) -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    if again:
        tune.Tuner.restore(str(folder / "widths"), train, resume_errored=True).fit()
        return
    tuner = tune.Tuner(
        train,
        param_space={"width": tune.grid_search([run.width for run in runs]), "lr": 0.003},
        tune_config=tune.TuneConfig(metric="loss", mode="min", scheduler=Cut(), max_concurrent_trials=2),
        run_config=tune.RunConfig(name="widths", storage_path=str(folder)),
    )
    tuner.fit()


write(Path(sys.argv[1]), [by_name(name) for name in sys.argv[3:]], sys.argv[2] == "again")
