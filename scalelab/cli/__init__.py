"""The command line: parse, call, render. One small file per command group; nothing heavy is imported here."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the `scalelab` command; every error that is expected ends in one line and its exit code."""
    from scalelab.cli.app import app
    from scalelab.errors import ScalelabError

    try:
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
