import json

import numpy as np
import pandas as pd
import pytest
from run_tables import design_runs, grid_runs

from scalelab.analysis.analyze import analyze
from scalelab.errors import InputError
from scalelab.jsonable import json_object, jsonable
from scalelab.report.sections.all import sections


@pytest.fixture(scope="module")
def analysis():
    runs = grid_runs(optimizers=("adamw", "sgd"))
    runs.loc[0, "status"] = "diverged"
    runs.loc[1, "status"] = "failed"
    runs.loc[[0, 1], "loss"] = np.nan
    return analyze(runs, planned={"demo": 200}, axes=["n_params"], trees=False)


def test_studies_are_counted(analysis):
    row = analysis.studies.iloc[0]
    assert (row["trials"], row["done"], row["diverged"], row["failed"], row["unfinished"]) == (
        200,
        148,
        1,
        1,
        50,
    )
    assert (row["designs"], row["metric"]) == (50, "macro-f1")


def test_runs_made_elsewhere_that_were_cut_short_are_no_unfinished_trials():
    runs = grid_runs().assign(scalelab_version="1.0")
    runs.loc[[0, 1, 2], "status"] = "interrupted"
    runs.loc[[0, 1], "scalelab_version"] = None
    said = analyze(runs, axes=["n_params"], trees=False).warnings
    assert f"2 of {len(runs)} runs made elsewhere were cut short, as if pruned; left out" in said
    assert f"1 of {len(runs)} trials is not finished yet; the numbers below will change" in said
    made_elsewhere = analyze(runs.drop(columns="scalelab_version"), axes=["n_params"], trees=False)
    assert not any("not finished yet" in line for line in made_elsewhere.warnings)


def test_trials_that_left_the_study_are_counted_too():
    runs = grid_runs(sizes=(3_000,), data_sizes=(500,), seeds=(0, 1)).assign(planned=[True, False])
    studies = analyze(runs, planned={"demo": 4}, axes=["n_params"], trees=False).studies
    assert (studies.loc[0, "trials"], studies.loc[0, "unfinished"]) == (5, 3)


def test_what_is_left_out_is_said(analysis):
    said = " ".join(analysis.warnings)
    assert "1 of 200 trials diverged" in said
    assert "1 of 200 trials failed" in said
    assert "50 of 200 trials are not finished" in said


def test_loss_by_scale_is_a_table(analysis):
    scale = analysis.scales[0]
    assert scale.loss.shape == (5, 5)
    assert (scale.loss.diff(axis=1).iloc[:, 1:] < 0).all(axis=None)
    assert (scale.loss.diff(axis=0).iloc[1:] < 0).all(axis=None)
    assert scale.seed_spread == pytest.approx(0.01, rel=0.4)


def test_the_whole_is_json(analysis):
    document = json.loads(json.dumps(json_object(analysis), allow_nan=False))
    law = document["laws"][0]
    assert law["params"]["alpha"].keys() == {"value", "lower", "upper"}
    assert law["fit"]["provenance"]["law"] == "power-offset"
    assert len(document["loss_by_scale"][0]["loss"]) == 25
    assert document["fronts"][0]["points"][0]["n_params"] == 3_000


def test_trees_and_refusals_are_json():
    document = json.loads(
        json.dumps(jsonable(analyze(design_runs(24, seeds=(0,)), axes=["n_examples"])), allow_nan=False)
    )
    assert document["trees"][0]["importances"][0]["choice"]
    assert document["trees"][1]["refusal"].startswith("a tree model needs")
    assert [law for law in document["laws"] if law["refusal"]]


def test_single_seeds_and_mixed_devices_are_warned_of():
    runs = grid_runs(seeds=(0,), data_sizes=(500,))
    runs["device"] = np.where(runs.index % 2, "cpu", "cuda")
    said = " ".join(analyze(runs, axes=["n_params"], trees=False).warnings)
    assert "no design was run with two seeds" in said
    assert "several kinds of device" in said


