"""Prints constraints that hold each direct dependency at the lowest version that pyproject.toml allows.

PyTorch is left at the version of constraints.txt: other ones may bring gigabytes of CUDA.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Reads both files of the checkout and prints one line a distribution."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = sum(project["optional-dependencies"].values(), project["dependencies"])
    floors = dict(found.groups() for each in declared if (found := re.match(r"([\w.-]+)>=([\w.]+)", each)))
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    torch = re.search(r"^torch==(.+)$", pins, re.MULTILINE)
    assert torch, "constraints.txt pins torch"
    for name, version in sorted((floors | {"torch": torch[1]}).items()):
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
