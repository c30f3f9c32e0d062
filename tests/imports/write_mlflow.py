"""Logs runs with MLflow, into folders and into an SQLite database."""

import os
from pathlib import Path

import mlflow
from known_runs import CUT, KnownRun, die, main


def write(folder: Path, run: KnownRun, again: bool) -> None:
    for uri in (f"sqlite:///{folder / 'mlflow.db'}", (folder / "mlruns").as_uri()):
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("widths")
        started = begin(run, again)
        if run.ending == "crashed":
            mlflow.end_run("FAILED")
        elif run.ending == "pruned":
            mlflow.end_run("KILLED")
        elif started:
            mlflow.end_run()
    if run.ending == "resumed" and not again:
        die()


def begin(run: KnownRun, again: bool) -> bool:
    """Logs a run, or the rest of it; returns whether it came to its end."""
    if again:
        found = mlflow.search_runs(filter_string=f"run_name = '{run.name}'", output_format="list")
        mlflow.start_run(run_id=found[0].info.run_id)
    else:
        mlflow.start_run(run_name=run.name)
        mlflow.log_params(run.params)
    interrupted = run.ending == "resumed" and not again
    losses = list(enumerate(run.reported, start=1))
    for step, loss in (
        losses[CUT["resumed"] :] if again else losses[: CUT["resumed"]] if interrupted else losses
    ):
        mlflow.log_metric("val_loss", loss, step=step)
        mlflow.log_metric("train_loss", loss + 0.125, step=step)
    if interrupted:
        # What MLflow would do at the end of the process, a killed one does not.
        mlflow.tracking.fluent._active_run_stack.get().pop()
    return not interrupted


os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
main(write)
