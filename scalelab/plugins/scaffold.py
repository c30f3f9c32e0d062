"""The files of a new plugin: a small distribution that installs, and keeps its contract as it is.

The templates of each kind lie in `templates/`: the plugin, its test, how to use it; `$name` and the like
are filled in.
"""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path
from string import Template

from scalelab.errors import InputError, brief, suggest
from scalelab.plugins.catalog import KINDS, Catalog
from scalelab.plugins.verify import Kind

TEMPLATES = Path(__file__).parent / "templates"
PREFIX = "scalelab-"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""Names that are a component's, a distribution's and, with underscores, a module's at once."""
LONGEST = 50
NEEDS = {
    "dataset": "numpy>=1.26",
    "architecture": "torch>=2.6",
    "optimizer": "torch>=2.6",
    "backend": "torch>=2.6",
    "law": "numpy>=1.26",
    "trainer": "torch>=2.6",
}


def write_plugin(name: str, kind: str, to: Path, catalog: Catalog) -> Path:
    """Writes the distribution of a new plugin and returns its folder, `to/scalelab-NAME`.

    Args:
        name: What the component will be called, such as `"wavelet-net"`; without `scalelab-`.
        kind: `"dataset"`, `"architecture"`, `"optimizer"`, `"backend"`, `"law"` or `"trainer"`.
        to: The folder to put it into; made where it is missing.
        catalog: What is installed: a name that is taken would make both plugins useless.

    Raises:
        InputError: The name or the kind is none, the name is taken, or the folder already exists or cannot
            be written; nothing was written then.
    """
    name = name.removeprefix(PREFIX)
    known = next((known for known in KINDS if known == kind), None)
    if known is None:
        listed = ", ".join(map(repr, KINDS))
        raise InputError(f"--kind {brief(kind)}: must be one of {listed}{suggest(kind, KINDS)}")
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise InputError(
            f"{brief(name)} cannot be a plugin's name: use lower-case letters and digits, words joined by "
            f"'-', at most {LONGEST}, such as 'wavelet-net'"
        )
    _refuse_taken(name, known, catalog)
    folder = to / f"{PREFIX}{name}"
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} already exists, and nothing was changed; choose another name or --to")
    try:
        to.mkdir(parents=True, exist_ok=True)
        _write(_files(name, known), folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder


def _refuse_taken(name: str, kind: Kind, catalog: Catalog) -> None:
    """Two plugins of one name, or that give one component, are both left out when plugins are loaded."""
    for info in catalog.plugins:
        gives = name in info.components.get(kind, ())
        if gives or info.name == name:
            what = f"{kind} {name!r} (of plugin {info.name})" if gives else f"plugin {name!r}"
            raise InputError(f"{what} already exists; choose another name")


def _files(name: str, kind: Kind) -> dict[str, str]:
    """Returns the text of every file by its path."""
    from scalelab.version import __version__

    module = f"{PREFIX}{name}".replace("-", "_")
    words = {
        "name": name,
        "kind": kind,
        "article": "An" if kind[0] in "aeiou" else "A",
        "distribution": f"{PREFIX}{name}",
        "module": module,
        "Class": "".join(part.capitalize() for part in name.split("-")),
        "needs": NEEDS[kind],
        "scalelab": ".".join(__version__.split(".")[:2]),
    }
    words["usage"] = _filled(f"{kind}.usage", words).strip()
    return {
        "pyproject.toml": _filled("pyproject.toml", words),
        "README.md": _filled("README.md", words),
        f"src/{module}.py": _filled(f"{kind}.py", words),
        f"tests/test_{module}.py": _filled(f"test_{kind}.py", words),
    }


def _filled(template: str, words: dict[str, str]) -> str:
    return Template((TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")).substitute(words)


def _write(files: dict[str, str], folder: Path) -> None:
    """Writes all files or none: beside the folder first, then renamed."""
    draft = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        for path, text in files.items():
            target = draft / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