@pytest.mark.parametrize(
    ("runs", "options", "words"),
    [
        (grid_runs().assign(status="interrupted"), {}, "none of 75 trials is finished"),
        (pd.DataFrame({"loss": [1.0]}), {}, "lacks the columns"),
        (grid_runs(), {"level": 90}, "must lie between 0 and 1"),
    ],
)
def test_wrong_input_is_one_line(runs, options, words):
    with pytest.raises(InputError, match=words) as caught:
        analyze(runs, **options)
    assert "\n" not in str(caught.value)


def one_axis(axis, x, loss):
    return pd.DataFrame(
        {"status": "done", "dataset": "t", "architecture": "net", "optimizer": "sgd", axis: x, "loss": loss}
    )


@pytest.mark.parametrize("axis", ["n_params", "n_examples"])
def test_a_table_of_one_scale_is_told_without_an_empty_place(axis):
    x = np.geomspace(1e4, 1e8, 10)
    loss = (0.3 + 30 * x**-0.3) * np.exp(0.005 * np.random.default_rng(0).standard_normal(10))
    report = sections(analyze(one_axis(axis, x, loss), trees=False))
    lines = [line for section in report for line in section.answer]
    assert any(line.startswith("With") and "falls as" in line for line in lines)
    assert not any("()" in line for line in lines)


def test_an_exponent_without_two_ends_is_no_finding():
    x = np.geomspace(1e4, 1e6, 4)
    runs = one_axis("n_params", x, [0.1326, 0.0932, 0.0777, 0.0650])
    analysis = analyze(runs, axes=["n_params"], trees=False)
    (law,) = analysis.fitted
    assert None in law.params["alpha"]
    said = " ".join(line for section in sections(analysis) for line in section.answer)
    assert "determine no exponent" in said


def test_facts_in_which_repeats_differ_are_named():
    runs = grid_runs(seeds=(0, 1)).assign(feature_experts=lambda t: t["seed"] + 1.0, feature_accuracy=0.5)
    said = " ".join(analyze(runs, axes=["n_params"], trees=False).warnings)
    assert "count as repeats of one design differ in feature_experts: if that is no outcome" in said
    assert "--map architecture=COLUMN" in said
    several = runs.assign(feature_blocks=[[seed] for seed in runs["seed"]])
    assert "differ in feature_experts, feature_blocks:" in " ".join(
        analyze(several, axes=["n_params"], trees=False).warnings
    )
    along = " ".join(analyze(runs, axes=["n_params", "feature_experts"], trees=False).warnings)
    assert "count as repeats" not in along


def test_precision_and_schedule_are_read_wherever_a_table_has_them():
    runs = one_axis("n_params", np.geomspace(1e4, 1e8, 8), 0.3 + 30 * np.geomspace(1e4, 1e8, 8) ** -0.3)
    mixed = ["fp32", "bf16"] * 4
    for column in ("precision", "training_precision", "feature_precision"):
        (law,) = analyze(runs.assign(**{column: mixed}), axes=["n_params"], trees=False).fitted[:1]
        assert any("the runs differ in precision (bf16, fp32)" in line for line in law.doubts), column


def test_kinds_of_an_imported_column_that_became_one_family_are_said():
    runs = grid_runs(data_sizes=(500,), seeds=(0, 1)).drop(columns="fingerprint", errors="ignore")
    runs["feature_model"] = runs["n_params"].map(lambda n: "resnet" if n < 50_000 else "vit")
    said = analyze(runs, axes=["n_params"], trees=False).warnings
    (line,) = (line for line in said if "are one family here" in line)
    assert line.startswith("runs that differ in model (resnet, vit)")
    assert "--map architecture=model" in line
    runs["architecture"] = runs["feature_model"]
    assert not any("one family" in line for line in analyze(runs, axes=["n_params"], trees=False).warnings)
