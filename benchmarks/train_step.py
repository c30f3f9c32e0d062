"""A training step of `convnext1d` pico against the plain textbook PyTorch version, alternated in one run.

Both take the same batches (32 × 12 × 1024), lose the same cross-entropy, clip to the same norm and update
by AdamW. The textbook version is `Conv1d`, permutations, `AdamW` as torch builds it by default, and
float32 data in memory; ours is `scalelab.train.train` over a float16 memory map, everything in its loop
included. The order alternates step by step, so that a machine that slows down slows both; the textbook has a
process of its own, in which torch and the C library are as they come.

    python benchmarks/train_step.py [--steps 40] [--threads 2] [--cpu] [--json]

`--cpu` counts CPU time in place of wall time, for one thread on a machine that others use.

Targets: 0.85 times the textbook in f32; where the CPU multiplies bf16 in hardware, 0.36 times in bf16.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, gelu

from scalelab.components import OpenDataset, Split, Task
from scalelab.measure.flops import complexity
from scalelab.measure.machine import machine_facts
from scalelab.plugins import load_plugins
from scalelab.records import ComponentRef, Length, TrainingOptions, Trial
from scalelab.train.device import cpu_has_bf16, seed_everything
from scalelab.train.loop import train_model

BATCH, LEADS, SAMPLES, CLASSES, N = 32, 12, 1024, 26, 512
DIMS, DEPTHS = (48, 96, 192, 384), (2, 2, 2, 2)
WARMUP = 5


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (batch, channels, time)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalizes."""
        return super().forward(x.permute(0, 2, 1)).permute(0, 2, 1)


