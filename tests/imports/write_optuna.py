"""Runs a study of Optuna in an SQLite database and in a journal."""

from pathlib import Path

import optuna
from known_runs import CUT, KnownRun, die, main
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend


def write(folder: Path, run: KnownRun, again: bool) -> None:
    studies = [
        optuna.create_study(study_name="widths", storage=storage, load_if_exists=True)
        for storage in (
            f"sqlite:///{folder / 'optuna.db'}",
            JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
        )
    ]
    if run.ending == "resumed" and not again:  # Optuna itself resumes a study, whose trials begin anew
        for trial in [study.ask() for study in studies]:
            trial.suggest_int("width", run.width, run.width)
            for step, loss in enumerate(run.losses[: CUT["resumed"]], start=1):
                trial.report(loss, step)
        die()
    for study in studies:
        study.enqueue_trial({"width": run.width, "lr": 0.003})
        study.optimize(lambda trial: objective(trial, run), n_trials=1, catch=(ZeroDivisionError,))


def objective(trial: optuna.Trial, run: KnownRun) -> float:
    width = trial.suggest_int("width", 1, 1024)
    trial.suggest_float("lr", 1e-5, 1.0, log=True)
    trial.set_user_attr("n_params", 12 * width**2 + 64 * width)
    for step, loss in enumerate(run.reported, start=1):
        trial.report(loss, step)
    if run.ending == "pruned":
        raise optuna.TrialPruned
    if run.ending == "crashed":
        raise ZeroDivisionError("out of luck")
    return run.losses[-1]


main(write)
