from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab import BackendParams, Device, InputError, PluginError
from scalelab.components import Precision
from scalelab.measure.targets import Target, find_device, parse_target
from scalelab.testing import toy_backend, toy_catalog

DEVICES = (
    Device("CPU"),
    Device("cuda:0"),
    Device("cuda:1"),
    Device("GPU.0"),
    Device("NPU", "no driver", False),
)


def devices() -> tuple[Device, ...]:
    return DEVICES


BACKEND = dataclasses.replace(toy_backend, name="many", devices=devices, params=BackendParams)
CATALOG = toy_catalog(backend=BACKEND)

names = st.text(st.characters(codec="ascii", categories=["Ll", "Lu", "Nd"]), min_size=1)


@given(names, st.lists(names, min_size=1, max_size=3), st.sampled_from([None, *get_args(Precision)]))
def test_a_target_written_is_the_target_read(
    backend: str, device: list[str], precision: Precision | None
) -> None:
    target = Target(backend, ":".join([*device, "x"]), precision)
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("many:cpu", Target("many", "CPU")),
        ("many:cpu:INT8", Target("many", "CPU", "int8")),
        ("many:CUDA:1:bf16", Target("many", "cuda:1", "bf16")),
        ("many:cuda", Target("many", "cuda:0")),
        ("many:gpu:f16", Target("many", "GPU.0", "f16")),
        ("many:npu", Target("many", "NPU")),
    ],
)
def test_devices_are_spelled_as_the_runtime_does(text: str, expected: Target) -> None:
    assert parse_target(text, CATALOG) == expected
    assert find_device(expected, DEVICES).name == expected.device


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("many", "is not a target: write backend:device"),
        ("", "is not a target"),
        (":cpu", "is not a target"),
        ("many:f32", "is not a target"),
        ("many:CPV", "has no device 'CPV'; did you mean 'CPU'"),
        ("many:tpu", "no device 'tpu'"),
        ("many:cpu:in8", "'in8' is not a precision; did you mean 'int8'"),
        ("many:cpu:quick", "'quick' is not a precision; precisions are f32, bf16, f16, int8"),
    ],
)
def test_what_is_wrong_is_one_line_with_close_matches(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_target(text, CATALOG)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_backend_is_named_with_close_matches() -> None:
    with pytest.raises(PluginError, match="there is no backend 'mny'; did you mean 'many'"):
        parse_target("mny:cpu", CATALOG)


def test_a_device_that_cannot_be_used_says_why() -> None:
    assert find_device(Target("many", "cuda:1", "int8"), DEVICES).available
    found = find_device(Target("many", "npu"), DEVICES)
    assert (found.name, found.available, found.detail) == ("NPU", False, "no driver")


def test_options_are_those_of_the_backend() -> None:
    params = Target("many", "CPU", "bf16").params(BACKEND, threads=2)
    assert (params.precision, params.threads) == ("bf16", 2)
    assert Target("many", "CPU").params(BACKEND, threads=None).precision == "f32"
    with pytest.raises(InputError, match=r"toy-eager:cpu:int8: .* does not offer int8; it offers f32"):
        Target("toy-eager", "cpu", "int8").params(toy_backend)
    with pytest.raises(InputError, match=r"many:CPU: .*thread.*unknown key; did you mean 'threads'"):
        Target("many", "CPU").params(BACKEND, thread=2)
    with pytest.raises(InputError, match="threads = 0: must be at least 1"):
        Target("many", "CPU").params(BACKEND, threads=0)


def test_a_backend_lists_its_default_precision_first() -> None:
    assert BACKEND.precisions == ("f32", "bf16", "f16", "int8")
    assert toy_backend.precisions == ("f32",)
