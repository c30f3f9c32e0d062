"""What a dataset opens to is looked at before anything is made of it: wrong things are one line."""

from dataclasses import replace

import numpy as np
import pytest
from study_toys import ARCHITECTURES, OPTIMIZERS, TASK, toml

from scalelab.components import Dataset, Metric, OpenDataset, Split
from scalelab.errors import DataError, InputError
from scalelab.plugins import Catalog
from scalelab.study import expand, parse_study
from scalelab.study.opened import verify_opened


class Odd:
    """Raises whatever it is asked."""

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    def __repr__(self):
        raise RuntimeError("no text")

    __hash__ = None


def metric(**facts) -> Metric:
    return Metric(**{"name": "m", "compute": lambda outputs, targets: 0.5, **facts})


def opened(**facts) -> OpenDataset:
    split = Split(np.zeros((4, 1, 8), np.float32), np.zeros(4, np.int64))
    return OpenDataset(task=replace(TASK, **facts), train=split, validation=split, fingerprint="f")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"metrics": None}, "task.metrics are None"),
        ({"metrics": "accuracy"}, "task.metrics are 'accuracy'"),
        ({"metrics": ({"b": 3},)}, "task.metrics"),
        ({"objective": {}}, "task.objective is {}"),
        ({"loss": 3}, "task.loss is 3"),
        ({"classes": (1, 2)}, "task.classes"),
        ({"metrics": (metric(name=3),)}, "name of a metric is 3"),
        ({"metrics": (metric(compute=0.5),)}, "compute of metric 'm' is 0.5"),
        ({"metrics": (metric(direction="up"),)}, "give 'minimize' or 'maximize'"),
        ({"metrics": (metric(bounds=(0,)),)}, "bounds of metric 'm' are (0,)"),
        ({"metrics": (metric(bounds=("0", 1)),)}, "bounds of metric 'm'"),
    ],
)
def test_a_task_that_is_none(facts, words):
    with pytest.raises(DataError) as caught:
        verify_opened(opened(**facts))
    assert words in str(caught.value)
    verify_opened(opened(metrics=("accuracy", metric(bounds=(0.0, None)))))


@pytest.mark.parametrize("fingerprint", ["", None, b"f", "\udcff", "a\0b"])
def test_a_fingerprint_that_no_record_can_hold(fingerprint):
    with pytest.raises(DataError, match=r"fingerprint is .*; give a digest of the content, a text"):
        verify_opened(replace(opened(), fingerprint=fingerprint))


def fail(error):
    raise error


def expanded(open_it):
    """Expands a study on a dataset that opens so."""
    dataset = Dataset(name="blips", summary="Odd", open=open_it)
    parts = (dataset, ARCHITECTURES["mlp"], *OPTIMIZERS.values())
    catalog = Catalog().with_components(*parts, plugin="odd")
    return expand(parse_study(toml(), "odd.toml", catalog), catalog)


@pytest.mark.parametrize(
    "open_it",
    [
        lambda _: opened(metrics=(metric(direction=Odd()),)),
        lambda _: opened(n_outputs=Odd()),
        lambda _: opened(objective=Odd()),
        lambda _: fail(GeneratorExit()),
        lambda _: fail(BaseException("base \ud800\nof all")),
        lambda _: fail(SystemExit(3)),
    ],
    ids=["direction", "outputs", "objective", "generator exit", "base", "exit"],
)
def test_whatever_a_dataset_opens_to_is_refused_in_one_line(open_it):
    with pytest.raises(InputError) as caught:
        expanded(open_it)
    assert str(caught.value).startswith("odd.toml: ")
    assert str(caught.value).isprintable()


def test_an_interrupt_while_a_dataset_opens_is_heeded():
    with pytest.raises(KeyboardInterrupt):
        expanded(lambda _: fail(KeyboardInterrupt()))
