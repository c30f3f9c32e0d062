"""Asks a benchmark of this folder the same over another checkout of the program, one JSON line a question."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def server(script: str, root: Path) -> subprocess.Popen[str]:
    """Starts a script with `--serve` in another process, over the program of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(root.resolve())}
    return subprocess.Popen(
        [sys.executable, script, "--serve"],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def ask(served: subprocess.Popen[str], question: Any) -> Any:
    """Sends a question and returns the answer."""
    assert served.stdin is not None
    assert served.stdout is not None
    print(json.dumps(question), file=served.stdin, flush=True)
    return json.loads(served.stdout.readline())
