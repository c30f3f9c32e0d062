"""Folders that are half written, foreign, hostile or no folders at all: one clear line, or what is whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tracked_runs import written

from scalelab.errors import InputError
from scalelab.store.mapping import read_runs
from scalelab.store.targets import Wanted

SCALE = {"epochs": "1"}
SOURCES: dict[str, dict[str, Any]] = {
    "lightning": {
        "v/metrics.csv": b"epoch,step,loss\n0,1,3.5\n1,2,2.5\n", "v/hparams.yaml": b"a: 1\nb: [1, 2]\n",
    },
    "keras": {"r/h.json": b'{"loss": [3.0, 2.0], "val_loss": [3.5, 2.5]}', "r/params.json": b'{"a": 1}'},
    "keras-csv": {"r/training.csv": b"epoch,loss,val_loss\n0,3.0,3.5\n1,2.0,2.5\n"},
    "transformers": {
        "o/checkpoint-2/trainer_state.json": b'{"global_step": 2, "max_steps": 2, "log_history": '
        b'[{"step": 1, "eval_loss": 3.0}, {"step": 2, "eval_loss": 2.0, "train_runtime": 3.5}]}',
        "o/checkpoint-2/config.json": b'{"hidden": 8}',
        "o/checkpoint-2/model.safetensors": b'\x1c\0\0\0\0\0\0\0{"w":{"shape":[2,3]}}       ',
    },
    "ray": {
        "t_1/result.json": b'{"loss": 3.0, "training_iteration": 1, "trial_id": "1", "config": {"a": 1}}\n',
        "t_1/params.json": b'{"a": 1}',
        "experiment_state-1.json": b'{"trial_data": [[{"trial_id": "1", "status": "ERROR"}, "{}"]]}',
    },
    "hydra": {
        "0/.hydra/config.yaml": b"a: {b: 1}\n", "0/metrics.csv": b"step,loss\n1,2.5\n",
        "0/results.json": b'{"n_params": 10}', "0/.hydra/overrides.yaml": b"- a.b=1\n",
    },
}  # fmt: skip
"""By kind of source, small files of it."""
JUNK = (b"", b"NaN", b"-1e999", b"[[", b"{}", b"null", b"9" * 5000)


def one_line(path: Path, **wanted: Any) -> str:
    """What is said of a source: problems of its runs, or why nothing is taken; a traceback passes."""
    try:
        return "\n".join(read_runs(path, Wanted(study="t", map=SCALE, **wanted)).problems)
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("kind", SOURCES)
def test_the_files_are_whole_before_they_are_spoiled(tmp_path, kind):
    assert one_line(written(tmp_path, SOURCES[kind])) == ""


@pytest.mark.parametrize("kind", SOURCES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_becomes_of_a_file_is_told_in_a_line(tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp("spoiled")
    files = dict(SOURCES[kind])
    name = data.draw(st.sampled_from(sorted(files)))
    at = data.draw(st.integers(0, len(files[name])))
    junk = data.draw(
        st.binary(max_size=20) | st.sampled_from([b"", b"NaN", b"-1e999", b"[[", b"{}", b"9" * 5000])
    )
    cut = data.draw(st.integers(0, 20))
    files[name] = files[name][:at] + junk + (files[name][at + cut :] if cut < 15 else b"")
    one_line(written(folder, files), kind=kind.partition("-")[0])


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    for number, name in enumerate(SOURCES[kind]):
        folder = written(tmp_path / str(number), SOURCES[kind])
        (folder / name).unlink()
        os.mkfifo(folder / name)
        one_line(folder, kind=kind.partition("-")[0])
        (folder / name).unlink()
        (folder / name).mkdir()
        one_line(folder, kind=kind.partition("-")[0])


def test_links_in_a_circle_are_not_followed(tmp_path):
    folder = written(tmp_path, SOURCES["lightning"])
    (folder / "v" / "again").symlink_to(folder)
    assert read_runs(folder, Wanted(study="t", map=SCALE)).n_runs == 1


def test_a_mapping_that_grows_without_end_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    files = SOURCES["hydra"] | {"0/.hydra/config.yaml": "\n".join(lines)}
    assert "aliases; more than 30 are not read" in one_line(written(tmp_path, files))


def test_event_files_want_their_package(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    told = one_line(written(tmp_path, {"run/events.out.tfevents.1.host": b"\0" * 40}))
    assert told == (
        "reading event files needs the package tensorboard; run: pip install 'scalelab[tensorboard]'"
    )
