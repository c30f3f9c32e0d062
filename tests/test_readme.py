"""What README and the tutorial say is what a reader gets."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from shown import command_line, refuse_other_output, shown_lines

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
STORE = ROOT / "examples/mitbih-convnext.duckdb"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """The folder of somebody who follows README."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def test_the_first_minutes_print_what_readme_shows(first):
    store = first / "first.duckdb"
    command_line("import", first / "examples/runs.csv", "--store", store)
    refuse_other_output(shown_lines(README), command_line("analyze", "--store", store), 8, 15)


def test_the_python_of_readme_runs(first, monkeypatch, capsys):
    monkeypatch.chdir(first)
    (code,) = blocks(README, "python")
    exec(code, {})
    *laws, loss, size = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in laws] == ["n_params", "n_examples", "train_flops", "joint"]
    assert "lower=" in loss
    assert "lower=" in size


def test_the_runs_of_readme_were_made_as_it_says():
    import numpy as np
    import pandas as pd

    runs = pd.read_csv(ROOT / "examples/runs.csv")
    made = 1.69 + 406.4 * runs.n_params**-0.34 + 410.7 * runs.n_examples**-0.28
    noise = np.log(runs.loss / made)
    assert len(runs) == 20
    assert noise.std() == pytest.approx(0.005, rel=0.5)
    assert abs(noise.mean()) < 0.003


def test_the_tutorial_shows_what_the_committed_store_says():
    before = hashlib.sha256(STORE.read_bytes()).hexdigest()
    printed = command_line("analyze", "--store", STORE)
    assert hashlib.sha256(STORE.read_bytes()).hexdigest() == before, "analyzing changed the store"
    refuse_other_output(shown_lines(TUTORIAL), printed, 20, 200)


def test_the_committed_store_is_a_small_real_study():
    from scalelab import open_store

    assert STORE.stat().st_size < 5_000_000
    runs = open_store(STORE).runs("mitbih-convnext")
    assert (runs.status == "done").sum() >= 40
    assert runs.optimizer.nunique() == 3
    assert runs.architecture_width.nunique() >= 4
    assert runs.n_examples.nunique() >= 3
    assert (runs.wall_seconds > 0).all()


def test_loss_falls_with_data_and_with_size_in_the_committed_store():
    """At the largest of the other axis, from the smallest to the largest, for every optimizer."""
    from scalelab import open_store

    runs = open_store(STORE).runs("mitbih-convnext")
    for _, family in runs.groupby("optimizer"):
        by_size = family[family.n_examples == family.n_examples.max()].sort_values("n_params").loss
        by_data = family[family.n_params == family.n_params.max()].sort_values("n_examples").loss
        assert by_size.iloc[-1] < by_size.iloc[0]
        assert by_data.iloc[-1] < by_data.iloc[0]


def test_the_studies_shown_are_studies():
    from scalelab import load_plugins
    from scalelab.study import parse_study

    (text,) = blocks(TUTORIAL, "toml")
    assert parse_study(text, "docs/tutorial.md", load_plugins()).name == "beats"


def test_the_reference_study_is_the_one_in_examples():
    from scalelab import load_plugins, load_study

    assert load_study(ROOT / "examples/mitbih-convnext.toml", load_plugins()).name == "mitbih-convnext"


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_every_command_shown_exists(page):
    """Each `scalelab` line parses up to its arguments: the command and its options are known."""
    import typer.main

    from scalelab.cli.app import app

    commands = typer.main.get_command(app).commands
    lines = [
        line.split("#")[0].split()
        for block in blocks((ROOT / page).read_text(encoding="utf-8"), "")
        for line in block.splitlines()
        if line.startswith("scalelab ") and "│" not in line
    ]
    assert lines
    for _, name, *arguments in lines:
        command = commands[name]
        if hasattr(command, "commands"):
            command = command.commands[arguments.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        asked = {argument for argument in arguments if argument.startswith("--")}
        assert asked <= known, (name, asked - known)


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda p: p.name
)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_public_name_is_on_the_page_of_the_python_api():
    import scalelab

    page = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    assert [name for name in scalelab.__all__ if not re.search(rf"`(scalelab\.)?{name}`", page)] == []
