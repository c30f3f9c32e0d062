"""Training batches a second: prepared memory map and batch-wise augmentation against one sample at a time.

The per-sample way is a `torch.utils.data` data set as people write it: `torch.load` of a float64 tensor
(12, 5000), the same transformations with the same strengths and probabilities on it alone, and the default
collation. It is measured as the tensor is loaded (float64), and with a cast to float32 right after loading.
Both ways run on one thread and take the same records in the same order; repeats alternate; CPU time counts.

Run: python benchmarks/physionet_batches.py [--batches 10] [--batch-size 64] [--repeats 5] [--probability 1]
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from scalelab_plugins.physionet2021 import Physionet2021Params, augmentation
from scalelab_plugins.signal_augment import WANDER_HZ, WARP_WAVES, SignalAugmentation

import scalelab
from scalelab.train.batches import Examples

LEADS, SAMPLES = 12, 5000


class OneAtATime(torch.utils.data.Dataset):
    """The per-sample way, one method a transformation."""

    def __init__(
        self, files: list[Path], rows: np.ndarray, strengths: SignalAugmentation, cast: bool
    ) -> None:
        self.files, self.rows, self.s, self.cast = files, rows, strengths, cast
        self.generator = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        signal, target = torch.load(self.files[self.rows[index]])
        return self._augmented(signal.float() if self.cast else signal), target

    def _rand(self, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=self.generator)

    def _happens(self, probability: float) -> bool:
        return float(self._rand(1)) < probability

    def _augmented(self, x: torch.Tensor) -> torch.Tensor:
        s = self.s
        x = self._warped(x) if self._happens(s.warp_p) else self._cropped(x)
        if self._happens(s.scale_p):
            x = x * math.exp(s.scale * float(torch.randn(1, generator=self.generator)))
        if self._happens(s.wander_p):
            x = x + self._wander(x)
        if self._happens(s.noise_p):
            x = x + s.noise * torch.randn(x.shape, generator=self.generator, dtype=x.dtype)
        if self._happens(s.time_mask_p):
            size = int(s.time_mask * s.length * float(self._rand(1)))
            start = int(float(self._rand(1)) * (s.length - size))
            x[:, start : start + size] = 0
        if self._happens(s.lead_mask_p):
            gone = self._rand(LEADS) < s.lead_mask
            gone[int(float(self._rand(1)) * LEADS)] = False
            x[gone] = 0
        return x

    def _cropped(self, x: torch.Tensor) -> torch.Tensor:
        start = int(float(self._rand(1)) * (x.shape[1] - self.s.length + 1))
        return x[:, start : start + self.s.length].clone()

    def _warped(self, x: torch.Tensor) -> torch.Tensor:
        s = self.s
        part = torch.arange(s.length, dtype=x.dtype) / s.length
        amplitudes = 2 * self._rand(1 + 2 * WARP_WAVES) - 1
        amplitudes = s.warp * float(self._rand(1)) * amplitudes / amplitudes.abs().sum()
        delay = float(amplitudes[0]) * part
        for wave in range(1, WARP_WAVES + 1):
            turn = 2 * math.pi * wave
            delay = delay + float(amplitudes[2 * wave - 1]) * torch.sin(turn * part) / turn
            delay = delay + float(amplitudes[2 * wave]) * (1 - torch.cos(turn * part)) / turn
        place = s.length * (part + delay)
        place = place + math.floor(float(self._rand(1)) * (x.shape[1] - float(place[-1])))
        place = place.clamp(0, x.shape[1] - 1)
        before = place.long().clamp(max=x.shape[1] - 2)
        return torch.lerp(x[:, before], x[:, before + 1], place - before)

    def _wander(self, x: torch.Tensor) -> torch.Tensor:
        phase = torch.arange(x.shape[1], dtype=x.dtype) * (2 * math.pi / self.s.rate)
        total = torch.zeros_like(x)
        for hz in WANDER_HZ:
            for wave in (torch.sin(hz * phase), torch.cos(hz * phase)):
                amplitudes = torch.randn(LEADS, 1, generator=self.generator, dtype=x.dtype)
                total += self.s.wander / math.sqrt(len(WANDER_HZ)) * amplitudes * wave
        return total


def batched(split: scalelab.Split, rows: np.ndarray, size: int, strengths: SignalAugmentation) -> float:
    examples = Examples(split, None, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    start = time.process_time()
    for first in range(0, len(rows), size):
        inputs, _ = examples.batch(rows[first : first + size])
        strengths(inputs, generator)
    return len(rows) / (time.process_time() - start)


def one_at_a_time(
    files: list[Path], rows: np.ndarray, size: int, strengths: SignalAugmentation, cast: bool
) -> float:
    loader = torch.utils.data.DataLoader(OneAtATime(files, rows, strengths, cast), batch_size=size)
    start = time.process_time()
    for _ in loader:
        pass
    return len(rows) / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--probability", type=float, default=1.0, help="of every transformation; 1: all of them, always"
    )
    parser.add_argument("--records", type=int, default=256)
    args = parser.parse_args()
    torch.set_num_threads(1)
    chances = {
        f"{name}_p": args.probability
        for name in ("warp", "scale", "noise", "wander", "time_mask", "lead_mask")
    }
    strengths = augmentation(Physionet2021Params(path=Path(), **chances))
    rng = np.random.default_rng(0)
    signals = rng.normal(size=(args.records, LEADS, SAMPLES)).astype(np.float32)
    targets = (rng.random((args.records, 26)) < 0.1).astype(np.uint8)
    rows = rng.integers(args.records, size=args.batches * args.batch_size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "inputs.npy", signals.astype(np.float16))
        files = [folder / f"{i}.pt" for i in range(args.records)]
        for file, signal, target in zip(files, signals, targets, strict=True):
            torch.save((torch.from_numpy(signal).double(), torch.from_numpy(target).float()), file)
        split = scalelab.Split(np.load(folder / "inputs.npy", mmap_mode="r"), targets)
        ways = {
            "batch-wise, float16 memory map": lambda: batched(split, rows, args.batch_size, strengths),
            "one at a time, float64": lambda: one_at_a_time(files, rows, args.batch_size, strengths, False),
            "one at a time, cast to float32": lambda: one_at_a_time(
                files, rows, args.batch_size, strengths, True
            ),
        }
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        for repeat in range(args.repeats + 1):
            for way, measure in ways.items():
                speed = measure()
                if repeat:  # the first round warms up
                    speeds[way].append(speed)
    ours = speeds["batch-wise, float16 memory map"]
    print(
        f"| batches of {args.batch_size} x 12 x {strengths.length}, probability {args.probability:g} "
        "| samples/s | ours, times |"
    )
    print("|---|---|---|")
    for way, values in speeds.items():
        ratio = median(mine / other for mine, other in zip(ours, values, strict=True))
        print(f"| {way} | {median(values):,.0f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
