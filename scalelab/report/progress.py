"""What a run looks like while it goes on: a live panel on a terminal, plain lines elsewhere.

Everything here goes to standard error; results go to standard output when the run is over.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TextIO

from scalelab.execute.coordinator import Planned, Retried, RunEvent, Started
from scalelab.execute.jobs import Finished, Progressed
from scalelab.report.trial_names import TrialNames

if TYPE_CHECKING:
    from rich.console import Console


class RunDisplay(Protocol):
    """Shows a run; a context manager that is called with each event."""

    def __call__(self, event: RunEvent) -> None:
        """Shows one event."""

    def stopping(self, level: int) -> None:
        """Says what a Ctrl-C will do."""

    def __enter__(self) -> RunDisplay:
        """Starts the display."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the display."""


STOPPING = {
    1: "stopping: running trials write a checkpoint and end; Ctrl-C again stops at once",
    2: "stopped at once; trials go on from their last checkpoint when the study is run again",
}


def _planned(event: Planned) -> str:
    words = [
        f"study {event.study}: {len(event.trials)} trials",
        f"{event.n_kept} done before",
        f"{event.n_pending} to do",
    ]
    if event.n_elsewhere:
        words.append(f"{event.n_elsewhere} under way elsewhere")
    return ", ".join(words)


def _finished(event: Finished, trial: str) -> str:
    loss = "" if event.loss is None else f" loss {event.loss:.4f}"
    why = f": {event.error}" if event.error else ""
    return f"{event.status} {event.trial_id}{loss} in {event.wall_seconds:.1f} s  {trial}{why}"


class PlainDisplay:
    """One line an event, no animation: for logs and pipes.

    Args:
        stream: Where the lines go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._names = TrialNames()
        self._trials: dict[str, str] = {}
        self._ended = 0
        self._total = 0

    def _say(self, line: str) -> None:
        print(time.strftime("%H:%M:%S"), line, file=self._stream, flush=True)

    def __call__(self, event: RunEvent) -> None:
        """Prints what a reader of a log wants to know; progress within a trial is not among it."""
        if isinstance(event, Planned):
            self._names, self._total = TrialNames(event.trials), event.n_pending
            self._say(_planned(event))
            for reason in event.skipped:
                self._say(f"left out: {reason}")
        elif isinstance(event, Started):
            self._trials[event.trial.id] = self._names.describe(event.trial)
        elif isinstance(event, Retried):
            self._say(f"lost {event.trial_id}: {event.reason}; it will be tried again")
        elif isinstance(event, Finished):
            self._ended += 1
            self._say(f"[{self._ended}/{self._total}] {_finished(event, self._trials[event.trial_id])}")

    def stopping(self, level: int) -> None:
        """Says what a Ctrl-C will do."""
        self._say(STOPPING[level])

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class LiveDisplay:
    """A bar for the study and one for each trial under way.

    Args:
        console: A rich console on standard error.
    """

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._study = self._progress.add_task("study", total=None, note="", visible=False)
        self._names = TrialNames()
        self._trials: dict[str, str] = {}
        self._bars: dict[str, object] = {}

    def __call__(self, event: RunEvent) -> None:
        """Moves the bars; ended trials scroll away above them."""
        show = self._progress
        if isinstance(event, Planned):
            show.console.print(_planned(event), highlight=False)
            for reason in event.skipped:
                show.console.print(f"left out: {reason}", style="dim", highlight=False)
            self._names = TrialNames(event.trials)
            show.update(
                self._study,
                total=event.n_pending,
                visible=event.n_pending > 0,
                description=event.study,
            )
        elif isinstance(event, Started):
            name = self._trials[event.trial.id] = self._names.describe(event.trial)
            self._bars[event.trial.id] = show.add_task(name, total=None, note="")
        elif isinstance(event, Progressed):
            note = "" if event.loss is None else f"loss {event.loss:.4f}"
            show.update(self._bars[event.trial_id], completed=event.step, total=event.n_steps, note=note)  # type: ignore[arg-type]
        elif isinstance(event, Retried):
            self._drop(event.trial_id)
            show.console.print(
                f"lost {event.trial_id}: {event.reason}; it will be tried again", style="yellow"
            )
        elif isinstance(event, Finished):
            self._drop(event.trial_id)
            show.update(self._study, advance=1)
            style = "red" if event.status == "failed" else None
            show.console.print(
                _finished(event, self._trials[event.trial_id]), style=style, highlight=False, soft_wrap=True
            )

    def _drop(self, trial_id: str) -> None:
        bar = self._bars.pop(trial_id, None)
        if bar is not None:
            self._progress.remove_task(bar)  # type: ignore[arg-type]

    def stopping(self, level: int) -> None:
        """Says what a Ctrl-C will do."""
        self._progress.console.print(STOPPING[level], style="yellow")

    def __enter__(self) -> LiveDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
