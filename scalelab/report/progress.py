"""What a run looks like while it goes on: a live panel on a terminal, plain lines elsewhere.

Everything here goes to standard error; results go to standard output when the run is over.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self, TextIO

from scalelab.amounts import counted
from scalelab.execute.events import Compared, Grown, Planned, Retried, RunEvent, Started, Stood
from scalelab.execute.jobs import Finished, Progressed, Warned
from scalelab.records import Trial
from scalelab.report.numbers import span
from scalelab.report.pace import Pace
from scalelab.report.trial_names import TrialNames

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

HEARTBEAT_SECONDS = 60.0

STOPPING = {
    1: "stopping: running trials write a checkpoint and end; Ctrl-C again stops at once",
    2: "stopped at once; trials resume from their last checkpoint when the study is run again",
}
LEAVING = (
    "leaving: jobs of the cluster get all trials that are left and go on; run the same command again later"
)


class RunDisplay:
    """Says each event of a run; a context manager that is called with them.

    A subclass says lines its own way, and may show what is under way between its beginning and its end.

    Args:
        leaves: Whether Ctrl-C leaves trials to the jobs of a cluster, instead of stopping them.
    """

    def __init__(self, *, leaves: bool = False) -> None:
        self._leaves = leaves
        self._names = TrialNames()
        self._said: tuple[Trial, ...] = ()
        self._n_pending = 0
        self._trials: dict[str, str] = {}

    def say(self, line: str, style: str | None = None) -> None:
        """Shows a line; the style, a color of rich, says what kind it is."""
        raise NotImplementedError

    def counted(self, study: str | None, n_pending: int) -> None:
        """Shows how many trials there are to do, of a study that is named at first."""

    def began(self, trial_id: str, name: str) -> None:
        """Shows that a trial is under way."""

    def moved(self, event: Progressed) -> None:
        """Shows how far a trial is."""

    def stood(self, where: str) -> None:
        """Shows where the jobs of a cluster stand."""
        raise NotImplementedError

    def ended(self, trial_id: str, *, for_good: bool) -> str:
        """Shows that a trial is not under way any more, and returns what its line begins with."""
        raise NotImplementedError

    def __call__(self, event: RunEvent) -> None:
        """Shows an event."""
        if isinstance(event, Compared):
            self.say("timing some of the study's networks in fp32 and in bf16")
        elif isinstance(event, Planned):
            self._names = TrialNames(event.trials)
            elsewhere = f", {event.n_elsewhere} running elsewhere" if event.n_elsewhere else ""
            self.say(
                f"study {event.study}: {counted(len(event.trials), 'trials')}, {event.n_kept} done before, "
                f"{event.n_pending} to do{elsewhere}"
                + (f"; {event.crew}" if event.crew else "")
                + (f"; {event.precision}" if event.precision else "")
            )
            if event.changed:
                self.say(event.changed, "yellow")
            for reason in event.skipped:
                self.say(f"left out: {reason}", "dim")
            self._said = event.trials
            self._n_pending = event.n_pending
            self.counted(event.study, self._n_pending)
        elif isinstance(event, Grown):
            self._said = (*self._said, *event.trials)
            self._names = TrialNames(self._said)
            self._n_pending += len(event.trials) - event.n_kept
            kept = f", {event.n_kept} of them done before" if event.n_kept else ""
            self.say(f"{event.why}: {len(event.trials)} more trial{'s' * (len(event.trials) > 1)}{kept}")
            self.counted(None, self._n_pending)
        elif isinstance(event, Started):
            name = self._trials[event.trial.id] = self._names.describe(event.trial)
            self.began(event.trial.id, name)
        elif isinstance(event, Stood):
            self.stood(event.where)
        elif isinstance(event, Progressed):
            self.moved(event)
        elif isinstance(event, Warned):
            self.say(f"warning: {event.message} (said once; logs have the rest)", "yellow")
        elif isinstance(event, Retried):
            self.ended(event.trial_id, for_good=False)
            self.say(f"lost {event.trial_id}: {event.reason}; it will be tried again", "yellow")
        elif isinstance(event, Finished):
            loss = "" if event.loss is None else f" loss {event.loss:.4f}"
            why = f": {event.error}" if event.error else ""
            self.say(
                f"{self.ended(event.trial_id, for_good=True)}{event.status} {event.trial_id}{loss} in "
                f"{event.wall_seconds:.1f} s  {self._trials[event.trial_id]}{why}",
                "red" if event.status == "failed" else None,
            )

    def stopping(self, level: int) -> None:
        """Says what a Ctrl-C will do."""
        self.say(LEAVING if self._leaves else STOPPING[level], "yellow")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class PlainDisplay(RunDisplay):
    """One line an event and a heartbeat with the time left, no animation: for logs and pipes.

    Events and heartbeats come from two threads; lines are whole.

    Args:
        stream: Where the lines go.
        leaves: See `RunDisplay`.
        every: Seconds from one heartbeat to the next.
    """

    def __init__(self, stream: TextIO, *, leaves: bool = False, every: float = HEARTBEAT_SECONDS) -> None:
        super().__init__(leaves=leaves)
        self._stream = stream
        self._every = every
        self._n_ended = 0
        self._pace = Pace()
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __call__(self, event: RunEvent) -> None:
        """Prints an event."""
        with self._lock:
            super().__call__(event)

    def say(self, line: str, style: str | None = None) -> None:
        """Prints a line with the time."""
        del style
        with self._lock:
            print(time.strftime("%H:%M:%S"), line, file=self._stream, flush=True)

    def began(self, trial_id: str, name: str) -> None:
        """Notes it for the heartbeat."""
        del name
        self._pace.began(trial_id, time.monotonic())

    def moved(self, event: Progressed) -> None:
        """Notes it for the heartbeat."""
        self._pace.moved(event.trial_id, event.step / event.n_steps if event.n_steps else 0.0)

    def stood(self, where: str) -> None:
        """Prints it."""
        self.say(where)

    def ended(self, trial_id: str, *, for_good: bool) -> str:
        """Returns how many of all trials have ended."""
        self._pace.ended(trial_id, time.monotonic(), for_good=for_good)
        self._n_ended += for_good
        return self._so_far

    @property
    def _so_far(self) -> str:
        return f"[{self._n_ended}/{self._n_pending}] "

    def heartbeat(self) -> str:
        """Returns what is under way and how long the rest takes, if it takes what trials took so far."""
        shares = self._pace.under_way
        trials = (f"{self._trials[trial_id]} {share:.0%}" for trial_id, share in shares.items())
        waiting = max(0, self._n_pending - self._n_ended - len(shares))
        left = self._pace.left(waiting, time.monotonic())
        rest = "time left not known yet" if left is None else f"{span(*left)} left"
        return f"{self._so_far}{rest}; under way: {', '.join(trials) or 'nothing'}"

    def _beat(self) -> None:
        while not self._over.wait(self._every):
            with self._lock:
                if self._n_ended < self._n_pending:
                    self.say(self.heartbeat())

    def __enter__(self) -> Self:
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._heart.join()


class LiveDisplay(RunDisplay):
    """A bar for the study and one for each trial under way; ended trials scroll away above them.

    Args:
        console: A rich console on standard error.
        leaves: See `RunDisplay`.
    """

    def __init__(self, console: Console, *, leaves: bool = False) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__(leaves=leaves)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._study = self._progress.add_task("study", total=None, note="", visible=False)
        self._bars: dict[str, TaskID] = {}

    def say(self, line: str, style: str | None = None) -> None:
        """Prints a line above the bars."""
        self._progress.console.print(line, style=style, highlight=False, markup=False)

    def counted(self, study: str | None, n_pending: int) -> None:
        """Shows the study's bar."""
        self._progress.update(self._study, total=n_pending, visible=n_pending > 0, description=study)

    def began(self, trial_id: str, name: str) -> None:
        """Adds a trial's bar."""
        self._bars[trial_id] = self._progress.add_task(name, total=None, note="")

    def moved(self, event: Progressed) -> None:
        """Moves a trial's bar."""
        note = "" if event.loss is None else f"loss {event.loss:.4f}"
        self._progress.update(
            self._bars[event.trial_id], completed=event.step, total=event.n_steps, note=note
        )

    def stood(self, where: str) -> None:
        """Writes it beside the study's bar."""
        self._progress.update(self._study, note=where)

    def ended(self, trial_id: str, *, for_good: bool) -> str:
        """Takes a trial's bar away, and moves the study's."""
        bar = self._bars.pop(trial_id, None)
        if bar is not None:
            self._progress.remove_task(bar)
        self._progress.update(self._study, advance=int(for_good))
        return ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
