"""The diagonal state space model of `ssm1d`, as a convolution: its kernel, and three ways to apply it.

Each channel has N/2 complex modes x' = A·x + u, y = 2·Re(C·x), discretized with a step of its own. Of all of
them only the kernel is needed, K[l] = 2·Re(Σ C̄·exp(l·log Ā)), and it depends on no input. All arithmetic is
real, in pairs of real and imaginary parts, and in float32 also where autocast computes the rest in less: a
mode that decays slowly needs the digits. Runtimes fold the kernel into a constant.

How the kernel is applied follows from the number of tokens and changes the last digits alone:

- `toeplitz`: as a matrix for each channel, one product of matrices; the fastest for few tokens;
- `fft`: by the transforms of both, in PyTorch, for many tokens;
- `blocks`: in place of `fft` where a network is exported, since runtimes lack transforms or are slow at
  them: a grouped convolution over blocks of tokens, whose weights are Toeplitz matrices.
"""

from __future__ import annotations

import contextlib
import math
from typing import Literal

import torch  # noqa: TID253 - imported by scalelab_plugins.ssm1d_model
from torch import nn  # noqa: TID253
from torch.nn.functional import conv1d, pad  # noqa: TID253

TOEPLITZ_TOKENS = 48
"""Up to this number of tokens the matrix is as fast as the transforms (`benchmarks/ssm_step.py`)."""
BLOCK = 32
"""Tokens of a block; one that holds them all may be twice as long."""

Form = Literal["toeplitz", "fft", "blocks"]
Spectrum = Literal["lin", "inv"]
Discretization = Literal["zoh", "bilinear"]
Pair = tuple[torch.Tensor, torch.Tensor]
"""Real and imaginary part."""


class StateSpace(nn.Module):
    """S4D for (batch, tokens, width), to the same shape (Gu et al. 2022, arXiv:2206.11893).

    Args:
        width: Channels; each has its own modes, outputs and step.
        n_tokens: Tokens of a sequence.
        state: Real numbers in a channel's state: twice its complex modes; even.
        bidirectional: Whether a token sees those after it as well, by outputs of their own.
        spectrum: The modes' initial frequencies, n = 0, 1, …: `"lin"`, n·π (S4D-Lin), or `"inv"`,
            N/π·(N/(2n + 1) - 1) (S4D-Inv). All decay at 1/2.
        discretization: `"zoh"` or `"bilinear"`.
        steps: Least and greatest initial step, in tokens; drawn evenly in logarithms.
    """

    def __init__(
        self,
        width: int,
        n_tokens: int,
        *,
        state: int = 32,
        bidirectional: bool = True,
        spectrum: Spectrum = "lin",
        discretization: Discretization = "zoh",
        steps: tuple[float, float] = (1e-3, 1e-1),
    ) -> None:
        super().__init__()
        self.n_tokens = n_tokens
        self.discretization = discretization
        self.form: Form = "toeplitz" if n_tokens <= TOEPLITZ_TOKENS else "fft"
        modes = state // 2
        order = torch.arange(modes)
        frequencies = (
            math.pi * order if spectrum == "lin" else state / math.pi * (state / (2 * order + 1) - 1)
        )
        low, high = (math.log(step) for step in steps)
        self.log_step = nn.Parameter(low + (high - low) * torch.rand(width))
        self.log_decay = nn.Parameter(torch.full((width, modes), math.log(0.5)))
        self.frequency = nn.Parameter(frequencies.repeat(width, 1))
        # C, complex normal: real parts, then minus the imaginary ones, of either direction.
        self.output = nn.Parameter(math.sqrt(0.5) * torch.randn(width, 1 + bidirectional, state))
        self.skip = nn.Parameter(torch.randn(width))
        for parameter in (self.log_step, self.log_decay, self.frequency):
            parameter.no_weight_decay = True  # type: ignore[attr-defined]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, tokens, width) to the same shape."""
        with in_float32(x.device.type):
            kernel = self.kernel()
            signal = x.float().permute(2, 0, 1)
            if self.form == "blocks" or exporting():
                block = self.n_tokens if self.n_tokens <= 2 * BLOCK else BLOCK
                convolved = by_blocks(signal, kernel, self.n_tokens, block)
            elif self.form == "toeplitz":
                convolved = torch.bmm(signal, toeplitz(kernel, self.n_tokens))
            else:
                convolved = by_transforms(signal, kernel)
            return convolved.permute(1, 2, 0).to(x.dtype)

    def kernel(self) -> torch.Tensor:
        """Returns what each channel's input is convolved with, (width, 2 · tokens), lags -tokens last."""
        width, directions, _ = self.output.shape
        step = self.log_step.float().exp().unsqueeze(1)
        decay = self.log_decay.float().exp()
        discretize = zero_order_hold if self.discretization == "zoh" else bilinear
        (log_size, angle), gain = discretize(step, decay, self.frequency.float())
        lags = torch.arange(self.n_tokens, device=step.device, dtype=step.dtype)
        size = 2 * (log_size.unsqueeze(2) * lags).exp()
        turn = angle.unsqueeze(2) * lags
        powers = torch.cat([size * turn.cos(), size * turn.sin()], 1)
        weights = torch.cat(scaled(self.output.float(), gain), 2)
        responses = torch.bmm(weights, powers)  # (width, directions, tokens)
        after = responses[:, 1].flip(1) if directions == 2 else powers.new_zeros(width, self.n_tokens)
        both = torch.cat([responses[:, 0], after], 1)
        return both + pad(self.skip.float().unsqueeze(1), (0, 2 * self.n_tokens - 1))


