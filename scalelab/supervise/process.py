"""A supervised process: how it serves its coordinator, how it ends, and why."""

from __future__ import annotations

import signal
import subprocess
import sys
import traceback
from pathlib import Path

from scalelab.errors import ScalelabError


def serve_the_coordinator() -> None:
    """Asks Linux to kill this process with its parent, and before it when memory runs out.

    Elsewhere the end of standard input must do.
    """
    if sys.platform == "linux":
        import contextlib
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")


def one_line(error: BaseException) -> str:
    """Returns an error as one line, with the place where it is not one of scalelab's own."""
    text = " ".join(str(error).split())[:500]
    if isinstance(error, ScalelabError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    where = f" (at {Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{where}"


def kill_process(process: subprocess.Popen[str]) -> None:
    """Ends a process now and waits until it is gone."""
    if process.poll() is None:
        process.kill()
    process.wait()


def why_lost(process: subprocess.Popen[str]) -> str:
    """Returns how a worker that is gone came to its end."""
    code = process.returncode
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (the kernel does this when memory runs out)" if name == "SIGKILL" else ""
        return f"its worker was killed by {name}{hint}"
    return f"its worker ended with exit code {code}"
