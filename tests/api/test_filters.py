"""Which runs a question is about."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import scalelab
from scalelab.api.filters import chosen_runs
from scalelab.errors import InputError

STORE = Path(__file__).parents[2] / "examples/mitbih-convnext.duckdb"
DESIGNS = Path(__file__).parents[2] / "examples" / "mitbih-design.duckdb"


def runs(**more) -> pd.DataFrame:
    """Twelve runs: two studies, two optimizers, three sizes; the last one is not finished."""
    table = pd.DataFrame(
        [
            {
                "study": study,
                "trial_id": f"{study}-{optimizer}-{size}",
                "status": "done",
                "planned": True,
                "dataset": "d",
                "architecture": "net",
                "optimizer": optimizer,
                "n_params": size,
                "loss": 1.0 / size,
            }
            for study in ("one", "two")
            for optimizer in ("sgd", "adamw")
            for size in (10.0, 100.0, 1000.0)
        ]
    ).assign(**more)
    table.loc[len(table) - 1, "status"] = "running"
    return table


@pytest.mark.parametrize(
    ("only", "n_finished"),
    [
        ({}, 11),
        ({"study": "one"}, 6),
        ({"study": ["one", "two", "one"]}, 11),
        ({"study": []}, 11),
        ({"optimizer": "sgd"}, 6),
        ({"where": "n_params >= 100 and optimizer = 'adamw'"}, 3),
        ({"where": "n_params >= 100", "optimizer": "adamw", "study": ["two"]}, 1),
        ({"where": "loss is not null"}, 11),
    ],
)
def test_filters_leave_the_runs_that_they_name(only, n_finished):
    assert len(scalelab.finished_runs(runs(), **only)) == n_finished


def test_a_condition_that_is_unknown_of_a_run_leaves_it_out():
    table = runs(seed=[None, *range(11)])
    assert len(scalelab.finished_runs(table, where="seed < 3")) == 3
    assert len(scalelab.finished_runs(table, where="not (seed < 3)")) == 7


@pytest.mark.parametrize(
    ("only", "line"),
    [
        ({"where": "n_params > 5000"}, r"no finished run satisfies where 'n_params > 5000'; in 11 finished "
         r"runs n_params is 10 to 1000"),
        ({"where": "optimizer = 'muon'"}, r"optimizer is 'adamw, sgd'"),
        ({"where": "n_param > 5"}, r"there is no column 'n_param'; did you mean 'n_params'"),
        ({"where": "n_params"}, r"where 'n_params' is not a condition"),
        ({"where": "max(loss) > 1"}, r"an aggregate gives one value for all rows"),
        ({"where": "loss <"}, r"where 'loss <'"),
        ({"where": "exists (from read_csv('/etc/passwd'))"}, r"where .*(columns only, no files|rows)"),
        ({"optimizer": "sgdm"}, r"no finished run has the optimizer 'sgdm'; did you mean 'sgd'\?; there are "
         r"adamw, sgd"),
        ({"optimizer": "sgd", "where": "optimizer = 'adamw'"}, r"in 6 finished runs optimizer is 'sgd'"),
    ],
)  # fmt: skip
def test_a_filter_that_leaves_nothing_is_a_line_that_names_what_there_is(only, line):
    with pytest.raises(InputError, match=line) as error:
        scalelab.finished_runs(runs(), **only)
    assert "\n" not in str(error.value)


def test_what_was_left_out_is_said_and_what_is_not_finished_is_filtered_too():
    chosen = chosen_runs(runs(), optimizer="adamw", where="n_params > 50")
    assert chosen.said == "only runs with optimizer adamw where n_params > 50: 3 of 11 finished runs"
    assert chosen.runs["trial_id"].tolist() == [
        "one-adamw-100.0", "one-adamw-1000.0", "two-adamw-100.0", "two-adamw-1000.0",
    ]  # fmt: skip
    assert chosen_runs(runs(), optimizer="sgd").runs["status"].eq("done").all()
    assert chosen_runs(runs(), study="one").said == ""


def test_an_analysis_of_some_runs_says_so_and_is_that_of_their_table():
    some = scalelab.analyze(STORE, optimizer="sgd", where="n_params > 5e4", trees=False)
    assert some.only == "only runs with optimizer sgd where n_params > 5e4: 12 of 48 finished runs"
    assert some.warnings[0] == some.only
    table = scalelab.open_store(STORE).runs()
    table = table[(table["optimizer"] == "sgd") & (table["n_params"] > 5e4)]
    same = scalelab.analyze(table, trees=False)
    assert [law.params for law in some.fitted] == [law.params for law in same.fitted]
    assert set(some.curves["trial_id"]) == set(table["trial_id"])


def test_several_studies_of_a_store_are_analyzed_together():
    names = [one.study for one in scalelab.open_store(DESIGNS).studies()][:2]
    both = scalelab.analyze(DESIGNS, study=names, trees=False, curves=False)
    assert both.studies["study"].tolist() == sorted(names)
    assert both.only == ""
    predicted = scalelab.finished_runs(DESIGNS, study=names)
    assert set(predicted["study"]) <= set(names)
    with pytest.raises(InputError, match="has no study 'nobody'"):
        scalelab.analyze(DESIGNS, study=[names[0], "nobody"])
