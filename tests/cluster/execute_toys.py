"""The toy components of the tests of `execute`, for those on real clusters, and what they reach."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from scalelab import open_store, run_study
from scalelab.plugins import load_plugins

ROOT = Path(__file__).parents[2]


def _toys():
    path = ROOT / "tests" / "execute" / "conftest.py"
    spec = importlib.util.spec_from_file_location("execute_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOYS = _toys()
Lab = TOYS.Lab
_local: dict[str, dict[str, float]] = {}
"""Losses by local processes, by the study's text."""


def local_losses(lab: Lab, study: Path) -> dict[str, float]:
    """Returns the loss of each trial by local processes with one thread; the toys do not wait there."""
    text = study.read_text()
    if text not in _local:
        plugins = lab.folder / "local" / "plugins"
        plugins.mkdir(parents=True)
        toys = TOYS.PLUGIN.replace("time.sleep(params.ms_per_step / 1000)", "pass")
        assert toys != TOYS.PLUGIN
        (plugins / "toys.py").write_text(toys)
        store = lab.folder / "local" / "store.duckdb"
        run_study(study, store, workers=2, threads=1, catalog=load_plugins(plugins_dirs=[plugins]))
        _local[text] = losses(store)
    return _local[text]


def losses(store: Path) -> dict[str, float]:
    """Returns the loss of each trial that is done, exactly one record of which is."""
    frame = open_store(store).sql("select trial_id, loss from records where status = 'done'")
    assert frame["trial_id"].is_unique
    return dict(zip(frame["trial_id"], frame["loss"], strict=True))


SCRIPT = """
import json, os, sys, time

width, seed = map(int, sys.argv[1:])
state = os.path.join(os.environ["SCALELAB_CHECKPOINT"], "step")
begin = int(open(state).read()) if os.path.exists(state) else 0
for step in range(begin + 1, 21):
    time.sleep(0.1)
    report = {"step": step, "loss": seed + 1 / (width * step), "n_params": width}
    with open(os.environ["SCALELAB_RECORD"], "a") as file:
        print(json.dumps(report), file=file)
    with open(state + ".new", "w") as file:
        file.write(str(step))
    os.replace(state + ".new", state)
"""


def command_study(lab) -> Path:
    """Writes a study of eight runs of a script that goes on from a checkpoint."""
    (lab.folder / "script.py").write_text(SCRIPT)
    path = lab.folder / "scripted.toml"
    path.write_text(
        'name = "scripted"\nseeds = [0, 1]\n[command]\nrun = ["{python}", "script.py", "{width}", "{seed}"]\n'
        "[command.space]\nwidth = [1, 2, 4, 8]\n"
    )
    return path


def check_curves(lab) -> None:
    """Makes sure that each run of the script has its whole curve, once."""
    curves = open_store(lab.store).rows("select list(step order by step) from curves group by trial_id")[1]
    assert curves == [(list(range(1, 21)),)] * 8
