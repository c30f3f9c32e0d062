"""pyproject.toml declares what is imported, and continuous integration takes its floors from it."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTIONS = importlib.metadata.packages_distributions()
OWN = {"scalelab", "scalelab_plugins", "scalelab_transformer"}


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements):
    """The distributions of requirements such as `numpy>=1.26`."""
    return {normalized(re.match(r"[\w.-]+", each)[0]) for each in requirements}


CORE = names(PROJECT["dependencies"])
RUNTIMES = names([*EXTRAS["openvino"], *EXTRAS["onnx"]])


def listed(file):
    """The distributions that a file of .ci pins."""
    lines = (ROOT / ".ci" / file).read_text(encoding="utf-8").splitlines()
    return names(line for line in lines if not line.startswith("#"))


# The trackers whose files tests/imports and a benchmark write; two are modules of another name.
TRACKERS = listed("imports.txt") | {"hydra", "mlflow"}
BROWSER = listed("page.txt")


def imported(path):
    """Names and lines of the modules outside the standard library that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module]
        for module in modules:
            top = module.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in OWN:
                yield top, node.lineno


@pytest.mark.parametrize(
    ("folder", "declared"),
    [
        ("scalelab", CORE | names([*EXTRAS["ray"], *EXTRAS["slurm"]])),
        ("scalelab/testing", CORE | names(EXTRAS["test"])),
        ("plugins", CORE | RUNTIMES),
        ("tests", CORE | RUNTIMES | TRACKERS | BROWSER | names([*EXTRAS["test"], *EXTRAS["ray"]])),
        (
            "benchmarks",
            CORE | RUNTIMES | TRACKERS | names([*EXTRAS["benchmark"], *EXTRAS["ray"], *EXTRAS["slurm"]]),
        ),
        (".ci", set()),
    ],
)
def test_every_import_is_declared(folder, declared):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    if folder == "scalelab":
        files = [path for path in files if "testing" not in path.relative_to(ROOT).parts]
    # Tests and benchmarks import the files beside them, and benchmarks the clusters of the tests.
    helpers = {path.stem for path in [*files, *(ROOT / "tests" / "cluster").glob("*.py")]}
    undeclared = {
        f"{path.relative_to(ROOT)}:{line}": module
        for path in files
        for module, line in imported(path)
        if module not in helpers
        and not declared & {normalized(name) for name in DISTRIBUTIONS.get(module, [module])}
    }
    assert not undeclared, "declare the distributions in pyproject.toml"


def test_every_pin_of_a_dependency_is_allowed_by_it():
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split())
    pins = {normalized(name): version for name, version in pins.items()}
    floors = subprocess.run(
        [sys.executable, ROOT / ".ci" / "lowest.py"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(floors) > 20
    for floor in floors:
        name, lowest = floor.split("==")
        if name in pins:  # what no environment here has, such as ray, is not pinned
            assert [int(n) for n in pins[name].split(".")[:2]] >= [int(n) for n in lowest.split(".")[:2]], (
                name
            )


def test_the_citation_is_of_this_version():
    import yaml

    from scalelab import __version__

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert set(cited) >= {"message", "title", "authors", "version", "license"}
    assert cited["authors"] == [{"name": "The scalelab authors"}]
    assert cited["version"] == __version__
    assert cited["license"] == "MIT"
