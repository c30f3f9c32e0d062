"""examples/scalelab-transformer, as a third party installs it: pip, a fresh environment, the entry point."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from scalelab.testing import write_toy_plugin

EXAMPLE = Path(__file__).parents[2] / "examples/scalelab-transformer"
STUDY = """
name = "beside"
seeds = [0]

[dataset]
name = "toy-blobs"

[[architecture]]
name = "transformer1d"
options = { width = 16, depth = 1, heads = 2 }

[[architecture]]
name = "convnext1d"
options = { dims = [4, 8], depths = [1, 1] }

[[architecture]]
name = "regnet1d"
options = { depth = 2, w_init = 8, w_0 = 8 }

[[optimizer]]
name = "adamw"

[training]
length = { steps = 30 }
batch_size = 16
validations = 2
"""


class Environment:
    """A virtual environment that sees this one's packages, and the Transformer besides."""

    def __init__(self, folder: Path) -> None:
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=100
        )
        self.python = folder / "venv/bin/python"
        here = sysconfig.get_path("purelib")
        site = subprocess.run(
            [self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        )
        parent = Path(site.stdout.strip()) / "parent.pth"
        parent.write_text(f"import site; site.addsitedir({here!r})\n")
        # A copy, because pip builds in the folder that it installs from.
        self.sources = folder / "scalelab-transformer"
        shutil.copytree(
            EXAMPLE, self.sources, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
        )
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet"]
        subprocess.run(
            [*pip, "--no-index", "--no-build-isolation", self.sources],
            check=True,
            capture_output=True,
            timeout=200,
        )
        self.plugins = write_toy_plugin(folder / "toys")
        self.study = folder / "beside.toml"
        self.study.write_text(STUDY)
        self.store = folder / "beside.duckdb"

    def run(
        self, *arguments: object, python: Path | None = None, select: str = ""
    ) -> subprocess.CompletedProcess:
        return subprocess.run(
            [python or self.python, *map(str, arguments)],
            cwd=self.sources,
            env={**os.environ, "OMP_NUM_THREADS": "1", "SCALELAB_PLUGINS": select},
            capture_output=True,
            text=True,
            timeout=250,
        )

    def scalelab(self, *arguments: object, **keywords) -> subprocess.CompletedProcess:
        return self.run("-m", "scalelab.cli", *arguments, **keywords)


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Environment:
    return Environment(tmp_path_factory.mktemp("transformer"))


@pytest.fixture(scope="module")
def trained(environment) -> Environment:
    """The environment, where the study has been run."""
    result = environment.scalelab(
        "run",
        environment.study,
        "--store",
        environment.store,
        "--plugins-dir",
        environment.plugins,
        "--workers",
        2,
    )
    assert result.returncode == 0, result.stderr
    assert "3 trials: 3 done" in result.stderr + result.stdout
    return environment


def test_it_is_found_by_its_entry_point(environment):
    document = json.loads(environment.scalelab("plugins", "--json").stdout)
    plugin = next(p for p in document["plugins"] if p["name"] == "transformer")
    assert (plugin["distribution"], plugin["version"], plugin["status"]) == (
        "scalelab-transformer", "0.1.0", "healthy",
    )  # fmt: skip
    assert plugin["components"] == {"architecture": ["transformer1d"]}


def test_its_own_tests_pass_where_it_is_installed(environment):
    result = environment.run("-m", "pytest", "-p", "no:cacheprovider", "tests")
    assert result.returncode == 0, result.stdout[-3000:]
    where = environment.run("-c", "import scalelab_transformer; print(scalelab_transformer.__file__)")
    assert str(environment.python.parents[1]) in where.stdout


def test_it_trains_beside_the_cnns(trained):
    query = "SELECT architecture, status, feature_n_tokens, loss FROM runs ORDER BY architecture"
    result = trained.scalelab("store", "sql", query, "--csv", "--store", trained.store)
    rows = [line.split(",") for line in result.stdout.splitlines()[1:]]
    assert [row[:3] for row in rows] == [
        ["convnext1d", "done", ""], ["regnet1d", "done", ""], ["transformer1d", "done", "4"],
    ]  # fmt: skip
    assert all(0 < float(row[3]) < 2 for row in rows)


@pytest.mark.parametrize("how", ["blocked", "not installed"])
def test_its_runs_are_analyzed_without_it(trained, how):
    without = {"select": "-transformer"} if how == "blocked" else {"python": Path(sys.executable)}
    status = trained.scalelab("status", "--store", trained.store, "--json", **without)
    assert json.loads(status.stdout), status.stderr
    result = trained.scalelab("analyze", "--store", trained.store, **without)
    assert result.returncode == 0, result.stderr
    assert "transformer1d" in result.stdout
    refused = trained.scalelab(
        "plan", trained.study, "--store", trained.store, "--plugins-dir", trained.plugins, **without
    )
    assert refused.returncode == 2
    assert "there is no architecture 'transformer1d'" in refused.stderr


def test_readme_says_what_the_options_are(environment):
    code = (
        "import json, scalelab_transformer as t; fields = t.TransformerParams.model_fields;"
        "print(json.dumps([[n, str(f.default)] for n, f in fields.items()]))"
    )
    options = json.loads(environment.run("-c", code).stdout)
    lines = (EXAMPLE / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| `")]
    assert [[cell.strip(" `") for cell in row] for row in rows] == options


POINTS = """
import sys, scalelab
from scalelab.study.resolve import resolve
from scalelab.study.sampling import drawn_points, grid_points

catalog = scalelab.load_plugins()
for path in sys.argv[1:]:
    study = scalelab.load_study(path, catalog)
    resolved = resolve(study, catalog)
    n_trials = 0
    for architecture in resolved.architectures:
        how = study.sampling
        if how.method == "grid":
            points = grid_points(resolved.dataset, architecture, resolved.optimizers, how.n)
        else:
            parts = resolved.dataset, architecture, resolved.optimizers
            points = drawn_points(*parts, how.method, how.n, how.seed)
        for point in points.points:
            architecture.params(point.architecture)
        n_trials += len(points.points) * len(resolved.optimizers)
    print(n_trials, *(part.component.name for part in resolved.architectures))
"""


def test_studies_of_the_examples_are_valid(environment):
    result = environment.run("-c", POINTS, "study.toml", EXAMPLE.parent / "mitbih-design.toml")
    small, design = result.stdout.splitlines()
    assert small == "6 transformer1d convnext1d", result.stderr
    n_trials, *families = design.split()
    assert families == ["convnext1d", "transformer1d", "regnet1d"]
    assert int(n_trials) == 36


REFERENCE = EXAMPLE.parent / "ecg-reference"
RECORDS = Path(__file__).parents[3] / "shared/data/challenge-2021/training"


def test_studies_of_the_reference_are_valid(environment):
    n_points = {
        "random": 30,
        "patients": 30,
        "patients-data": 5,
        "physionet2021": 30,
        "physionet2021-sources": 180,
    }
    result = environment.run("-c", POINTS, *(REFERENCE / f"{name}.toml" for name in n_points))
    families = "convnext1d resnet1d ssm1d regnet1d transformer1d"
    assert result.stdout.splitlines() == [f"{n} {families}" for n in n_points.values()], result.stderr


def smallest(name: str) -> str:
    """A study of the reference: the smallest network of each family, half of the data, one seed, one rate."""
    text = (REFERENCE / f"{name}.toml").read_text(encoding="utf-8")
    text = re.sub(r"low = (\d+), high = \d+", r"low = \1, high = \1", text)
    text = re.sub(r"^sizes = .*$", "sizes = [0.5]", text, flags=re.MULTILINE)
    text = re.sub(r"^seeds = .*$", "seeds = [0]", text, flags=re.MULTILINE)
    return re.sub(r"^tune = .*$", "options = { lr = 1e-2 }", text, flags=re.MULTILINE)


@pytest.mark.parametrize("records", ["real", "synthetic"])
def test_the_twelve_lead_study_runs(environment, tmp_path, records):
    if records == "real":
        if not RECORDS.is_dir():
            pytest.skip(f"no records of PhysioNet 2021 at {RECORDS}")
        (tmp_path / "physionet2021").symlink_to(RECORDS)
    else:
        to = ("--to", tmp_path / "physionet2021", "--records", 60)
        made = environment.scalelab("data", "synthesize", "synthetic-ecg", "--wfdb", *to)
        assert made.returncode == 0, made.stderr
    study, store = tmp_path / "study.toml", tmp_path / "runs.duckdb"
    study.write_text(smallest("physionet2021"))
    result = environment.scalelab("run", study, "--store", store, "--workers", 2)
    assert "5 trials: 5 done" in result.stdout, result.stderr


def test_its_only_tie_is_the_entry_point():
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["scalelab"] == {"transformer": "scalelab_transformer"}
    assert project["dependencies"] == ["scalelab>=0.1", "torch>=2.6"]
