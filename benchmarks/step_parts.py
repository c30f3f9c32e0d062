"""What a training step is made of, by the loop itself with timers around its parts, beside the bare network.

    python benchmarks/step_parts.py [--seconds 4] [--precision fp32] [--networks convnext1d ssm1d]

For each bundled network with about 1k, 10k, 100k and 1M parameters: microseconds of CPU a step (batches of
64 × 2 × 102, as in `examples/mitbih-convnext.toml`, AdamW, clipping, augmentation, one thread) in the whole
loop, in its parts, and in the bare network: forward, loss and backward on one fixed batch, in turns with the
loop's steps. CPU time, because neighbors on a machine change wall times more than what is measured.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import scalelab
from scalelab.components import OpenDataset, Split, Task
from scalelab.measure.machine import cpu_name
from scalelab.plugins import load_plugins
from scalelab.records import ComponentRef, Length, TrainingOptions, Trial
from scalelab.train import loop
from scalelab.train.batches import Examples

BATCH, LEADS, SAMPLES, CLASSES, N = 64, 2, 102, 5, 4096
SIZES = (1_000, 10_000, 100_000, 1_000_000)
WARMUP = 10
PARTS = ("gather", "augment", "forward", "loss", "backward", "zero_grad", "clip", "optimizer", "rest")
FAMILIES: dict[str, list[dict[str, Any]]] = {
    "convnext1d": [
        {"width": w, "depths": d} for w in (2, 4, 8, 12, 24, 48, 64) for d in ((1, 1), (2, 2, 2, 2))
    ],
    "regnet1d": [
        {"depth": d, "w_init": w, "w_0": w, "w_a": 10.0, "w_m": 2.0, "group_width": min(w, 8)}
        for w in (8, 16, 32, 48) for d in (1, 2, 3, 4, 8, 12, 16)
    ],
    "resnet1d": [
        {"width": w, "depths": d} for w in (2, 4, 8, 12, 16, 24, 32) for d in ((1, 1), (2, 2), (2, 2, 2, 2))
    ],
    "ssm1d": [{"width": w, "depth": d} for w in (4, 8, 16, 32, 64, 96, 128, 256, 320) for d in (1, 2, 4)],
}  # fmt: skip


def n_params(network: nn.Module) -> int:
    """Counts parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def nearest(architecture: str, size: int) -> dict[str, Any]:
    """Returns the options of a family whose number of parameters is nearest to `size`."""

    def distance(options: dict[str, Any]) -> float:
        network = scalelab.build_model(architecture, options, (LEADS, SAMPLES), CLASSES)
        return abs(float(np.log(n_params(network) / size)))

    return min(FAMILIES[architecture], key=distance)


class Watch:
    """CPU seconds of each part, step by step."""

    def __init__(self) -> None:
        self.now: dict[str, float] = defaultdict(float)
        self.steps: list[dict[str, float]] = []
        self.bare: list[float] = []

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function with a timer around it."""

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                self.now[part] += time.thread_time() - start

        return timed


def dataset(watch: Watch) -> OpenDataset:
    """Returns noise in the shape of heartbeats, augmented as they are."""
    from scalelab_plugins.augment import light_augmentation

    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((N, LEADS, SAMPLES)).astype(np.float16)
    targets = generator.integers(0, CLASSES, N)
    return OpenDataset(
        task=Task(input_shape=(LEADS, SAMPLES), n_outputs=CLASSES),
        train=Split(inputs, targets),
        validation=Split(inputs[:BATCH], targets[:BATCH]),
        augment=watch.around("augment", light_augmentation(1.0, 6)),
        fingerprint="benchmark",
    )


def measure(architecture: str, options: dict[str, Any], seconds: float, precision: str) -> Watch:
    """Trains for a while with timers; between two steps the bare network takes one."""
    watch = Watch()
    data = dataset(watch)
    trial = Trial(
        dataset=ComponentRef(name="benchmark"),
        fingerprint="benchmark",
        architecture=ComponentRef(name=architecture),
        optimizer=ComponentRef(name="adamw"),
        n_examples=N,
        training=TrainingOptions(
            length=Length(steps=10**6), batch_size=BATCH, validations=1, precision=precision
        ),
    )
    torch.manual_seed(0)
    network, bare = (
        scalelab.build_model(architecture, options, (LEADS, SAMPLES), CLASSES).train() for _ in range(2)
    )
    own = load_plugins(select=None).optimizer("adamw")
    optimizer = own.build(own.params(), network)
    batch, targets = torch.randn(BATCH, LEADS, SAMPLES), torch.arange(BATCH) % CLASSES
    end, mark = time.thread_time() + seconds, 0.0

    def between_steps() -> bool:
        nonlocal mark
        now = time.thread_time()
        watch.steps.append({"loop": now - mark, **watch.now})
        with loop.autocast(batch.device, precision):  # type: ignore[arg-type]
            outputs = bare(batch)
        cross_entropy(outputs.float(), targets).backward()  # type: ignore[no-untyped-call]
        bare.zero_grad()
        watch.bare.append(time.thread_time() - now)
        watch.now.clear()
        mark = time.thread_time()
        return mark > end and len(watch.steps) >= 2 * WARMUP

    network.forward = watch.around("forward", network.forward)  # type: ignore[method-assign]
    optimizer.step = watch.around("optimizer", optimizer.step)  # type: ignore[method-assign]
    optimizer.zero_grad = watch.around("zero_grad", optimizer.zero_grad)  # type: ignore[method-assign]
    plain = torch.Tensor.backward
    with (
        mock.patch.object(Examples, "batch", watch.around("gather", Examples.batch)),
        mock.patch.object(loop, "resolve_loss", lambda name: watch.around("loss", resolve(name))),
        mock.patch.object(torch.Tensor, "backward", watch.around("backward", plain)),
        mock.patch.object(loop, "clip_gradients", watch.around("clip", loop.clip_gradients)),
    ):
        loop.train_model(
            trial, data, network, optimizer, device="cpu",
            should_stop=between_steps, train_flops_per_example=1.0,
        )  # fmt: skip
    return watch


resolve = loop.resolve_loss


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of CPU for each network")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--networks", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{cpu_name()}, one thread, {asked.precision}, torch {torch.__version__}")
    names = ("network", "parameters", "loop, us", "bare, us", "loop / bare", *PARTS)
    print("| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")
    for architecture in asked.networks:
        for size in asked.sizes:
            options = nearest(architecture, size)
            watch = measure(architecture, options, asked.seconds, asked.precision)
            steps = watch.steps[WARMUP:]
            for step in steps:
                step["rest"] = step["loop"] - sum(step.get(part, 0.0) for part in PARTS[:-1])
            whole, bare = median(step["loop"] for step in steps), median(watch.bare[WARMUP:])
            parts = (f"{1e6 * median(step.get(part, 0.0) for step in steps):,.0f}" for part in PARTS)
            count = n_params(scalelab.build_model(architecture, options, (LEADS, SAMPLES), CLASSES))
            numbers = (f"{1e6 * whole:,.0f}", f"{1e6 * bare:,.0f}", f"{whole / bare:.2f}")
            print("| " + " | ".join((architecture, f"{count:,}", *numbers, *parts)) + " |", flush=True)


if __name__ == "__main__":
    main()
