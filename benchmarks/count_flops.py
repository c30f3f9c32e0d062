"""How long counting FLOPs takes, and what is counted, for networks with long sequences.

    python benchmarks/count_flops.py [SAMPLES]

SAMPLES is the length of a signal of twelve leads, default 1,024. Times are of one count in this process, the
import of torch aside.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from torch import nn

import scalelab

LEADS, WIDTH = 12, 16


class Recurrent(nn.Module):
    """Two recurrent layers both ways."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layers = kind(LEADS, WIDTH, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * WIDTH, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, leads, samples) to (batch, 3)."""
        return self.head(self.layers(x.transpose(1, 2))[0].mean(1))


class Cells(nn.Module):
    """An LSTM cell in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(LEADS, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, leads, samples) to (batch, 3)."""
        h = c = x.new_zeros(len(x), WIDTH)
        for step in range(x.shape[-1]):
            h, c = self.cell(x[..., step], (h, c))
        return self.head(h)


class Loop(nn.Module):
    """h = a * h + b, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.head = nn.Linear(LEADS, 2 * WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, leads, samples) to (batch, 3)."""
        a, b = self.gates(x.transpose(1, 2)).chunk(2, -1)
        a, h = a.sigmoid(), torch.zeros_like(b[:, 0])
        for step in range(x.shape[-1]):
            h = a[:, step] * h + b[:, step]
        return self.head(h)


class Fourier(nn.Module):
    """A convolution as long as the signal."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.kernel, self.head = nn.Parameter(torch.randn(LEADS, samples)), nn.Linear(LEADS, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, leads, samples) to (batch, 3)."""
        n = 2 * x.shape[-1]
        y = torch.fft.irfft(torch.fft.rfft(x, n) * torch.fft.rfft(self.kernel, n), n)
        return self.head(y.mean(-1))


def main() -> None:
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    networks: dict[str, Callable[[], nn.Module]] = {
        "nn.LSTM": lambda: Recurrent(nn.LSTM),
        "nn.GRU": lambda: Recurrent(nn.GRU),
        "LSTMCell in a loop": Cells,
        "a * h + b in a loop": Loop,
        "convolution by FFT": lambda: Fourier(samples),
        "convnext1d": lambda: scalelab.build_model("convnext1d", {}, (LEADS, samples), 3),
    }
    scalelab.complexity(nn.Linear(2, 2), (2,))  # imports
    print(f"{'network':20} {'forward':>12} {'training':>12} {'fixed':>10} {'seconds':>8}")
    for name, build in networks.items():
        model, began = build(), time.perf_counter()
        found = scalelab.complexity(model, (LEADS, samples))
        seconds = time.perf_counter() - began
        print(
            f"{name:20} {found.forward_flops:12,.0f} {found.train_flops_per_example:12,.0f} "
            f"{found.fixed_train_flops:10,.0f} {seconds:8.3f}"
        )


if __name__ == "__main__":
    main()
