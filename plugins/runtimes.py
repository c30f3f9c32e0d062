"""What the bundled backends share: finding a device, timing the steps of loading, silence, clear errors."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Literal, Self, get_args

import scalelab

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

Infer = Callable[["np.ndarray"], "np.ndarray"]

Exporter = Literal["auto", "torchscript", "dynamo"]
"""How a network leaves PyTorch: by `torch.jit.trace`, or by `torch.export`, the slower one."""
CHECKED = 32
"""Calibration examples on which the outputs of a conversion are compared with PyTorch's, beside the batch."""

_MEMORY = re.compile(r"out of memory|bad_alloc|allocate|insufficient memory", re.IGNORECASE)
_NOISE = re.compile(r"\x1b\[[0-9;]*m|^(Exception from|Check '|FrontEnd API failed).*$", re.MULTILINE)


def find_device(backend: str, devices: Sequence[scalelab.Device], wanted: str) -> scalelab.Device:
    """Returns the device of a name, upper and lower case being the same.

    Raises:
        scalelab.InputError: There is none, or it cannot be used; the message says why and what can be used.
    """
    found = next((device for device in devices if device.name.lower() == wanted.lower()), None)
    if found is not None and found.available:
        return found
    reason = found.detail if found else "there is no such device"
    usable = ", ".join(device.name for device in devices if device.available) or "none"
    raise scalelab.InputError(f"backend {backend} cannot use {wanted!r}: {reason} (usable: {usable})")


def missing(extra: str, *packages: str) -> str | None:
    """Returns which package is not installed and how to get it; `None` where all are there."""
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    return f"{absent[0]} is not installed: pip install 'scalelab[{extra}]'" if absent else None


def required(extra: str, package: str) -> ModuleType:
    """Returns an imported package.

    Raises:
        scalelab.InputError: It is not installed, or cannot be imported.
    """
    try:
        with quiet():
            return importlib.import_module(package)
    except ImportError as error:
        reason = missing(extra, package) or f"{package} cannot be imported: {error}"
        raise scalelab.InputError(reason) from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps runtimes from talking: nothing they print, warn of or log gets out.

    What native code writes to standard error still does: it is all that remains of a crash.
    """
    before, level = logging.root.manager.disable, logging.root.level
    with (
        _native_stdout_closed(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
            logging.root.setLevel(level)  # OpenVINO's converter raises it when it fails


@contextlib.contextmanager
def _native_stdout_closed() -> Iterator[None]:
    """Leads the process's standard output to nowhere: C++ prints there past `sys.stdout`."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # it has none
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


class StepError(scalelab.BackendError):
    """A step of loading went wrong.

    Attributes:
        doing: What was being done with the model.
        reason: What went wrong, in one line.
    """

    def __init__(self, message: str, doing: str, reason: str) -> None:
        super().__init__(message)
        self.doing, self.reason = doing, reason


