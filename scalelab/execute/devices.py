"""Which workers share a device, and how many of them may be at a trial there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from scalelab.errors import StoreError
from scalelab.execute.jobs import Broken, Finished, Job, Lost
from scalelab.measure.gpus import gpu_environments
from scalelab.store import Journal
from scalelab.train.device import GPU_SLOTS


@dataclass(eq=False)
class Device:
    """What workers share: a GPU, or the machine where there is none to choose.

    Attributes:
        slots: How many trials may be under way there.
        choice: Variables by which a worker sees this GPU alone; none where it sees what there is.
    """

    slots: int
    choice: Mapping[str, str] = field(default_factory=dict)
    _before: dict[str, int] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What a worker gets, whose part of a GPU's memory depends on the slots."""
        return {**self.choice, GPU_SLOTS: str(self.slots)}

    def ran_out(self, trial_id: str, slots: int) -> bool:
        """Takes slots away, after memory ran out: one, all but one for a trial that it happened to before.

        Args:
            trial_id: The trial.
            slots: How many there were when it began.

        Returns:
            Whether there are fewer now.
        """
        wanted = 1 if trial_id in self._before else slots - 1
        self._before.setdefault(trial_id, slots)
        fewer = wanted < self.slots
        self.slots = min(self.slots, wanted)
        return fewer

    def too_small(self, trial_id: str) -> None:
        """Gives slots back that were taken for a trial that has no room here even alone."""
        self.slots = max(self.slots, self._before.pop(trial_id, 1))


def devices_for(workers: int, device: str) -> list[Device]:
    """Returns the devices that so many workers share.

    Args:
        workers: How many.
        device: What they are to train on. `"auto"` and `"cuda"` are all GPUs, in turn.
    """
    gpus = gpu_environments() if device in ("auto", "cuda") else ()
    if not gpus:
        return [Device(workers)]
    return [Device(len(range(at, workers, len(gpus))), gpu) for at, gpu in enumerate(gpus[:workers])]


def failed_alone(job: Job, lost: Lost, began: float) -> Finished | Broken:
    """Records an attempt as failed for which memory ran out though no other trial shared it.

    Args:
        job: The attempt.
        lost: What was said of it.
        began: When it began, in seconds since the epoch.
    """
    now = time.time()
    reason = (
        f"{lost.reason.partition(';')[0]}, though no other trial shared it; "
        "a smaller batch or model would help, or a device with more memory"
    )
    record = job.record(began, status="failed", error=reason, wall_seconds=now - began)
    try:
        Journal(job.store).write(record)
    except StoreError as error:
        return Broken(trial_id=job.trial.id, message=str(error))
    return Finished(trial_id=job.trial.id, status="failed", wall_seconds=now - began, error=reason)
