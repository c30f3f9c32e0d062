"""Networks and optimizers that nobody here wrote: contracts, a study stopped and resumed, three runtimes.

The plugins are those of docs/plugin-architectures.md. `make test-third-party` installs what they need; where
that is not installed, all of this is skipped.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pandas as pd
import pytest

import scalelab
from scalelab.plugins import Catalog, load_plugins
from scalelab.supervise.stop import StopSignal
from scalelab.testing import ArchitectureContract, OptimizerContract

PACKAGES = ("torch_ecg", "transformers", "s5", "schedulefree", "lion_pytorch", "prodigyopt")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
if MISSING:
    pytest.skip(f"{', '.join(MISSING)} not installed: make test-third-party", allow_module_level=True)

PAGE = Path(__file__).parents[2] / "docs" / "plugin-architectures.md"
SECTION = PAGE.read_text(encoding="utf-8").split("## Networks from elsewhere")[1].split("\n## ")[0]
NETWORKS = ("ecg-resnet", "mamba", "s5")
OPTIMIZERS = ("schedule-free", "lion", "prodigy")
REFUSED = "prodigy compares gradients, and the network has complex parameters"
TARGETS = ("torch:cpu", "openvino:CPU", "onnxruntime:CPU")


def block(language: str, words: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", SECTION, flags=re.MULTILINE | re.DOTALL)
    return next(text for text in found if words in text)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page, as a reader would save them."""
    folder = tmp_path_factory.mktemp("elsewhere")
    plugins = folder / "my-plugins"
    plugins.mkdir()
    (plugins / "networks.py").write_text(block("python", "scalelab_architectures"), encoding="utf-8")
    (plugins / "optimizers.py").write_text(block("python", "scalelab_optimizers"), encoding="utf-8")
    (folder / "elsewhere.toml").write_text(block("toml", 'name = "elsewhere"'), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def catalog(folder: Path) -> Catalog:
    found = load_plugins(plugins_dirs=[folder / "my-plugins"])
    assert found.warnings == ()
    return found


class TestNetworks(ArchitectureContract):
    @pytest.fixture(params=NETWORKS)
    def architecture(self, request: pytest.FixtureRequest, catalog: Catalog) -> scalelab.Architecture:
        return catalog.architecture(request.param)

    @pytest.fixture
    def options(self) -> dict[str, int]:
        return {"width": 8}

    @pytest.fixture
    def larger(self) -> dict[str, int]:
        return {"width": 32}


class TestOptimizers(OptimizerContract):
    @pytest.fixture(params=OPTIMIZERS)
    def optimizer(self, request: pytest.FixtureRequest, catalog: Catalog) -> scalelab.Optimizer:
        return catalog.optimizer(request.param)


def test_their_flops_are_all_counted(folder: Path, catalog: Catalog) -> None:
    plan = scalelab.plan_study(folder / "elsewhere.toml", catalog=catalog)
    assert len(plan.trials) == 9
    assert {row.uncounted for row in plan.trials} == {()}
    assert all(row.train_flops > 3 * row.forward_flops for row in plan.trials)


@pytest.fixture(scope="session")
def store(folder: Path, catalog: Catalog) -> Path:
    """A store of the whole study, which was stopped in the middle of its third trial."""
    path = folder / "resumed.duckdb"
    stop, begun = StopSignal(), set()

    def hear(event: object) -> None:
        step = getattr(event, "step", 0)
        begun.add(getattr(event, "trial_id", None))
        if len(begun - {None}) >= 3 and step > 1:
            stop.request()

    first = scalelab.run_study(
        folder / "elsewhere.toml", path, workers=1, catalog=catalog, stop=stop, on_event=hear
    )
    assert first.stopped
    assert first.interrupted == 1
    rest = scalelab.run_study(folder / "elsewhere.toml", path, workers=2, catalog=catalog)
    assert list(rest.failed.values()) == [REFUSED]
    return path


def test_a_stopped_study_ends_as_one_that_ran_through(folder: Path, catalog: Catalog, store: Path) -> None:
    straight = folder / "straight.duckdb"
    scalelab.run_study(folder / "elsewhere.toml", straight, workers=2, catalog=catalog)
    names = ["trial_id", "loss", "loss_last", "test_loss", "train_flops", "best_step"]
    one, other = (scalelab.open_store(path).runs()[names] for path in (store, straight))
    pd.testing.assert_frame_equal(
        one.sort_values("trial_id", ignore_index=True),
        other.sort_values("trial_id", ignore_index=True),
        check_exact=True,
    )


def test_records_say_what_made_them(store: Path) -> None:
    runs = scalelab.open_store(store).runs()
    (failed,) = runs[runs["status"] == "failed"].to_dict("records")
    assert (failed["architecture"], failed["optimizer"]) == ("s5", "prodigy")
    runs = runs[runs["status"] == "done"]
    assert len(runs) == 8
    for name, package in (("ecg-resnet", "torch-ecg"), ("mamba", "transformers"), ("s5", "s5-pytorch")):
        assert runs.loc[runs["architecture"] == name, "libraries"].str.contains(package).all()


def test_runtimes_are_right_or_refuse_with_a_reason(folder: Path, catalog: Catalog, store: Path) -> None:
    scalelab.bench_study(
        folder / "elsewhere.toml", store, TARGETS, precisions=("f32", "int8"), time_limit=0.2, catalog=catalog
    )
    found = scalelab.open_store(store).latencies()
    assert len(found) == len(NETWORKS) * len(TARGETS) * 2
    right = found[found["status"] == "ok"]
    refused = found[found["status"] != "ok"]
    in_f32 = right[right["precision"] == "f32"]
    assert (in_f32["relative_error"] <= 1e-3).all()
    assert refused["reason"].str.len().gt(20).all()
    assert not refused["reason"].str.contains("\n").any()
    told = found[["architecture", "target", "status", "relative_error", "reason"]].to_string()
    assert set(right.loc[right["target"] == "torch:cpu:f32", "architecture"]) == set(NETWORKS), told
    for target in ("openvino:CPU", "onnxruntime:CPU"):
        assert "ecg-resnet" in set(in_f32.loc[in_f32["target"] == f"{target}:f32", "architecture"]), told
