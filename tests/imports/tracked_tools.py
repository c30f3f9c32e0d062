"""The tools whose files are imported: how each is made to write, and what must be read of it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

MUST = os.environ.get("SCALELAB_IMPORTS") == "must"
"""Whether a library that is not installed is an error, and no reason to skip."""
HERE = Path(__file__).parent
OFFLINE = {
    "OMP_NUM_THREADS": "1",
    "KERAS_BACKEND": "torch",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_MODE": "offline",
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "CUDA_VISIBLE_DEVICES": "",
}


def library(name: str) -> ModuleType:
    """Imports a library; where it is not installed, the test is skipped, or fails if it must run."""
    module: ModuleType = importlib.import_module(name) if MUST else pytest.importorskip(name)
    return module


@dataclass(frozen=True)
class Tool:
    """A tool and the sources that it writes.

    Attributes:
        heading: Of its section in docs/importing-recipes.md; empty where another tool has it.
        module: What is imported of it.
        sources: Files or folders below the one that it is given.
        kinds: As what they are recognized.
        statuses: How many runs of each status there are in the end; none where the tool tells none.
        whole: Without statuses, the condition that leaves out runs that did not come to their end.
        missing: How many of the ten runs leave nothing that can be read.
        more: How many runs there are beside the ten.
        width: What the width of a run is called.
        another: Whether one more run can be made later.
        map: Columns that must be said.
        folder: What the folder is called that it is given.
    """

    heading: str
    module: str
    sources: tuple[str, ...]
    kinds: tuple[str, ...]
    statuses: Mapping[str, int] = field(default_factory=dict)
    whole: str | None = None
    missing: int = 0
    more: int = 0
    width: str = "width"
    another: bool = True
    map: Mapping[str, str] = field(default_factory=dict)
    folder: str = "runs"


TOOLS = {
    "tensorboard": Tool("TensorBoard", "tensorboard", (".",), ("tensorboard",), whole="last_step >= 5"),
    "trackio": Tool(
        "Trackio", "trackio", ("trackio", "trackio/widths.db"), ("trackio",) * 2, whole="epoch >= 5"
    ),
    "lightning": Tool(
        "Lightning", "pytorch_lightning", ("lightning_logs", "."), ("lightning",) * 2, whole="epochs >= 5"
    ),
    "keras-csv": Tool("Keras", "keras", ("csv",), ("keras",), whole="epochs >= 5"),
    "keras-json": Tool("", "keras", ("json",), ("keras",), whole="run_id <> 'width-16'", missing=1),
    "transformers": Tool(
        "Trainer of transformers",
        "transformers",
        (".",),
        ("transformers",),
        {"done": 8, "interrupted": 2},
        map={"architecture_width": "regexp_extract(run_id, '[0-9]+')::bigint"},
        folder="outputs",
    ),
    "ray": Tool(
        "Ray Tune",
        "pyarrow",
        (".", "widths"),
        ("ray",) * 2,
        {"done": 8, "interrupted": 1, "failed": 1},
        another=False,
        folder="ray_results",
    ),
    "hydra": Tool(
        "Hydra", "hydra", ("multirun",), ("hydra",), {"done": 8, "interrupted": 2}, width="model.width"
    ),
    "optuna": Tool(
        "Optuna",
        "optuna",
        ("optuna.db", "journal.log"),
        ("optuna", "optuna-journal"),
        {"done": 8, "interrupted": 2, "failed": 1},
        more=1,
    ),
    "mlflow": Tool(
        "MLflow",
        "mlflow",
        ("mlflow.db", "mlruns"),
        ("mlflow-sqlite", "mlflow"),
        {"done": 8, "interrupted": 1, "failed": 1},
    ),
    "wandb": Tool("Weights & Biases", "wandb", ("wandb",), ("wandb",), {"done": 8, "failed": 2}),
}


def write(tool: str, folder: Path, part: str, *runs: str) -> None:
    """Makes a tool write runs, in a process of its own, which may die of it."""
    script = HERE / f"write_{tool.partition('-')[0]}.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder), part, *runs],
        env={**os.environ, **OFFLINE, "TRACKIO_DIR": str(folder / "trackio")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode in (0, 9), done.stderr[-4000:]
