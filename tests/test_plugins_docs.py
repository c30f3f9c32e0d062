"""The pages on plugins are true: their code loads and trains, and the examples of the hooks are whole."""

import ast
import inspect
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from scalelab import hookspecs, testing
from scalelab.execute.coordinator import run_study
from scalelab.plugins import load_plugins
from scalelab.store import open_store
from scalelab.study import parse_study

DOCS = Path(__file__).parents[1] / "docs"


def blocks(language, page="writing-a-plugin.md"):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def hook_example(name):
    text = inspect.getdoc(getattr(hookspecs, name))
    return textwrap.dedent(text.split("Example:\n")[1])


def loaded(folder, file, code):
    (folder / file).write_text(code)
    catalog = load_plugins(plugins_dirs=[folder], select=Path(file).stem)
    assert catalog.warnings == ()
    return catalog


def test_ten_line_plugin_has_ten_lines():
    code = blocks("python")[0]
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) == 10


def test_ten_line_plugin_runs(tmp_path):
    """The page's file, study and commands, as a reader would use them."""
    (tmp_path / "my-plugins").mkdir()
    (tmp_path / "my-plugins/blips.py").write_text(blocks("python")[0])
    (tmp_path / "blips.toml").write_text(blocks("toml")[0])
    commands = next(block for block in blocks("") if "scalelab run" in block).splitlines()
    for line in commands:
        program, *arguments = line.split()
        assert program == "scalelab"
        result = subprocess.run(
            [sys.executable, "-m", "scalelab.cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert result.returncode == 0, f"{line}: {result.stderr}"
    assert "1 done" in result.stdout


def test_architecture_of_the_page_loads_and_keeps_its_contract(tmp_path):
    code, test_code = blocks("python")[1:3]
    catalog = loaded(tmp_path, "mlp.py", code)
    assert catalog.names("architecture") == ("mlp",)
    (tmp_path / "test_mlp.py").write_text(test_code)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mlp.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout
    assert "failed" not in result.stdout


def test_segments_of_the_page_are_learned_at_every_step(tmp_path):
    """Padded signals with a mask, and a class at every step: the accuracy per step rises far above chance."""
    code = next(block for block in blocks("python", "plugin-datasets.md") if "open_segments" in block)
    catalog = loaded(tmp_path, "segments.py", code)
    study = """
name = "segments"
[dataset]
name = "segments"
[[architecture]]
name = "tagger"
[[optimizer]]
name = "adamw"
options = { lr = 0.02 }
[training]
length = { epochs = 10 }
batch_size = 50
"""
    catalog = load_plugins(plugins_dirs=[tmp_path])
    store = tmp_path / "s.duckdb"
    summary = run_study(parse_study(study, "s", catalog), store, workers=0, catalog=catalog)
    assert (summary.done, summary.failed) == (1, {})
    found = open_store(store).runs()
    assert found["objective"].item() > 0.8


def test_distribution_of_the_page_is_sound():
    import tomllib

    project = tomllib.loads(blocks("toml")[1])
    assert project["project"]["entry-points"]["scalelab"] == {"mlp": "mlp"}
    assert project["tool"]["setuptools"]["py-modules"] == ["mlp"]


HOOKS = {
    "scalelab_datasets": ("dataset", "blips"),
    "scalelab_architectures": ("architecture", "mlp"),
    "scalelab_optimizers": ("optimizer", "rmsprop"),
    "scalelab_backends": ("backend", "torch-f64"),
    "scalelab_laws": ("law", "logarithmic"),
    "scalelab_trainers": ("trainer", "smoothed"),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_example_in_the_hook_is_a_whole_plugin(hook, tmp_path):
    kind, name = HOOKS[hook]
    catalog = loaded(tmp_path, f"example_{kind}.py", hook_example(hook))
    assert catalog.names(kind) == (name,)


@pytest.fixture
def from_docs(tmp_path):
    """Loads the component that a hook's docstring describes."""

    def load(hook):
        kind, name = HOOKS[hook]
        return loaded(tmp_path, f"example_{kind}.py", hook_example(hook)).find(kind, name)

    return load


class TestExampleDataset(testing.DatasetContract):
    @pytest.fixture
    def dataset(self, from_docs):
        return from_docs("scalelab_datasets")


class TestExampleArchitecture(testing.ArchitectureContract):
    @pytest.fixture
    def architecture(self, from_docs):
        return from_docs("scalelab_architectures")

    @pytest.fixture
    def larger(self):
        return {"width": 256}


class TestExampleOptimizer(testing.OptimizerContract):
    @pytest.fixture
    def optimizer(self, from_docs):
        return from_docs("scalelab_optimizers")


class TestExampleBackend(testing.BackendContract):
    @pytest.fixture
    def backend(self, from_docs):
        return from_docs("scalelab_backends")


class TestExampleTrainer(testing.TrainerContract):
    @pytest.fixture
    def trainer(self, from_docs):
        return from_docs("scalelab_trainers")


class TestExampleLaw(testing.LawContract):
    @pytest.fixture
    def law(self, from_docs):
        return from_docs("scalelab_laws")

    @pytest.fixture
    def truth(self):
        return {"A": 4.0, "B": 0.1}


def test_pages_name_every_fixture_and_attribute_of_the_contracts():
    page = (DOCS / "writing-a-plugin.md").read_text(encoding="utf-8")
    row = {line.split("|")[1].strip(" `"): line for line in page.splitlines() if "Contract` |" in line}
    for name in (n for n in testing.__all__ if n.endswith("Contract")):
        contract = getattr(testing, name)
        tree = ast.parse(textwrap.dedent(inspect.getsource(contract))).body[0]
        attributes = [s.targets[0].id for s in tree.body if isinstance(s, ast.Assign)]
        for attribute in attributes:
            assert f"`{attribute}`" in row[name], f"{name}.{attribute} is not on the page"
