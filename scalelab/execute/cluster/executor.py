"""Trials in the jobs of a cluster; see `scalelab.execute.jobs.Executor`.

Nothing is handed out, and so nothing claimed, before a job has said that it can train the study's components.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from scalelab.errors import InputError, StoreError
from scalelab.execute.cluster.ended import finished_of
from scalelab.execute.cluster.machines import Gone, Machines, Standing
from scalelab.execute.cluster.mail import Bye, Hello, Message, Taken, Told
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.cluster.room import Room
from scalelab.execute.crew import Crew
from scalelab.execute.jobs import FINAL, Begun, Event, Finished, Job, Lost, Requeued, Warned, Withdrawn
from scalelab.records import trial_of
from scalelab.store import Journal
from scalelab.store.fleet import QUEUE, Fleet, Heart

AHEAD_SECONDS = 5.0
AHEAD_LIMIT = 2000
RENEW_SECONDS = 10.0
HEAR_SECONDS = (0.2, 0.5)
"""How long after a message others are asked for; twice as long each time that there is none."""
POST_TRIALS = 100
"""So many trials at most wait to be posted together."""
END_SECONDS = 20.0
STRAY_SECONDS = 90.0
NEWS_SECONDS = 2.0
"""How soon a cluster is asked again when a job came or left, however many do."""
REFUSED_SECONDS = 600.0
STILLBORN = 3
"""So many jobs in a row that end before they say a word end the run."""


class ClusterExecutor:
    """Hands trials to the jobs of a run on a cluster.

    Args:
        machines: The cluster.
        cluster: What the user asked for.
        fleet: The run's folder in the store's journal.
        journal: The store's journal.
        facts: What `scalelab status` is to show of the run.
        crew: Jobs at once, with their threads.
        joined: Whether the run was begun by an earlier coordinator.
    """

    def __init__(
        self, machines: Machines, cluster: Cluster, fleet: Fleet, journal: Journal, facts: dict[str, Any],
        crew: Crew, *, joined: bool = False,
    ) -> None:  # fmt: skip
        self.threads = crew.threads
        self.run: str | None = fleet.run
        self._machines, self._cluster, self._fleet, self._journal = machines, cluster, fleet, journal
        self._facts = facts
        self._room = Room(crew.workers, cluster)
        self._jobs: dict[str, Job] = {}
        self._unposted: list[Job] = []
        self._agents: dict[str, Hello] = {}
        self._busy: set[str] = set()
        self._leaving: set[str] = set()
        self._stillborn: list[str] = []
        self._ended: deque[float] = deque()
        self._standing = Standing({})
        self._looked = self._renewed = self._strayed = float("-inf")
        self._hears, self._pause = float("-inf"), HEAR_SECONDS[0]
        self._withdrawn: list[str] = []
        self._missing: dict[str, float] = {}
        self._left = False
        self._over = False
        self._news = False
        self._refused: float | None = None
        self._renew(force=True)
        if joined:
            machines.post.want("go on")  # whoever was there before may have been ending the run
        else:
            try:
                machines.start(crew.workers)
            except InputError:
                machines.cancel()
                machines.close(leave=False)
                raise

    @property
    def slots(self) -> int:
        """How many trials may be with jobs or wait for one: enough that no job runs out of them."""
        if self._left:
            return 10**9
        good = self._able
        if not good:
            return len(self._jobs)
        now = time.monotonic()
        while self._ended and now - self._ended[0] > AHEAD_SECONDS:
            self._ended.popleft()
        return good + min(AHEAD_LIMIT, max(good, 2 * len(self._ended)))

    @property
    def _able(self) -> int:
        """Jobs that are there and can train."""
        return sum(hello.complaint is None for hello in self._agents.values())

    def worker_pids(self, n: int) -> list[int | None]:
        """Returns `None` for each: workers are elsewhere."""
        return [None] * n

    def submit(self, job: Job) -> None:
        """Puts a trial into the inbox of the run, with others at the next `poll` at the latest."""
        self._jobs[job.trial.id] = job
        self._unposted.append(job)
        if len(self._unposted) >= POST_TRIALS:
            self._post()

    def _post(self) -> None:
        if self._left:
            ready = [self._room.shared(job) for job in self._unposted]
        else:
            under_way = len(self._jobs) - len(self._unposted)
            ready = self._room.ready(self._unposted, under_way=under_way)
        if ready:
            self._machines.post.post(ready)
            posted = {job.trial.id for job in ready}
            self._unposted = [job for job in self._unposted if job.trial.id not in posted]

    def adopt(self, job: Job) -> None:
        """Takes over a trial that an earlier coordinator put there."""
        self._jobs[job.trial.id] = job

    def standing(self) -> str:
        """Returns where the run stands on its cluster."""
        bad = [hello for hello in self._agents.values() if hello.complaint]
        said = f"{self._cluster.on}: {self._standing}"
        return said + (f"; {len(bad)} cannot train: {bad[0].complaint}" if bad else "")

    def poll(self, timeout: float) -> list[Event]:
        """Returns what jobs said, and the loss of those that are gone."""
        self._post()
        self._renew()
        events: list[Event] = [Withdrawn(trial_id=trial_id) for trial_id in self._withdrawn]
        self._withdrawn.clear()
        deadline = time.monotonic() + timeout
        while True:
            if time.monotonic() >= self._hears:
                events += self._heard()
            often = self._machines.look_seconds
            if time.monotonic() - self._looked > (min(often, NEWS_SECONDS) if self._news else often):
                events += self._look()
            now = time.monotonic()
            if events or now >= deadline:
                return events
            time.sleep(max(0.0, min(self._hears, deadline) - now))

    def _heard(self) -> list[Event]:
        events: list[Event] = []
        messages = self._machines.post.hear()
        self._pause = HEAR_SECONDS[0] if messages else min(2 * self._pause, HEAR_SECONDS[1])
        self._hears = time.monotonic() + self._pause
        for agent, message in messages:
            events += self._understood(agent, message)
        return events

    def _understood(self, agent: str, message: Message) -> list[Event]:
        if isinstance(message, Hello):
            self._agents[agent] = message
            self._leaving.discard(agent)  # started again
            self._refuse_useless()
            self._news = True  # where it is
        elif isinstance(message, Bye):
            self._agents.pop(agent, None)
            self._refuse_useless()
            if not message.again:
                self._left_by(agent, message.reason)
        elif isinstance(message, Told):
            return self._told(message.record_id, message.event)
        elif isinstance(message, Taken):
            trial_id = trial_of(message.record_id)
            self._busy.add(agent)
            self._stillborn.clear()
            self._room.began(trial_id)
            return self._told(message.record_id, Begun(trial_id=trial_id))
        return []

    def _left_by(self, agent: str, reason: str) -> None:
        """Has another job take the place of one that ended; some are too short to begin a trial."""
        self._leaving.add(agent)
        self._news = True
        idle = agent not in self._busy and not (self._over or self._left)
        if idle and "time limit" in reason and self._machines.post.waiting():
            self._count_stillborn(f"{agent}: {reason}")

    def _count_stillborn(self, reason: str) -> None:
        self._stillborn.append(reason)
        if len(self._stillborn) >= STILLBORN and not self._over:
            raise InputError(
                f"{self._cluster.on}: {len(self._stillborn)} jobs ended before they took a trial ({reason}); "
                "see that the machines there have this Python, the store's folder, and time for a start"
            )

    def _told(self, record_id: str, event: Event) -> list[Event]:
        """Returns what the coordinator is to hear of an attempt: the one under way, or a later one."""
        trial_id, _, attempt = record_id.rpartition("-")
        job = self._jobs.get(trial_id)
        if job is None or int(attempt) < job.attempt:
            return []
        events: list[Event] = []
        if int(attempt) > job.attempt:  # its putting back is heard later, from another job
            events.append(self._moved_on(job, int(attempt), "put back by its job"))
        if isinstance(event, Requeued):
            return [*events, self._moved_on(job, event.attempt, event.reason)]
        if isinstance(event, Lost):
            ended = finished_of(self._journal, trial_id, int(attempt))
            if ended is not None and ended.status != "interrupted":
                event = ended
        if isinstance(event, Finished) and event.status == "interrupted" and not self._over:
            reason = "interrupted as an earlier coordinator asked"
            event = Lost(trial_id=trial_id, reason=reason, counts=False)
        if isinstance(event, Lost) and event.out_of_memory:
            events += self._ran_out(trial_id)
        elif isinstance(event, Finished) and event.status == "failed":
            self._room.too_large(trial_id)
        if event.kind in FINAL:
            del self._jobs[trial_id]
            self._ended.append(time.monotonic())
        return [*events, event]

    def _ran_out(self, trial_id: str) -> list[Event]:
        """Has one job less from now on, unless that was said since the trial was begun."""
        before = self._room.n_jobs
        if not self._room.ran_out(trial_id):
            return []
        now = "one job" if self._room.n_jobs == 1 else f"{self._room.n_jobs} jobs"
        said = f"memory ran out with {before} jobs at a time; from now on {now} at a time"
        return [Warned(trial_id=trial_id, place=f"memory of jobs: {self._room.n_jobs}", message=said)]

    def _moved_on(self, job: Job, attempt: int, reason: str) -> Requeued:
        self._jobs[job.trial.id] = job.model_copy(update={"attempt": attempt})
        return Requeued(trial_id=job.trial.id, attempt=attempt, reason=reason)

    def _refuse_useless(self) -> None:
        """Ends the run where no job can train anything.

        Raises:
            InputError: All of its jobs complain.
        """
        if self._over or any(hello.complaint is None for hello in self._agents.values()):
            return
        complaints = [hello.complaint for hello in self._agents.values() if hello.complaint]
        if len(complaints) >= min(self._room.n_jobs, STILLBORN):
            raise InputError(f"{self._cluster.on}: {complaints[0]}")

    def _look(self) -> list[Event]:
        self._looked, news, self._news = time.monotonic(), self._news, False
        self._standing, gone = self._machines.look()
        self._renew(force=news)  # `status` shows at once who came
        events: list[Event] = []
        if gone:
            events += self._heard()  # what they said before they ended
            leased: dict[str, list[str]] = {}
            for record_id, agent in self._machines.post.leases().items():
                leased.setdefault(agent, []).append(record_id)
            for one in gone:
                events += self._buried(one, leased.get(one.agent, []))
        if self._standing.queued and self._machines.lasting:
            self._fleet.beat(Heart(QUEUE, job=self._standing.why))
        else:
            self._fleet.stop(QUEUE)
        n_jobs = self._room.n_jobs
        wanted = min(n_jobs, len(self._jobs)) if self._agents else n_jobs
        wanted -= len(self._agents) - self._able
        alive = self._standing.queued + len(self._standing.running.keys() - self._leaving)
        if not self._over and alive < wanted:
            self._restart(wanted - alive)
        if self._looked - self._strayed > STRAY_SECONDS / 9:
            self._strayed = self._looked
            events += self._strays()
        return events

    def _restart(self, n: int) -> None:
        """Asks for further jobs; a cluster that refuses them now may be busy or about to be started again.

        Raises:
            InputError: It has refused for long, and no job is there.
        """
        try:
            self._machines.start(n)
            self._refused = None
        except InputError:
            self._refused = self._refused or time.monotonic()
            if not self._standing.alive and time.monotonic() - self._refused > REFUSED_SECONDS:
                raise

    def _buried(self, gone: Gone, leased: list[str]) -> list[Event]:
        """Takes note of a job's end, and of the loss of what it had leased."""
        known = self._agents.get(gone.agent)
        if known is not None and known.complaint is None:
            del self._agents[gone.agent]  # a complaint stays, for its like not to be asked for again
        self._leaving.discard(gone.agent)
        self._fleet.stop(gone.agent)
        if gone.agent not in self._busy and not gone.expected:
            self._count_stillborn(gone.reason)
        events: list[Event] = []
        for record_id in leased:
            trial_id = trial_of(record_id)
            lost = Lost(trial_id=trial_id, reason=gone.reason, counts=gone.counts)
            events += self._told(record_id, lost)
            self._machines.post.end_lease(gone.agent, record_id)
        return events

    def _strays(self) -> list[Event]:
        """Returns the loss of trials that neither wait nor are with a job, as after a coordinator's death.

        One look is not enough: the folders of NFS may be seen as they were a minute ago.
        """
        before = list(self._jobs.values())
        there = {*self._machines.post.waiting(), *self._machines.post.leases()}
        there |= {job.record_id for job in self._unposted}
        heard = self._heard()  # a job may have ended one just now
        missing = {job.record_id: job for job in before if job.record_id not in there}
        now = time.monotonic()
        self._missing = {name: self._missing.get(name, now) for name in missing}
        for name, since in self._missing.items():
            job = missing[name]
            if now - since > STRAY_SECONDS and self._jobs.get(job.trial.id) is job:
                reason = "it neither waits nor is with a job"
                heard += self._told(name, Lost(trial_id=job.trial.id, reason=reason, counts=False))
        return heard

    def interrupt(self) -> bool:
        """Has trials write a checkpoint and jobs end, or leaves them everything and lets them go on."""
        if self._cluster.at_stop == "leave":
            self._left = True
            self._post()
            return False
        self._over = True
        self._machines.post.want("interrupt")
        taken_back = [trial_of(record_id) for record_id in self._machines.post.withdraw()]
        taken_back += [job.trial.id for job in self._unposted]
        self._unposted.clear()
        self._withdrawn += [trial_id for trial_id in taken_back if self._jobs.pop(trial_id, None)]
        return True

    def _renew(self, *, force: bool = False) -> None:
        """Shows that there is a coordinator.

        Raises:
            StoreError: It is another one by now, which took this one for dead.
        """
        if force or time.monotonic() - self._renewed > RENEW_SECONDS:
            self._renewed = time.monotonic()
            if other := self._fleet.led_elsewhere():
                raise StoreError(
                    f"the run on {self._cluster.on} has another coordinator by now ({other}), "
                    "which took this one for dead; it goes on there, see scalelab status"
                )
            self._machines.post.renew({**self._facts, "standing": str(self._standing)})

    def close(self) -> None:
        """Ends the jobs, unless they are left or another coordinator's."""
        if self._fleet.led_elsewhere():
            self._machines.close(leave=True)
            return
        try:
            if self._left:
                self._post()
            else:
                self._over = True
                self._see_off()
        finally:
            if not self._left:
                self._machines.cancel()
            else:
                self._facts["pid"] = None  # nobody coordinates it from here on, though this process may live
                if self._standing.running:
                    self._fleet.stop(QUEUE)  # their own hearts tell
                else:
                    self._fleet.beat(Heart(QUEUE, job=self._standing.why))
                self._renew(force=True)
            self._machines.close(leave=self._left)

    def _see_off(self) -> None:
        """Has jobs end by themselves, and waits for a while until they have."""
        self._machines.post.want("end")
        if self._looked == float("-inf"):  # joined with nothing to do: who is there is not known yet
            self._heard()
            self._look()
        deadline = time.monotonic() + END_SECONDS
        while self._able and time.monotonic() < deadline:
            self._heard()
            time.sleep(HEAR_SECONDS[0])
