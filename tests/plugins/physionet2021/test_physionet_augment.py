"""The augmentation: what each transformation does, and that a seed decides it."""

import numpy as np
import pytest
import torch
from scalelab_plugins.physionet2021 import Physionet2021Params, augmentation
from scalelab_plugins.signal_augment import SignalAugmentation, centered

NAMES = ("warp", "scale", "noise", "wander", "time_mask", "lead_mask")
NONE = dict.fromkeys(NAMES, 0.0) | {f"{name}_p": 1.0 for name in NAMES}


def only(length=1024, **changes):
    return SignalAugmentation(**(NONE | {"length": length, "rate": 500} | changes))


def ramp(n=32, leads=12, samples=5000):
    """Each sample says where it is; each lead and example is shifted by its own number."""
    shift = 10_000 * torch.arange(n)[:, None, None]
    return torch.arange(samples, dtype=torch.float64) + shift + torch.zeros(1, leads, 1, dtype=torch.float64)


def sine(n=64, samples=5000):
    return torch.sin(torch.arange(samples) * 0.05).expand(n, 12, samples).clone()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("samples", "length"), [(5000, 1024), (1024, 1024), (1000, 1024), (7, 10), (10, 7)])
def test_center_crop_and_pad(samples, length):
    batch = torch.rand(3, 12, samples) + 1
    result = centered(batch, length)
    assert result.shape == (3, 12, length)
    if samples >= length:
        start = (samples - length) // 2
        torch.testing.assert_close(result, batch[:, :, start : start + length])
    else:
        assert (result != 0).sum() == batch.numel()
        before = int((result[0, 0] != 0).int().argmax())
        assert before == (length - samples) // 2
        torch.testing.assert_close(result[:, :, before : before + samples], batch)


def test_crops_are_random_and_whole():
    result = only()(ramp(), seeded())
    assert torch.equal(result.diff(dim=2), torch.ones_like(result[:, :, 1:]))
    starts = result[:, 0, 0] - 10_000 * torch.arange(32)
    assert len(starts.unique()) > 25
    assert starts.min() >= 0
    assert starts.max() <= 5000 - 1024
    assert (result == result[:, :1]).all()


def test_every_crop_can_come_up():
    starts = only(length=6)(ramp(400, samples=8), seeded())[:, 0, 0] % 10_000
    assert starts.unique().tolist() == [0, 1, 2]


def test_short_examples_are_padded():
    result = augmentation(Physionet2021Params(path=".", length=1024))(torch.randn(8, 12, 1000), seeded())
    assert result.shape == (8, 12, 1024)
    assert torch.isfinite(result).all()


def test_warp_changes_the_local_speed_within_its_strength():
    result = only(warp=0.2)(ramp(), seeded())
    speed = result.diff(dim=2)
    assert speed.min() > 0.8 - 1e-6
    assert speed.max() < 1.2 + 1e-6
    assert (speed.std(dim=2) > 1e-3).float().mean() > 0.8
    assert (result == result[:, :1]).all(), "all leads of an example share one time"
    assert speed.diff(dim=2).abs().max() < 0.2 * 4 * np.pi * 2 / 1024, "the speed changes slowly"


def test_without_luck_warp_is_a_crop():
    result = only(warp=0.2, warp_p=1e-9)(ramp().float(), seeded())
    torch.testing.assert_close(result.diff(dim=2), torch.ones_like(result[:, :, 1:]), atol=0.1, rtol=0)
    smooth = only(warp=0.2, warp_p=1e-9)(sine(), seeded())
    assert smooth.abs().max() <= 1
    assert (smooth[:, :, 63] - 2 * np.cos(0.05) * smooth[:, :, 62] + smooth[:, :, 61]).abs().max() < 1e-4


