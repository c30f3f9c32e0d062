"""The text of a journal file: one JSON object whose checksum tells a truncated file from a whole one.

It reads `{"format":1,"sha256":…,…}`, the checksum covering everything after it; `scalelab.store.kinds` lists
what may follow.

Trade-off: the members stand in a fixed order and without spaces, so that taking in 100,000 files (or a table
of a million rows) need not parse the last one, a record's curve or a table's rows, in Python; a file that
somebody edited by hand is refused, which an immutable record should be.

A file of format 2 has other bytes behind that line, whose number is the last member: they are written,
checked and read in pieces. The checksum covers them, too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from scalelab.regular_files import open_regular, read_regular

FORMAT = 1
BESIDE = 2
CHUNK = 2**20
LONGEST_LINE = 2**26
_HEAD = re.compile(r'\{"format":([0-9]{1,9}),"sha256":"([0-9a-f]{64})",')
_DECODER = json.JSONDecoder()


class TornError(ValueError):
    """A journal file is not what scalelab wrote."""


class Member(NamedTuple):
    """One member of the JSON object: its text and its value, which is `None` for the last one."""

    text: str
    value: Any


def seal(members: Mapping[str, str]) -> bytes:
    """Returns the text of a file, given the JSON text of each member, in order."""
    rest = ",".join(f'"{key}":{text}' for key, text in members.items())
    digest = hashlib.sha256(rest.encode()).hexdigest()
    return _head(digest, FORMAT) + f"{rest}}}\n".encode()


def unseal(content: bytes, keys: Sequence[str], what: str) -> list[Member]:
    """Returns the members of a file; the last one is not parsed.

    Args:
        content: The file.
        keys: The members that it must have, in order.
        what: What it then holds, for messages.

    Raises:
        TornError: It is truncated, was changed, or is something else.
    """
    return _members(_checked(content), keys, what)


def _members(rest: str, keys: Sequence[str], what: str) -> list[Member]:
    members, at = [], 0
    for key in keys:
        head = f'{"," if at else ""}"{key}":'
        if not rest.startswith(head, at):
            raise TornError(f"it holds no {what}")
        start = at + len(head)
        value, at = (None, len(rest)) if key == keys[-1] else _DECODER.raw_decode(rest, start)
        members.append(Member(rest[start:at], value))
    return members


def seal_beside(target: Path, members: Mapping[str, str], beside: Path) -> None:
    """Writes a file of format 2.

    Args:
        target: The file.
        members: The JSON text of each member, in order; the last is how many bytes the other file has.
        beside: The file whose bytes go behind the line.

    Raises:
        OSError: It cannot be written.
    """
    rest = ",".join(f'"{key}":{text}' for key, text in members.items()) + "}\n"
    digest = hashlib.sha256(rest.encode())
    with beside.open("rb") as source, target.open("wb") as file:
        file.write(_head(digest.hexdigest(), BESIDE))
        file.write(rest.encode())
        for chunk in _chunks(source):
            digest.update(chunk)
            file.write(chunk)
        file.seek(0)
        file.write(_head(digest.hexdigest(), BESIDE))


def unseal_beside(path: Path, keys: Sequence[str], what: str, target: Path) -> list[Member] | None:
    """Reads a file of format 2.

    Args:
        path: The file.
        keys: The members that it must have, in order.
        what: What it then holds, for messages.
        target: The file that the bytes behind the line become.

    Returns:
        The members; `None` where it is of another format.

    Raises:
        TornError: It is truncated or was changed.
        OSError: It cannot be read, or the other file not written.
    """
    with open_regular(path) as file:
        line = _line_beside(file)
        if line is None:
            return None
        digest = hashlib.sha256(line.rest)
        with target.open("wb") as beside:
            for chunk in _chunks(file):
                digest.update(chunk)
                beside.write(chunk)
    if digest.hexdigest() != line.digest:
        raise TornError("its checksum does not match its content")
    return _members(line.rest[:-2].decode(), keys, what)


def check_file(path: Path) -> None:
    """Makes sure that a file is whole, whatever it holds.

    Raises:
        TornError: It is truncated, was changed, or is something else.
        OSError: It cannot be read.
    """
    with open_regular(path) as file:
        line = _line_beside(file)
        if line is not None:
            digest = hashlib.sha256(line.rest)
            for chunk in _chunks(file):
                digest.update(chunk)
            if digest.hexdigest() != line.digest:
                raise TornError("its checksum does not match its content")
            return
    _checked(read_regular(path))


class _Line(NamedTuple):
    digest: str
    rest: bytes


def _line_beside(file: BinaryIO) -> _Line | None:
    """Returns the checksum and what it covers of the first line; `None` where the format is not 2."""
    start = _head("0" * 64, BESIDE)
    head = file.read(len(start))
    told = _HEAD.fullmatch(head.decode("ascii", "replace"))
    if told is None or int(told[1]) != BESIDE:
        return None
    rest = file.readline(LONGEST_LINE)
    if not rest.endswith(b"}\n"):
        raise TornError("it is truncated or corrupt")
    return _Line(told[2], rest)


def _head(digest: str, version: int) -> bytes:
    return f'{{"format":{version},"sha256":"{digest}",'.encode()


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _checked(content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise TornError("it is not text") from error
    head = _HEAD.match(text)
    if head is None or not text.endswith("}\n"):
        raise TornError(
            "it is truncated or corrupt"
            if text[:10] == '{"format":'[: len(text[:10])]
            else "it is not a journal file"
        )
    if int(head[1]) != FORMAT:
        raise TornError(f"its format is {head[1]}, this scalelab reads {FORMAT}")
    # The head is ASCII: its length in bytes is that in characters.
    if hashlib.sha256(memoryview(content)[head.end() : -2]).hexdigest() != head[2]:
        raise TornError("its checksum does not match its content")
    return text[head.end() : -2]
