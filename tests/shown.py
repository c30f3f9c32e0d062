"""Whether the output that a page shows is what a command prints."""

from __future__ import annotations

import re
import subprocess
import sys

NUMBER = r"\d[\d,]*(?:\.\d+)?"


def words(line: str) -> str:
    """The line without its numbers and spacing."""
    return " ".join(re.sub(NUMBER, "#", line).split())


def numbers(line: str) -> list[float]:
    return [float(text.replace(",", "")) for text in re.findall(NUMBER, line)]


def close(shown: list[float], printed: list[float]) -> bool:
    """Equal but for what another processor's last bits may do to a rounded digit."""
    return len(shown) == len(printed) and all(
        abs(a - b) <= 0.02 * max(abs(a), abs(b)) + 1e-3 for a, b in zip(shown, printed, strict=True)
    )


def command_line(*arguments: object) -> str:
    command = [sys.executable, "-m", "scalelab.cli", "--plain", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=240).stdout


def shown_lines(page: str) -> list[str]:
    """The lines of all blocks of a page that are marked as real output, but for what stands for others."""
    blocks = re.findall(r"<!-- real output: begin -->(.*?)<!-- real output: end -->", page, re.DOTALL)
    assert blocks
    return [
        line for block in blocks for line in block.splitlines() if line.strip() and line not in ("```", "…")
    ]


def refuse_other_output(lines: list[str], printed_text: str, at_least: int, at_most: int) -> None:
    """Makes sure that each of the lines that a page shows was printed."""
    assert at_least <= len(lines) <= at_most
    printed: dict[str, list[list[float]]] = {}
    for line in printed_text.splitlines():
        printed.setdefault(words(line), []).append(numbers(line))
    for line in lines:
        assert any(close(numbers(line), found) for found in printed.get(words(line), [])), line
