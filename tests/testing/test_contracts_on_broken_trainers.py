"""Deliberately broken trainers fail their contract with a message that says what to fix."""

import os
import re
import subprocess
import sys

import pytest

HEAD = """
import os
import math
import random
import pytest
import torch
import scalelab
from scalelab.testing import TrainerContract


def train(params, run, *, start=None, batch=None, begin=True, stop=True, save=True):
    step = (run.resume() if start is None else (start, {}))[0]
    while step < run.n_steps:
        asked = stop and run.should_stop()
        if save:
            run.save(step)
        if asked:
            return run.result("interrupted", step)
        step += 1
        if begin:
            run.begin(step)
        inputs, targets = (batch or run.batch)(step)
        run.optimizer.zero_grad()
        loss = run.loss(run.module(inputs), targets)
        loss.backward()
        run.optimizer.step()
        if step in run.validations:
            if not math.isfinite(run.report(step, loss.item()).loss):
                return run.result("diverged", step)
    return run.result("done", step)
"""
CASES = {
    "untrained": (
        "return run.result('done', run.n_steps)",
        "test_it_trains", "no better than the best",
    ),
    "elsewhere": (
        "import copy, dataclasses\n    module = copy.deepcopy(run.module)\n"
        "    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)\n"
        "    train(params, dataclasses.replace(run, module=module, optimizer=optimizer))\n"
        "    return run.result('done', run.n_steps)",
        "test_it_trains", "trained, in place",
    ),
    "nothing": ("pass", "test_it_trains", "returned NoneType, expected scalelab.TrainResult"),
    "unseeded": (
        "random.seed(os.urandom(8))\n    torch.manual_seed(random.getrandbits(32))\n"
        "    return train(params, run, begin=False)",
        "test_one_seed_gives_one_result", "call run.begin(step) before each step",
    ),
    "deaf": (
        "return train(params, run, stop=False)",
        "test_a_stopped_run_goes_on", "ended as done: ask before every step",
    ),
    "forgetful": (
        "return train(params, run, save=False)",
        "test_a_stopped_run_goes_on", "ended as interrupted without run.save(step)",
    ),
    "beginner": (
        "return train(params, run, start=0)",
        "test_a_stopped_run_goes_on", "begin with step, state = run.resume()",
    ),
    "changed": (
        "step, _ = run.resume()\n"
        "    if step:\n        run.optimizer.state.clear()\n    return train(params, run, start=step)",
        "test_a_stopped_run_goes_on", "resumed run",
    ),
    "blind": (
        "def batch(step):\n        rows = torch.arange(16) + 7 * step\n"
        "        inputs = torch.from_numpy(run.data.train.inputs)[rows % len(run.data.train)]\n"
        "        return inputs, torch.from_numpy(run.data.train.targets)[rows % len(run.data.train)]\n"
        "    return train(params, run, batch=batch)",
        "test_it_sees_its_examples_alone", "use run.batch",
    ),
    "odd_flops": (
        "train(params, run)\n    return run.result('done', run.n_steps, train_flops=1e12)",
        "test_amounts_are_consistent", "give train_flops= to both or to none",
    ),
    "leaky": (
        "os.environ['LEAK'] = os.urandom(4).hex()\n"
        "    return train(params, run)",
        "test_global_state_is_left_alone", "changed the environment variables",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    """Runs every case once; returns the text of each failed check."""
    text = HEAD
    for name, (body, _, _) in CASES.items():
        text += (
            f"\n\ndef train_{name}(params, run):\n    {body}\n\n\nclass Test_{name}(TrainerContract):\n"
            "    @pytest.fixture\n    def trainer(self):\n"
            f"        return scalelab.Trainer(name='broken', summary='s', train=train_{name})\n"
        )
    path = tmp_path_factory.mktemp("broken") / "test_broken.py"
    path.write_text(text)
    checks = [f"{path}::Test_{name}::{check}" for name, (_, check, _) in CASES.items()]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *checks],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    return dict(re.findall(r"^_+ Test_(\w+)\.\w+ _+$(.*?)(?=^_+ Test_|^=+)", result.stdout, re.M | re.S))


@pytest.mark.parametrize("name", CASES)
def test_a_broken_trainer_is_told_what_to_mend(name, failures):
    said = " ".join(failures.get(name, "the check passed").replace("\nE  ", " ").split())
    assert CASES[name][2] in said
