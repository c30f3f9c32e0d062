"""Augmentation of signals, a whole batch at a time, on any device.

Every transformation has a strength and a probability with which an example gets it; at a strength or a
probability of 0 it costs nothing. All randomness comes from one generator, and how much is drawn from it does
not depend on what was drawn, so nothing waits for a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WARP_WAVES = 2
"""Slow waves of the local speed of a warped example, besides the constant."""
WANDER_HZ = (0.1, 0.25, 0.4, 0.55)
"""Frequencies of baseline wander: of breathing and below."""
NOISE_POOL = 65_536


def centered(batch: torch.Tensor, length: int) -> torch.Tensor:
    """Crops the middle `length` samples of (batch, leads, samples), or pads with zeros on both sides."""
    from torch.nn.functional import pad

    missing = length - batch.shape[2]
    if missing > 0:
        return pad(batch, (missing // 2, missing - missing // 2))
    start = -missing // 2
    return batch[:, :, start : start + length]


@dataclass(frozen=True, kw_only=True)
class SignalAugmentation:
    """`augment(batch, generator)` for float batches (batch, leads, samples); returns `length` samples.

    In this order: a random crop (or zeros on both sides), time warp, amplitude scale, baseline wander, white
    noise, time mask, lead mask. So what is masked is 0, and noise is not scaled.

    Attributes:
        length: Samples of the result.
        rate: Sampling rate in Hz.
        warp: Greatest relative change of the local speed, below 1; it varies slowly over the example.
        warp_p: Probability; likewise below.
        scale: SD of the logarithm of the factor of all leads.
        noise: SD of white Gaussian noise, independent between leads.
        wander: SD of baseline wander, independent between leads.
        time_mask: Greatest part of the samples that one gap takes out of all leads.
        lead_mask: Probability of each lead of a chosen example to be taken out; one always stays.
        own_spread: Whether noise and wander are in units of each lead's own deviation in the crop; otherwise
            they are in those of the signals, which are then expected to have a deviation near 1.
    """

    length: int
    rate: float
    warp: float
    warp_p: float
    scale: float
    scale_p: float
    noise: float
    noise_p: float
    wander: float
    wander_p: float
    time_mask: float
    time_mask_p: float
    lead_mask: float
    lead_mask_p: float
    own_spread: bool = False

    def __call__(self, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Returns a new batch (batch, leads, length)."""
        draw = _Draw(generator, batch)
        signal = self._cropped(batch, draw)
        spread = signal.std(dim=2, keepdim=True, correction=0) if self.own_spread else None
        if self.scale and self.scale_p:
            chosen = draw.chosen(self.scale_p)
            signal.mul_((self.scale * chosen * draw.normal(len(batch), 1, 1)).exp_())
        if self.wander and self.wander_p:
            self._add_wander(signal, draw, spread)
        if self.noise and self.noise_p:
            chosen = draw.chosen(self.noise_p)
            strength = self.noise * (chosen if spread is None else chosen * spread)
            signal.addcmul_(draw.noise(signal), strength)
        if self.time_mask and self.time_mask_p:
            signal.mul_(self._outside_gap(draw))
        if self.lead_mask and self.lead_mask_p:
            signal.mul_(self._leads_kept(signal.shape[1], draw))
        return signal

    def _cropped(self, batch: torch.Tensor, draw: _Draw) -> torch.Tensor:
        import torch

        if batch.shape[2] < self.length:
            batch = centered(batch, self.length)
        n, _, samples = batch.shape
        if not (self.warp and self.warp_p):
            start = (draw.uniform(n) * (samples - self.length + 1)).long()
            windows = batch.unfold(2, self.length, 1)
            return windows[torch.arange(n, device=batch.device), :, start]
        time = torch.arange(self.length, device=batch.device, dtype=batch.dtype)
        place = time + self._delay(time / self.length, draw)
        room = (samples - 1 - place[:, -1:]).clamp_(min=0)
        place += (draw.uniform(n, 1) * (room + 1)).floor_()
        return _interpolated(batch, place)

    def _delay(self, part: torch.Tensor, draw: _Draw) -> torch.Tensor:
        """Returns by how many samples each point of a warped example lies further on: (batch, length).

        The local speed is 1 plus a constant and a few slow waves whose amplitudes add up to at most `warp`;
        this is its integral without the 1. `part` runs from 0 to 1 over the example.
        """
        import torch

        turns = [2 * math.pi * wave for wave in range(1, WARP_WAVES + 1)]
        integrals = [part, *((turn * part).sin() / turn for turn in turns)]
        integrals += [(1 - (turn * part).cos()) / turn for turn in turns]
        amplitudes = 2 * draw.uniform(draw.n, len(integrals)) - 1
        amplitudes /= amplitudes.abs().sum(dim=1, keepdim=True).clamp_(min=1e-6)
        strength = self.warp * draw.uniform(draw.n, 1) * draw.chosen(self.warp_p)[:, :, 0]
        return (amplitudes * strength) @ torch.stack(integrals) * self.length

    def _add_wander(self, signal: torch.Tensor, draw: _Draw, spread: torch.Tensor | None) -> None:
        import torch

        n, leads, length = signal.shape
        phase = torch.arange(length, device=signal.device, dtype=signal.dtype) * (2 * math.pi / self.rate)
        waves = torch.stack([f(hz * phase) for hz in WANDER_HZ for f in (torch.sin, torch.cos)])
        sd = self.wander / math.sqrt(len(WANDER_HZ))
        amplitudes = draw.normal(n, leads, len(waves)).mul_(sd * draw.chosen(self.wander_p))
        if spread is not None:
            amplitudes.mul_(spread)
        signal.view(n * leads, length).addmm_(amplitudes.view(n * leads, -1), waves)

    def _outside_gap(self, draw: _Draw) -> torch.Tensor:
        import torch

        time = torch.arange(self.length, device=draw.device)
        size = self.time_mask * self.length * draw.uniform(draw.n, 1, 1) * draw.chosen(self.time_mask_p)
        start = draw.uniform(draw.n, 1, 1) * (self.length - size)
        return ((time < start) | (time >= start + size)).to(draw.dtype)

    def _leads_kept(self, leads: int, draw: _Draw) -> torch.Tensor:
        luck = draw.uniform(draw.n, leads, 1)
        kept = (luck >= self.lead_mask) | (luck == luck.amax(dim=1, keepdim=True))
        return (kept | (draw.chosen(self.lead_mask_p) == 0)).to(draw.dtype)


