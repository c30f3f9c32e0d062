"""A study that trains next to nothing, for what a trial costs beside its training: one step of one layer."""

from __future__ import annotations

import numpy as np

import scalelab


def open_zeros(_params):
    split = scalelab.Split(np.zeros((8, 1, 8), np.float32), np.zeros(8, np.int64))
    task = scalelab.Task(input_shape=(1, 8), n_outputs=2)
    return scalelab.OpenDataset(task=task, train=split, validation=split, fingerprint="zeros")


def build_layer(_params, _input_shape, n_outputs):
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(8, n_outputs))


def build_sgd(_params, module):
    import torch

    return torch.optim.SGD(module.parameters(), lr=0.1)


@scalelab.hookimpl
def scalelab_datasets():
    return [scalelab.Dataset(name="zeros", summary="Zeros", open=open_zeros)]


@scalelab.hookimpl
def scalelab_architectures():
    return [scalelab.Architecture(name="layer", summary="One layer", build=build_layer)]


@scalelab.hookimpl
def scalelab_optimizers():
    return [scalelab.Optimizer(name="sgd-plain", summary="SGD", build=build_sgd)]
