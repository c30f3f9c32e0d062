"""What amplitudes are divided by, which leads a model sees, and augmentation in units of the signal."""

import numpy as np
import pytest
import torch
from physionet_samples import REAL, header_lines, limb_consistent, needs_real, params, write
from scalelab_plugins.physionet2021 import Physionet2021Params, augmentation, open_physionet2021, record_index
from scalelab_plugins.physionet2021.chunks import FLOOR, normalize
from scalelab_plugins.physionet2021.leads import LEADS, places_of
from scalelab_plugins.physionet2021.prepare import load
from scalelab_plugins.physionet2021.records import read_record
from scalelab_plugins.signal_augment import SignalAugmentation
from scipy.signal import butter, sosfiltfilt

NONE = {
    f"{name}{end}": 0.0
    for name in ("warp", "scale", "noise", "wander", "time_mask", "lead_mask")
    for end in ("", "_p")
}


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve records; the first has a flat lead, the second a tenth of the voltage of the others."""
    folder = tmp_path_factory.mktemp("records")
    for i in range(12):
        samples = limb_consistent(1000, i)
        if i == 0:
            samples[:, 7] = 20
        if i == 1:
            samples = (samples // 20 * 2).astype("<i2")
        write(folder / "georgia" / "g1", f"R{i:02}", samples, header_lines(f"R{i:02}", samples))
    return folder


def windows(folder, normalise):
    index = record_index(params(folder, normalise=normalise)).set_index("record")
    inputs = load(params(folder, normalise=normalise)).inputs
    return {name: inputs[int(row)].astype(np.float64) for name, row in index.row.items()}


def filtered(folder, name):
    signal = read_record(folder / "georgia" / "g1" / f"{name}.hea").signal
    found = sosfiltfilt(butter(3, (1, 47), "bandpass", fs=500, output="sos"), signal, axis=1)
    return found - found.mean(axis=1, keepdims=True)


def test_none_is_millivolt(folder):
    found = windows(folder, "none")
    for name in found:
        expected = filtered(folder, name)
        np.testing.assert_allclose(found[name], expected, rtol=2**-10, atol=1e-4)


def test_record_keeps_leads_relative_to_each_other(folder):
    found = windows(folder, "record")
    for name, window in found.items():
        expected = filtered(folder, name)
        alive = expected.std(axis=1) >= FLOOR
        assert alive.sum() == (11 if name == "R00" else 12)
        together = np.sqrt((expected[alive] ** 2).mean())
        np.testing.assert_allclose(window, expected / together, rtol=2**-10, atol=4e-3)
        assert np.sqrt((window[alive] ** 2).mean()) == pytest.approx(1, abs=1e-2)


def test_flat_leads_stay_near_zero_in_every_way(folder):
    for normalise, most in (("lead", 1.0), ("record", 0.01), ("none", FLOOR)):
        assert np.abs(windows(folder, normalise)["R00"][7]).max() <= most


def test_low_voltage_is_seen_in_millivolts_alone(folder):
    for normalise, same in (("lead", True), ("record", True), ("none", False)):
        spread = {name: window.std() for name, window in windows(folder, normalise).items()}
        assert (abs(spread["R01"] - spread["R02"]) < 0.05) == same


@pytest.mark.parametrize("spread", ["lead", "record", "none"])
def test_flat_is_said_alike(spread):
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(2, 3, 12, 50)).astype(np.float32)
    batch[0, 1, 4] = 3
    batch[1, 2] = 0
    flat = normalize(batch, spread)
    assert flat.sum() == 13
    assert flat[0, 1, 4]
    assert flat[1, 2].all()
    assert np.isfinite(batch).all()
    assert (batch[1, 2] == 0).all()


@pytest.mark.parametrize(
    ("leads", "names"),
    [
        (12, LEADS),
        (6, ("I", "II", "III", "aVR", "aVL", "aVF")),
        (4, ("I", "II", "III", "V2")),
        (3, ("I", "II", "V2")),
        (2, ("I", "II")),
    ],
)
def test_sets_of_leads_are_those_of_the_challenge(folder, leads, names):
    data = open_physionet2021(params(folder, leads=leads))
    whole = open_physionet2021(params(folder))
    assert data.fingerprint == whole.fingerprint
    assert data.task.input_shape == (leads, 256)
    batch = torch.from_numpy(np.asarray(data.validation.inputs, dtype=np.float32))
    places = [LEADS.index(name) for name in names]
    assert places_of(leads) == places
    torch.testing.assert_close(data.prepare(batch), whole.prepare(batch)[:, places])
    augmented = data.augment(batch, torch.Generator().manual_seed(0))
    assert augmented.shape == (len(batch), leads, 256)
    assert augmented.isfinite().all()


def test_noise_and_wander_are_relative_to_each_leads_own_deviation():
    generator = np.random.default_rng(0)
    scales = torch.tensor([0.01, 1.0, 7.0])[None, :, None]
    batch = torch.from_numpy(generator.normal(size=(200, 3, 400)).astype(np.float32)) * scales
    for name in ("noise", "wander"):
        strengths = NONE | {name: 0.3, f"{name}_p": 1.0}
        own = SignalAugmentation(length=400, rate=500, own_spread=True, **strengths)
        added = own(batch.clone(), torch.Generator().manual_seed(1)) - batch
        share = (added**2).mean(dim=(0, 2)).sqrt() / batch.std(dim=2).mean(dim=0)
        torch.testing.assert_close(share, torch.full((3,), 0.3), rtol=0.1, atol=0.0)


def test_only_what_is_not_divided_by_lead_is_measured(folder):
    assert not augmentation(params(folder)).own_spread
    for normalise in ("record", "none"):
        assert augmentation(params(folder, normalise=normalise)).own_spread


def test_a_lead_of_zeros_stays_zero_under_noise(folder):
    augment = SignalAugmentation(
        length=50, rate=500, own_spread=True, **(NONE | {"noise": 1.0, "noise_p": 1.0})
    )
    assert not augment(torch.zeros(2, 3, 50), torch.Generator().manual_seed(0)).any()


@needs_real
@pytest.mark.parametrize("normalise", ["record", "none"])
def test_the_real_records_are_finite_in_every_way(normalise):
    prepared = load(Physionet2021Params(path=REAL / "training", normalise=normalise))
    assert np.isfinite(prepared.inputs).all()
    spread = prepared.inputs.astype(np.float32).std(axis=(1, 2))
    assert (spread > 0.01).all()
