"""The contract of a backend."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest

from scalelab.components import Backend, Device, Params
from scalelab.errors import InputError
from scalelab.testing.common import ComponentContract, refuses, seeded, untouched

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


class BackendContract(ComponentContract):
    """Checks of a backend, on every device that it says is available. Give it as the fixture ``backend``.

    Attributes:
        tolerance: Greatest difference from eager fp32 PyTorch, relative to the largest output; raise it for
            options that ask for a lower precision.
    """

    tolerance = 1e-4

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend under test; fixture to override."""
        raise NotImplementedError("define a fixture 'backend' that returns the scalelab.Backend to check")

    @pytest.fixture
    def component(self, backend: Backend) -> Backend:
        """The backend, under the name that every contract uses."""
        return backend

    @pytest.fixture
    def module(self) -> nn.Module:
        """The model that is run, in training mode, as a study leaves it; fixture to override."""
        from scalelab.testing.toys import ToyArchitectureParams, build_conv

        with seeded(0):
            return build_conv(ToyArchitectureParams(width=8), (2, 64), 3).train()

    @pytest.fixture
    def example(self) -> np.ndarray:
        """A batch for the module, float32; fixture to override together with it."""
        import numpy as np

        return np.random.default_rng(0).normal(size=(4, 2, 64)).astype(np.float32)

    @pytest.fixture
    def available(self, backend: Backend) -> list[str]:
        """The devices that can be used; skips, with the reasons, where there is none."""
        devices = backend.devices()
        names = [device.name for device in devices if device.available]
        if not names:
            reasons = "; ".join(f"{device.name}: {device.detail}" for device in devices)
            pytest.skip(f"{backend.name} has no device on this machine: {reasons}")
        return names

    def test_devices_are_sound(self, backend: Backend) -> None:
        """Devices have names of their own; one that cannot be used says why."""
        with untouched("devices()"):
            devices = list(backend.devices())
        assert devices, "devices() is empty: list the unavailable devices too, with the reason"
        assert all(isinstance(device, Device) for device in devices), "devices() must return scalelab.Device"
        names = [device.name for device in devices]
        assert len(names) == len(set(names)), f"devices() lists a name twice: {', '.join(names)}"
        for device in devices:
            assert device.available or device.detail, (
                f"device {device.name!r} is not available and does not say why: put reason and remedy "
                "into detail"
            )

    def test_outputs_agree_with_eager(
        self, backend: Backend, params: Params, module: nn.Module, example: np.ndarray, available: list[str]
    ) -> None:
        """Outputs are those of the module in evaluation mode."""
        import numpy as np

        expected = _eager(module, example)
        for device in available:
            outputs = backend.load(params, copy.deepcopy(module), example, device)(example.copy())
            assert isinstance(outputs, np.ndarray), (
                f"on {device} infer() returned {type(outputs).__name__}: return a NumPy array"
            )
            assert outputs.shape == expected.shape, (
                f"on {device} outputs have shape {outputs.shape}, expected {expected.shape}"
            )
            error = float(np.abs(outputs - expected).max() / max(float(np.abs(expected).max()), 1e-12))
            assert error <= self.tolerance, (
                f"on {device} outputs differ from eager fp32 by {error:.2g} of the largest one, more than "
                f"{self.tolerance:g}: put the module in evaluation mode, and check precision and layout"
            )

    def test_inference_is_repeatable(
        self, backend: Backend, params: Params, module: nn.Module, example: np.ndarray, available: list[str]
    ) -> None:
        """The same inputs give the same outputs; inputs and earlier outputs are not overwritten."""
        import numpy as np

        for device in available:
            infer = backend.load(params, copy.deepcopy(module), example, device)
            inputs = example.copy()
            first = infer(inputs)
            kept = first.copy()
            infer(-example)
            assert np.array_equal(first, kept), (
                f"on {device} a later call overwrites earlier outputs: return a copy of the runtime's buffer"
            )
            assert np.array_equal(inputs, example), f"on {device} infer() changes its inputs: copy them first"
            again = infer(inputs)
            assert np.allclose(again, kept, rtol=self.tolerance, atol=self.tolerance), (
                f"on {device} two calls differ by up to {np.abs(again - kept).max():.2g}"
            )

    def test_module_is_left_alone(
        self, backend: Backend, params: Params, module: nn.Module, example: np.ndarray, available: list[str]
    ) -> None:
        """Loading changes neither the module's weights, nor its mode, nor global state."""
        import torch

        before = copy.deepcopy(module.state_dict())
        for device in available:
            with untouched(f"load() on {device}"):
                backend.load(params, module, example, device)(example.copy())
            unequal = [
                name for name, value in module.state_dict().items() if not torch.equal(value, before[name])
            ]
            assert not unequal, (
                f"load() on {device} changed {', '.join(unequal)}: work on a copy of the module"
            )
            assert module.training, f"load() on {device} left the module in evaluation mode: work on a copy"

    def test_unknown_device_is_a_clear_error(
        self, backend: Backend, params: Params, module: nn.Module, example: np.ndarray
    ) -> None:
        """A device that is not there ends in an InputError of one line."""
        refused = refuses(
            lambda: backend.load(params, module, example, "no-such-device"),
            InputError,
            "load() on an unknown device must raise scalelab.InputError that lists the devices there are",
            mention="no-such-device",
        )
        assert refused, "load() accepted the device 'no-such-device'; raise scalelab.InputError"


def _eager(module: nn.Module, example: np.ndarray) -> np.ndarray:
    import torch

    with torch.inference_mode():
        outputs: np.ndarray = copy.deepcopy(module).eval()(torch.from_numpy(example)).numpy()
    return outputs
