"""The log of a run of Weights & Biases (`run-ID.wandb`): records in the order in which the run made them.

A file has blocks of 32 KiB, with pieces of records behind a checksum each, as LevelDB has them; a record is a
message of protocol buffers. Both are read here, of the few records that an analysis needs: the library has no
reader of its logs any more (0.31), and the numbers of fields never change. The formats are those of its
`sdk/internal/datastore.py` and `proto/wandb_internal.proto`; logs of 0.16 and of 0.31 are read alike.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from scalelab.store.trackers.found import Curve, WrongRunError, number

_MAGIC = b":W&B"
_BLOCK = 2**15
_HEAD = Struct("<IHB")
_FULL, _FIRST, _LAST = 1, 2, 4
_DOUBLE = Struct("<d")
_HISTORY, _SUMMARY, _CONFIG, _RUN, _EXIT = 2, 3, 5, 17, 18
_TEXTS = {1: "run_id", 3: "project", 6: "group", 7: "job_type", 8: "name"}


@dataclass
class Log:
    """What a log says of its run.

    Attributes:
        told: Texts about the run: `run_id`, `project`, `group`, `job_type`, `name`.
        config: By name.
        summary: By name; nested ones have dots.
        curves: By metric.
        exit_code: `None` where the run did not end, or was killed.
        damaged: Whether it stops in the middle of a record.
    """

    told: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    exit_code: int | None = None
    damaged: bool = False


def read_log(data: bytes, *, until_run: bool = False) -> Log:
    """Reads a log; what comes after damage is left out.

    Args:
        data: The file, or its beginning.
        until_run: Whether to stop once the run has said what it is.

    Raises:
        WrongRunError: It is no such log.
    """
    if data[:4] != _MAGIC:
        raise WrongRunError("its .wandb file is empty, torn, or of another program")
    log = Log()
    try:
        for record in _records(data):
            for kind, start, end in _fields(record, 0, len(record)):
                if kind == _HISTORY:
                    _add_history(log.curves, record, start, end)
                elif kind in (_SUMMARY, _CONFIG):
                    _update(log.summary if kind == _SUMMARY else log.config, record, start, end)
                elif kind == _RUN:
                    _add_run(log, record, start, end)
                    if until_run:
                        return log
                elif kind == _EXIT:
                    log.exit_code = _whole(record, start, end)
    except (IndexError, UnicodeDecodeError, ValueError):
        log.damaged = True
    return log


def _records(data: bytes) -> Iterator[bytes]:
    """Yields the records; raises a `ValueError` at damage."""
    at, parts = 7, b""
    while at < len(data):
        if _BLOCK - at % _BLOCK < _HEAD.size:
            at += _BLOCK - at % _BLOCK
            continue
        if len(data) - at < _HEAD.size:
            raise ValueError("a head is torn")
        checksum, size, kind = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        piece = data[at : at + size]
        at += size
        if len(piece) < size or zlib.crc32(piece, zlib.crc32(bytes([kind]))) != checksum:
            raise ValueError("a record is torn")
        parts = piece if kind in (_FULL, _FIRST) else parts + piece
        if kind in (_FULL, _LAST):
            yield parts


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields the fields of a message: number, start and end; or number, value and -1 for a whole number.

    Raises:
        IndexError: It is torn.
        ValueError: It has what no message has.
    """
    while at < end:
        key = data[at]
        at += 1
        if key > 127:
            key, at = _varint(data, at - 1)
        wire = key & 7
        if wire == 2:
            size = data[at]
            at += 1
            if size > 127:
                size, at = _varint(data, at - 1)
            if at + size > end:
                raise ValueError("a field is longer than its message")
            yield key >> 3, at, at + size
            at += size
        elif wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value, -1
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield key >> 3, at, at + size
            at += size
        else:
            raise ValueError("a field of no known kind")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _whole(data: bytes, at: int, end: int) -> int:
    """Returns the whole number in the first field of a message; 0 where it is left out."""
    return next((value for kind, value, own in _fields(data, at, end) if kind == 1 and own < 0), 0)


def _item(data: bytes, at: int, end: int) -> tuple[str, Any]:
    """Returns name and value of an item; texts of JSON as bytes."""
    names: list[str] = []
    value: Any = None
    for kind, start, stop in _fields(data, at, end):
        if kind == 16:
            value = data[start:stop]
        elif kind in (1, 2):
            names.append(data[start:stop].decode())
        elif kind == 5:  # alternating signs
            value = (start >> 1) ^ -(start & 1)
        elif kind == 6:
            value = _DOUBLE.unpack_from(data, start)[0]
    return names[0] if len(names) == 1 else ".".join(name for name in names if name), value


def _add_history(curves: dict[str, Curve], data: bytes, at: int, end: int) -> None:
    """Adds the numbers of one step to the curves of their metrics."""
    found: dict[str, float] = {}
    step = 0
    for kind, start, stop in _fields(data, at, end):
        if kind == 1:
            name, value = _item(data, start, stop)
            try:
                found[name] = float(value)
            except (TypeError, ValueError):
                told = number(_loaded(value))  # "NaN" and "Infinity" are texts
                if told is not None:
                    found[name] = told
        elif kind == 2:
            step = _whole(data, start, stop)
    step = int(found.get("_step", step))
    seconds = found.get("_runtime")
    for name, reported in found.items():
        if name[:1] != "_":
            curve = curves.get(name)
            if curve is None:
                curve = curves[name] = Curve()
            if seconds is None or len(curve.seconds) < len(curve.steps):
                curve.seconds = curve.seconds[:0]
                curve.add(step, reported)
            else:
                curve.add(step, reported, seconds)


def _update(known: dict[str, Any], data: bytes, at: int, end: int) -> None:
    """Applies a change of config or summary."""
    for kind, start, stop in _fields(data, at, end):
        name, value = _item(data, start, stop)
        if kind == 1:
            known[name] = _loaded(value)
        elif kind == 2:
            known.pop(name, None)


def _loaded(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _add_run(log: Log, data: bytes, at: int, end: int) -> None:
    for kind, start, stop in _fields(data, at, end):
        if kind == 4:
            _update(log.config, data, start, stop)
        elif kind in _TEXTS:
            log.told[_TEXTS[kind]] = data[start:stop].decode()


def later(first: Log, second: Log) -> Log:
    """Returns what two logs say of a run that was resumed."""
    curves = dict(first.curves)
    for name, curve in second.curves.items():
        if name in curves:
            before = curves[name]
            timed = len(before.seconds) == len(before.steps) and len(curve.seconds) == len(curve.steps)
            seconds = before.seconds + curve.seconds if timed else curve.seconds[:0]
            curve = Curve(before.steps + curve.steps, before.values + curve.values, seconds)
        curves[name] = curve
    return Log(
        first.told | second.told,
        first.config | second.config,
        first.summary | second.summary,
        curves,
        second.exit_code,
        second.damaged,
    )
