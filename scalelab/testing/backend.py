"""The contract of a backend."""

from __future__ import annotations

import copy
import json
from functools import partial
from typing import TYPE_CHECKING

import pytest

from scalelab.components import Backend, Device, Executable
from scalelab.errors import BackendError, InputError
from scalelab.params import Params
from scalelab.testing.common import ComponentContract, infer, refuses, seeded, unequal, untouched
from scalelab.testing.networks import HARD_SHAPE, hard_networks

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import nn

Executables = list[tuple[str, Executable]]

STEPS = ("convert", "quantize", "compile", "load")
"""The steps of loading that `Executable.seconds` may name."""


def _error(outputs: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest difference, over the largest output that is expected."""
    import numpy as np

    return float(np.abs(outputs - expected).max() / max(float(np.abs(expected).max()), 1e-12))


def _outputs_or_refusal(load: Callable[[], Executable], example: np.ndarray, what: str) -> np.ndarray | None:
    """Returns what a loaded model answers, `None` where it is refused in one line."""
    try:
        return load().infer(example.copy())
    except (BackendError, InputError) as error:
        if "\n" in str(error):
            pytest.fail(f"the refusal of a network with {what} must be one line; it is: {error}")
        return None
    except Exception as error:
        pytest.fail(
            f"a network with {what} ends in {type(error).__name__}: {error}; raise scalelab.BackendError "
            "with the reason in one line"
        )


class BackendContract(ComponentContract):
    """Checks of a backend, on every device that it says is available. Give it as the fixture `backend`.

    Attributes:
        tolerance: Greatest difference from eager f32 PyTorch, relative to the largest output; raise it for
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
    def calibration(self, example: np.ndarray) -> np.ndarray:
        """Real model inputs for quantization, (n, *input_shape); fixture to override with `example`."""
        import numpy as np

        return np.random.default_rng(1).normal(size=(64, *example.shape[1:])).astype(np.float32)

    @pytest.fixture
    def load(
        self,
        backend: Backend,
        params: Params,
        module: nn.Module,
        example: np.ndarray,
        calibration: np.ndarray,
    ) -> Callable[[str], Executable]:
        """Loads a copy of the module on a device."""
        return lambda device: backend.load(params, copy.deepcopy(module), example, device, calibration)

    @pytest.fixture
    def available(self, backend: Backend) -> list[str]:
        """The devices that can be used; skips, with the reasons, where there is none."""
        devices = backend.devices()
        names = [device.name for device in devices if device.available]
        if not names:
            reasons = "; ".join(f"{device.name}: {device.detail}" for device in devices)
            pytest.skip(f"{backend.name} has no device on this machine: {reasons}")
        return names

    @pytest.fixture
    def executables(self, load: Callable[[str], Executable], available: list[str]) -> Executables:
        """The module, loaded on every device that can be used."""
        return [(device, load(device)) for device in available]

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

    def test_executable_is_sound(self, executables: Executables, params: Params) -> None:
        """What load() returns says how long it took, how large the model is and how many threads run it."""
        for device, executable in executables:
            assert isinstance(executable, Executable), (
                f"load() on {device} returned {type(executable).__name__}: return a scalelab.Executable"
            )
            steps = set(executable.seconds)
            assert steps, "seconds is empty: time at least one step of load()"
            assert steps <= set(STEPS), f"seconds has {', '.join(steps - set(STEPS))}: use {', '.join(STEPS)}"
            assert all(value >= 0 for value in executable.seconds.values()), "seconds has a negative time"
            for name in ("model_bytes", "threads"):
                value = getattr(executable, name)
                assert value is None or value > 0, f"{name} must be a positive number or None, not {value}"
            assert getattr(params, "threads", None) in (None, executable.threads), (
                f"on {device} threads = {executable.threads}, but the options ask for {params.threads}"  # type: ignore[attr-defined]
            )
            try:
                json.dumps(dict(executable.facts))
            except TypeError as error:
                pytest.fail(f"facts must be strings, numbers and booleans: {error}")

    def test_throughput_is_of_examples(self, executables: Executables, example: np.ndarray) -> None:
        """Where there is an asynchronous throughput, it is a positive number of examples per second."""
        for device, executable in executables:
            throughput = executable.throughput
            if throughput is not None:
                assert throughput(example.copy(), 0.05) > 0, f"on {device} throughput() is not positive"

    def test_nothing_is_printed(
        self,
        load: Callable[[str], Executable],
        example: np.ndarray,
        available: list[str],
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """Loading and running write nothing to stdout, which belongs to results."""
        for device in available:
            load(device).infer(example.copy())
            written = capfd.readouterr().out
            assert not written, f"on {device} load() or infer() wrote to stdout: {written[:99]!r}; silence it"

    def test_outputs_agree_with_eager(
        self, executables: Executables, module: nn.Module, example: np.ndarray
    ) -> None:
        """Outputs are those of the module in evaluation mode."""
        import numpy as np
        import torch

        expected = infer(copy.deepcopy(module), torch.from_numpy(example)).numpy()
        for device, executable in executables:
            outputs = executable.infer(example.copy())
            assert isinstance(outputs, np.ndarray), (
                f"on {device} infer() returned {type(outputs).__name__}: return a NumPy array"
            )
            assert outputs.dtype == np.float32, f"on {device} outputs are {outputs.dtype}: return float32"
            assert outputs.shape == expected.shape, (
                f"on {device} outputs have shape {outputs.shape}, expected {expected.shape}"
            )
            error = _error(outputs, expected)
            assert error <= self.tolerance, (
                f"on {device} outputs differ from eager f32 by {error:.2g} of the largest one, more than "
                f"{self.tolerance:g}: put the module in evaluation mode, and check precision and layout"
            )

    def test_hard_networks_are_right_or_refused(
        self, backend: Backend, params: Params, available: list[str]
    ) -> None:
        """Complex weights, a Fourier transform, a recurrent layer: the right outputs or an error."""
        import numpy as np
        import torch

        rng = np.random.default_rng(0)
        example, calibration = (rng.normal(size=(n, *HARD_SHAPE)).astype(np.float32) for n in (4, 32))
        for name, module in hard_networks().items():
            expected = infer(copy.deepcopy(module), torch.from_numpy(example)).numpy()
            for device in available:
                load = partial(backend.load, params, copy.deepcopy(module), example, device, calibration)
                outputs = _outputs_or_refusal(load, example, name)
                if outputs is None:
                    continue
                error = _error(outputs, expected)
                assert error <= self.tolerance, (
                    f"on {device} a network with {name} has outputs that differ from eager f32 by "
                    f"{error:.2g} of the largest one: run it as it is, or raise scalelab.BackendError, as "
                    "scalelab.check_outputs does"
                )

    def test_inference_is_repeatable(self, executables: Executables, example: np.ndarray) -> None:
        """The same inputs give the same outputs; inputs and earlier outputs are not overwritten."""
        import numpy as np

        for device, executable in executables:
            inputs = example.copy()
            first = executable.infer(inputs)
            kept = first.copy()
            executable.infer(-example)
            assert np.array_equal(first, kept), (
                f"on {device} a later call overwrites earlier outputs: return a copy of the runtime's buffer"
            )
            assert np.array_equal(inputs, example), f"on {device} infer() changes its inputs: copy them first"
            again = executable.infer(inputs)
            assert np.allclose(again, kept, rtol=self.tolerance, atol=self.tolerance), (
                f"on {device} two calls differ by up to {np.abs(again - kept).max():.2g}"
            )

    def test_its_own_clock_is_no_slower_than_ours(
        self, executables: Executables, example: np.ndarray
    ) -> None:
        """A runtime's clock, where it has one, gives seconds within those of the call from Python."""
        import time

        for device, executable in executables:
            if executable.own_seconds is None:
                continue
            executable.infer(example)
            start = time.perf_counter()
            executable.infer(example)
            call, own = time.perf_counter() - start, executable.own_seconds()
            assert 0 < own <= call, (
                f"on {device} own_seconds() says {own:.3g} s of a call that took {call:.3g} s: "
                "give the seconds of the last call"
            )

    def test_module_is_left_alone(
        self,
        backend: Backend,
        params: Params,
        module: nn.Module,
        example: np.ndarray,
        calibration: np.ndarray,
        available: list[str],
    ) -> None:
        """Loading changes neither the module's weights, nor its mode, nor global state."""
        before = copy.deepcopy(module.state_dict())
        for device in available:
            with untouched(f"load() on {device}"):
                backend.load(params, module, example, device, calibration).infer(example.copy())
            changed = unequal(module.state_dict(), before)
            assert not changed, (
                f"load() on {device} changed {', '.join(changed)}: work on a copy of the module"
            )
            assert module.training, f"load() on {device} left the module in evaluation mode: work on a copy"

    def test_unknown_device_is_a_clear_error(
        self, backend: Backend, params: Params, module: nn.Module, example: np.ndarray
    ) -> None:
        """A device that is not there ends in an InputError of one line."""
        refused = refuses(
            lambda: backend.load(params, copy.deepcopy(module), example, "no-such-device", None),
            InputError,
            "load() on an unknown device must raise scalelab.InputError that lists the devices there are",
            mention="no-such-device",
        )
        assert refused, "load() accepted the device 'no-such-device'; raise scalelab.InputError"
