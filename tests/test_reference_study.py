"""docs/reference-study.md says what experiments.duckdb holds: runs, laws, and what was predicted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pytest
from shown import command_line, refuse_other_output, shown_lines

import scalelab
from scalelab.analysis.families.advice import best_run
from scalelab.analysis.families.verdicts import Verdicts

ROOT = Path(__file__).parents[1]
STORE = ROOT / "experiments.duckdb"
FOLDER = ROOT / "examples/ecg-reference"
PAGE = (ROOT / "docs/reference-study.md").read_text(encoding="utf-8")
FIVE = {"convnext1d", "resnet1d", "ssm1d", "regnet1d", "transformer1d"}


@pytest.fixture(scope="module")
def runs():
    return scalelab.open_store(STORE).runs()


@pytest.fixture(scope="module")
def verdicts():
    return scalelab.verdicts(STORE)


def test_the_page_shows_what_the_committed_store_says():
    asked = ("analyze", "--no-trees", "--on", "test", "--store", STORE)
    refuse_other_output(shown_lines(PAGE), command_line(*asked), 60, 250)


def test_the_committed_store_is_the_study_that_was_planned(runs):
    assert STORE.stat().st_size < 5_000_000
    random = runs[runs["study"] == "ecg-reference"]
    assert set(random["status"]) == {"done"}
    for _, family in random.groupby("architecture"):
        assert family["n_params"].nunique() == 6
        assert family["n_params"].max() > 10**1.9 * family["n_params"].min()
        assert sorted(family["n_examples"].unique()) == [500, 1000, 2000, 4000, 8000]
        assert sorted(family["seed"].unique()) == [0, 1]
        assert family["optimizer_lr"].nunique() >= 3
    assert set(random["architecture"]) == FIVE
    patients = runs[runs["dataset_split"] == "inter-patient"]
    assert set(patients["architecture"]) == FIVE


def test_each_study_of_the_store_stands_in_examples(runs):
    own = {
        path.stem: re.search(r'^name = "(.+)"', path.read_text(encoding="utf-8"), re.M)
        for path in FOLDER.glob("*.toml")
    }
    assert set(runs["study"]) <= {name[1] for name in own.values()}


def test_predictions_were_committed_as_they_stand_in_the_store(verdicts):
    """Each line is the journal's, with the checksum that was registered before the run."""
    kept = [*predictions_of("larger"), *predictions_of("again")]
    stored = {one.prediction.registered_at: one for one in verdicts.verdicts}
    assert len(kept) == len(stored) == 24
    for line in kept:
        one = stored[line["registered_at"]]
        assert (one.timing, dict(one.prediction.at)) == ("ahead", line["at"])
        assert one.prediction.law.value == line["law"]["value"]
        assert one.verdict in ("inside", "outside")


def round_rows(verdicts):
    """Of both rounds and of all: inside, mean absolute and signed error, scores of law and best baseline."""
    registered = {
        name: {one["registered_at"] for one in predictions_of(name)} for name in ("larger", "again")
    }
    for name, times in {**registered, "both": set.union(*registered.values())}.items():
        own = Verdicts(tuple(one for one in verdicts.verdicts if one.prediction.registered_at in times))
        inside = sum(one.verdict == "inside" for one in own.verdicts)
        errors = [run.error for one in own.verdicts for run in one.answers]
        law, *others = own.scores
        best = min(others, key=lambda score: score.interval_score.value)
        yield (
            name, str(len(own.verdicts)), f"{inside} ({inside / len(own.verdicts):.0%})",
            f"{sum(map(abs, errors)) / len(errors):.1%}", f"{sum(errors) / len(errors):+.1%}",
            f"{law.interval_score.value:.2f}", f"{best.rule}, {best.interval_score.value:.2f}",
        )  # fmt: skip


def data_rows(runs):
    """What eight times the data brought at the largest networks that were run on both, at the best rate."""
    done = runs[(runs["status"] == "done") & (runs["dataset_split"] == "random")]
    designs = done.groupby(["architecture", "n_params", "n_examples", "optimizer_lr"])
    best = designs[["loss", "test_loss"]].mean().reset_index().sort_values("loss")
    best = best.drop_duplicates(["architecture", "n_params", "n_examples"])
    table = best.pivot_table("test_loss", ["architecture", "n_params"], "n_examples")[[8000, 64000]].dropna()
    for (name, size), (few, many) in table.groupby("architecture").tail(1).iterrows():
        yield f"`{name}`", f"{size:,}", f"{few:.4f}", f"{many:.4f}", f"{few / many:.2f}"


def predictions_of(name):
    lines = (FOLDER / name / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["prediction"] for line in lines]


def test_the_tables_that_no_command_prints(verdicts, runs):
    lines = {re.sub(r"\s+", " ", line) for line in PAGE.splitlines()}
    expected = ["| " + " | ".join(row) + " |" for row in (*round_rows(verdicts), *data_rows(runs))]
    assert len(expected) == 8
    assert [row for row in expected if row not in lines] == []


def test_advice_on_one_of_the_splits_is_a_study():
    """The runs of a dataset that a filter left are called by its name alone, and are found by it."""
    only = {"dataset": "mitbih split=random", "architecture": "convnext1d"}
    found = scalelab.finished_runs(STORE, **only)
    (best,) = scalelab.advise(found, 1e13).families
    assert best.family.dataset == "mitbih"
    assert best_run(best, found) in set(found["trial_id"])


def test_the_runs_are_there_as_parquet(runs):
    with duckdb.connect() as connection:
        held = connection.execute(
            "SELECT trial_id, test_loss FROM read_parquet(?)", [str(FOLDER / "runs/runs.parquet")]
        ).df()
    assert set(held["trial_id"]) == set(runs["trial_id"])
    both = held.merge(runs[["trial_id", "test_loss"]], on="trial_id")
    assert both["test_loss_x"].equals(both["test_loss_y"])


if __name__ == "__main__":
    for row in (*round_rows(scalelab.verdicts(STORE)), *data_rows(scalelab.open_store(STORE).runs())):
        print("| " + " | ".join(row) + " |")
