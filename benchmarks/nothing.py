"""A study that trains next to nothing, which several benchmarks of overhead share; see `toys/nothing.py`."""

from __future__ import annotations

from pathlib import Path

from scalelab.plugins import Catalog, load_plugins

STUDY = """
name = "nothing"
seeds = [{seeds}]
[dataset]
name = "zeros"
[[architecture]]
name = "layer"
[[optimizer]]
name = "sgd-plain"
[training]
length = {{ steps = 1 }}
batch_size = 8
validations = 1
precision = "fp32"
"""


def study_of(folder: Path, n_trials: int) -> Path:
    """Writes the study with so many trials, and returns its file."""
    path = folder / "study.toml"
    path.write_text(STUDY.format(seeds=", ".join(map(str, range(n_trials)))), encoding="utf-8")
    return path


def catalog() -> Catalog:
    """Returns the plugins with the study's components."""
    return load_plugins(plugins_dirs=(Path(__file__).parent / "toys",))
