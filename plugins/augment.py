"""A light batch-wise augmentation of signals, shared by the bundled ECG datasets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SCALE_SD = 0.1
NOISE_SD = 0.05


def light_augmentation(
    strength: float, max_shift: int, constants: int = 0
) -> Callable[[torch.Tensor, torch.Generator], torch.Tensor]:
    """Returns `augment(batch, generator)` for float batches of shape (batch, leads + constants, samples).

    The last `constants` channels are features, constant over the samples, and stay as they are.
    Each example is shifted by up to `strength * max_shift` samples either way (the ends repeat the last
    value), scaled by a log-normal factor (SD of the logarithm `0.1 * strength`), and gets white noise of
    `0.05 * strength` of its own SD. Everything is drawn from `generator`, on the batch's device.
    """
    shift = round(strength * max_shift)

    def augment(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        import torch

        leads = batch.shape[1] - constants
        batch, constant = batch[:, :leads], batch[:, leads:]
        n, _, samples = batch.shape
        device = batch.device
        if shift:
            offset = torch.randint(-shift, shift + 1, (n, 1), generator=generator, device=device)
            index = (torch.arange(samples, device=device) + offset).clamp_(0, samples - 1)
            batch = batch.gather(2, index[:, None, :].expand(n, leads, samples))
        scale = torch.exp(SCALE_SD * strength * torch.randn((n, 1, 1), generator=generator, device=device))
        noise = torch.randn(batch.shape, generator=generator, device=device)
        level = NOISE_SD * strength * batch.std(dim=(1, 2), keepdim=True)
        augmented = torch.addcmul(batch, noise, level).mul_(scale)
        return torch.cat([augmented, constant], dim=1) if constants else augmented

    return augment