@dataclass
class Loading:
    """One attempt to load a model: what it is, and the seconds that its steps took so far.

    Attributes:
        backend: The backend's name.
        device: The device's name, as the runtime spells it.
        precision: What to compute in.
        threads: CPU threads to use.
        seconds: What each step took.
    """

    backend: str
    device: str
    precision: str
    threads: int = 1
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, backend: str, params: scalelab.BackendParams, devices: Sequence[scalelab.Device], device: str
    ) -> Self:
        """Returns an attempt on a device; by default with one thread per core.

        Raises:
            scalelab.InputError: There is no such device, or it cannot be used.
        """
        threads = params.threads or scalelab.machine_facts("cpu", threads=1).cores
        return cls(backend, find_device(backend, devices, device).name, params.precision, threads)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times a step of loading, silences it, and says in one line what went wrong in it.

        Raises:
            scalelab.BackendError: Something went wrong.
        """
        start = time.perf_counter()
        try:
            with quiet():
                yield
        except scalelab.ScalelabError:
            raise
        except Exception as error:
            raise self.error(name, error) from error
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def error(self, doing: str, error: Exception) -> StepError:
        """Returns what to say where `doing` something with the model failed."""
        text = " ".join(_NOISE.sub("", str(error)).split())[:300]
        if isinstance(error, scalelab.ScalelabError):
            reason = text
        else:
            reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        if isinstance(error, MemoryError) or _MEMORY.search(str(error)):
            reason = f"it does not fit into memory: {reason}"
        return self._error(doing, reason)

    def _error(self, doing: str, reason: str) -> StepError:
        where = f"on {self.device} in {self.precision}"
        return StepError(f"backend {self.backend} cannot {doing} the model {where}: {reason}", doing, reason)

    def by_one_of(
        self, exporter: Exporter, load: Callable[[str], scalelab.Executable]
    ) -> scalelab.Executable:
        """Loads the model by the first exporter that succeeds; `seconds` are those of that one.

        Args:
            exporter: The one to use, or `"auto"` for one after the other.
            load: Loads it by the exporter of a name.

        Raises:
            scalelab.InputError: It cannot be had in any way.
            scalelab.BackendError: None succeeds; the message says for each why.
        """
        failures: dict[str, StepError] = {}
        for name in get_args(Exporter)[1:] if exporter == "auto" else (exporter,):
            self.seconds.clear()
            try:
                return load(name)
            except StepError as failure:
                failures[name] = failure
        (first, *others) = failures.values()
        if not others:
            raise first
        alike = all(other.doing == first.doing for other in others)
        reasons = (
            f"by {name} {'' if alike else f'cannot {failure.doing}: '}{failure.reason[:190]}"
            for name, failure in failures.items()
        )
        raise self._error(first.doing if alike else "load", "; ".join(reasons)) from first

    def check(
        self, infer: Infer, module: nn.Module, example: np.ndarray, calibration: np.ndarray | None
    ) -> None:
        """Compares what a conversion in f32 gives with what PyTorch does, on the batch and on real examples.

        Raises:
            scalelab.BackendError: The outputs are not PyTorch's.
        """
        import numpy as np

        others = [] if calibration is None else [calibration[:CHECKED].astype(np.float32, copy=False)]
        try:
            with quiet():
                scalelab.check_outputs(infer, module, np.concatenate([example, *others]), len(example))
        except Exception as error:
            raise self.error("convert", error) from error

    def refusal(self, why: str) -> scalelab.InputError:
        """Returns what to say where the precision is not available."""
        return scalelab.InputError(f"backend {self.backend} has no {self.precision} on {self.device}: {why}")

    def calibration_batches(
        self, who: str, calibration: np.ndarray | None, batch_size: int, at_most: int, otherwise: str = ""
    ) -> list[np.ndarray]:
        """Returns the first `at_most` examples in batches; the last one is filled up with the first ones.

        Raises:
            scalelab.InputError: There are none; the message says `who` needs them and what to do `otherwise`.
        """
        import numpy as np

        if calibration is None or not len(calibration):
            raise self.refusal(f"{who} needs examples to calibrate with, and none were given{otherwise}")
        chosen = calibration[:at_most].astype(np.float32, copy=False)
        whole = -(-len(chosen) // batch_size)
        filled = np.resize(chosen, (whole * batch_size, *chosen.shape[1:]))
        return [np.ascontiguousarray(batch) for batch in np.split(filled, whole)]

    def guarded(self, infer: Infer, shape: tuple[int, ...]) -> Infer:
        """Returns `infer`, whose failures are errors of one line and which takes inputs of one shape."""

        def checked(inputs: np.ndarray) -> np.ndarray:
            if inputs.shape != shape:
                raise scalelab.InputError(
                    f"backend {self.backend} loaded the model for inputs of shape {shape}, not {inputs.shape}"
                )
            try:
                return infer(inputs)
            except Exception as error:
                raise self.error("run", error) from error

        return checked
