"""States of the Trainer of transformers, and jobs of Hydra."""

from __future__ import annotations

import json
import struct

import pytest
from tracked_runs import points, read, written


def state(step: int, max_steps: int = 10, **more: object) -> dict[str, object]:
    history = [{"step": at, "epoch": at / 5, "loss": 4.0, "eval_loss": 3 - at / 10} for at in (5, step)]
    return {
        "global_step": step, "max_steps": max_steps, "epoch": step / 5, "log_history": history,
        "train_batch_size": 4, "total_flos": 1e12, "num_input_tokens_seen": 0, **more,
    }  # fmt: skip


def weights(shapes: list[list[int]]) -> bytes:
    header = {str(at): {"dtype": "F32", "shape": shape} for at, shape in enumerate(shapes)}
    text = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    return struct.pack("<Q", len(text)) + text


def test_the_newest_checkpoint_that_is_whole_holds(tmp_path):
    files = {
        "a/checkpoint-9/trainer_state.json": state(9),
        "a/checkpoint-10/trainer_state.json": '{"global_step": 10, "log_hist',
        "a/checkpoint-9/model-1-of-2.safetensors": weights([[3, 4], [5]]),
        "a/checkpoint-9/model-2-of-2.safetensors": weights([[2, 2, 2]]),
        "a/checkpoint-9/config.json": {"hidden_size": 64},
        "b/trainer_state.json": state(10),
        "b/model.safetensors": b"\x10\0\0\0\0\0\0\0torn",
        "c/checkpoint-5/trainer_state.json": state(5),
    }
    kind, runs, problems = read(written(tmp_path, files))
    assert kind == "transformers"
    assert {key: run.state for key, run in runs.items()} == {"a": "stopped", "b": "finished", "c": "stopped"}
    assert runs["a"].values["n_params"] == 12 + 5 + 8
    assert runs["a"].params == {"hidden_size": 64}
    assert (runs["b"].values["train_flops"], runs["b"].values["n_tokens"]) == (1e12, None)
    assert points(runs["b"].curves["eval_loss"]) == [(5, 2.5), (10, 2.0)]
    assert len(problems) == 2
    assert "a: trainer_state.json is torn, or no JSON" in problems[0]
    assert "an earlier checkpoint was taken" in problems[0]
    assert "b: the parameters in model.safetensors could not be counted" in problems[1]


@pytest.mark.parametrize(("waited", "ended"), [(3, "finished"), (2, "stopped")])
def test_a_run_that_stopped_early_of_itself_is_done(tmp_path, waited, ended):
    stopping = {
        "args": {"early_stopping_patience": 3},
        "attributes": {"early_stopping_patience_counter": waited},
    }
    told = state(8, stateful_callbacks={"EarlyStoppingCallback": stopping})
    path = written(tmp_path, {"trainer_state.json": told}) / "trainer_state.json"
    (run,) = read(path)[1].values()
    assert run.state == ended


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"max_steps": 3}, "it has no global_step"),
        ({**state(5), "global_step": "five"}, "its global_step is 'five', not of type int"),
        ({**state(5), "log_history": 5}, "trainer_state.json has no log_history"),
        ("[1, 2]", "trainer_state.json holds no names"),
        (b"\xff\xfe{}", "trainer_state.json is torn, or no JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_state_that_is_none_is_told(tmp_path, content, told):
    (problem,) = read(written(tmp_path, {"trainer_state.json": content}))[2]
    assert told in problem


CONFIG = "model:\n  width: 8\nlr: 0.1\nname: run-${model.width}\n"


def job(number: int, files: dict[str, object]) -> dict[str, object]:
    return {
        f"multirun/{number}/.hydra/config.yaml": CONFIG,
        f"multirun/{number}/.hydra/overrides.yaml": "- model.width=8\n- lr=0.1\n",
        **{f"multirun/{number}/{name}": content for name, content in files.items()},
    }


def test_jobs_of_hydra_and_what_they_left(tmp_path):
    reports = ["step,val_loss", "1,3.0", "2,2.0"]
    source = written(
        tmp_path,
        job(0, {"metrics.csv": reports, "results.json": {"n_params": 10, "deep": {"a": 1}}})
        | job(1, {"metrics.csv": reports})
        | job(2, {"out/trainer_state.json": state(5), "results.json": {"n_params": 20}})
        | job(3, {"metrics.jsonl": ['{"step": 1, "val_loss": 3.0}', '{"step": 2, "val_'], "results.json": {}})
        | job(10, {}),
    )
    kind, runs, problems = read(source)
    assert kind == "hydra"
    assert list(runs) == [f"multirun/{number}" for number in (0, 1, 2, 3, 10)]
    first = runs["multirun/0"]
    assert (first.name, first.state) == ("model.width=8, lr=0.1", None)
    assert first.params == {"model.width": 8, "lr": 0.1, "name": "run-${model.width}"}
    assert points(first.curves["val_loss"]) == [(1, 3.0), (2, 2.0)]
    assert first.values == {"n_params": 10, "deep.a": 1}
    assert [runs[f"multirun/{number}"].state for number in (1, 2, 10)] == ["stopped"] * 3
    assert points(runs["multirun/2"].curves["eval_loss"])[-1] == (5, 2.5)
    assert points(runs["multirun/3"].curves["val_loss"]) == [(1, 3.0)]
    assert len(problems) == 1
    assert "lines of metrics.jsonl that are not JSON were left out: 1" in problems[0]


def test_jobs_none_of_which_left_results_are_not_called_stopped(tmp_path):
    source = written(tmp_path, job(0, {"metrics.csv": ["step,loss", "1,3.0"]}) | job(1, {}))
    assert [run.state for run in read(source)[1].values()] == [None, "stopped"]
