"""From which size on a training step is worth another thread, alone and beside busy neighbors.

    python benchmarks/threads.py [--busy 2] [--seconds 2]

For networks of several sizes: milliseconds a step with one thread and with as many as there are cores,
alternated, the median; beside `--busy` processes that never rest.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable

import torch

import scalelab
from scalelab.measure.machine import cpu_name, usable_cores
from scalelab.measure.threads import STEP_FLOPS, worthwhile_threads

BATCH = 32
NETWORKS = (
    ("convnext1d", {"width": 4, "depth": 0.5}, (2, 256)),
    ("convnext1d", {"width": 8}, (2, 256)),
    ("convnext1d", {"width": 16}, (2, 256)),
    ("convnext1d", {"width": 32}, (2, 256)),
    ("convnext1d", {"width": 64}, (2, 256)),
    ("convnext1d", {"width": 16}, (12, 1024)),
    ("convnext1d", {"width": 32}, (12, 1024)),
    ("convnext1d", {"width": 64}, (12, 1024)),
    ("regnet1d", {}, (2, 256)),
    ("regnet1d", {}, (12, 1024)),
)


def spin() -> None:
    """Never rests."""
    while True:
        pass


def step_of(architecture: str, options: dict[str, object], shape: tuple[int, int]) -> Callable[[], None]:
    """Returns a function that takes one step."""
    torch.manual_seed(0)
    model = scalelab.build_model(architecture, options, shape, 5).train()
    optimizer = torch.optim.AdamW(model.parameters())
    inputs, targets = torch.randn(BATCH, *shape), torch.arange(BATCH) % 5

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def milliseconds(step: Callable[[], None], cores: int, seconds: float) -> tuple[float, float]:
    """Returns the median time of a step with one thread and with all, in turns of a few steps."""
    times: dict[int, list[float]] = {1: [], cores: []}
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for threads, own in times.items():
            torch.set_num_threads(threads)
            step()
            for _ in range(5):
                start = time.perf_counter()
                step()
                own.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[1]), statistics.median(times[cores])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--busy", type=int, default=0, help="processes that never rest beside it")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each network")
    args = parser.parse_args()
    cores = usable_cores()
    neighbors = [multiprocessing.Process(target=spin, daemon=True) for _ in range(args.busy)]
    for neighbor in neighbors:
        neighbor.start()
    print(f"{cpu_name()}, {cores} cores, {args.busy} busy neighbors; {STEP_FLOPS:g} FLOPs a thread")
    print(f"| network | input | MFLOP a step | 1 thread, ms | {cores} threads, ms | ratio | chosen |")
    print("|---|---|---|---|---|---|---|")
    for architecture, options, shape in NETWORKS:
        step = step_of(architecture, options, shape)
        cost = scalelab.complexity(scalelab.build_model(architecture, options, shape, 5), shape)
        flops = BATCH * cost.train_flops_per_example
        one, all_ = milliseconds(step, cores, args.seconds)
        name = architecture + (f", width {options['width']}" if "width" in options else "")
        print(f"| {name} | {shape[0]} × {shape[1]} | {flops / 1e6:,.0f} | {one:.1f} | {all_:.1f} "
              f"| {all_ / one:.2f} | {worthwhile_threads(flops, cores)} |", flush=True)  # fmt: skip
    for neighbor in neighbors:
        neighbor.kill()


if __name__ == "__main__":
    main()
