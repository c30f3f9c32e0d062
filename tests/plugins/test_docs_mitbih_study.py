"""docs/mitbih-study.md says what examples/mitbih-interpatient.parquet holds: the runs of two studies."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pandas as pd
import pytest

import scalelab

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/mitbih-study.md").read_text(encoding="utf-8")
RUNS = ROOT / "examples/mitbih-interpatient.parquet"
METRICS = (
    "accuracy",
    "balanced-accuracy",
    "macro-f1",
    "macro-f1-nsv",
    "sensitivity-S",
    "ppv-S",
    "sensitivity-V",
    "ppv-V",
)


@pytest.fixture(scope="module")
def runs():
    with duckdb.connect() as connection:
        table = connection.execute("select * from read_parquet(?)", [str(RUNS)]).df()
    assert set(table["status"]) == {"done"}
    return table


def of_study(runs, name, scores):
    """The runs of a study, with a column for each of its validation or test metrics."""
    own = runs[runs["study"] == name]
    found = pd.DataFrame([json.loads(text) for text in own[scores]], index=own.index).astype(float)
    return pd.concat([own[[c for c in own if c not in found]], found], axis=1)


def three(value):
    return f"{value:.3f}"


def fold_rows(runs):
    """The designs: parameters, and the means over folds and seeds."""
    study = of_study(runs[~runs["refitted"]], "mitbih-interpatient", "metrics")
    for name, own in study.groupby("architecture"):
        seeds = own.groupby("seed")["macro-f1-nsv"].mean()
        yield (
            f"`{name}`", f"{own['n_params'].iloc[0]:,}", str(len(own)),
            *(three(own[metric].mean()) for metric in ("accuracy", "macro-f1")),
            f"{three(seeds.mean())} ({three(seeds.min())} to {three(seeds.max())})",
        )  # fmt: skip


def each_fold_rows(runs):
    """The best design on each fold."""
    study = of_study(runs[~runs["refitted"]], "mitbih-interpatient", "metrics")
    best = study.groupby("architecture")["macro-f1-nsv"].mean().idxmax()
    for fold, own in study[study["architecture"] == best].groupby("dataset_fold"):
        yield f"{fold:.0f}", *(three(own[metric].mean()) for metric in METRICS)


def test_rows(runs):
    """Each seed on DS2, and their mean and standard deviation."""
    study = of_study(runs[runs["refitted"]], "mitbih-interpatient", "test_metrics").sort_values("seed")
    for _, run in study.iterrows():
        yield f"seed {run['seed']}", *(three(run[metric]) for metric in METRICS)
    yield "mean ± SD", *(f"{three(study[m].mean())} ± {three(study[m].std())}" for m in METRICS)


def input_rows(runs):
    """What the inputs bring, on the folds."""
    study = of_study(runs, "mitbih-inputs", "metrics")
    median, rr = study["dataset_reference"].notna(), study["dataset_rr"].notna()  # open where they are off
    for with_median in (False, True):
        for with_rr in (False, True):
            own = study[(median == with_median) & (rr == with_rr)]
            yield (
                "yes" if with_rr else "no", "yes" if with_median else "no", str(len(own)),
                *(three(own[metric].mean()) for metric in (*METRICS[:5], METRICS[6])),
            )  # fmt: skip


TABLES = (fold_rows, each_fold_rows, test_rows, input_rows)
test_rows.__test__ = False


@pytest.mark.parametrize("rows", TABLES, ids=lambda rows: rows.__name__)
def test_the_tables_are_those_of_the_runs(runs, rows):
    lines = {re.sub(r"\s+", " ", line) for line in PAGE.splitlines()}
    expected = ["| " + " | ".join(row) + " |" for row in rows(runs)]
    assert expected
    assert [row for row in expected if row not in lines] == []


def test_each_seed_beats_the_constant_answer(runs):
    study = of_study(runs[runs["refitted"]], "mitbih-interpatient", "test_metrics").sort_values("seed")
    assert len(study) == 3
    assert (study["accuracy"] > 0.9).all()
    assert (study["macro-f1"] >= 0.55).all()
    normal = 44_239 / 49_684
    assert f"an accuracy of {three(normal)} and a macro-F1 of {three(2 * normal / (1 + normal) / 4)}" in PAGE
    f1_of_f = [f"{abs(value):.2f}" for value in 4 * study["macro-f1"] - 3 * study["macro-f1-nsv"]]
    assert "F1 of F {}, {} and {} for the three seeds".format(*f1_of_f) in PAGE


def test_no_network_finds_the_s_beats_of_fold_0(runs):
    study = of_study(runs[~runs["refitted"]], "mitbih-interpatient", "metrics")
    found = study.groupby(["architecture", "dataset_fold"])["sensitivity-S"].mean().unstack()
    assert (found.idxmin(axis=1) == 0).all()
    assert (found[0] < 0.2).all()


def test_ds2_is_read_by_the_refitted_runs_alone(runs):
    study = runs[runs["study"] == "mitbih-interpatient"]
    assert study["n_tested"].notna().equals(study["refitted"])
    assert runs.loc[runs["study"] == "mitbih-inputs", "n_tested"].isna().all()
    assert set(study.loc[study["refitted"], "n_tested"]) == {49_684}


def test_the_studies_are_those_in_examples(runs):
    for name in ("mitbih-interpatient", "mitbih-inputs"):
        study = scalelab.load_study(ROOT / f"examples/{name}.toml")
        assert study.name == name
        assert {entry.name for entry in study.architectures} == set(
            runs.loc[runs["study"] == name, "architecture"]
        )


if __name__ == "__main__":
    with duckdb.connect() as connection:
        found = connection.execute("select * from read_parquet(?)", [str(RUNS)]).df()
    for rows in TABLES:
        print(rows.__name__, *("| " + " | ".join(row) + " |" for row in rows(found)), sep="\n")