def _interpolated(batch: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Reads (batch, leads, samples) at places (batch, length) between samples; the ends go on as they are.

    An image of one row: torch's sampler finds each place once for all leads, which two gathers do not. It
    counts from -1 to 1, which costs a few ten-thousandths of a sample of precision.
    """
    import torch
    from torch.nn.functional import grid_sample

    across = place * (2 / (batch.shape[2] - 1)) - 1
    grid = torch.stack([across, torch.zeros_like(across)], dim=-1)[:, None]
    image = batch[:, :, None]
    return grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)[:, :, 0]


class _Draw:
    """Random numbers for one batch, of its type and on its device."""

    def __init__(self, generator: torch.Generator, batch: torch.Tensor) -> None:
        self.generator, self.n, self.dtype, self.device = generator, len(batch), batch.dtype, batch.device

    def uniform(self, *shape: int) -> torch.Tensor:
        import torch

        return torch.rand(shape, generator=self.generator, dtype=self.dtype, device=self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        import torch

        return torch.randn(shape, generator=self.generator, dtype=self.dtype, device=self.device)

    def chosen(self, probability: float) -> torch.Tensor:
        """1 for the examples that are chosen, 0 for the others: (batch, 1, 1)."""
        return (self.uniform(self.n, 1, 1) < probability).to(self.dtype)

    def noise(self, like: torch.Tensor) -> torch.Tensor:
        """White Gaussian noise of the shape (batch, leads, samples) of `like`.

        Large batches cut each example's noise out of one pool at a random place: drawing normal numbers would
        take longer than everything else. Within an example all of it is independent; two examples may share a
        stretch.
        """
        numbers = like[0].numel()
        if like.numel() <= NOISE_POOL or 4 * numbers > NOISE_POOL:
            return self.normal(*like.shape)
        choices = NOISE_POOL - numbers + 1
        places = (self.uniform(self.n) * choices).long()
        return self.normal(NOISE_POOL).as_strided((choices, numbers), (1, 1))[places].view(like.shape)
