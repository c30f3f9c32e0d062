"""Where to train, how precisely, from which seed, and how much memory it took."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scalelab.errors import InputError, MemoryRanOutError, suggest, text_of

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16"]
GPU_SLOTS = "SCALELAB_GPU_SLOTS"
"""Variable of a worker's environment: how many workers share its GPU."""
_CONTEXT_BYTES = 768 * 2**20
"""What CUDA takes for a process beside what torch allocates."""
_NO_MEMORY = "can't allocate memory", "out of memory", "_STATUS_ALLOC_FAILED"
"""What errors without a class of their own say: of torch's CPU allocator, MPS, cuBLAS, cuDNN."""


def resolve_device(name: str = "auto") -> torch.device:
    """Returns the device of a name.

    Args:
        name: `"cpu"`, `"cuda"`, `"cuda:N"`, `"mps"`, or `"auto"`: CUDA,
            else Apple's MPS, else the CPU.

    Raises:
        InputError: There is no such device here.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise InputError(
            f"unknown device {name!r}{suggest(name, ('auto', 'cpu', 'cuda', 'mps'))}; "
            "known are auto, cpu, cuda, cuda:N and mps"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError("device 'mps' needs macOS on Apple silicon and a torch built for it; use 'auto'")
    if kind != "cuda":
        return torch.device(kind)
    if not torch.cuda.is_available():
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch sees no GPU"
        raise InputError(f"device {name!r} cannot be used: {why}; use 'auto' or 'cpu'")
    if int(index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r} does not exist: this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}"
        )
    return torch.device("cuda", int(index or 0))


def resolve_precision(
    asked: Literal["auto", "fp32", "bf16"], device: torch.device, decided: Precision | None = None
) -> Precision:
    """Returns the precision to train with; `"auto"` is bf16 autocast on a GPU with bf16 units, else fp32.

    On a CPU it depends on the networks which one is faster, so that `decided` has to say it.

    Args:
        asked: What the trial asks for.
        device: Where it is trained.
        decided: What `"auto"` means for all trials of its study, where that was decided before.

    Raises:
        InputError: The device cannot compute in it.
    """
    import torch

    if asked == "auto" and decided is None:
        units = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if units else "fp32"
    precision = decided if asked == "auto" and decided is not None else asked
    assert precision != "auto", "an open precision was decided above"
    if precision == "bf16":
        try:
            with torch.autocast(device.type, torch.bfloat16):
                torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
        except (RuntimeError, TypeError) as error:
            why = f"device {str(device)!r} cannot compute in bf16"
            raise InputError(f"{why}: {' '.join(str(error).split())[:120]}") from error
    return precision


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tells whether this CPU multiplies bf16 in hardware and torch has the kernels for it."""
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        flags = next(line.split() for line in lines if line.startswith("flags"))
    except (OSError, StopIteration):
        # Not Linux, or not x86: ask torch's own detection where this version has it.
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return "amx_bf16" in flags or "avx512_bf16" in flags


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Returns the context of a forward pass in `precision`."""
    import torch

    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@contextmanager
def deterministic_kernels() -> Iterator[None]:
    """Makes cuDNN choose kernels that give the same bits each time, and choose them without timing.

    On the CPU there is nothing to choose: torch's kernels give the same bits with the same number of threads.
    """
    import torch

    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


def seed_everything(seed: int) -> None:
    """Seeds torch on every device, NumPy's global generator and `random`."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(np.random.SeedSequence(seed).generate_state(4))  # noqa: NPY002 - for models that use it
    torch.manual_seed(seed)


def leave_others_room(device: torch.device, sharers: int = 1) -> None:
    """Limits this process to its part of a GPU's memory, where several workers share the GPU.

    Args:
        device: What it trains on.
        sharers: How many jobs of a cluster share that, each with so many workers as this one; 0 where nobody
            can say.
    """
    import torch

    slots = int(os.environ.get(GPU_SLOTS, "1")) * max(1, sharers)
    if device.type == "cuda":
        whole = torch.cuda.get_device_properties(device).total_memory
        part = max(1 / slots - _CONTEXT_BYTES / whole, 0.5 / slots) if slots > 1 else 1.0
        torch.cuda.set_per_process_memory_fraction(part, device)  # the trial before may have had less


def give_back_memory() -> None:
    """Lets go of memory of a GPU that torch keeps for later, so that others may have it."""
    import torch

    with suppress(RuntimeError):  # of a kernel that failed, which the record tells
        torch.cuda.empty_cache()


@contextmanager
def clear_memory_errors(device: torch.device | str, batch_size: int) -> Iterator[None]:
    """Turns running out of memory, which has many faces, into one error.

    Args:
        device: Where, for the message.
        batch_size: Of what is trained, likewise.

    Raises:
        MemoryRanOutError: The block ran out of memory.
    """
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        text = text_of(error)
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not (known or any(words in text for words in _NO_MEMORY)):
            raise
        raise MemoryRanOutError(
            f"memory ran out on {device} with batch_size = {batch_size}; "
            "use a smaller batch or model, or fewer workers"
        ) from error


class PeakMemory:
    """Measures the highest memory in use since it was made.

    On CUDA that is torch's allocations on the device. Elsewhere it is the resident memory of the process:
    since construction on Linux, where the kernel lets a process reset the mark, and since the process began
    on other systems.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats(device)
        elif platform.system() == "Linux":
            try:
                Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
            except OSError:
                return  # a sandbox may forbid it: the mark is then that of the whole process

    def bytes(self) -> int | None:
        """Returns the peak in bytes, `None` where the system does not tell."""
        if self._device.type == "cuda":
            import torch

            return int(torch.cuda.max_memory_allocated(self._device))
        if platform.system() == "Linux":
            for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
            return None
        if platform.system() == "Windows":
            import psutil

            return int(psutil.Process().memory_info().peak_wset)  # type: ignore[attr-defined, unused-ignore]
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
