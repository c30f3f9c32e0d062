"""docs/study-file.md cannot drift: it documents every key, with its default, and its examples are read."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel

from scalelab.plugins import load_plugins
from scalelab.records import Length, TrainingOptions
from scalelab.space import Choice, Doubling, Float, Int
from scalelab.study import (
    ComponentEntry,
    DataOptions,
    OptimizerEntry,
    Sampling,
    Study,
    Tune,
    embedded_study_path,
    load_study,
    parse_study,
)
from scalelab.study.model import CommandEntry, Refit, TrainerEntry

PAGE = (Path(__file__).parents[2] / "docs" / "study-file.md").read_text(encoding="utf-8")
REST = {
    "name": '"example"',
    "dataset": '{ name = "synthetic-ecg" }',
    "architecture": '[{ name = "convnext1d" }]',
    "optimizer": '[{ name = "adamw" }]',
}


@pytest.fixture(scope="module")
def catalog():
    return load_plugins()


def keys_of(model: type[BaseModel]) -> dict[str, object]:
    return {field.validation_alias or name: field for name, field in model.model_fields.items()}


def rows(heading: str) -> dict[str, list[str]]:
    """The cells of a section's table rows, by their key."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = [
        re.split(r"\s*\|\s*", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")
    ]
    return {row[0].strip("`"): row[1:] for row in cells}


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("The file", Study),
        ("`[dataset]`", ComponentEntry),
        ("`[data]`", DataOptions),
        ("`[[architecture]]` and `[[optimizer]]`", OptimizerEntry),
        ("`[[architecture]]` and `[[optimizer]]`", Tune),
        ("`[training]`", TrainingOptions),
        ("`[training]`", Length),
        ("`[sampling]`", Sampling),
        ("`[trainer]`", TrainerEntry),
        ("`[refit]`", Refit),
        ("`[command]`", CommandEntry),
    ],
)
def test_every_key_is_documented_with_its_default(heading, model):
    documented = rows(heading)
    for key, field in keys_of(model).items():
        assert key in documented, f"docs/study-file.md does not say what {key} is"
        default = field.get_default(call_default_factory=True)
        if field.is_required():
            assert documented[key][0] == "required"
        elif model is not Length and not isinstance(default, BaseModel) and default not in (None, ()):
            written = tomllib.loads(f"x = {documented[key][0].strip('`')}")["x"]
            assert written == (list(default) if isinstance(default, tuple) else default)


def test_nothing_is_documented_that_does_not_exist():
    assert set(rows("`[sampling]`")) == set(keys_of(Sampling))
    assert set(rows("`[refit]`")) == set(keys_of(Refit))
    assert set(rows("`[command]`")) == set(keys_of(CommandEntry))
    assert set(rows("`[training]`")) == set(keys_of(TrainingOptions)) | set(keys_of(Length))
    assert set(rows("The file")) == set(keys_of(Study))


def test_every_type_of_dimension_is_documented_with_its_keys():
    section = rows("`[[architecture]]` and `[[optimizer]]`")
    for name, dimension in {"int": Int, "float": Float, "choice": Choice, "doubling": Doubling}.items():
        assert re.findall(r"`(\w+)`", section[name][0]) == [field.name for field in fields(dimension)]


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", PAGE, flags=re.S))
def test_every_example_is_a_valid_study(block, catalog):
    """A fragment is completed with what it leaves out."""
    given = tomllib.loads(block)
    rest = {"name": REST["name"]} if "command" in given else REST
    missing = [f"{key} = {value}" for key, value in rest.items() if key not in given]
    assert parse_study("\n".join([*missing, block]), "docs/study-file.md", catalog)


def test_the_error_that_the_page_shows_is_real():
    shown = re.search(r"```\n(study\.toml: .*)\n```", PAGE).group(1)
    text = "\n".join(f"{key} = {value}" for key, value in REST.items()) + '\n[training]\nschedule = "cosin"'
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the line is what counts
        parse_study(text, "study.toml")
    assert str(caught.value) == shown


def test_the_embedded_study_fits_the_bundled_plugins(catalog):
    assert load_study(embedded_study_path(), catalog)
