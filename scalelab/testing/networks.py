"""Networks that runtimes often refuse or get wrong; the contract of a backend has it run them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalelab.testing.common import seeded

if TYPE_CHECKING:
    from torch import nn

HARD_SHAPE = (2, 64)
"""Of one example: channels, samples."""


def hard_networks() -> dict[str, nn.Module]:
    """Returns networks for inputs (batch, *HARD_SHAPE) with three outputs, by what is hard about them."""
    with seeded(0):
        return {
            "complex weights": _complex_weights(),
            "a Fourier transform": _fourier(),
            "a recurrent layer": _recurrent(),
        }


def _complex_weights() -> nn.Module:
    import torch
    from torch import nn

    class ComplexWeights(nn.Module):
        """As state space models (S4, S5) have; cast to real ones they still give outputs, but wrong ones."""

        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(torch.randn(2, 8, dtype=torch.complex64))
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mixed = x.transpose(1, 2).to(self.weights.dtype) @ self.weights
            outputs: torch.Tensor = self.head(mixed.abs().mean(1))
            return outputs

    return ComplexWeights()


def _fourier() -> nn.Module:
    import torch
    from torch import nn

    class Fourier(nn.Module):
        """A spectrum, filtered and transformed back (FNO)."""

        def __init__(self) -> None:
            super().__init__()
            self.filter = nn.Parameter(torch.randn(2, 33))
            self.head = nn.Linear(2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            filtered = torch.fft.irfft(torch.fft.rfft(x) * self.filter, n=HARD_SHAPE[1])
            outputs: torch.Tensor = self.head(filtered.relu().mean(2))
            return outputs

    return Fourier()


def _recurrent() -> nn.Module:
    import torch
    from torch import nn

    class Recurrent(nn.Module):
        """The last state of a GRU."""

        def __init__(self) -> None:
            super().__init__()
            self.body = nn.GRU(2, 8, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states, _ = self.body(x.transpose(1, 2))
            outputs: torch.Tensor = self.head(states[:, -1])
            return outputs

    return Recurrent()
