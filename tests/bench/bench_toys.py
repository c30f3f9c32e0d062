"""Backends that behave and misbehave, as a plugin file that the measuring processes load."""

from __future__ import annotations

from pathlib import Path

from scalelab.testing import write_toy_plugin

BACKENDS = """
import os
import subprocess
import time

import numpy as np
import scalelab


class FastParams(scalelab.BackendParams):
    precision: "typing.Literal['f32', 'int8']" = "f32"
    slow_ms: float = 0.0


def executable(infer, **facts):
    seconds = {"convert": 0.5, "load": 0.25}
    return scalelab.Executable(infer=infer, seconds=seconds, model_bytes=1000, threads=1, **facts)


def eager(module):
    import copy

    import torch

    model = copy.deepcopy(module).eval()

    def infer(inputs):
        with torch.inference_mode():
            return model(torch.from_numpy(inputs)).numpy().copy()

    return infer


def load(params, module, example, device, calibration):
    if device == "picky":
        raise scalelab.InputError("picky does not do this precision")
    run = eager(module)
    scale = 1.01 if params.precision == "int8" else 1.0

    def infer(inputs):
        time.sleep(params.slow_ms / 1000)
        return (run(inputs) * scale).astype("float32")

    return executable(infer, facts={"version": "1.2"})


broken_by = []


def load_trouble(params, module, example, device, calibration):
    run = eager(module)
    width = len(next(module.parameters()))
    trouble = {2: "raise", 3: "bug", 4: "memory", 5: "nan"}.get(width) if device == "mixed" else device
    if trouble == "breaks-process":
        # A conversion that fails leaves its process in a state in which no other one succeeds.
        if width < 4:
            broken_by.append(width)
            raise scalelab.BackendError("operator Erf does not convert")
        if broken_by:
            raise scalelab.BackendError(f"a stack is not empty since {broken_by}")
        return executable(run, facts={"process": os.getpid()})
    if trouble == "off":
        # Wrong outputs from the larger networks, and more so in int8.
        scale = 1 + (0.02 if width > 4 else 0.0005) * (10 if params.precision == "int8" else 1)
        return executable(lambda inputs: run(inputs) * np.float32(scale))
    if trouble == "raise":
        raise scalelab.BackendError("operator Erf does not convert")
    if trouble == "bug":
        raise ZeroDivisionError("division\\nby zero")
    if trouble == "memory":
        raise MemoryError
    if trouble == "crash":
        print("segmentation of something", flush=True)
        os._exit(7)
    if trouble == "crash-large":
        # Only the larger network takes the process down, in the middle of its rounds.
        calls = [0]

        def infer(inputs):
            calls[0] += 1
            if calls[0] > 20 and width > 8:
                os._exit(9)
            return run(inputs)

        return executable(infer)
    if trouble == "host":
        subprocess.Popen(["sleep", "3600"])
        print('{"kind":"refused","status":"failed","reason":"a lie"}')
        print("x" * 1_000_000)
    if trouble == "hang":
        time.sleep(3600)
    if trouble == "nan":
        return executable(lambda inputs: run(inputs) * np.float32("nan"))
    return executable(run)


def devices():
    return [
        scalelab.Device("cpu", "a toy"),
        scalelab.Device("picky", "a toy"),
        scalelab.Device("npu", "needs a driver; get it from the vendor", available=os.path.exists(NPU)),
    ]


def troubles():
    names = ("mixed", "crash", "crash-large", "hang", "host", "breaks-process", "off")
    return [scalelab.Device(name, "in trouble") for name in names]


def deadly():
    os._exit(5)


@scalelab.hookimpl
def scalelab_backends():
    return [
        scalelab.Backend(
            name="fast", summary="F", devices=devices, load=load, params=FastParams, packages=("numpy",)
        ),
        scalelab.Backend(name="trouble", summary="T", devices=troubles, load=load_trouble, params=FastParams),
        scalelab.Backend(name="deadly", summary="D", devices=deadly, load=load_trouble, params=FastParams),
    ]
"""

STUDY = """
name = "toys"
seeds = [0]

[dataset]
name = "toy-blobs"

[[architecture]]
name = "toy-conv"
space = { width = { type = "choice", values = [2, 8, 32] } }

[[optimizer]]
name = "toy-sgd"

[training]
length = { steps = 6 }
batch_size = 8
validations = 2
"""


class Workshop:
    """A folder with toy components, troubled backends, a study of three networks and a store."""

    def __init__(self, folder: Path, widths: tuple[int, ...] = (2, 8, 32)) -> None:
        from scalelab import load_plugins, load_study, open_store

        self.folder = folder
        self.plugins = write_toy_plugin(folder / "plugins")
        self.npu = folder / "npu"
        text = BACKENDS.replace("NPU)", f"{str(self.npu)!r})").replace('"typing.', "\"__import__('typing').")
        (self.plugins / "troubled.py").write_text(text)
        only = "toys,troubled,torch-backend"
        self.catalog = load_plugins(plugins_dirs=(self.plugins,), select=only)
        self.path = folder / "toys.toml"
        self.path.write_text(STUDY.replace("[2, 8, 32]", str(list(widths))))
        self.study = load_study(self.path, self.catalog)
        self.store = open_store(folder / "store.duckdb", create=True)

    def bench(self, *targets: str, **options):
        """Measures with short time limits."""
        from scalelab.bench.coordinator import bench_study
        from scalelab.measure.targets import parse_target

        values = {"time_limit": 0.1, "threads": 1, "catalog": self.catalog, **options}
        return bench_study(self.study, self.store, [parse_target(text) for text in targets], **values)

    def run(self, **options):
        """Trains the study in this process."""
        from scalelab import run_study

        return run_study(self.study, self.store, workers=0, threads=1, catalog=self.catalog, **options)
