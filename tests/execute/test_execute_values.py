"""What a component gives or raises that no record can hold is one failed record with the reason."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalelab import run_study
from scalelab.components import Task
from scalelab.errors import PluginError, ScalelabWarning, plain_line, text_of
from scalelab.execute.events import Retried
from scalelab.execute.features import features_of
from scalelab.execute.jobs import Finished, Warned, event_from_json
from scalelab.records import Frozen
from scalelab.store import open_store
from scalelab.supervise.workbench import _line_of, one_line
from scalelab.testing.toys import ToyArchitectureParams, toy_architecture, toy_catalog

STUDY = """
name = "values"
[dataset]
name = "toy-blobs"
[data]
sizes = [64]
[[architecture]]
name = "toy-conv"
options = { width = 2 }
[[optimizer]]
name = "toy-sgd"
[training]
length = { steps = 4 }
batch_size = 16
validations = 1
"""
TASK = Task(input_shape=(2, 64), n_outputs=2)


def features(returned):
    architecture = dataclasses.replace(toy_architecture, features=lambda *_: returned)
    return features_of(architecture, ToyArchitectureParams(), TASK)


@pytest.mark.parametrize(
    "returned",
    [
        None,
        "text",
        [("a", 1)],
        {"a": None},
        {"a": math.nan},
        {"a": math.inf},
        {"a": 2**63},
        {"a": b"bytes"},
        {"a": [1]},
        {"a": {"b": 1}},
        {"a": np.arange(2)},
        {"a": np.float32("nan")},
        {"a": torch.ones(2)},
        {"a": 1j},
        {"a": object()},
        {"a": "\udcff"},
        {"a": "x\0y"},
        {"a": "y" * 10_000_000},
        {1: 1},
        {"": 1},
        {"\udcff": 1},
        {"x" * 500: 1},
        {None: 1},
    ],
)
def test_features_that_no_record_can_hold_are_refused_in_a_line(returned):
    with pytest.raises(PluginError, match=r"^features\(\) of architecture 'toy-conv'") as refused:
        features(returned)
    line = str(refused.value)
    assert line.isprintable()
    assert len(line) < 300


def test_numbers_and_texts_of_libraries_become_plain_ones():
    given_ = {
        "i": np.int64(4), "f": np.float32(0.5), "b": np.bool_(1), "t": torch.tensor(3), "s": np.str_("é🎉"),
        "z": np.array(7.0), "true": True, "low": -(2**63),
    }  # fmt: skip
    found = features(given_)
    assert found == {
        "i": 4, "f": 0.5, "b": 1, "t": 3, "s": "é🎉", "z": 7.0, "true": 1, "low": -(2**63)
    }  # fmt: skip
    assert {type(value) for value in found.values()} == {int, float, str}


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def raising(error):
    def features(*_):
        raise error

    return features


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (lambda *_: {"a": None}, "'a' = None: must be an int"),
        (raising(ValueError("caf\udce9 \0 \x1b[31m")), r"ValueError: caf\udce9 \x00 \x1b[31m (at "),
        (raising(Mute()), "Mute: its text cannot be had: RuntimeError (at "),
        (raising(ValueError("y" * 10_000_000)), "ValueError: yyyy"),
        (raising(GeneratorExit()), "GeneratorExit (at "),
    ],
)
def test_a_trial_fails_once_with_the_reason(tmp_path, features, words):
    study = tmp_path / "values.toml"
    study.write_text(STUDY)
    architecture = dataclasses.replace(toy_architecture, features=features)
    events = []
    store = tmp_path / "s.duckdb"
    summary = run_study(
        study, store, workers=0, catalog=toy_catalog(architecture=architecture), on_event=events.append
    )
    assert not [event for event in events if isinstance(event, Retried)]
    ((trial_id, reason),) = summary.failed.items()
    assert words in reason
    assert reason.isprintable()
    assert len(reason) < 1000
    assert open_store(store).outcomes()[trial_id][:3] == ("failed", 1, reason)
    for log in summary.logs.values():
        assert len(log.read_text(encoding="utf-8")) < 250_000


PLUGIN = """
import dataclasses
import warnings
from typing import Any

import scalelab
from pydantic import Field
from scalelab.testing.toys import build_conv, toy_architecture, toy_dataset, toy_optimizer


class HostileParams(scalelab.Params):
    width: int = 2
    mode: str = "none"


