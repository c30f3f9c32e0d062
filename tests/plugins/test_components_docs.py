"""docs/components.md says what the option models say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import scalelab
from scalelab.plugins import options_of

PAGE = (Path(__file__).parents[2] / "docs" / "components.md").read_text(encoding="utf-8")
BUNDLED = [
    ("architecture", "convnext1d"),
    ("architecture", "regnet1d"),
    ("architecture", "resnet1d"),
    ("architecture", "ssm1d"),
    ("optimizer", "adamw"),
    ("optimizer", "sgd"),
    ("optimizer", "sgdm"),
    ("optimizer", "muon"),
    ("trainer", "scalelab"),
    ("backend", "torch"),
    ("backend", "openvino"),
    ("backend", "onnxruntime"),
]


@pytest.mark.parametrize(("kind", "name"), BUNDLED)
def test_option_tables(kind, name):
    section = PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]
    options = options_of(scalelab.load_plugins().find(kind, name).params)
    assert re.findall(r"^\| `.*$", section, re.MULTILINE) == [
        f"| `{o.name}` | {o.type.replace('|', 'or')} | `{o.default}` | {o.bounds} | {o.help} |"
        for o in options
    ]
