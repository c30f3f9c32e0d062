"""What a training script reports, written down from any process; only the standard library is imported.

Trade-off: each report is one line that is appended to a file by one write, so that it is there whatever
becomes of the process, and processes may report at once. It is not waited for until the disk has it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping

from scalelab.errors import InputError, StoreError, brief, is_disk_full

RECORD = "SCALELAB_RECORD"
"""The variable that names the file in which a script's reports are looked for."""
TIME = "time"

_files: list[tuple[int, str]] = []
"""The blocks of `scalelab.run` that are open, innermost last: each by its thread and where it reports."""


def log(**values: object) -> None:
    """Reports something of the run that this process is at: a point of its curve, metrics, facts, features.

    Inside `with scalelab.run(...)` of this process the run is that one; in a command that a study runs, it
    is the trial, in all of its processes. A script that nobody listens to prints the report as a line of
    JSON.

    With `step` (or `epoch`) it is a point of the curve: `loss` (validation), `train_loss`, `lr`, `n_seen`,
    `train_flops`, any other number a metric. Without, it is final: `loss`, metrics, `test_loss` and
    `test_<metric>`. In both, `n_params`, `n_params_body`, `n_examples`, `forward_flops`, `n_steps`, `epochs`
    and `peak_memory_bytes` are facts of the run and texts are features; `features={...}` names those that
    are numbers.

    Args:
        values: Numbers and texts, those of NumPy and torch too.

    Raises:
        InputError: A value is neither.
        StoreError: It cannot be written down.

    Example:
        >>> log(step=10, loss=0.5)  # in a script that nobody listens to
        {"step": 10, "loss": 0.5}
    """
    report = report_of(values)
    path = _open_here() or os.environ.get(RECORD)
    if path:
        append(path, report)
    else:
        print(json.dumps(report), file=sys.stdout, flush=True)


def report_of(values: Mapping[str, object]) -> dict[str, object]:
    """Returns values as JSON can say them.

    Raises:
        InputError: One is neither a number nor a text.
    """
    return {name: _plain(name, value) for name, value in values.items()}


def append(path: str, report: Mapping[str, object]) -> None:
    """Adds a report to a file, with the time.

    Raises:
        StoreError: It cannot be written.
    """
    line = json.dumps({**report, TIME: time.time()}).encode() + b"\n"
    try:
        # Of a pipe that nobody reads it is an error, not a wait.
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
        try:
            written = os.write(file, line)
        finally:
            os.close(file)
    except OSError as error:
        why = "disk full; free some space" if is_disk_full(error) else error.strerror
        raise StoreError(f"the report cannot be written to {path}: {why}") from error
    if written < len(line):
        raise StoreError(f"the report cannot be written to {path}: disk full; free some space")


def open_file(path: str) -> None:
    """Sends the reports of this process to a file, until `close_file`."""
    _files.append((threading.get_ident(), path))


def close_file(path: str) -> None:
    """Ends that."""
    _files[:] = [one for one in _files if one[1] != path]


def _open_here() -> str | None:
    """Returns where the reports of the innermost block go: of this thread, else the only one that is open.

    Raises:
        InputError: Other threads have opened several.
    """
    own = [path for thread, path in _files if thread == threading.get_ident()]
    others = {path for _, path in _files}
    if not own and len(others) > 1:
        raise InputError("log(...): other threads have several runs open; call run.log(...) of one of them")
    return own[-1] if own else next(iter(others), None)


def _plain(name: str, value: object) -> object:
    """Returns a value that JSON can say; what has one element and an `item` is that.

    Raises:
        InputError: There is none.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(f"{name}.{key}", one) for key, one in value.items()}
    if name == "curve" and isinstance(value, (list, tuple)):
        return [_plain("curve", one) for one in value]
    try:
        return _plain(name, value.item())  # type: ignore[attr-defined]
    except (AttributeError, TypeError, RuntimeError, ValueError) as error:  # of an array of several
        what = f"log({name}={brief(value)}): a {type(value).__name__}"
        raise InputError(f"{what}; report a number or a text") from error
