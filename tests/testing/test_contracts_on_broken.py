"""Deliberately broken components fail their contract with a message that says what to fix.

The cases of each kind run in one pytest process, on a file that is written here.
"""

import os
import re
import subprocess
import sys

import pytest

HEAD = """
import dataclasses, os, random
import numpy as np
import pytest
import torch
from pathlib import Path
from pydantic import ConfigDict, Field
import scalelab
from scalelab.testing import *
from scalelab.testing import toys
from scalelab.testing.toys import *

def change(component, **fields):
    return dataclasses.replace(component, **fields)
"""


class Case:
    """Code that defines `component`, the check that must fail, and words of its message."""

    def __init__(self, name, kind, code, check, message):
        self.name, self.kind, self.code, self.check, self.message = name, kind, code, check, message

    def test_class(self):
        extra = ""
        if self.kind == "Architecture":
            extra = "    @pytest.fixture\n    def larger(self):\n        return {'width': 32}\n"
        kind = self.kind.lower()
        return (
            f"{self.code}\n"
            f"{self.name}_component = component\n"
            f"class Test_{self.name}({self.kind}Contract):\n"
            f"{extra}"
            f"    @pytest.fixture\n    def {kind}(self):\n        return {self.name}_component\n"
        )


def opened(body):
    """A dataset whose open() changes what the toy's gives."""
    return f"""
def open_NAME(params):
    data = toys.open_blobs(params)
{body}
component = change(toy_dataset, open=open_NAME)
"""


def built(body):
    """An architecture around the toy's module, called `inner`."""
    return f"""
class Net_NAME(torch.nn.Module):
    def __init__(self, params, input_shape, n_outputs):
        super().__init__()
        self.inner = toys.build_conv(params, input_shape, n_outputs)
{body}
component = change(toy_architecture, build=Net_NAME, head=None)
"""


FORWARD = "    def forward(self, x):\n        "
MAKE_BIAS = "        self.bias = torch.nn.Parameter(torch.zeros(n_outputs))\n"

