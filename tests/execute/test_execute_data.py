"""Data that cannot be trained on are refused by plan and run, before anything is trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from scalelab.components import OpenDataset, Split
from scalelab.errors import DataError, InputError
from scalelab.execute.coordinator import run_study
from scalelab.execute.plan import plan_study
from scalelab.study import parse_study
from scalelab.testing.toys import open_blobs, toy_architecture, toy_catalog, toy_dataset

STUDY = """
name = "bad"
[dataset]
name = "toy-blobs"
[[architecture]]
name = "toy-conv"
[[optimizer]]
name = "toy-sgd"
[training]
length = { steps = 3 }
"""


def one_nan(data: OpenDataset) -> OpenDataset:
    data.validation.inputs[3, 1, 9] = np.nan
    return data


def a_torch_dataset(data: OpenDataset) -> OpenDataset:
    tensors = (torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.targets))
    inputs = torch.utils.data.TensorDataset(*tensors)
    return replace(data, train=Split(inputs, data.train.targets))  # type: ignore[arg-type]


def one_hot(data: OpenDataset) -> OpenDataset:
    return replace(data, train=Split(data.train.inputs, np.eye(2)[data.train.targets]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_nan, r"dataset 'toy-blobs': validation inputs are not finite: nan at \[3, 1, 9\]"),
        (a_torch_dataset, "dataset 'toy-blobs': training inputs are a torch TensorDataset; give an array"),
        (one_hot, r"training targets are float64 of shape \(256, 2\); cross-entropy needs class indices"),
    ],
)
def test_bad_data_are_refused_before_training(change, message, tmp_path):
    catalog = toy_catalog(
        dataset=replace(toy_dataset, open=lambda params: change(open_blobs(params)))  # type: ignore[arg-type]
    )
    study = parse_study(STUDY, "bad.toml", catalog)
    with pytest.raises(DataError, match=message):
        plan_study(study, catalog=catalog)
    with pytest.raises(DataError, match=message):
        run_study(study, tmp_path / "s.duckdb", workers=0, catalog=catalog)


def test_a_network_that_answers_every_time_step_is_refused_before_training(tmp_path):
    def build(params, input_shape, n_outputs):
        return torch.nn.Conv1d(input_shape[0], n_outputs, 1)

    catalog = toy_catalog(architecture=replace(toy_architecture, build=build, head=None))
    study = parse_study(STUDY, "bad.toml", catalog)
    message = r"output of Conv1d has shape \(2, 2, 64\); the task needs \(2, 2\): one answer an example, or"
    with pytest.raises(InputError, match=message):
        plan_study(study, catalog=catalog)
