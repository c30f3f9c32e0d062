"""Runs that are logged from anywhere: a notebook, a loop of somebody's own, a script of no study.

What is logged is in the journal at once, so that a run whose process is killed is recorded with its curve,
as interrupted, when the store is next used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scalelab.errors import InputError, ScalelabWarning, StoreError, StoreLockedError, brief
from scalelab.jsonable import jsonable
from scalelab.measure.machine import machine_facts, usable_cores
from scalelab.records import FINAL_STATUSES, Direction, Record, Script, Status, canonical_json
from scalelab.script_files import begin, read_reports
from scalelab.script_log import RECORD, append, close_file, open_file, report_of
from scalelab.script_reports import AXES, NO_RESULT, check_metric
from scalelab.store import Store, open_store
from scalelab.store.claims import HEARTBEAT_SECONDS
from scalelab.store.files import writing
from scalelab.study.command import axes_at, script_trial
from scalelab.study.model import check_name
from scalelab.supervise.workbench import one_line
from scalelab.version import __version__


class run:
    """A run of one's own that is kept in a store: `with scalelab.run("my-study", params=...) as run:`.

    It is done where the block ends well and a loss was logged, `diverged` where that is not finite, `failed`
    where the block raises or logged none, and `interrupted` where it was stopped or its process killed.

    A run is named by its study, parameters and seed. The same ones again are another attempt at it, and the
    last that is done counts; give repeats a seed each. In the command of a study the run is the trial, and
    study, parameters and store are not looked at.

    Args:
        study: Names the runs that belong together.
        params: What the run is about: numbers, texts, truth values, lists of them. One called `n_params`,
            `n_examples`, `epochs`, `train_flops`, `batch_size`, `dataset`, `architecture`, `optimizer` and
            the like is that column of `runs`.
        store: A store, or the path of its file, which is made where it is missing.
        seed: Tells repeats apart.
        metric: The name of what counts, of what is logged.
        direction: Which way it is better.

    Attributes:
        attempt: 1 for the first attempt at these parameters; 0 in the command of a study.
        checkpoint: A folder for what the next attempt goes on from; it is removed when the run is done.
        record: What was kept of it, once the block has ended.

    Raises:
        InputError: The study's name, a parameter or the metric is wrong, or another process is at this run.
        StoreError: The store cannot be written.

    Example:
        >>> with scalelab.run("widths", params={"width": 64, "n_params": 5000}, store="mine.duckdb") as run:
        ...     for step in range(1, 11):
        ...         run.log(step=step, loss=1 / step)
    """

    def __init__(
        self,
        study: str,
        *,
        params: Mapping[str, Any],
        store: Store | Path | str = "experiments.duckdb",
        seed: int = 0,
        metric: str = "loss",
        direction: Direction = "minimize",
    ) -> None:
        try:
            what = f"run({brief(study)}): the study's name"
            check_name(study if isinstance(study, str) else "")
            what = f"run({study!r}, metric={brief(metric)}): it"
            check_metric(metric)
        except ValueError as error:
            raise InputError(f"{what} {error}") from None
        if not isinstance(store, (Store, Path, str)):
            raise InputError(f"run({study!r}, store={brief(store)}): give a store, or the path of its file")
        given = _checked(study, params)
        axes = {name: name for name in given if name in AXES}
        values = axes_at(axes, given, f"run({study!r})")
        if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed < 2**63:
            raise InputError(f"run({study!r}, seed={brief(seed)}): must be a whole number, 0 or more")
        if direction not in ("minimize", "maximize"):
            raise InputError(f"run({study!r}, direction={brief(direction)}): minimize or maximize")
        self._study, self._metric, self._direction = study, metric, direction
        self._trial = script_trial(Script(name=study, axes=axes), given, values, int(seed))
        self._store = store
        self._file: str | None = None
        self._pid = 0
        self._over = threading.Event()
        self.attempt = 0
        self.checkpoint = Path()
        self.record: Record | None = None

    def __enter__(self) -> Self:
        if self._pid:
            raise InputError(f"run({self._study!r}): a block is entered once; make another run for the next")
        self._pid = os.getpid()
        self._file = os.environ.get(RECORD)
        if self._file is not None:  # in the command of a study the run is its trial
            self.checkpoint = Path(os.environ.get("SCALELAB_CHECKPOINT", ""))
            return self
        self._store = store = open_store(self._store, create=True)
        store.refuse_imported(self._study)
        store.claims.reap()
        store.ingest()
        outcome = store.outcomes([self._trial.id]).get(self._trial.id)
        self.attempt = (outcome.attempts if outcome else 0) + 1
        claim = store.claims.claim(self._trial.id, self._study, self.attempt)
        if claim is None:
            raise InputError(
                f"run({self._study!r}): another process is at a run of these parameters; give this one a "
                "seed of its own"
            )
        self._claim, self._began = claim, time.time()
        file = store.journal.reports(self._trial.id)
        with writing(file.parent):
            self.checkpoint = begin(file, self.attempt, self._metric, self._direction)
            file.with_name("trial.json").write_text(self._trial.model_dump_json(), encoding="utf-8")
        self._file = str(file)
        open_file(self._file)
        threading.Thread(target=self._beat, args=[store], daemon=True).start()
        return self

    def _beat(self, store: Store) -> None:
        """Shows other machines that the run is alive."""
        while not self._over.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(StoreError):
                store.claims.beat()

    def log(self, **values: object) -> None:
        """Logs something of this run; see `scalelab.log`, which does so too while the block is open.

        Raises:
            InputError: A value is neither a number nor a text, or the block is not open.
            StoreError: It cannot be written down.
        """
        if self._file is None or self._over.is_set():
            raise InputError(f"run({self._study!r}).log: only inside its `with` block")
        append(self._file, report_of(values))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._over.set()
        if not self.attempt or self._pid != os.getpid():  # of a study's command, or a child that was forked
            return
        assert isinstance(self._store, Store), "the block was entered"
        assert self._file is not None, "likewise"
        close_file(self._file)
        reports = read_reports(Path(self._file), self._metric, self._direction)
        facts = reports.facts(self._trial)
        status: Status = "interrupted"
        reason: str | None = f"{kind.__name__} ended it" if kind else None
        if error is None:
            status, reason = reports.outcome()
        elif isinstance(error, Exception):
            status, reason = "failed", one_line(error)
        ended = time.time()
        record = Record(
            trial=self._trial,
            study=self._study,
            attempt=self.attempt,
            status=status,
            error=reason,
            started_at=self._began,
            finished_at=ended,
            wall_seconds=reports.spent + ended - self._began,
            machine=machine_facts("", threads=usable_cores()),
            scalelab_version=__version__,
            **(facts | NO_RESULT if status == "failed" else facts),
        )
        self.record = self._store.journal.write(record)
        if status in FINAL_STATUSES:
            shutil.rmtree(Path(self._file).parent, ignore_errors=True)
        self._store.claims.release(self._claim)
        with contextlib.suppress(StoreLockedError):  # whoever uses the store next takes it in
            self._store.ingest()
        if status == "failed" and error is None:
            said = f"the run of {self._study} counts as failed: {reason}"
            warnings.warn(said, ScalelabWarning, stacklevel=2)


def _checked(study: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns parameters as JSON values.

    Raises:
        InputError: One cannot be said in JSON.
    """
    if not isinstance(params, Mapping):
        raise InputError(f"run({study!r}, params={brief(params)}): give a mapping of names to values")
    given = {}
    for name, value in params.items():
        if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
            what = f"run({study!r}): the parameter {brief(name)}"
            raise InputError(f"{what}: its name must be a text of one line, 200 characters at most")
        if name == "seed":
            raise InputError(f"run({study!r}): seed is no parameter; give run(..., seed={brief(value)})")
        plain = value.item() if getattr(value, "ndim", None) == 0 else value
        try:
            canonical_json(plain).encode()
        except (ValueError, RecursionError) as error:
            what = f"run({study!r}): the parameter {name} = {brief(value)}"
            raise InputError(
                f"{what}: give a finite number, a text, a truth value or a list of them"
            ) from error
        given[name] = jsonable(plain)
    return given