CASES = [
    # what all kinds share
    Case("bad_name", "Dataset", "component = change(toy_dataset, name='My Data')",
         "test_descriptor_is_sound", "a name is lower-case letters"),
    Case("helpless", "Optimizer", """
class HelplessParams(scalelab.Params):
    lr: float = 0.1
component = change(toy_optimizer, params=HelplessParams, space={}, build=build_sgd_only_lr)
""".replace("component =", "def build_sgd_only_lr(params, module):\n"
            "    return torch.optim.SGD(module.parameters(), lr=params.lr)\ncomponent ="),
         "test_options_have_a_line_of_help", r"give lr a Field\(description=…\)"),
    Case("lenient", "Dataset", """
class LenientParams(toys.ToyDatasetParams):
    model_config = ConfigDict(extra="allow")
component = change(toy_dataset, params=LenientParams)
""", "test_unknown_option_is_refused", "DID NOT RAISE"),
    Case("infinite", "Optimizer", """
class InfiniteParams(toys.ToyOptimizerParams):
    model_config = ConfigDict(allow_inf_nan=True)
    lr: float = Field(0.1, gt=0, description="peak learning rate")
component = change(toy_optimizer, params=InfiniteParams)
""", "test_nan_and_infinity_are_refused", "accepts lr = inf: keep allow_inf_nan=False"),
    Case("eager_torch", "Dataset", opened("    import torch\n    return data"),
         "test_open_imports_no_torch", "import it inside prepare and augment"),
    Case("unseeded", "Dataset", opened(
        "    rng = np.random.default_rng()\n"
        "    noise = rng.normal(size=data.train.inputs.shape)\n"
        "    return change(data, train=scalelab.Split(data.train.inputs + noise, data.train.targets))"),
         "test_same_options_give_the_same_content", "seed the generator"),
    Case("global_rng", "Dataset", opened("    np.random.seed(0)\n    return data"),
         "test_open_leaves_global_state_alone", "NumPy's random generator"),
    Case("leak", "Dataset", opened("    return change(data, validation=data.train)"),
         "test_splits_do_not_leak", "100.0% of the validation examples are training examples"),
    Case("shape", "Dataset", opened("    return change(data, task=change(data.task, input_shape=(2, 60)))"),
         "test_model_input_has_the_shape_of_the_task", "fix task.input_shape or prepare"),
    Case("labels", "Dataset", opened(
        "    return change(data, task=change(data.task, n_outputs=3, classes=()),"
        " train=scalelab.Split(data.train.inputs, data.train.targets + 2))"),
         "test_splits_are_sound", "must lie from 0 to 2"),
    Case("windows", "Dataset", opened(
        "    split = data.validation\n"
        "    half = np.ones(len(split) // 2, dtype=int)\n"
        "    split = change(split, targets=split.targets[: len(half)], windows=half)\n"
        "    return change(data, validation=split)"),
         "test_splits_are_sound", "windows add up to 32 of 64 rows of inputs"),
    Case("objective", "Dataset", opened("    return change(data, task=change(data.task, objective='f2'))"),
         "test_task_is_sound", "fix the task"),
    Case("global_augment", "Dataset", """
def noisy(batch, generator):
    return batch + torch.randn(batch.shape)
""" + opened("    return change(data, augment=noisy)"),
         "test_augment_draws_from_its_generator_alone", "torch's random generator"),
    Case("folder", "Dataset", """
class FolderParams(toys.ToyDatasetParams):
    folder: Path = Field(Path("."), description="where the files are")
def open_folder(params):
    os.listdir(params.folder)
    return toys.open_blobs(params)
component = change(toy_dataset, params=FolderParams, open=open_folder)
""", "test_bad_content_is_a_clear_error", "must raise scalelab.DataError"),
    # architectures
    Case("unused", "Architecture", built(MAKE_BIAS + FORWARD + "return self.inner(x)"),
         "test_gradients_reach_every_parameter", "no gradient reached bias"),
    Case("mixing", "Architecture", built(FORWARD + "return self.inner(x) - self.inner(x).mean(0)"),
         "test_examples_do_not_see_each_other", "mixes examples"),
    Case("always_random", "Architecture", built(
        FORWARD + "return self.inner(torch.nn.functional.dropout(x))"),
         "test_evaluation_is_not_random", "evaluation mode"),
    Case("own_seed", "Architecture", """
def build_seeded(params, input_shape, n_outputs):
    torch.manual_seed(0)
    return toys.build_conv(params, input_shape, n_outputs)
component = change(toy_architecture, build=build_seeded)
""", "test_same_seed_gives_the_same_model", "do not seed inside build"),
    Case("plain_tensor", "Architecture", built(
        "        self.scale = torch.rand(1) + 0.5\n" + FORWARD + "return self.inner(x) * self.scale"),
         "test_tensors_are_parameters_or_buffers", "register them as buffers"),
    Case("lost_state", "Architecture", built(
        "        self.scale = float(torch.rand(()))\n" + FORWARD + "return self.inner(x) * self.scale"),
         "test_state_round_trip", "keep all state in parameters and buffers"),
    Case("head_name", "Architecture", "component = change(toy_architecture, head='classifier')",
         "test_head_is_there", "set head=None"),
    Case("wrong_width", "Architecture", built(FORWARD + "return self.inner(x)[:, :1]"),
         "test_output_has_the_shape_of_the_task", r"expected \(4, 3\)"),
    Case("formula_off", "Architecture",
         "component = change(toy_architecture, flops=lambda params, shape, n: 1e9)",
         "test_flops_agree_with_the_count", "but the count is complete and says"),
    Case("formula_low", "Architecture", built(FORWARD + (
            "y = self.inner(x)\n        "
            "return torch.linalg.solve_triangular(torch.ones(len(x), len(x), device=x.device).tril(), y, "
            "upper=False)")) + "component = change(component, flops=lambda params, shape, n: 10.0)\n",
         "test_flops_agree_with_the_count", "without aten::linalg_solve_triangular"),
    Case("formula_none", "Architecture",
         "component = change(toy_architecture, flops=lambda params, shape, n: None)",
         "test_flops_agree_with_the_count", "flops= must give a number"),
    Case("formula_fails", "Architecture", built(
            FORWARD + "y = self.inner(x)\n        return y + torch.linalg.eigvalsh(y.T @ y).sum()")
         + "component = change(component, flops=lambda params, shape, n: params.depth)\n",
         "test_cost_grows_with_size", "flops= must give a number .got InputError: architecture"),
    Case("wild_space", "Architecture",
         "component = change(toy_architecture, space={'width': scalelab.Doubling(1024, 4096)})",
         "test_default_space_builds", "let the space lie within the bounds"),
    Case("crash", "Architecture", """
def build_crash(params, input_shape, n_outputs):
    if input_shape[1] < 8:
        raise ValueError("kernel larger than input")
    return toys.build_conv(params, input_shape, n_outputs)
component = change(toy_architecture, build=build_crash)
""", "test_misfit_is_a_clear_error", "raise scalelab.InputError"),
    Case("fixed_size", "Architecture", """
def build_fixed(params, input_shape, n_outputs):
    return toys.build_conv(toys.ToyArchitectureParams(), input_shape, n_outputs)
component = change(toy_architecture, build=build_fixed)
""", "test_cost_grows_with_size", "which options make the family grow"),
    Case("shared_layer", "Architecture", """
shared = torch.nn.Linear(3, 3)
""" + built("        self.shared = shared\n" + FORWARD + "return shared(self.inner(x))"),
         "test_models_share_nothing", "two models share shared.weight, shared.bias: make layers"),
    Case("own_dropout", "Architecture", built(FORWARD + (
        "keep = torch.from_numpy(np.random.default_rng().random(len(x))).float()[:, None]\n"
        "        return self.inner(x) * (keep if self.training else 1)")),
         "test_training_is_deterministic", "without a generator of your own"),
    Case("uncopied", "Architecture", built(
        "        self.log = open(os.devnull)\n" + FORWARD + "return self.inner(x)"),
         "test_model_survives_copying", "such as an open file"),
    # optimizers
    Case("forgets", "Optimizer", """
def build_half(params, module):
    return torch.optim.SGD(list(module.parameters())[1:], lr=params.lr)
component = change(toy_optimizer, build=build_half)
""", "test_every_parameter_stands_in_one_group", "no group holds 0.weight"),
    Case("climbs", "Optimizer", """
def build_ascent(params, module):
    return torch.optim.SGD(module.parameters(), lr=params.lr, maximize=True)
component = change(toy_optimizer, build=build_ascent)
""", "test_loss_falls", "sign of the update|became NaN"),
    Case("deaf", "Optimizer", """
class Deaf(torch.optim.Optimizer):
    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.01})
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(p.grad, alpha=0.01)
def build_deaf(params, module):
    return Deaf(module.parameters())
component = change(toy_optimizer, build=build_deaf)
""", "test_learning_rate_is_obeyed", r"read the rate from group\['lr'\]"),
    Case("noisy_step", "Optimizer", """
class Noisy(torch.optim.SGD):
    @torch.no_grad()
    def step(self):
        super().step()
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(torch.randn_like(p), alpha=1e-4 * group["lr"])
def build_noisy(params, module):
    return Noisy(module.parameters(), lr=params.lr)
component = change(toy_optimizer, build=build_noisy)
""", "test_steps_are_deterministic", "torch's random generator"),
    Case("hidden_state", "Optimizer", """
class Hidden(torch.optim.Optimizer):
    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.02})
        self.velocity = {}
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                v = self.velocity.setdefault(p, torch.zeros_like(p)).mul_(0.9).add_(p.grad)
                p.sub_(v * group["lr"])
def build_hidden(params, module):
    return Hidden(module.parameters())
component = change(toy_optimizer, build=build_hidden)
""", "test_state_round_trip", "keep all state in optimizer.state"),
    Case("one_mode", "Optimizer", """
class TwoModes(torch.optim.SGD):
    def train(self):
        pass
    def eval(self):
        pass
class Wrapped(torch.optim.SGD):
    def __init__(self, parameters, lr):
        super().__init__(parameters, lr=lr)
        self.inner = TwoModes(self.param_groups, lr=lr)
def build_wrapped(params, module):
    return Wrapped(module.parameters(), params.lr)
component = change(toy_optimizer, build=build_wrapped)
""", "test_two_modes_are_told", "pass both on"),
    Case("one_way", "Optimizer", """
class OneWay(torch.optim.SGD):
    def train(self):
        pass
    @torch.no_grad()
    def eval(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(0.5)
def build_one_way(params, module):
    return OneWay(module.parameters(), lr=params.lr)
component = change(toy_optimizer, build=build_one_way)
""", "test_two_modes_are_told", "validated at the wrong point"),
    Case("untold_closure", "Optimizer", """
def build_lbfgs(params, module):
    return torch.optim.LBFGS(module.parameters(), lr=0.1)
component = change(toy_optimizer, build=build_lbfgs)
""", "test_builds_a_torch_optimizer", "closure = 'whole' or 'after'"),
    Case("dear", "Optimizer", """
def build_dear(params, module):
    return torch.optim.LBFGS(module.parameters(), lr=0.1, max_iter=5)
component = change(toy_optimizer, build=build_dear, closure="whole")
""", "test_closure_is_called_as_told", "lengths in FLOPs"),
    # backends
    Case("training_mode", "Backend", """
def load_flipped(params, module, example, device, calibration):
    module.eval()
    return toys.load_eager(params, module, example, device, calibration)
component = change(toy_backend, load=load_flipped)
""", "test_module_is_left_alone", "work on a copy"),
    Case("inexact", "Backend", """
def load_rough(params, module, example, device, calibration):
    exact = toys.load_eager(params, module, example, device, calibration)
    rough = lambda x: exact.infer(x).astype(np.float16).astype(np.float32) * 1.01
    return dataclasses.replace(exact, infer=rough)
component = change(toy_backend, load=load_rough)
""", "test_outputs_agree_with_eager", "differ from eager f32"),
    Case("buffer", "Backend", """
def load_buffer(params, module, example, device, calibration):
    fresh = toys.load_eager(params, module, example, device, calibration)
    buffer = fresh.infer(example)
    def into(inputs):
        buffer[...] = fresh.infer(inputs)
        return buffer
    return dataclasses.replace(fresh, infer=into)
component = change(toy_backend, load=load_buffer)
""", "test_inference_is_repeatable", "overwrites earlier outputs"),
    Case("any_device", "Backend", """
def load_anywhere(params, module, example, device, calibration):
    return toys.load_eager(params, module, example, "cpu", calibration)
component = change(toy_backend, load=load_anywhere)
""", "test_unknown_device_is_a_clear_error", "accepted the device"),
    Case("bare_function", "Backend", """
def load_bare(params, module, example, device, calibration):
    return toys.load_eager(params, module, example, device, calibration).infer
component = change(toy_backend, load=load_bare)
""", "test_executable_is_sound", "return a scalelab.Executable"),
    Case("talkative", "Backend", """
def load_talking(params, module, example, device, calibration):
    print("converting")
    return toys.load_eager(params, module, example, device, calibration)
component = change(toy_backend, load=load_talking)
""", "test_nothing_is_printed", "wrote to stdout"),
    Case("realist", "Backend", """
def load_real(params, module, example, device, calibration):
    return toys.load_eager(params, module.to(torch.float32), example, device, calibration)
component = change(toy_backend, load=load_real)
""", "test_hard_networks_are_right_or_refused", "complex weights has outputs that differ from eager f32"),
    Case("blunt", "Backend", """
def load_blunt(params, module, example, device, calibration):
    if isinstance(next(module.children()), torch.nn.GRU):
        raise KeyError("GRU")
    return toys.load_eager(params, module, example, device, calibration)
component = change(toy_backend, load=load_blunt)
""", "test_hard_networks_are_right_or_refused", "a recurrent layer ends in KeyError: 'GRU'; raise"),
    Case("silent_device", "Backend", """
def devices_silent():
    return [scalelab.Device("cpu"), scalelab.Device("npu", available=False)]
component = change(toy_backend, devices=devices_silent)
""", "test_devices_are_sound", "does not say why"),
]  # fmt: skip


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    """Runs the check of every case; returns the failure text by (case, check)."""
    folder = tmp_path_factory.mktemp("broken")
    code = HEAD + "\n".join(case.test_class().replace("NAME", case.name) for case in CASES)
    (folder / "test_broken.py").write_text(code)
    (folder / "pytest.ini").write_text("[pytest]\n")
    checks = [f"test_broken.py::Test_{case.name}::{case.check}" for case in CASES]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *checks],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 1, result.stdout[-3000:] + result.stderr
    sections = re.split(r"^_+ (Test_\w+)\.(\w+) _+$", result.stdout, flags=re.MULTILINE)
    return {
        (name.removeprefix("Test_"), check): text
        for name, check, text in zip(sections[1::3], sections[2::3], sections[3::3], strict=True)
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_broken_component_is_told_what_to_mend(case, failures):
    text = failures.get((case.name, case.check))
    assert text is not None, f"{case.check} passed"
    assert re.search(case.message, " ".join(text.replace("\nE", "").split())), text


def test_missing_fixture_says_which_to_define(tmp_path):
    (tmp_path / "test_none.py").write_text(
        "from scalelab.testing import ArchitectureContract\nclass TestNone(ArchitectureContract):\n    pass\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "descriptor_is_sound", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "define a fixture 'architecture'" in result.stdout
