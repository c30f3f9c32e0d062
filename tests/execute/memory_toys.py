"""A plugin whose networks share what passes for the memory of a GPU, and a study of them."""

from __future__ import annotations

import json

from scalelab import open_store, run_study
from scalelab.execute.events import Retried
from scalelab.execute.jobs import Warned

ALONE = (
    "memory ran out on cpu with batch_size = 16, though no other trial shared it; "
    "a smaller batch or model would help, or a device with more memory"
)

PLUGIN = """
import json
import os
import time
import uuid
from pathlib import Path

import scalelab
from scalelab.testing.toys import build_conv, toy_dataset, toy_optimizer


class NetParams(scalelab.Params):
    width: int = 2
    folder: str
    does: str = "note"
    size: int = 0


def build(params, input_shape, n_outputs):
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = build_conv(params, input_shape, n_outputs)
            self.acted = False

        def forward(self, x):
            if x.device.type != "meta" and self.training and len(x) > 2 and not self.acted:
                self.acted = True
                act(params)
            return self.conv(x)

    return Net()


def act(params):
    import torch

    folder = Path(params.folder)
    if params.does == "note":
        names = ("CUDA_VISIBLE_DEVICES", "SCALELAB_GPU_SLOTS")
        note = {"pid": os.getpid(), **{name: os.environ.get(name) for name in names}}
        (folder / f"{uuid.uuid4().hex}.note").write_text(json.dumps(note))
    if params.does == "crowd":
        # As a GPU of so much memory: whoever would take more than is left runs out.
        mine, ran_out = folder / f"{os.getpid()}.size", folder / "ran-out"
        mine.write_text(str(params.size))
        while True:
            taken = sum(int(path.read_text() or 0) for path in folder.glob("*.size") if lives(path.stem))
            if taken > 4:
                print("there are", taken)
                ran_out.touch()
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            if params.size == 0 or ran_out.exists():
                break
            time.sleep(0.02)  # until the other one is there
        mine.write_text("0")
    if params.does == "allocator":
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory")
    if params.does == "python":
        raise MemoryError


def lives(pid):
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


@scalelab.hookimpl
def scalelab_architectures():
    return [scalelab.Architecture(name="net", summary="N", build=build, params=NetParams)]


@scalelab.hookimpl
def scalelab_datasets():
    return [toy_dataset]


@scalelab.hookimpl
def scalelab_optimizers():
    return [toy_optimizer]
"""

STUDY = """
name = "devices"
seeds = [{seeds}]
[dataset]
name = "toy-blobs"
[data]
sizes = [64]
[[architecture]]
name = "net"
options = {{ folder = "{folder}", does = "{does}" }}
space = {{ size = {sizes} }}
[[optimizer]]
name = "toy-sgd"
[training]
length = {{ steps = 4 }}
batch_size = 16
validations = 1
"""


def crowd_of(lab):
    """Returns what runs a study of such networks, and returns its summary and events."""
    (lab.plugins / "toys.py").write_text(PLUGIN)

    def run(does, *, sizes=(1,), seeds=1, **options):
        study = lab.folder / "devices.toml"
        numbers = ", ".join(map(str, range(seeds)))
        study.write_text(STUDY.format(seeds=numbers, folder=lab.folder, does=does, sizes=list(sizes)))
        events = []
        options = {"threads": 1, "catalog": lab.catalog(), "on_event": events.append, **options}
        return run_study(study, lab.store, **options), events

    return run


def lost(events):
    """Returns why trials were lost that are tried again."""
    return [event.reason for event in events if isinstance(event, Retried)]


def warned(events):
    """Returns what a run warned of."""
    return [event.message for event in events if isinstance(event, Warned)]


def check_all_found_room(lab, summary, events):
    """Makes sure that three trials, two of which have no room together, are done, none tried for nothing."""
    assert (summary.done, summary.failed) == (3, {})
    assert 1 <= len(lost(events)) <= 2, "those that were under way together"
    for reason in lost(events):
        assert reason.startswith(
            "memory ran out on cpu with batch_size = 16; use a smaller batch or model, or "
        )
        assert reason.endswith("-1.txt)"), "its log is named"
    attempts = [outcome.attempts for outcome in open_store(lab.store).outcomes().values()]
    assert sum(attempts) == 3 + len(lost(events))


def notes(lab):
    """Returns what workers noted of their environment."""
    return [json.loads(path.read_text()) for path in lab.folder.glob("*.note")]
