"""Who shares the trials of a study: how many workers, with how many CPU threads each."""

from __future__ import annotations

from scalelab.errors import InputError
from scalelab.measure.machine import usable_cores
from scalelab.measure.threads import asked_threads, worthwhile_threads
from scalelab.records import Frozen


class Crew(Frozen):
    """Workers and their threads.

    Attributes:
        workers: Worker processes; 0 is the coordinator's own process.
        threads: CPU threads that each has.
        fewer: Whether a training step that is too small for so many gets fewer.
    """

    workers: int
    threads: int
    fewer: bool

    @classmethod
    def of(cls, workers: int, threads: int | None, n_trials: int) -> Crew:
        """Returns the crew for so many trials.

        Args:
            workers: How many workers are wanted; there are no more than trials.
            threads: How many threads each is to have; by default those of `OMP_NUM_THREADS`, else the cores
                that this process may use divided by the workers, and fewer where a step is too small.
            n_trials: How many trials there are to do.

        Raises:
            InputError: `threads` or `OMP_NUM_THREADS` is not a whole number of 1 or more.
        """
        workers, asked = min(workers, n_trials), asked_threads(threads)
        each = max(1, usable_cores() // max(1, workers)) if asked is None else asked
        return cls(workers=workers, threads=each, fewer=asked is None and each > 1)

    def threads_for(self, step_flops: float) -> int:
        """Returns the threads that train a step of so many FLOPs."""
        return worthwhile_threads(step_flops, self.threads) if self.fewer else self.threads

    def __str__(self) -> str:
        who = {0: "this process", 1: "1 worker"}.get(self.workers, f"{self.workers} workers")
        of = "with" if self.workers == 0 else "of"
        if self.fewer:
            return f"{who} {of} up to {self.threads} threads, fewer where a step is too small for them"
        return f"{who} {of} {self.threads} thread{'s' if self.threads > 1 else ''}"


def check_asked(workers: int, device: str) -> None:
    """Makes sure that there can be so many workers, and that the device exists.

    Raises:
        InputError: They are negative, or it does not.
    """
    if workers < 0:
        raise InputError(f"workers = {workers}: must be 0 (train in this process) or more")
    if device not in ("auto", "cpu"):
        # The two that are always there need no torch to say so, which keeps a finished study's no-op quick.
        from scalelab.train.device import resolve_device

        resolve_device(device)
