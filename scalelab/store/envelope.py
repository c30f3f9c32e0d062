"""The text of a journal file: one JSON object whose checksum tells a truncated file from a whole one.

It reads `{"format":1,"sha256":…,…}`, the checksum covering everything after it; `scalelab.store.kinds` lists
what may follow.

Trade-off: the members stand in a fixed order and without spaces, so that taking in 100,000 files (or a table
of a million rows) need not parse the last one, a record's curve or a table's rows, in Python; a file that
somebody edited by hand is refused, which an immutable record should be.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

FORMAT = 1
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
    return f'{{"format":{FORMAT},"sha256":"{digest}",{rest}}}\n'.encode()


def unseal(content: bytes, keys: Sequence[str], what: str) -> list[Member]:
    """Returns the members of a file; the last one is not parsed.

    Args:
        content: The file.
        keys: The members that it must have, in order.
        what: What it then holds, for messages.

    Raises:
        TornError: It is truncated, was changed, or is something else.
    """
    rest = _checked(content)
    members, at = [], 0
    for key in keys:
        head = f'{"," if at else ""}"{key}":'
        if not rest.startswith(head, at):
            raise TornError(f"it holds no {what}")
        start = at + len(head)
        value, at = (None, len(rest)) if key == keys[-1] else _DECODER.raw_decode(rest, start)
        members.append(Member(rest[start:at], value))
    return members


def check_sum(content: bytes) -> None:
    """Makes sure that a file is whole, whatever it holds.

    Raises:
        TornError: It is truncated, was changed, or is something else.
    """
    _checked(content)


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
