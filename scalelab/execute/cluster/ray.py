"""Jobs of a Ray cluster: actors that no process owns, so that they go on without their coordinator."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import secrets
import socket
from typing import Any

from scalelab.errors import InputError, StoreError
from scalelab.execute.cluster.machines import Gone, Standing
from scalelab.execute.cluster.mail import Orders
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.cluster.ray_job import RayJob
from scalelab.execute.cluster.ray_mail import RayPost, answer
from scalelab.execute.cluster.ray_office import NAMESPACE, Office, Roll
from scalelab.store import Journal
from scalelab.store.fleet import Fleet
from scalelab.supervise.workbench import one_line

REACH_SECONDS = 5.0
_ADDRESS = re.compile(r"(?:ray://)?(?P<host>[^\s:/\[\]]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
# What opens a connection of HTTP/2, which Ray's servers speak: its preface and no settings (RFC 9113, 3.4).
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
# What a death says that the trial has nothing to do with.
_TAKEN_AWAY = re.compile(r"node has died|node was terminated|preempt|drain", re.IGNORECASE)
_HEAD = "node:__internal_head__"
"""A resource that the head of a cluster has."""
_begun: list[str] = []
"""How this process connected itself to Ray: `"own"` for a cluster that it started; empty where others did."""


def connect(cluster: Cluster) -> None:
    """Connects this process to a Ray cluster; one that it is connected to already is taken as it is.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached or is of another version.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError("--on ray needs Ray; run: pip install 'scalelab[ray]'")
    import ray

    if ray.is_initialized():
        return
    address = cluster.where or os.environ.get("RAY_ADDRESS", "")
    if address not in ("", "auto", "local"):
        _probe(cluster.on, address)
    quiet: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address != "local":
            try:
                ray.init(address=address or "auto", **quiet)
                _begun.append("joined")
                return
            except ConnectionError as error:
                if address:
                    hint = (
                        "where `ray start` said that token authentication is enabled, set RAY_AUTH_MODE=token"
                    )
                    raise ConnectionError(f"{error}; {hint}") from error
        if cluster.at_stop == "leave":
            raise ConnectionError(
                "there is no cluster to leave jobs to, and one that is started for the run ends with it; "
                "start one (ray start --head), or do without --at-stop leave"
            )
        ray.init(address="local", include_dashboard=False, **quiet)
        _begun.append("own")
    except (Exception, SystemExit) as error:
        ray.shutdown()  # what of it was begun
        raise InputError(f"--on {cluster.on}: Ray cannot be used: {one_line(error)}") from error


def _probe(on: str, address: str) -> None:
    """Makes sure that a server of Ray may be there; Ray itself would try for minutes, and print why."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise InputError(f"--on {on}: {address!r} is not an address; give HOST:PORT, or ray://HOST:PORT")
    if address.startswith("ray://") and importlib.util.find_spec("grpc") is None:
        raise InputError(f"--on {on}: ray:// needs Ray's client; run: pip install 'ray[client]'")
    where = found["host"].strip("[]"), int(found["port"])
    try:
        with socket.create_connection(where, timeout=REACH_SECONDS) as connection:
            connection.sendall(_PREFACE)
            head = connection.recv(9)
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or error
        raise InputError(
            f"--on {on}: nothing of Ray can be reached at {address} ({said}); see `ray status` there"
        ) from error
    if len(head) < 9 or head[3] != 4:  # a server's first frame is its settings
        raise InputError(f"--on {on}: what answers at {address} is not Ray")


def disconnect() -> None:
    """Ends the connection that `connect` made, and the cluster that it started."""
    if _begun:
        import ray

        _begun.clear()
        ray.shutdown()


class RaySite:
    """A Ray cluster that this process is connected to; see `scalelab.execute.cluster.machines.Site`.

    Raises:
        InputError: It cannot be reached, or is of another version.
    """

    def __init__(self, cluster: Cluster) -> None:
        connect(cluster)
        self._cluster = cluster

    @property
    def address(self) -> str:
        """The address of the cluster's own store."""
        import ray

        return str(ray.get_runtime_context().gcs_address)

    def room(self) -> int:
        """Returns how many jobs it has room for now, at least 1."""
        import ray

        free, wanted = ray.available_resources(), _resources(self._cluster)
        machines = sum(_fits(node["Resources"], wanted) for node in ray.nodes() if node["Alive"])
        return max(1, min(machines, _fits(free, wanted)))

    def knows(self, run: str) -> bool:
        """Whether it has the office of a run."""
        return _office(run) in actors()

    def over(self, run: str) -> bool:
        """Whether it has no actor that is a job of a run, nor is to start one."""
        return not any(name.startswith(_job(run)) for name in actors())

    def clear(self, fleet: Fleet, journal: Journal) -> None:
        """Has the run's office give what it still has, and ends it."""
        import ray

        if self.knows(fleet.run):
            office = ray.get_actor(_office(fleet.run), namespace=NAMESPACE)
            RayPost(office, fleet, journal, travels=True).hear()
            ray.kill(office)
        fleet.remove()

    def machines(self, fleet: Fleet, journal: Journal, orders: Orders, *, joined: bool) -> Ray:
        """Returns what it does for a run."""
        return Ray(self._cluster, fleet, journal, orders, joined=joined)

    def leave(self) -> None:
        """Ends the connection that was made, and the cluster that was started."""
        disconnect()