def scaled(output: torch.Tensor, gain: Pair) -> Pair:
    """Returns C times the input's gain: its real part and minus its imaginary one.

    Args:
        output: Real parts of C, then minus the imaginary ones, (width, directions, 2 · modes).
        gain: Of each mode, (width, modes).
    """
    real, minus = output.chunk(2, 2)
    gain_real, gain_imaginary = (part.unsqueeze(1) for part in gain)
    return (
        real * gain_real + minus * gain_imaginary,
        minus * gain_real - real * gain_imaginary,
    )


def zero_order_hold(step: torch.Tensor, decay: torch.Tensor, frequency: torch.Tensor) -> tuple[Pair, Pair]:
    """Returns log Ā = Δ·A and B̄ = (exp(Δ·A) - 1)/A of A = -decay + i·frequency, the inputs' B being 1."""
    log_size, angle = -step * decay, step * frequency
    size = log_size.exp()
    # exp(x) - 1 where x is small would be a difference of numbers near 1; not every exporter knows expm1.
    real = (1 + size) * (log_size / 2).tanh() - 2 * size * (angle / 2).sin().square()
    imaginary = size * angle.sin()
    norm = decay.square() + frequency.square()
    return (log_size, angle), (
        (imaginary * frequency - real * decay) / norm,
        (-real * frequency - imaginary * decay) / norm,
    )


def bilinear(step: torch.Tensor, decay: torch.Tensor, frequency: torch.Tensor) -> tuple[Pair, Pair]:
    """Returns log Ā, Ā = (1 + Δ·A/2)/(1 - Δ·A/2), and B̄ = Δ/(1 - Δ·A/2) of A = -decay + i·frequency."""
    near, far, half = 1 - step * decay / 2, 1 + step * decay / 2, step * frequency / 2
    square = half.square()
    norm = far.square() + square
    log_size = (near.square() + square).div(norm).log() / 2
    angle = torch.atan2(half, near) + torch.atan2(half, far)
    return (log_size, angle), (step * far / norm, step * half / norm)


def toeplitz(kernel: torch.Tensor, n: int) -> torch.Tensor:
    """Returns the matrices, (…, n, n), whose entry in row i and column j is the kernel at lag j - i.

    Args:
        kernel: (…, 2n), lags 0 to n - 1, then -n to -1. Repeated n times, in rows that are one shorter, each
            row begins one lag earlier than the one above.
        n: How many rows.
    """
    others = kernel.shape[:-1]
    repeated = kernel.unsqueeze(-2).expand(*others, n, 2 * n).reshape(*others, 2 * n * n)
    return repeated[..., : n * (2 * n - 1)].reshape(*others, n, 2 * n - 1)[..., :n].contiguous()


def by_transforms(signal: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Convolves (width, batch, tokens) with kernels (width, 2 · tokens) by Fourier transforms."""
    n = signal.shape[2]
    spectra = torch.fft.rfft(signal, n=2 * n) * torch.fft.rfft(kernel).unsqueeze(1)
    convolved: torch.Tensor = torch.fft.irfft(spectra, n=2 * n)
    return convolved[..., :n]


def by_blocks(signal: torch.Tensor, kernel: torch.Tensor, n: int, block: int) -> torch.Tensor:
    """Convolves (width, batch, tokens) with kernels (width, 2 · tokens) by a convolution over blocks.

    Tokens of a block are channels of the convolution, one group for each channel of the signal, and the
    weights between two blocks are the Toeplitz matrix of the lags that lie between their tokens.

    Args:
        signal: What enters.
        kernel: Of each channel, as in `toeplitz`.
        n: Tokens; a number, because a tracer's integers divide in another way.
        block: Tokens of a block; the last one is filled up with zeros.
    """
    width, batch, _ = signal.shape
    count = -(-n // block)
    rest = count * block - n
    ahead, behind = kernel[:, :n], kernel[:, n:]
    lags = torch.cat([pad(behind, (rest, 0)), pad(ahead, (0, rest))], 1).view(width, 2 * count, block)
    between = torch.cat([lags[:, 1:], lags[:, :-1]], 2)  # (width, 2 · count - 1, 2 · block)
    weights = toeplitz(between, block).flip(1).permute(0, 3, 2, 1)
    blocks = pad(signal, (0, rest)).view(width, batch, count, block).permute(1, 0, 3, 2)
    convolved = conv1d(
        blocks.reshape(batch, width * block, count),
        weights.reshape(width * block, block, 2 * count - 1),
        padding=count - 1,
        groups=width,
    )
    tokens = convolved.view(batch, width, block, count).permute(1, 0, 3, 2)
    return tokens.reshape(width, batch, count * block)[..., :n]


def exporting() -> bool:
    """Whether the network is being traced for a runtime."""
    return bool(torch._C._get_tracing_state()) or torch.compiler.is_exporting()


def in_float32(kind: str) -> contextlib.AbstractContextManager[object]:
    """Returns what keeps autocast on a kind of device, where it is on, from using fewer digits."""
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return contextlib.nullcontext()