def build(params, input_shape, n_outputs):
    if params.mode == "raise":
        raise ValueError("cannot read caf\\udce9.dat")
    if params.mode == "warn":
        warnings.warn("odd \\udce9", scalelab.errors.ScalelabWarning)
    return build_conv(params, input_shape, n_outputs)


def features(params, input_shape, n_outputs):
    print("a print", params.mode, "\\udce9 \\u6f22")
    return {"a": {"none": None, "surrogate": "\\udcff"}.get(params.mode, 1)}


architecture = scalelab.Architecture(
    name="hostile", summary="H", build=build, params=HostileParams, features=features
)


@scalelab.hookimpl
def scalelab_architectures():
    return [architecture]


@scalelab.hookimpl
def scalelab_datasets():
    return [toy_dataset]


@scalelab.hookimpl
def scalelab_optimizers():
    return [toy_optimizer]
"""
MODES = {
    "none": "features() of architecture 'hostile': 'a' = None: must be an int, a float or a str",
    "surrogate": r"'a' = '\udcff': must be at most 1000 characters of text",
    "raise": r"ValueError: cannot read caf\udce9.dat",
    "warn": None,
    "é漢🎉": None,
}


def test_a_worker_outlives_them_and_trains_the_next_trial(lab):
    (lab.plugins / "toys.py").write_text(PLUGIN, encoding="utf-8")
    entry = '[[architecture]]\nname = "hostile"\noptions = { mode = "MODE" }\n'
    head, tail = STUDY.split("[[architecture]]")
    tail = tail[tail.index("[[optimizer]]") :]
    study = lab.folder / "values.toml"
    study.write_text(head + "".join(entry.replace("MODE", mode) for mode in MODES) + tail, encoding="utf-8")
    events = []
    summary = run_study(study, lab.store, threads=1, catalog=lab.catalog(), on_event=events.append)
    assert (summary.done, len(summary.failed)) == (2, 3)
    assert not [event for event in events if isinstance(event, Retried)]
    assert [event.message for event in events if isinstance(event, Warned)] == [r"odd \udce9"]
    for words in filter(None, MODES.values()):
        assert any(words in reason for reason in summary.failed.values()), words
    logs = [path.read_text(encoding="utf-8") for path in (lab.folder / "store.duckdb.journal/logs").iterdir()]
    assert any("a print é漢🎉 \\udce9 漢\n" in log for log in logs)


class Said(Frozen):
    """An event with anything in it."""

    text: str = ""
    facts: dict[str, Any]


@given(st.text(st.characters(), max_size=20), st.integers(20, 60))
def test_a_plain_line_is_one_printable_line(text, limit):
    line = plain_line(text * 10, limit)
    assert line.isprintable()
    assert len(line) <= limit
    line.encode()


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
)


@given(st.dictionaries(st.text(st.characters()), _ANYTHING, max_size=3))
def test_every_event_can_be_said(facts):
    line = _line_of(Said(facts=facts))
    assert line.count(b"\n") == 1
    assert Said.model_validate_json(line).facts.keys() or not facts
    json.loads(line)


def test_what_has_no_json_is_said_as_its_text():
    facts = {"n": np.float32(0.5), "a": np.arange(2), "o": Mute(), "t": "\udcff"}
    assert json.loads(_line_of(Said(facts=facts)))["facts"] == {
        "n": 0.5, "a": [0, 1], "o": "its text cannot be had: RuntimeError", "t": r"\udcff",
    }  # fmt: skip


def test_a_library_that_is_missing_names_the_remedy():
    with pytest.raises(ModuleNotFoundError) as error:
        importlib.import_module("no_such_library")
    assert one_line(error.value).startswith(
        "ModuleNotFoundError: No module named 'no_such_library'; install it for the Python that runs scalelab"
    )


def test_an_error_of_any_text_is_a_line_that_an_event_takes():
    for error in (ValueError("\udcff\0\n\x1b" * 100_000), Mute(), KeyError("\ud800")):
        line = one_line(error)
        assert line.isprintable()
        event = Finished(trial_id="a", status="failed", wall_seconds=1.0, error=line)
        assert event_from_json(_line_of(event)) == event
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.warn("\udcff", ScalelabWarning, stacklevel=1)
    assert plain_line(text_of(seen[0].message)) == r"\udcff"
