"""How many jobs a run has at once, and which trials wait until they have a device for themselves.

Jobs that share a device (a fraction of a GPU, GPUs that nobody asked for, a machine's memory) may run out of
memory because of each other. The one that did ends, and the run has one job less from then on. A trial to
which that happens twice, or with one job, waits until nothing else of the run is under way. It has failed if
memory runs out even then, and the jobs that were given up for it are asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence

from scalelab.execute.cluster.options import Cluster
from scalelab.execute.jobs import Job


class Room:
    """What a run's jobs have room for.

    Args:
        n_jobs: Jobs at once, to begin with.
        cluster: What the user asked for.

    Attributes:
        n_jobs: Jobs at once by now.
    """

    def __init__(self, n_jobs: int, cluster: Cluster) -> None:
        self.n_jobs = n_jobs
        self._only_one = n_jobs == 1
        self._cluster = cluster
        self._at_once: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._held: set[str] = set()
        self._one_alone = False

    def shared(self, job: Job) -> Job:
        """Returns a job as it is to be posted beside others: with how many share its device."""
        sharers = self._cluster.sharers(job.device)
        if sharers == 0 and self._only_one:
            sharers = 1
        return job if job.sharers == sharers else job.model_copy(update={"sharers": sharers})

    def ready(self, waiting: Sequence[Job], *, under_way: int) -> list[Job]:
        """Returns those of the jobs that wait to be posted whose turn it is.

        Args:
            waiting: In order.
            under_way: How many were posted and have not ended.
        """
        if self._one_alone and under_way:
            return []
        self._one_alone = False
        ready = [self.shared(job) for job in waiting if job.trial.id not in self._held]
        if not ready and waiting and not under_way:
            self._one_alone = True
            return [waiting[0].model_copy(update={"sharers": 1})]
        return ready

    def began(self, trial_id: str) -> None:
        """Takes note of the jobs at once with which an attempt was begun."""
        self._at_once[trial_id] = self.n_jobs

    def ran_out(self, trial_id: str) -> bool:
        """Gives up a job after memory ran out, unless that was done since the attempt was begun.

        Returns:
            Whether there are fewer now.
        """
        if trial_id in self._before or self.n_jobs == 1:
            self._held.add(trial_id)
        self._before.setdefault(trial_id, self.n_jobs)
        fewer = self.n_jobs > 1 and self._at_once.get(trial_id, self.n_jobs) <= self.n_jobs
        self.n_jobs -= fewer
        return fewer

    def too_large(self, trial_id: str) -> None:
        """Takes jobs back that were given up for a trial that has failed."""
        self.n_jobs = max(self.n_jobs, self._before.pop(trial_id, 1))
