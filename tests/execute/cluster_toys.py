"""A cluster of threads: jobs that serve a run as those of a real cluster do, in this process."""

from __future__ import annotations

import shutil
import threading
import time

from scalelab.execute.cluster.agent import TAKEN_AWAY, Agent
from scalelab.execute.cluster.folder import FolderMail, FolderPost
from scalelab.execute.cluster.machines import Gone, Standing
from scalelab.execute.cluster.mail import Hello
from scalelab.store import Journal
from scalelab.store.fleet import Heart


class Threads:
    """`Machines` whose jobs are threads; `restart` and `free` are what a cluster does to them."""

    look_seconds = 0.1
    lasting = True

    def __init__(self, fleet, orders, *, full=False):
        assert fleet.read(), "a run's folder has run.json before anything else"
        self.full, self.queued = full, 0
        self.fleet, self.orders = fleet, orders
        self.prefix = "later-job" if fleet.hearts() else "job"  # as no cluster gives a name twice
        self.post = FolderPost(fleet, orders)
        self.stops: dict[str, str] = {}
        self.threads: dict[str, threading.Thread] = {}
        self.started = self.cancelled = 0
        self.gone: list[Gone] = []
        self.left = None

    def start(self, n):
        for _ in range(n):
            if self.full:
                self.queued += 1
                continue
            self.started += 1
            self._serve(f"{self.prefix}{self.started}")

    def _serve(self, name, restarts=0):
        def serve():
            heart = Heart(name, job=name, host="here", place="elsewhere", began=time.time())
            mail = FolderMail(Journal(self.orders.store), heart, self.orders.run)
            hello = Hello(job=name, host="here", restarts=restarts)
            Agent(mail, self.orders, hello, lambda: self.stops.get(name, "")).serve()
            mail.fleet.stop(name)

        self.stops.pop(name, None)
        self.threads[name] = threading.Thread(target=serve, daemon=True)
        self.threads[name].start()

    def free(self):
        """Starts the jobs that wait for a machine."""
        self.full, n, self.queued = False, self.queued, 0
        self.start(n)

    def restart(self, name):
        """Ends a job and starts it again, as a cluster does that preempts it."""
        self.stops[name] = f"{TAKEN_AWAY} (SIGTERM)"
        self.threads[name].join()
        self._serve(name, restarts=1)

    def look(self):
        running = {name: "here" for name, thread in self.threads.items() if thread.is_alive()}
        gone = [
            Gone(name, f"job {name} ended", expected=True) for name in self.threads.keys() - running.keys()
        ]
        self.threads = {name: self.threads[name] for name in running}
        gone, self.gone = gone + self.gone, []
        return Standing(running, self.queued), gone

    def cancel(self):
        self.cancelled += 1
        self.queued = 0
        for name in self.threads:
            self.stops[name] = "cancelled"

    def close(self, *, leave):
        self.left = leave
        if not leave:
            self.fleet.remove()


class ThreadSite:
    """A `Site` whose machines are threads; what was begun is listed.

    Attributes:
        begun: `Threads` of each coordinator.
        full: Whether jobs have to wait for a machine.
        cleared: Runs that were cleared away when they were over.
    """

    def __init__(self):
        self.begun: list[Threads] = []
        self.address = "here"
        self.full = False
        self.cleared: list[str] = []

    def room(self):
        return 8

    def knows(self, run):
        return True

    def over(self, run):
        jobs = [one for one in self.begun if one.fleet.run == run]
        running = [thread for one in jobs for thread in one.threads.values() if thread.is_alive()]
        return not running and not any(one.queued for one in jobs)

    def clear(self, fleet, journal):
        self.cleared.append(fleet.run)
        shutil.rmtree(fleet.folder)

    def machines(self, fleet, journal, orders, *, joined):
        new = Threads(fleet, orders, full=self.full)
        if joined:
            last = next(one for one in reversed(self.begun) if one.fleet.run == fleet.run)
            new.threads, new.stops, new.started = last.threads, last.stops, last.started
            new.queued, last.queued = last.queued, 0
        self.begun.append(new)
        return new

    def leave(self):
        pass


def threads_for(monkeypatch):
    """Has runs on `slurm` use threads; returns their cluster."""
    site = ThreadSite()
    monkeypatch.setattr("scalelab.execute.cluster.begin._reach", lambda cluster: site)
    return site
