"""A cluster of threads: jobs that serve a run as those of a real cluster do, in this process."""

from __future__ import annotations

import threading
import time

from scalelab.execute.cluster.agent import TAKEN_AWAY, Agent
from scalelab.execute.cluster.folder import FolderMail, FolderPost
from scalelab.execute.cluster.machines import Gone, Standing
from scalelab.execute.cluster.mail import Hello
from scalelab.store import Journal
from scalelab.store.fleet import Heart


class Threads:
    """`Machines` whose jobs are threads; `stop` and `vanish` are what a cluster does to them."""

    look_seconds = 0.1
    lasting = True

    def __init__(self, fleet, orders):
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
        return Standing(running), gone

    def cancel(self):
        self.cancelled += 1
        for name in self.threads:
            self.stops[name] = "cancelled"

    def close(self, *, leave):
        self.left = leave


class ThreadSite:
    """A `Site` whose machines are threads; what was begun is listed.

    Attributes:
        begun: `Threads` of each coordinator.
    """

    address = ""

    def __init__(self):
        self.begun: list[Threads] = []

    def room(self):
        return 8

    def knows(self, run):
        return True

    def machines(self, fleet, journal, orders, *, joined):
        new = Threads(fleet, orders)
        if joined:
            last = self.begun[-1]
            new.threads, new.stops, new.started = last.threads, last.stops, last.started
        self.begun.append(new)
        return new

    def leave(self):
        pass


def threads_for(monkeypatch):
    """Has runs on `slurm` use threads; returns the list of those that were begun."""
    site = ThreadSite()
    monkeypatch.setattr("scalelab.execute.cluster.begin._reach", lambda cluster: site)
    return site.begun
