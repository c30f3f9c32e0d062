"""docs/datasets.md says what the option models and the class table say."""

import re
import tomllib
from pathlib import Path
from typing import Literal, get_args, get_origin

import annotated_types
import pytest
from pydantic_core import PydanticUndefined
from scalelab_plugins.mitbih import MitbihParams
from scalelab_plugins.mitbih.beats import AAMI, DS1_FOLDS, DS1_VALIDATION, PACED
from scalelab_plugins.physionet2021 import Physionet2021Params
from scalelab_plugins.ptbxl import PtbxlParams
from scalelab_plugins.synthetic_ecg import SyntheticEcgParams
from scalelab_plugins.synthetic_ecg.conditions import CONDITIONS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


def section(title):
    return re.split(r"^## ", PAGE, flags=re.MULTILINE)[
        [part.split("\n")[0] for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)].index(title)
    ]


def allowed(field):
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    bounds = []
    for mark in field.metadata:
        for kind, sign in ((annotated_types.Ge, "≥"), (annotated_types.Gt, ">"), (annotated_types.Le, "≤")):
            if isinstance(mark, kind):
                bounds.append(f"{sign} {getattr(mark, kind.__name__.lower()):,}")
        if isinstance(mark, annotated_types.Lt):
            bounds.append("< 2^63" if mark.lt == 2**63 else f"< {mark.lt:,}")
    return ", ".join(bounds)


EMPTY = {"train_on": "all others", "test_on": "none"}


def row(name, field):
    if field.default is PydanticUndefined:
        default = "required"
    elif isinstance(field.default, tuple):
        default = "all twelve" if field.default else EMPTY.get(name, "all")
    else:
        default = f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"
    return f"| `{name}` | {default} | {allowed(field)} | {field.description} |"


@pytest.mark.parametrize(
    ("dataset", "params"),
    [
        ("mitbih", MitbihParams),
        ("physionet2021", Physionet2021Params),
        ("ptbxl", PtbxlParams),
        ("synthetic-ecg", SyntheticEcgParams),
    ],
)
def test_option_tables(dataset, params):
    documented = [line for line in section(dataset).splitlines() if re.match(r"\| `\w+` \| ", line)]
    assert documented == [row(name, field) for name, field in params.model_fields.items()]


def test_class_tables():
    text = section("synthetic-ecg")
    for label, (name, condition) in enumerate(CONDITIONS.items()):
        line = f"| {label} | `{name}` | {condition.abbreviation} | {condition.snomed} | {condition.sign} |"
        assert line in text
    text = section("mitbih")
    for name in "NSVFQ":
        symbols = " ".join(f"`{symbol}`" for symbol in AAMI if AAMI[symbol] == name)
        assert f"| {name} | {symbols} |" in text
    assert ", ".join(DS1_VALIDATION[:-1]) + f" and {DS1_VALIDATION[-1]}" in text
    for fold, records in enumerate(DS1_FOLDS):
        assert f"| {fold} | {' '.join(records)} |" in text
    assert ", ".join(PACED[:-1]) + f" and {PACED[-1]}" in text


def test_says_plainly_that_it_is_synthetic():
    assert "**It is synthetic.**" in section("synthetic-ecg")


def test_examples_are_valid():
    (study,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert MitbihParams(**tomllib.loads(study)["dataset"]["options"]).split == "inter-patient"
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(code, {"print": lambda *values: None})
