"""The study with more runs, for an answer that was refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import scalelab
from scalelab.propose.more import more_runs
from scalelab.report.sections.all import sections
from scalelab.study import parse_study

STUDY_FOLDER = Path(__file__).parents[2] / "examples"
STUDY = (STUDY_FOLDER / "mitbih-convnext.toml").read_text(encoding="utf-8")
WIDTHS = '{ type = "doubling", low = 4, high = 32 }'


def test_more_runs_are_sizes_beyond_both_ends_and_a_second_seed():
    more = more_runs(STUDY)
    assert more.changes == ("width 2 and 64 of convnext1d", "seed 1")
    study = parse_study(more.text)
    assert study.seeds == (0, 1)
    assert tomllib.loads(more.text)["architecture"][0]["space"]["width"] == {
        "type": "doubling", "low": 2, "high": 64,
    }  # fmt: skip
    assert "# Four widths" not in more.text, "what headed the other study is not about this one"
    assert more.text.startswith(
        "# The study mitbih-convnext with width 2 and 64 of convnext1d and seed 1, as "
    )
    assert more_runs(STUDY.replace("seeds", "# mine\nseeds")).text.count("# mine") == 1, "others stay"
    assert more.seeds == 2.0


def test_drawn_points_stay_and_get_a_seed():
    sobol = STUDY.replace('method = "grid"', 'method = "sobol"\nn = 4').replace("[0]", "[0, 1]")
    more = more_runs(sobol)
    assert more.changes == ("seed 2",)
    assert tomllib.loads(more.text)["architecture"] == tomllib.loads(sobol)["architecture"]
    lengths = STUDY.replace('{ type = "doubling", low = 4, high = 32 }', "[4, 8, 16]")
    assert more_runs(lengths).changes == ("width 32 of convnext1d", "seed 1")


@pytest.mark.parametrize("space", ['["a", "b"]', "[true, false]", '{ type = "int", low = 8, high = 40 }'])
def test_what_has_no_next_size_gets_a_seed(space):
    assert more_runs(STUDY.replace(WIDTHS, space)).changes == ("seed 1",)


def test_sizes_that_are_asked_for_and_cannot_be_written_are_refused_with_what_to_do():
    sobol = STUDY.replace('method = "grid"', 'method = "sobol"\nn = 4')
    assert "drawn (sobol), so that it cannot grow; put them into a study of another name" in more_runs(
        sobol, repeats=False
    )
    assert "no option has a next size" in more_runs(STUDY.replace(WIDTHS, "[true, false]"), repeats=False)
    assert more_runs(STUDY, repeats=False).changes == more_runs(STUDY).changes


def test_only_the_architectures_that_were_asked_for_are_in_it():
    other = STUDY.replace("[[optimizer]]", '[[architecture]]\nname = "regnet1d"\n\n[[optimizer]]', 1)
    more = more_runs(other, {"regnet1d"})
    assert [one["name"] for one in tomllib.loads(more.text)["architecture"]] == ["convnext1d"]
    assert len(tomllib.loads(more_runs(other).text)["architecture"]) == 2


def test_an_answer_that_needs_sizes_is_not_given_another_seed():
    """Ten drawn networks whose law of compute has too few points; the study has another architecture, too."""
    store = STUDY_FOLDER / "mitbih-hardware.duckdb"
    analysis = scalelab.analyze(store, architecture="regnet1d", trees=False, curves=False)
    (study,) = scalelab.next_studies(analysis, store).values()
    assert study.text == ""
    assert "sizes and lengths" in analysis.ahead[0].refusal
    train = sections(analysis, studies={analysis.ahead[0].dataset: study})[0].answer[2]
    assert "at least two sizes and two lengths of regnet1d with adamw beyond those that were run" in train
    assert train.endswith("so that it cannot grow; put them into a study of another name.")


def test_a_command_has_no_sizes_that_are_known():
    assert "store keeps no study" in more_runs("no study")
    assert "of a command's parameters" in more_runs('name = "x"\n[command]\nrun = ["python", "a.py"]\n')


def test_a_study_that_lists_its_trials_cannot_grow():
    listed = 'trials = ["5a4218baaaa3715b"]\n' + STUDY
    assert "lists its trials" in more_runs(listed)
