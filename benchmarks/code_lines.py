"""How large the program is: code lines by room, and every file or function that is too long.

A code line holds code: blank lines, comments and docstrings do not count. A file's length is all of its
lines, and so is a function's, from its first decorator to its end.

    python benchmarks/code_lines.py [ROOT] [--against OTHER_ROOT]
"""

from __future__ import annotations

import argparse
import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

LONGEST_FILE, LONGEST_FUNCTION = 400, 60
_NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
    tokenize.ENCODING,
}  # fmt: skip
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(text: str) -> set[int]:
    """Returns the numbers of the lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines - _strings_alone(text)


def _strings_alone(text: str) -> set[int]:
    """The lines of docstrings: of strings that stand as statements, those of attributes among them."""
    strings = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr))
    return {
        line
        for node in strings
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def long_functions(text: str) -> Iterator[tuple[str, int]]:
    """Yields the name and the length of every function that is too long."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, _DEFINITIONS):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            length = (node.end_lineno or first) - first + 1
            if length > LONGEST_FUNCTION:
                yield node.name, length


def files(root: Path) -> Iterator[Path]:
    """Yields the program's files below a checkout, stubs among them: those of `scalelab/` and `plugins/`."""
    for folder in ("scalelab", "plugins"):
        yield from sorted((root / folder).rglob("*.py[i]"))
        yield from sorted((root / folder).rglob("*.py"))


def room(root: Path, path: Path) -> str:
    """Returns the room that a file belongs to."""
    parts = path.relative_to(root).parts
    return "/".join(parts[:2]) if len(parts) > 2 else f"{parts[0]}/*.py"


def sizes(root: Path) -> Counter[str]:
    """Returns the code lines of each room of a checkout."""
    count: Counter[str] = Counter()
    for path in files(root):
        count[room(root, path)] += len(code_lines(path.read_text(encoding="utf-8")))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--against", type=Path, help="another checkout, to compare with")
    options = parser.parse_args()
    now, then = sizes(options.root), sizes(options.against) if options.against else None
    for name in sorted({*now, *(then or ())}):
        print(f"{name:28}{now[name]:>8,}" + (f"{now[name] - then[name]:>+8,}" if then else ""))
    total = now.total()
    print(f"{'code lines':28}{total:>8,}" + (f"{total - then.total():>+8,}" if then else ""))
    too_long = False
    for path in files(options.root):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(options.root)
        if (length := text.count("\n")) > LONGEST_FILE:
            too_long = True
            print(f"{name}: {length} lines, over {LONGEST_FILE}")
        for function, length in long_functions(text):
            too_long = True
            print(f"{name}: {function} has {length} lines, over {LONGEST_FUNCTION}")
    sys.exit(1 if too_long else 0)


if __name__ == "__main__":
    main()
