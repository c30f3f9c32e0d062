"""Records are the examples: their windows train one at a time or all, and are scored together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from physionet_samples import REAL, header_lines, limb_consistent, needs_real, params, write
from scalelab_plugins.physionet2021 import (
    Physionet2021Params,
    challenge_metric,
    open_physionet2021,
    record_index,
)
from scalelab_plugins.physionet2021.classes import CLASS_OF_CODE
from scalelab_plugins.physionet2021.prepare import load
from scalelab_plugins.physionet2021.task import make_task

import scalelab
from scalelab.train.validation import Validator

CODES = list(CLASS_OF_CODE)
CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty records of one to four windows of two seconds."""
    folder = tmp_path_factory.mktemp("records")
    for i in range(40):
        samples = limb_consistent(1000 * (1 + i % 4), i)
        lines = [
            f"# Dx: {CODES[i % 5]}" if "Dx" in line else line for line in header_lines(f"R{i:02}", samples)
        ]
        write(folder / "georgia" / "g1", f"R{i:02}", samples, lines)
    return folder


def scored(data, module, split):
    n = len(split)
    return Validator(data, split, n, 64, CPU, "fp32").part(module)


@pytest.mark.parametrize("windows", ["all", "random"])
def test_every_record_is_an_example_with_all_of_its_windows(folder, windows):
    data = open_physionet2021(params(folder, windows=windows))
    assert data.train_windows == windows
    index = record_index(params(folder))
    sides = {"train": (1, 2), "validation": (0,), "test": (3,)}
    for name, folds in sides.items():
        split, rows = getattr(data, name), index[index.fold.isin(folds)]
        assert len(split) == rows.record.nunique()
        assert split.windows.tolist() == rows.groupby("record", sort=False).size().tolist()
        assert len(split.inputs) == len(rows)
        per_record = rows.drop_duplicates("record").classes
        assert [row.sum() for row in split.targets] == [len(text.split(",")) for text in per_record]


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_first_is_the_first_window_alone(folder, fold):
    first = open_physionet2021(params(folder, windows="first", fold=fold))
    whole = open_physionet2021(params(folder, fold=fold))
    for name in ("train", "validation", "test"):
        one, split = getattr(first, name), getattr(whole, name)
        assert one.windows is None
        assert len(one) == len(one.inputs) == len(split)
        np.testing.assert_array_equal(one.targets, split.targets)
        starts = np.cumsum(split.windows) - split.windows
        np.testing.assert_array_equal(one.inputs, np.asarray(split.inputs)[starts])


def test_a_first_window_that_is_flat_gives_way_to_the_next(tmp_path):
    for i in range(12):
        samples = limb_consistent(3000, i)
        samples[:1400] = 0
        write(tmp_path / "georgia" / "g1", f"R{i:02}", samples)
    index = record_index(params(tmp_path, windows="first"))
    assert len(index) == 12
    assert set(index.start) <= {0.0, 2.0}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=20),
    st.integers(0, 2**31),
    st.sampled_from(["0.5", "global", "per-class"]),
)
def test_metrics_are_those_of_averaged_outputs(counts, seed, threshold):
    """What the engine records for records is the metric of the means, computed here by a loop."""
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(sum(counts), 26)).astype(np.float32)
    targets = (rng.random((len(counts), 26)) < 0.15).astype(np.uint8)
    task = make_task(Physionet2021Params(path=".", threshold=threshold))
    split = scalelab.Split(outputs, targets, np.array(counts))
    data = scalelab.OpenDataset(
        task=replace(task, input_shape=(26,)), train=split, validation=split, fingerprint="x"
    )
    found = scored(data, torch.nn.Identity(), split)
    ends = np.cumsum(counts)
    means = np.stack(
        [outputs[end - n : end].astype(float).mean(axis=0) for end, n in zip(ends, counts, strict=True)]
    ).astype(np.float32)
    for metric in (one for one in task.metrics if isinstance(one, scalelab.Metric)):
        expected = metric.compute(means, targets)
        assert found.metrics[metric.name] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    if threshold == "0.5":
        by_definition = challenge_metric(targets, means > 0)
        assert found.metrics["challenge-metric"] == pytest.approx(by_definition, abs=1e-12)
    assert found.n_examples == len(counts)


@needs_real
def test_the_real_records_are_scored_as_an_independent_computation_does():
    """Each record by itself, its windows found by the index: nothing of `Split.windows` is used."""
    options = Physionet2021Params(path=REAL / "training", length=512)
    prepared, index = load(options), record_index(options)
    fold = int(index[index.record == "S0001"].fold.iloc[0])  # PTB's records are the ones of several windows
    data = open_physionet2021(options.model_copy(update={"fold": fold}))
    assert len(data.validation.inputs) > len(data.validation)
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.AvgPool1d(8), torch.nn.Flatten(), torch.nn.Tanh(), torch.nn.Linear(12 * 64, 26)
    )
    module.eval()
    for own_fold, split in ((fold, data.validation), (3, data.test)):
        outputs, labels = [], []
        for _, rows in index[index.fold == own_fold].groupby("record", sort=False):
            own = torch.from_numpy(prepared.inputs[rows.row.to_numpy(int)].astype(np.float32))
            with torch.no_grad():
                outputs.append(module(own[:, :, 2244 : 2244 + 512]).double().mean(0).numpy())
            codes = rows.codes.iloc[0].split(",")
            labels.append([any(CLASS_OF_CODE.get(code) == k for code in codes) for k in range(26)])
        found = scored(data, module, split)
        expected = challenge_metric(np.array(labels), np.stack(outputs) > 0)
        assert found.metrics["challenge-metric"] == pytest.approx(expected, abs=1e-9)
        assert found.n_examples == len(labels)


def test_half_an_hour_counts_as_one_record(tmp_path):
    for i in range(12):
        write(tmp_path / "georgia" / "g1", f"R{i:02}", limb_consistent(1000, i))
    lines = header_lines("I01", samples := limb_consistent(257 * 1800, 99), rate=257)
    write(tmp_path / "st_petersburg_incart" / "g1", "I01", samples, lines)
    data = open_physionet2021(params(tmp_path))
    sides = (data.train, data.validation, data.test)
    assert sum(map(len, sides)) == 13
    assert sum(len(side.inputs) for side in sides) == 12 + 900
