"""The command line: parse, call, render. One small file per command group; nothing heavy is imported here."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_NOT_OURS = {
    errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS,
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG,
}  # fmt: skip
"""What a path that was given, or its file system, does not allow: no fault of the program."""


def main() -> None:
    """Runs the `scalelab` command; every error that is expected ends in one line and its exit code."""
    with _interrupts() as pressed:
        try:
            _main()
        except KeyboardInterrupt:
            _end("stopped", 130)
        except Exception:
            # A library that Ctrl-C met half imported fails in ways of its own.
            if not pressed:
                raise
            _end("stopped", 130)


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Gives a list that gets an entry where Ctrl-C is pressed, unless something else hears it."""
    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def hear(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    if before is not signal.default_int_handler:
        yield pressed
        return
    signal.signal(signal.SIGINT, hear)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _main() -> None:
    from scalelab.cli.app import app
    from scalelab.cli.usage import UsageError, one_line_of
    from scalelab.errors import ScalelabError, plain_line

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding does not have is no traceback
            stream.reconfigure(errors="backslashreplace")
    try:
        _refuse_undecoded()
        code = app(standalone_mode=False)
    except UsageError as error:
        _end(one_line_of(error), error.exit_code)
    except ScalelabError as error:
        # What a file, a plugin or a server says may hold anything.
        _end(f"error: {plain_line(str(error), 4000)}", error.exit_code)
    except BrokenPipeError:
        # The reader of a pipe (head, less) went away; that is not an error.
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        _end(f"error: {plain_line(f'{where}{error.strerror}', 4000)}; give another path", 2)
    if code == 130:  # how Typer ends on Ctrl-C
        _end("stopped", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _end(line: str, code: int) -> NoReturn:
    """Ends with a line on standard error and, with `--json`, a document on standard output."""
    from scalelab.cli.context import print_json, say

    say(line)
    if "--json" in sys.argv[1:]:
        print_json("error", {"error": {"message": line.removeprefix("error: "), "code": code}})
    sys.exit(code)


def _refuse_undecoded() -> None:
    """Makes sure that arguments and the working folder are text, which orders to workers and records are.

    Raises:
        InputError: One has bytes that the locale's encoding does not have.
    """
    from scalelab.errors import InputError, brief

    given = [(name, value) for name, value in os.environ.items() if name.startswith("SCALELAB_")]
    given += [("argument", text) for text in sys.argv[1:]]
    with contextlib.suppress(OSError):  # it was removed
        given.append(("working folder", os.getcwd()))
    for what, text in given:
        if not _is_text(text):
            encoding = sys.getfilesystemencoding()
            raise InputError(
                f"{what} {brief(text)} is not text in this locale's encoding ({encoding}); "
                "use a UTF-8 locale, such as LC_ALL=C.UTF-8, or another name"
            )


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
