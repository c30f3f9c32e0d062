"""The libraries behind a component: what its modules import, directly or through each other."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from importlib.metadata import version

import pytest

from scalelab.cache import file_digest
from scalelab.plugins import load_plugins
from scalelab.plugins.libraries import libraries_of, sources_of


def test_imports_inside_functions_and_of_siblings_count(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(
        "import json\nimport scalelab\nfrom helper import scale\n"
        "def build(params):\n    import torch.nn as nn\n    return nn\n"
    )
    (tmp_path / "helper.py").write_text("import numpy as np\nimport not_there\ndef scale(x): return x\n")
    (tmp_path / "other.py").write_text("import scipy\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "not_there", sys)
    try:
        build = importlib.import_module("net").build
        found = dict(libraries_of(functools.partial(build)))
    finally:
        for name in ("net", "helper"):
            sys.modules.pop(name, None)
    assert found == {
        "torch": version("torch").partition("+")[0],
        "numpy": version("numpy"),
        "net.py": file_digest(tmp_path / "net.py")[:12],
        "helper.py": file_digest(tmp_path / "helper.py")[:12],
    }


def test_a_package_is_followed_through_its_relative_imports(tmp_path, monkeypatch):
    package = tmp_path / "wavelets"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from .nets import build\n")
    (package / "nets.py").write_text("from .inner import layers\ndef build(): return layers\n")
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "layers.py").write_text("from ..tools import x\nimport sklearn\n")
    (package / "tools.py").write_text("import duckdb\nx = 1\n")
    (package / "unused.py").write_text("import wfdb\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        build = importlib.import_module("wavelets").build
        found = dict(libraries_of(build))
        assert set(found) - {"scikit-learn", "duckdb"} == {
            f"wavelets/{name}.py" for name in ("__init__", "nets", "tools", "inner/__init__", "inner/layers")
        }
        assert set(sources_of(build)) == set(found) - {"scikit-learn", "duckdb"}
        (package / "inner" / "layers.py").write_text("import sklearn  # another text\n")
        os.utime(package / "inner" / "layers.py", (1, 1))
        again = libraries_of(build)
        assert [name for name in again if again[name] != found[name]] == ["wavelets/inner/layers.py"]
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "wavelets"]:
            del sys.modules[name]


@pytest.mark.parametrize(
    ("kind", "name", "wanted"),
    [
        ("dataset", "mitbih", {"numpy", "wfdb"}),
        ("architecture", "convnext1d", {"torch"}),
        ("optimizer", "muon", {"torch"}),
    ],
)
def test_bundled_components_say_theirs(kind, name, wanted):
    component = load_plugins().find(kind, name)
    found = libraries_of(component.open if kind == "dataset" else component.build)
    assert wanted <= set(found)
    assert not {"scalelab", "pydantic"} & set(found)
    assert all(found[one] == version(one).partition("+")[0] for one in found)


def test_what_has_no_file_says_nothing():
    assert dict(libraries_of(print)) == {}