class TextbookBlock(nn.Module):
    """The block as the authors' code has it, in one dimension."""

    def __init__(self, dim: int, drop_path: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), 1e-6))
        self.drop_path = drop_path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, dim, time) to the same shape."""
        branch = self.dwconv(x).permute(0, 2, 1)
        branch = self.gamma * self.pwconv2(gelu(self.pwconv1(self.norm(branch))))
        branch = branch.permute(0, 2, 1)
        if self.training and self.drop_path > 0:
            keep = 1 - self.drop_path
            branch = branch * branch.new_empty(len(x), 1, 1).bernoulli_(keep).div_(keep)
        return x + branch


def textbook_network(drop_path: float) -> nn.Sequential:
    rates = iter(torch.linspace(0, drop_path, sum(DEPTHS)).tolist())
    layers: list[nn.Module] = [nn.Conv1d(LEADS, DIMS[0], 4, 4), ChannelNorm(DIMS[0], eps=1e-6)]
    for i, (dim, depth) in enumerate(zip(DIMS, DEPTHS, strict=True)):
        if i:
            layers += [ChannelNorm(DIMS[i - 1], eps=1e-6), nn.Conv1d(DIMS[i - 1], dim, 2, 2)]
        layers += [TextbookBlock(dim, next(rates)) for _ in range(depth)]
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.LayerNorm(DIMS[-1], eps=1e-6),
        nn.Linear(DIMS[-1], CLASSES),
    )


class Textbook:
    """The textbook's training step."""

    def __init__(self, inputs: np.ndarray, targets: np.ndarray, seed: int) -> None:
        torch.manual_seed(seed)
        self.network = textbook_network(drop_path=0.1)
        for module in self.network.modules():
            if isinstance(module, (nn.Conv1d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3, weight_decay=0.05)
        self.inputs = torch.from_numpy(inputs.astype(np.float32))
        self.targets = torch.from_numpy(targets)
        self.generator = torch.Generator().manual_seed(seed)
        self.losses: list[float] = []

    def step(self) -> None:
        """Takes one step on a random batch."""
        rows = torch.randint(N, (BATCH,), generator=self.generator)
        loss = cross_entropy(self.network(self.inputs[rows]), self.targets[rows])
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.losses.append(loss.item())


def signals() -> tuple[np.ndarray, np.ndarray]:
    """Returns noisy waves (N, leads, samples), float16, and their classes."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, CLASSES, N)
    waves = np.sin(np.arange(SAMPLES) * (1 + targets[:, None]) / 40)[:, None]
    return (waves + generator.standard_normal((N, LEADS, SAMPLES))).astype(np.float16), targets


def step_when_asked(pipe: Connection, threads: int, cpu: bool) -> None:
    """Takes a step of the textbook for each message, and answers with its seconds; then with the loss."""
    torch.set_num_threads(threads)
    clock = time.process_time if cpu else time.perf_counter
    textbook = Textbook(*signals(), seed=0)
    while pipe.recv():
        start = clock()
        textbook.step()
        pipe.send(clock() - start)
    pipe.send(float(np.mean(textbook.losses)))


def alternate(precision: str, steps: int, folder: Path, threads: int, cpu: bool) -> dict[str, float]:
    """Returns the median seconds a step of both, and the final training losses."""
    inputs, targets = signals()
    np.save(folder / "inputs.npy", inputs)
    data = OpenDataset(
        task=Task(input_shape=(LEADS, SAMPLES), n_outputs=CLASSES),
        train=Split(np.load(folder / "inputs.npy", mmap_mode="r"), targets),
        validation=Split(inputs[:BATCH], targets[:BATCH]),
        fingerprint="benchmark",
    )
    trial = Trial(
        dataset=ComponentRef(name="benchmark"),
        fingerprint="benchmark",
        architecture=ComponentRef(name="convnext1d"),
        optimizer=ComponentRef(name="adamw"),
        n_examples=N,
        training=TrainingOptions(
            length=Length(steps=steps + WARMUP),
            batch_size=BATCH,
            validations=1,
            schedule="constant",
            warmup=0,
            precision=precision,
        ),
    )
    catalog = load_plugins(select=None)
    architecture, optimizer = catalog.architecture("convnext1d"), catalog.optimizer("adamw")
    seed_everything(0)
    network = architecture.build(architecture.params(), (LEADS, SAMPLES), CLASSES)
    textbook = Textbook(inputs, targets, seed=0)
    assert sum(p.numel() for p in network.parameters()) == sum(
        p.numel() for p in textbook.network.parameters()
    )
    del textbook
    context = multiprocessing.get_context("spawn")
    pipe, there = context.Pipe()
    process = context.Process(target=step_when_asked, args=(there, threads, cpu), daemon=True)
    process.start()

    ours: list[float] = []
    plain: list[float] = []
    clock = time.process_time if cpu else time.perf_counter
    mark = clock()

    def between_steps() -> bool:
        """Called before each of our steps: notes the one that ended and takes one of the textbook's."""
        nonlocal mark
        ours.append(clock() - mark)
        pipe.send(True)
        plain.append(pipe.recv())
        mark = clock()
        return False

    cost = complexity(network, (LEADS, SAMPLES))
    result = train_model(
        trial,
        data,
        network,
        optimizer.build(optimizer.params(), network),
        device="cpu",
        should_stop=between_steps,
        train_flops_per_example=cost.train_flops_per_example,
    )
    pipe.send(False)
    textbook_loss = pipe.recv()
    process.join()
    median, textbook_median = float(np.median(ours[1 + WARMUP :])), float(np.median(plain[WARMUP:]))
    return {
        "ours_ms": 1e3 * median,
        "textbook_ms": 1e3 * textbook_median,
        "ratio": median / textbook_median,
        "gflops_per_second": cost.train_flops_per_example * BATCH / median / 1e9,
        "train_loss": result.curve[-1].train_loss or float("nan"),
        "textbook_train_loss": textbook_loss,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="CPU time, of one thread")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    threads = 1 if options.cpu else options.threads
    torch.set_num_threads(threads)
    fast = cpu_has_bf16()
    with tempfile.TemporaryDirectory() as folder:
        results = {
            p: alternate(p, options.steps, Path(folder), threads, options.cpu)
            for p in (("fp32", "bf16") if fast else ("fp32",))
        }
    if options.json:
        facts = machine_facts("cpu")
        print(json.dumps({"cpu": facts.cpu, "threads": facts.threads, "torch": facts.torch, **results}))
        return
    print(f"{'precision':10} {'ours':>10} {'textbook f32':>14} {'ratio':>7} {'GFLOP/s':>9} {'losses':>16}")
    for precision, r in results.items():
        print(
            f"{precision:10} {r['ours_ms']:7.1f} ms {r['textbook_ms']:11.1f} ms {r['ratio']:7.3f} "
            f"{r['gflops_per_second']:9.0f} {r['train_loss']:8.3f} {r['textbook_train_loss']:.3f}"
        )
    if not fast:
        print("bf16: not measured, this CPU has neither AVX512-BF16 nor AMX")


if __name__ == "__main__":
    main()
