"""The filter, resampling, windows and their normalization, on arrays."""

import numpy as np
import pytest
from scalelab_plugins.physionet2021.chunks import FLOOR, cut, normalize, padded
from scalelab_plugins.physionet2021.filters import band_pass, resampled
from scipy.signal import butter, sosfiltfilt


@pytest.mark.parametrize("rate", [257, 500, 1000])
@pytest.mark.parametrize("n", [22, 63, 64, 65, 5000, 20_000])
def test_filter_is_sosfiltfilt(rate, n):
    """To 2e-5 of a lead's range, which is what the module says; with offset, drift and noise."""
    rng = np.random.default_rng(n)
    lanes = 0.01 * rng.normal(size=(24, n)).cumsum(axis=1) + 0.1 * rng.normal(size=(24, n)) + 3
    expected = sosfiltfilt(butter(3, (1, 47), "bandpass", fs=rate, output="sos"), lanes, axis=1)
    found = lanes.astype(np.float32)
    band_pass(rate, 1, 47)(found)
    assert np.abs(found - expected).max() < 2e-5 * np.ptp(lanes, axis=1).max()


def test_filter_does_not_mix_lanes():
    rng = np.random.default_rng(0)
    lanes = rng.normal(size=(70, 5000)).astype(np.float32)
    together = lanes.copy()
    band_pass(500, 1, 47)(together)
    for i in (0, 49, 50, 69):
        alone = lanes[i : i + 1].copy()
        band_pass(500, 1, 47)(alone)
        np.testing.assert_allclose(together[i], alone[0], atol=2e-5 * np.ptp(lanes[i]))


@pytest.mark.parametrize(("rate", "target"), [(257, 500), (1000, 500), (500, 257), (500, 1000), (500, 500)])
def test_resampling_keeps_what_is_in_the_band(rate, target):
    seconds = 8
    frequencies = np.array([[2.0], [11.0], [45.0]])
    signal, expected = (
        np.sin(2 * np.pi * frequencies * np.arange(seconds * hz) / hz) for hz in (rate, target)
    )
    found = resampled(signal.astype(np.float32), rate, target)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    middle = slice(target, -target)
    np.testing.assert_allclose(found[:, middle], expected[:, middle], atol=5e-3)


def test_windows_and_normalization():
    lanes = np.arange(2 * 12 * 25, dtype=np.float32).reshape(2, 12, 25).copy()
    windows = cut(lanes.copy(), 10, 5)
    assert windows.shape == (2, 4, 12, 10)
    np.testing.assert_array_equal(windows[1, 2], lanes[1, :, 10:20])
    assert cut(lanes.copy(), 10, 10).shape == (2, 2, 12, 10)
    assert cut(lanes.copy(), 40, 10).shape == (2, 1, 12, 25)
    windows[0, 0, 3] = 7
    flat = normalize(windows)
    assert flat.sum() == 1
    assert flat[0, 0, 3]
    assert (windows[0, 0, 3] == 0).all()
    np.testing.assert_allclose(windows[~flat].std(axis=-1), 1, rtol=1e-5)
    quiet = np.full((1, 1, 12, 10), FLOOR / 10, dtype=np.float32) * ([1, -1] * 5)
    quiet = quiet.astype(np.float32)
    assert normalize(quiet).all()
    assert np.abs(quiet).max() == pytest.approx(0.1)
    np.testing.assert_array_equal(padded(np.ones((1, 2, 3)), 6)[0, 0], [0, 1, 1, 1, 0, 0])
