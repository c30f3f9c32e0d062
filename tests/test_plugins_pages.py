"""A page for each kind of plugin: its whole example is what `new-plugin` writes, and does what it says."""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path

import pytest

import scalelab
from scalelab.plugins import KINDS, load_plugins
from scalelab.plugins.libraries import libraries_of, sources_of
from scalelab.plugins.scaffold import write_plugin
from scalelab.testing import ArchitectureContract

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {
    "dataset": ("plugin-datasets.md", "blips"),
    "architecture": ("plugin-architectures.md", "wavelet-net"),
    "optimizer": ("plugin-optimizers.md", "heavy-ball"),
    "backend": ("plugin-backends.md", "eager"),
    "law": ("plugin-laws.md", "log-law"),
    "trainer": ("plugin-trainers.md", "mean-teacher"),
}


def example(kind, language):
    text = (DOCS / PAGES[kind][0]).read_text(encoding="utf-8")
    section = text.split("\n## A whole example\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def written(tmp_path):
    """Writes the plugin of a page, and returns its folder."""
    return lambda kind: write_plugin(PAGES[kind][1], kind, tmp_path, load_plugins(select="optimizers"))


def test_every_kind_has_a_page():
    assert set(PAGES) == set(KINDS)
    index = (DOCS / "writing-a-plugin.md").read_text(encoding="utf-8")
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for page, _ in PAGES.values():
        assert f"({page})" in index
        assert f"(docs/{page})" in readme


@pytest.mark.parametrize("kind", PAGES)
def test_the_example_is_what_new_plugin_writes(kind, written):
    """Whose contract tests/cli/test_cli_new_plugin.py runs."""
    folder = written(kind)
    (plugin,) = (folder / "src").iterdir()
    (test,) = (folder / "tests").iterdir()
    assert example(kind, "python")[:2] == [path.read_text(encoding="utf-8") for path in (plugin, test)]
    usage = (folder / "README.md").read_text(encoding="utf-8").split("## Use\n")[1].strip()
    assert usage in (DOCS / PAGES[kind][0]).read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["dataset", "architecture", "optimizer", "trainer"])
def test_the_study_of_the_page_trains(kind, written, tmp_path):
    catalog = load_plugins(plugins_dirs=[written(kind) / "src"])
    (text,) = example(kind, "toml")
    text = re.sub(r"length = .*", "length = { steps = 2 }", text).replace('space = "default"\n', "")
    (tmp_path / "study.toml").write_text(text)
    if kind == "dataset":
        data = catalog.dataset("blips").synthesize
        data.run(data.params(to=tmp_path / "data", records=100), lambda done, total, what: None)
    text = text.replace("n_train = 1000, n_validation = 200", "n_train = 64, n_validation = 32")
    (tmp_path / "study.toml").write_text(re.sub(r"\[sampling\]\n.*", "", text, flags=re.DOTALL))
    summary = scalelab.run_study(tmp_path / "study.toml", tmp_path / "s.duckdb", workers=0, catalog=catalog)
    assert summary.failed == {}
    assert summary.done >= 1
    runs = scalelab.open_store(tmp_path / "s.duckdb").runs()
    if kind == "dataset":
        assert runs.metrics.str.contains("brier").all()
        assert runs.test_brier.between(0, 1).all()


@pytest.mark.parametrize("kind", ["backend", "law"])
def test_the_usage_of_the_page_runs(kind, written, monkeypatch, capsys):
    """As where the plugin is installed."""
    code = example(kind, "python")[2]
    loader = functools.partial(load_plugins, plugins_dirs=[written(kind) / "src"])
    monkeypatch.setattr(scalelab, "load_plugins", loader, raising=False)
    exec(compile(code, "usage", "exec"), {})
    assert capsys.readouterr().out


NETWORK = """
import torch
from torch import nn


class Network(nn.Module):
    def __init__(self, width, channels, n_outputs):
        super().__init__()
        self.stem = nn.Conv1d(channels, width, 7, padding=3)
        self.register_buffer("window", torch.hann_window(width, periodic=False) + 0.5)
        self.head = nn.Linear(width, n_outputs)

    def forward(self, x):
        return self.head(torch.relu(self.stem(x)).mean(-1) * self.window)
"""
BESIDE = """
import scalelab
from pydantic import Field


class NetworkParams(scalelab.Params):
    width: int = Field(16, ge=1, le=4096, description="channels")


def build(params, input_shape, n_outputs):
    from _network import Network

    return Network(params.width, input_shape[0], n_outputs)


@scalelab.hookimpl
def scalelab_architectures():
    summary = "A module beside build"
    return [scalelab.Architecture(name="beside", summary=summary, build=build, params=NetworkParams)]
"""


class TestModuleBeside(ArchitectureContract):
    """A class of a module of its own, which build imports; the page's own example has one inside build."""

    @pytest.fixture
    def architecture(self, tmp_path, monkeypatch):
        monkeypatch.delitem(sys.modules, "_network", raising=False)
        monkeypatch.setattr(sys, "path", [*sys.path])
        (tmp_path / "_network.py").write_text(NETWORK)
        (tmp_path / "beside.py").write_text(BESIDE)
        return load_plugins(plugins_dirs=[tmp_path], select="beside").architecture("beside")

    @pytest.fixture
    def larger(self):
        return {"width": 32}

    def test_its_file_is_part_of_what_is_counted_and_recorded(self, architecture):
        assert set(sources_of(architecture.build)) == {"beside.py", "_network.py"}
        assert {"beside.py", "_network.py", "torch"} <= set(libraries_of(architecture.build))
