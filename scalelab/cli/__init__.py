"""The command line: parse, call, render. One small file per command group; nothing heavy is imported here."""

from __future__ import annotations

import contextlib
import io
import os
import sys


def main() -> None:
    """Runs the `scalelab` command; every error that is expected ends in one line and its exit code."""
    from scalelab.cli.app import app
    from scalelab.errors import ScalelabError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding does not have is no traceback
            stream.reconfigure(errors="backslashreplace")
    try:
        _refuse_undecoded()
        app()
    except ScalelabError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of a pipe (head, less) went away; that is not an error.
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


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