def _resources(cluster: Cluster) -> dict[str, float]:
    wanted = {"CPU": float(cluster.cpus_per_trial), "GPU": cluster.gpus_per_trial}
    wanted["memory"] = float(cluster.memory or 0)
    return {name: amount for name, amount in wanted.items() if amount}


def _fits(there: dict[str, float], wanted: dict[str, float]) -> int:
    return min(int(there.get(name, 0.0) / amount + 1e-9) for name, amount in wanted.items())


def _office(run: str) -> str:
    return f"office-{run}"


def _job(run: str, name: str = "") -> str:
    return f"{run}-{name}"


def actors() -> set[str]:
    """Returns the names of our actors that live or wait to be started."""
    from ray.util import list_named_actors

    return {
        actor["name"] for actor in list_named_actors(all_namespaces=True) if actor["namespace"] == NAMESPACE
    }


class Ray:
    """A Ray cluster, for one run; see `scalelab.execute.cluster.machines.Machines`.

    Args:
        cluster: What the user asked for; this process is connected to it.
        fleet: The run's folder.
        journal: The store's journal.
        orders: What its jobs are told.
        joined: Whether an earlier coordinator began the run.
    """

    look_seconds = 2.0

    def __init__(
        self, cluster: Cluster, fleet: Fleet, journal: Journal, orders: Orders, *, joined: bool
    ) -> None:
        import ray

        self._cluster, self._fleet, self._orders = cluster, fleet, orders
        self._wanted = _resources(cluster)
        self._actors: dict[str, Any] = {}
        self._ends: dict[str, Any] = {}
        self.lasting = "own" not in _begun
        if joined:
            self._office = ray.get_actor(_office(fleet.run), namespace=NAMESPACE)
        else:
            self._office = self._open_office()
        self.post = RayPost(self._office, fleet, journal, travels=not cluster.shared_folder, joined=joined)
        if joined:
            for name in answer(self._office.roll.remote()).jobs:
                self._find(name)

    def _open_office(self) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # Where the cluster's own memory is: without that machine there is no cluster either.
        (head,) = [node["NodeID"] for node in ray.nodes() if node["Alive"] and _HEAD in node["Resources"]]
        there = NodeAffinitySchedulingStrategy(head, soft=False)
        return ray.remote(Office).options(
            name=_office(self._fleet.run), namespace=NAMESPACE, lifetime="detached", num_cpus=0,
            scheduling_strategy=there,
        ).remote()  # fmt: skip

    def _find(self, name: str) -> None:
        """Finds a job of an earlier coordinator; one that there is no more is seen to have ended."""
        import ray

        with contextlib.suppress(ValueError):
            self._actors[name] = ray.get_actor(name, namespace=NAMESPACE)
            self._ends[name] = self._actors[name].serve.remote()
            return
        self._ends[name] = None

    def start(self, n: int) -> None:
        """Asks for further jobs.

        Raises:
            InputError: They could never start, in a cluster that was started for the run and does not grow.
        """
        import ray

        if not self.lasting and (lacking := self._lacking()):
            raise InputError(
                f"--on {self._cluster.on}: {lacking}, which was started for this run; ask for less"
            )
        names = [_job(self._fleet.run, secrets.token_hex(3)) for _ in range(n)]
        answer(self._office.expect.remote(names))
        for name in names:
            job = ray.remote(RayJob).options(
                name=name, namespace=NAMESPACE, lifetime="detached", max_restarts=0, max_task_retries=0,
                num_cpus=self._cluster.cpus_per_trial, num_gpus=self._cluster.gpus_per_trial,
                memory=self._cluster.memory,
            )  # fmt: skip
            self._actors[name] = job.remote(
                name, self._office, self._orders.model_dump_json(), shared=self._cluster.shared_folder,
                gpus=self._cluster.gpus_per_trial > 0, python_path=os.environ.get("PYTHONPATH", ""),
            )  # fmt: skip
            self._ends[name] = self._actors[name].serve.remote()

    def look(self) -> tuple[Standing, list[Gone]]:
        """Returns where the jobs stand, and those that ended."""
        import ray

        pending = [reference for reference in self._ends.values() if reference is not None]
        ended = ray.wait(pending, num_returns=len(pending), timeout=0)[0] if pending else []
        roll: Roll = answer(self._office.roll.remote())
        gone = []
        for name, reference in list(self._ends.items()):
            if reference is None or reference in ended:
                gone.append(_gone(name, reference, roll))
                del self._ends[name]
                self._actors.pop(name, None)
                answer(self._office.bury.remote(name))
        hosts = {name: json.loads(heart)["host"] for name, (heart, _) in roll.hearts.items()}
        running = {name: hosts[name] for name in self._ends if name in hosts}
        queued = sum(name not in roll.hearts and name not in roll.ends for name in self._ends)
        return Standing(running, queued, self._why() if queued else ""), gone

    def _lacking(self) -> str:
        """Returns what no machine has that a job needs; empty where one has it."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(_fits(node, self._wanted) for node in nodes):
            return ""
        asked = ", ".join(f"{amount:g} {name}" for name, amount in self._wanted.items())
        return f"no machine of the cluster has {asked}"

    def _why(self) -> str:
        """Returns what jobs wait for."""
        import ray

        if lacking := self._lacking():
            return lacking
        there, free = ray.cluster_resources(), ray.available_resources()
        scarce = [name for name, amount in self._wanted.items() if free.get(name, 0.0) < amount]
        said = [f"{free.get(name, 0.0):g} of {there.get(name, 0.0):g} {name} free" for name in scarce]
        return ", ".join(said) or "starting"

    def cancel(self) -> None:
        """Ends all jobs now."""
        import ray

        for actor in self._actors.values():
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor)

    def close(self, *, leave: bool) -> None:
        """Takes what was said last, and ends the run's office, unless jobs are left."""
        import ray

        if leave:
            answer(self._office.wish.remote())  # what was posted has arrived by then
            return
        with contextlib.suppress(StoreError):  # the office is gone, and so what it had
            self.post.hear()
        ray.kill(self._office)
        self._fleet.remove()


def _gone(name: str, reference: Any, roll: Roll) -> Gone:
    """Returns how a job ended."""
    import ray

    if name in roll.ends:
        in_order, reason = roll.ends[name]
        return Gone(name, reason, expected=in_order)
    if reference is None:
        return Gone(name, f"job {name} ended before this coordinator came", counts=False, expected=True)
    try:
        ray.get(reference)
    except ray.exceptions.RayError as error:
        said = str(error)
        if "exit_actor() is called" in said:
            return Gone(name, f"job {name} ended", expected=True)
        node = roll.hearts[name][1] if name in roll.hearts else None
        lost = any(one["NodeID"] == node and not one["Alive"] for one in ray.nodes())
        taken = lost or bool(_TAKEN_AWAY.search(said))
        return Gone(name, f"job {name}: {_last_words(said)}", counts=not taken)
    return Gone(name, f"job {name} ended", expected=True)


def _last_words(said: str) -> str:
    """Returns what Ray says of a death, in one line; Ray ends a traceback with its error."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith("The actor died because its node")), "")
    told = told or next((line for line in lines if line.startswith("The actor is dead because")), lines[-1])
    return told.split(" Some common causes")[0][:300]