def test_scale_is_one_log_normal_factor_for_all_leads():
    batch = sine(2000, 256)
    factor = only(length=256, scale=0.3)(batch, seeded())[:, :, 7] / batch[:, :, 7]
    torch.testing.assert_close(factor, factor[:, :1].expand_as(factor))
    assert factor[:, 0].log().std().item() == pytest.approx(0.3, rel=0.1)
    assert factor[:, 0].log().mean().item() == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("n", [2, 64])
def test_noise_is_white_gaussian_and_independent_between_leads(n):
    noise = only(noise=0.4)(torch.zeros(n, 12, 5000), seeded())
    assert noise.std().item() == pytest.approx(0.4, rel=0.05)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    z = noise / 0.4
    assert (z**4).mean().item() == pytest.approx(3, abs=0.2)
    assert (z[:, :, 1:] * z[:, :, :-1]).mean().abs() < 0.02
    correlation = torch.stack([torch.corrcoef(example) for example in z[:2]]) - torch.eye(12)
    assert correlation.abs().max() < 5 / np.sqrt(1024)


def test_wander_is_slow_and_has_its_strength():
    wander = only(wander=0.3, length=5000)(torch.zeros(300, 12, 5000), seeded())
    assert wander.std().item() == pytest.approx(0.3, rel=0.05)
    power = torch.fft.rfft(wander * torch.hann_window(5000)).abs() ** 2
    assert (power[:, :, : round(0.9 * 10)].sum() / power.sum()).item() > 0.99  # bins of 0.1 Hz
    assert torch.corrcoef(wander[0]).triu(1).abs().max() < 1


def test_time_mask_is_one_gap_in_all_leads():
    result = only(time_mask=0.5)(torch.ones(500, 12, 2000), seeded())
    assert (result == result[:, :1]).all()
    assert ((result[:, 0].diff(dim=1) != 0).sum(dim=1) <= 2).all()
    missing = (result[:, 0] == 0).float().mean(dim=1)
    assert missing.max() <= 0.5 + 1 / 1024
    assert missing.mean().item() == pytest.approx(0.25, abs=0.03)


def test_lead_mask_takes_whole_leads_and_never_all():
    result = only(lead_mask=0.9)(torch.ones(2000, 12, 1024), seeded())
    assert (result == result[:, :, :1]).all()
    kept = result[:, :, 0].sum(dim=1)
    assert kept.min() == 1
    assert (1 - result[:, :, 0]).mean().item() == pytest.approx(0.9 - 0.9**12 / 12, abs=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_probability_is_that_of_an_example(name):
    batch = sine(4000, 128)
    result = only(length=128, **{name: 0.9, f"{name}_p": 0.3})(batch, seeded())
    changed = ((result - batch).abs().amax(dim=(1, 2)) > 1e-2).float().mean().item()
    # A warp or a gap may be too small to be seen, and a lead mask may spare all leads.
    assert 0.2 < changed < 0.33


def test_a_seed_decides_everything():
    augment = augmentation(Physionet2021Params(path="."))
    batch = torch.randn(64, 12, 5000)
    kept = batch.clone()
    torch.manual_seed(1)
    first = augment(batch, seeded(3))
    torch.manual_seed(2)
    assert torch.equal(first, augment(batch, seeded(3)))
    assert not torch.equal(first, augment(batch, seeded(4)))
    assert torch.equal(batch, kept), "the batch itself is not changed"
    assert first.dtype == torch.float32


def test_strengths_are_multiplied_by_augment():
    assert augmentation(Physionet2021Params(path=".", augment=2, noise=0.1)).noise == 0.2
    assert augmentation(Physionet2021Params(path=".", augment=5, warp=0.5)).warp < 1
    off = augmentation(Physionet2021Params(path=".", augment=0))
    assert torch.equal(off(ramp(4), seeded()), only()(ramp(4), seeded()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_works_on_a_gpu():
    batch = torch.randn(64, 12, 5000, device="cuda")
    augment = augmentation(Physionet2021Params(path="."))
    first, second = (augment(batch, torch.Generator("cuda").manual_seed(0)) for _ in range(2))
    assert first.device.type == "cuda"
    assert torch.equal(first, second)
