"""A store with the records of a synthetic study: their losses follow a law of size and examples."""

from __future__ import annotations

from scalelab.measure.costs import Costs
from scalelab.records import CurvePoint, Record
from scalelab.schedules import resolve_steps
from scalelab.store import Journal, open_store
from scalelab.study import expand, parse_study

PLUGIN = """
import numpy as np
import scalelab


class SpecksParams(scalelab.Params):
    n: int = 4000
    folder: scalelab.Location | None = None


def open_specks(params):
    rng = np.random.default_rng(0)
    split = scalelab.Split(rng.normal(size=(params.n, 1, 16)).astype("float32"), np.arange(params.n) % 2)
    few = scalelab.Split(split.inputs[:32], split.targets[:32])
    task = scalelab.Task(input_shape=(1, 16), n_outputs=2)
    return scalelab.OpenDataset(task=task, train=split, validation=few, fingerprint=f"specks-{params.n}")


class StackParams(scalelab.Params):
    width: int = 4


def build_stack(params, input_shape, n_outputs):
    from torch import nn

    width = params.width
    middle = nn.Linear(width, width)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), middle, nn.Linear(width, n_outputs))


class PlainParams(scalelab.Params):
    lr: float = 0.01


def build_plain(params, module):
    import torch

    return torch.optim.SGD(module.parameters(), lr=params.lr)


@scalelab.hookimpl
def scalelab_datasets():
    return [scalelab.Dataset(name="specks", summary="Noise", open=open_specks, params=SpecksParams)]


@scalelab.hookimpl
def scalelab_architectures():
    space = {"width": scalelab.Doubling(4, 64)}
    return [scalelab.Architecture(
        name="stack", summary="Two layers", build=build_stack, params=StackParams, space=space)]


@scalelab.hookimpl
def scalelab_optimizers():
    return [
        scalelab.Optimizer(name=name, summary="SGD", build=build_plain, params=PlainParams)
        for name in ("plain", "other")
    ]
"""

STUDY = """
name = "isoflop"
[dataset]
name = "specks"
DATASET
[data]
sizes = ["all"]
[[architecture]]
name = "stack"
space = { width = { type = "doubling", low = 4, high = 128 } }
[[optimizer]]
name = "plain"
[[optimizer]]
name = "other"
[training]
batch_size = 64
schedule = "constant"
[sampling]
method = "isoflop"
budgets = [2e7, 8e7, 3.2e8]
models = 6
min_steps = 1
max_epochs = 1000
"""


def make_store(path, catalog, *, dataset="", offset=0.2):
    """Registers the study and writes a record for each of its trials."""
    text = STUDY.replace("DATASET", dataset)
    study = parse_study(text, path.parent / "isoflop.toml", catalog)
    cost = Costs(catalog)
    expansion = expand(study, catalog, cost=cost)
    task = expansion.opened(expansion.trials[0]).data.task
    store = open_store(path, create=True)
    store.register("isoflop", text, expansion.trials)
    for index, trial in enumerate(expansion.trials):
        one = cost(trial.architecture, task.input_shape, task.n_outputs)
        steps = resolve_steps(trial.training, trial.n_examples, one.train_flops_per_example)
        seen = steps * trial.training.batch_size
        loss = offset + 3.0 * one.n_params**-0.4 + 8.0 * seen**-0.5
        loss *= (1.0 if trial.optimizer.name == "plain" else 1.15) * (1 + 0.002 * (index % 5 - 2))
        flops = seen * one.train_flops_per_example
        point = CurvePoint(
            step=steps, n_seen=seen, train_flops=flops, wall_seconds=1.0, lr=0.1, train_loss=loss, loss=loss
        )
        Journal(path).write(
            Record(
                trial=trial,
                study="isoflop",
                attempt=1,
                status="done",
                loss=loss,
                objective=loss,
                curve=(point,),
                n_params=one.n_params,
                forward_flops=one.forward_flops,
                train_flops=flops,
                n_steps=steps,
                epochs=seen / trial.n_examples,
                wall_seconds=1e-9 * flops,
                started_at=0.0,
                finished_at=1.0,
            )
        )
    store.ingest()
    return store
