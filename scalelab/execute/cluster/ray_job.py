"""A job of a Ray cluster: an actor that serves trials until its time is over, and ends."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scalelab.execute.cluster.agent import Agent
from scalelab.execute.cluster.mail import Hello, Orders
from scalelab.execute.cluster.ray_mail import RayMail
from scalelab.store.fleet import Heart
from scalelab.supervise.workbench import one_line


class RayJob:
    """Serves trials on one machine of a cluster.

    Args:
        agent: Its name.
        office: The handle of the run's office.
        orders: What the run is about, as JSON.
        shared: Whether this machine has the store's folder.
        gpus: Whether it may use GPUs.
        python_path: The coordinator's `PYTHONPATH`, for workers to find what it found.
    """

    def __init__(
        self, agent: str, office: Any, orders: str, *, shared: bool, gpus: bool, python_path: str
    ) -> None:
        import ray

        self._agent, self._office, self._shared = agent, office, shared
        self._orders = Orders.model_validate_json(orders)
        # Ray has set it to the GPUs that the job asked for; where it asked for none it may see all.
        if not gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        paths = [*python_path.split(os.pathsep), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, paths)))
        # What the coordinator asks for is lost where it ends before this has started.
        ray.get_runtime_context().current_actor.serve.remote()

    def serve(self) -> None:
        """Serves trials, says how that ended, and ends this process; later calls fail by that."""
        import ray

        try:
            self._serve()
        except Exception as error:
            with contextlib.suppress(ray.exceptions.RayError):  # the office is gone, and so the run
                said = f"job {self._agent}: {one_line(error)}"
                ray.get(self._office.leave.remote(self._agent, False, said))
        finally:
            ray.actor.exit_actor()

    def _serve(self) -> None:
        import ray

        heart = Heart.here(self._agent, platform.node())
        hello = Hello(job=self._agent, host=heart.host, device=heart.device)
        node = ray.get_runtime_context().get_node_id()
        ray.get(self._office.arrive.remote(self._agent, json.dumps(asdict(heart)), node))
        scratch = None if self._shared else Path(tempfile.mkdtemp(prefix="scalelab-")) / "store.duckdb"
        mail = RayMail(self._office, heart, self._orders, scratch)
        try:
            if self._shared and not (mail.fleet.folder / "run.json").exists():
                said = f"{heart.host} does not see {mail.fleet.folder}; "
                said += "share the store's folder, or use --no-shared-folder"
                mail.say(hello.model_copy(update={"complaint": said}))
            else:
                Agent(mail, self._orders, hello, lambda: "").serve()
        finally:
            mail.clear()
