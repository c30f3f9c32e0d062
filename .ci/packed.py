"""Tells whether a wheel holds every file of both packages, and nothing else: `packed.py WHEEL`."""

import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]


def main(wheel: str) -> None:
    """Ends with exit code 1 and the files that differ."""
    expected = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in (("scalelab", "scalelab"), ("scalelab_plugins", "plugins"))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    if packed != expected:
        missing, foreign = sorted(expected - packed), sorted(packed - expected)
        sys.exit(f"{wheel} lacks {missing} and has {foreign}; fix packages or package-data in pyproject.toml")


if __name__ == "__main__":
    main(*sys.argv[1:])
