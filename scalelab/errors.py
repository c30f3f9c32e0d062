"""The one error tree; what a user sees when something is wrong.

    ScalelabError                 exit code 1
    ├── InputError                exit code 2   something the user gave is wrong
    │   ├── StudyError                a study file, or a value in it
    │   ├── PluginError               a plugin, or a component's name or options
    │   ├── DataError                 a dataset's folder, files or content
    │   └── FitError                  a table that cannot support the law asked of it
    ├── StoreError                exit code 3   the store cannot be read or written
    │   ├── StoreLockedError          another process holds it for too long
    │   ├── StoreNewerError           a newer scalelab wrote it
    │   └── StoreDamagedError         its file is not what DuckDB or scalelab wrote
    ├── TrainingError             exit code 1   one trial could not be trained
    │   ├── MemoryRanOutError         where it was trained, memory ran out
    │   └── KilledError               its command was killed, which says nothing about it
    └── BackendError              exit code 1   one model could not be run on one device

Every message is one line that says *what* is wrong, *where*, and *what to do*. The command line prints it
after `error:` and ends with the class's `exit_code`; a traceback is always a bug of ours.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Callable, Iterable
from typing import Any

TEXT_LENGTH = 100_000
WORD_LENGTH = 400
"""What is read of a text that is to be one line, and the longest word that it shows whole."""


_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class ScalelabWarning(UserWarning):
    """Something that whoever runs scalelab should know; the work goes on."""


class ScalelabError(Exception):
    """Base of every error that scalelab raises on purpose."""

    exit_code = 1


class InputError(ScalelabError):
    """Something the user gave is wrong; nothing was changed."""

    exit_code = 2


class StudyError(InputError):
    """A study file, or a value in it, is wrong."""


class PluginError(InputError):
    """A plugin is broken, or a component's name or options are wrong."""


class DataError(InputError):
    """A dataset's folder, files or content cannot be used."""


class FitError(InputError):
    """A table cannot support the law that was asked of it.

    Args:
        message: What is wrong.
        remedies: Which further runs would do, as far as it is runs that are missing: of other `sizes`, of
            other `lengths`, or `repeats` of the same ones.

    Attributes:
        remedies: The same.
    """

    def __init__(self, message: str, remedies: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.remedies = frozenset(remedies)


class StoreError(ScalelabError):
    """The store cannot be read or written; what it held is still there."""

    exit_code = 3


class StoreLockedError(StoreError):
    """Another process held the store longer than we were willing to wait."""


class StoreNewerError(StoreError):
    """The store's schema is newer than this scalelab understands."""


class StoreDamagedError(StoreError):
    """The store's file cannot be read as DuckDB, or lacks our tables."""


class TrainingError(ScalelabError):
    """One trial could not be trained; the study goes on without it."""


class MemoryRanOutError(TrainingError):
    """Memory ran out while a trial was trained, which may have enough of it among fewer workers."""


class KilledError(TrainingError):
    """The command of a trial was killed by somebody else, which is not the trial's fault."""


class BackendError(ScalelabError):
    """A runtime could not convert, load or run one model on one device; other models may run there."""


_FULL = ("No space left", "quota exceeded", "Could not write all bytes", "max_temp_directory_size")
"""What the system says of a full disk, and DuckDB, the last one of its own temporary files."""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that a disk or a quota is full."""
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or any(sign in str(error) for sign in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def suggest(name: str, known: Iterable[str], *, limit: int = 3, show: Callable[[str], str] = repr) -> str:
    """Returns `"; did you mean 'a' or 'b'?"` for close matches of `name`, else an empty string.

    Args:
        name: What was given.
        known: What there is.
        limit: How many matches to name.
        show: How to write a match.
    """
    close = difflib.get_close_matches(name, list(known), n=limit, cutoff=0.6)
    if not close:
        return ""
    return "; did you mean " + " or ".join(show(match) for match in close) + "?"


def brief(value: Any, limit: int = 60) -> str:
    """Returns `repr(value)` cut to `limit` characters: one line that fits into a message."""
    try:
        text = repr(value)
    except Exception:  # an int of more digits than Python is willing to print, or what is foreign
        return "a huge number" if isinstance(value, int) else f"a {type(value).__name__}"
    return _cut(_escaped(text[: limit + 1]), limit)


def plain_line(text: str, limit: int = 500) -> str:
    """Returns a text as one line that every file, pipe, table and terminal takes, cut to `limit` characters.

    What is not printable is escaped: control characters, NUL, lone surrogates. Of a word too long for a line,
    such as a name that somebody made up, the middle is left out, so that what is said after it is there.
    """
    return _cut(_escaped(" ".join(map(_short, text[:TEXT_LENGTH].split()))), limit)


def visible(text: str) -> str:
    """Returns a text of many lines without the control characters of names from outside: they are escaped.

    So are lone surrogates, which no file can say, and marks that turn the direction of text around.
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _short(word: str) -> str:
    if len(word) <= WORD_LENGTH:
        return word
    return f"{word[: WORD_LENGTH // 2]}…({len(word):,} characters)…{word[-WORD_LENGTH // 4 :]}"


def text_of(value: object) -> str:
    """Returns `str(value)`, or that it has none: what is foreign may raise."""
    try:
        return str(value)
    except Exception as error:
        return f"its text cannot be had: {type(error).__name__}"


def in_words(error: BaseException, limit: int = 300) -> str:
    """Returns the class of a foreign error and what it says, as a plain line."""
    text = plain_line(text_of(error), limit)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
