"""The answer box: its sentences, the study it proposes, and that no two sentences of a report contradict."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_tables import grid_runs

import scalelab
from scalelab.analysis.analyze import analyze
from scalelab.analysis.estimate import Estimate, Refusal
from scalelab.analysis.families.price import Price
from scalelab.analysis.runs.designs import averaged
from scalelab.jsonable import json_object
from scalelab.report.markdown import markdown_text
from scalelab.report.numbers import short, whole_number
from scalelab.report.page import html_page
from scalelab.report.sections.all import sections
from scalelab.report.sections.answer import NextStudy
from scalelab.report.sections.laws import backtest_cell, known_exponent
from scalelab.study import parse_study

ROOT = Path(__file__).parents[2]
STORES = (
    "examples/mitbih-convnext.duckdb",
    "examples/mitbih-design.duckdb",
    "examples/mitbih-hardware.duckdb",
)


def asked(source, budget):
    """What `scalelab advise --budget` says, or its error."""
    try:
        return scalelab.advise(source, budget)
    except scalelab.InputError as error:
        return str(error)


def against_advise(one, lines, source) -> list[str]:
    """Where the answer says another thing of ten times the compute, or the most, than `advise`."""
    found = []
    said = asked(source, one.budget)
    if isinstance(one.answer, Refusal):
        if not isinstance(said, str) or one.answer.reason not in said:
            found.append(f"ten times the compute is refused, and advise says {said}")
        if not any(one.answer.reason.partition(". ")[0] in line for line in lines):
            found.append("the reason of advise is not in the answer")
    for mine, theirs in ((one.answer, said), (one.most, one.most and asked(source, one.most.budget))):
        if mine is None or isinstance(mine, Refusal):
            continue
        if mine is one.most and one.limit < one.budget and whole_number(short(one.limit)) != one.limit:
            found.append(f"{short(one.limit)} is not the limit {one.limit}")
        if isinstance(theirs, str):
            found.append(f"{mine.budget:g} FLOPs are answered, and advise refuses: {theirs}")
            continue
        for here, there in zip(mine.families, theirs.families, strict=True):
            same = ("family", "loss", "n_params", "n_seen", "share", "warnings")
            found += [f"{name} differs" for name in same if getattr(here, name) != getattr(there, name)]
        if [str(each) for each in mine.refused] != [str(each) for each in theirs.refused]:
            found.append("other families are left out")
    if one.most and one.limit < one.budget and not isinstance(asked(source, 1.01 * one.limit), str):
        found.append("advise has answers beyond the budgets of the page")
    if (
        one.most
        and isinstance(said, str)
        and f"Up to {short(one.limit, 'FLOP')} there is an answer" not in said
    ):
        found.append("advise refuses and does not say up to where it has answers")
    return found


def contradictions(analysis, report, source) -> list[str]:
    """What two statements of a report, or a report and `scalelab advise`, say against each other."""
    found = []
    lines = [line for section in report for line in section.answer]
    designs = averaged(analysis.runs)
    for one in analysis.ahead:
        own = designs[designs["dataset"] == one.dataset]
        for best in one.best:
            rows = own[own["metric"] == best.metric]
            sign = 1 if (rows["direction"] == "maximize").all() else -1
            if (sign * rows["chosen_objective"]).max() > sign * best.objective.value + 1e-12 and (
                analysis.on == "validation"
            ):
                found.append(f"a design is better than the best one: {best}")
        refused = isinstance(one.prediction, Refusal)
        said = [line for line in lines if "would reach a loss" in line]
        if refused == bool([line for line in said if len(analysis.ahead) == 1 or one.dataset in line]):
            found.append("ten times the compute is said and refused")
        found += against_advise(one, lines, source)
        if one.most is not None:
            law = one.most.families[0]
            trust = next(line for line in lines if "How far to trust this" in line)
            if f"rests on {len(law.points.rows)} points" not in trust:
                found.append("the trust is about another law than the numbers")
            if law.backtest.errors and f" {backtest_cell(law.backtest)} off" not in trust:
                found.append("the test is of another law than the numbers")
    for law in analysis.fitted:
        open_ = not all(known_exponent(law, name) for name in law.exponents)
        promised = [
            one
            for one in analysis.ahead
            if not isinstance(one.prediction, Refusal)
            and (one.prediction.family, one.prediction.basis) == (law.family, law.axis)
        ]
        if open_ and promised:
            found.append(f"{law.family}: no exponent, and yet ten times the compute is promised")
    better = [re.search(r": (\S+) scales better than (\S+):", line) for line in lines]
    pairs = {(m[1], m[2]) for m in better if m and "too few" not in m.string}
    found += [f"each of {pair} scales better" for pair in pairs if pair[::-1] in pairs]
    table = next((t for s in report for t in s.tables if t.title.startswith("Scaling laws of the")), None)
    for row in table.rows if table else ():
        cells = dict(zip(table.columns, row, strict=True))
        exponent = next(text for name, text in cells.items() if name.startswith("exponent"))
        if "∞" in exponent and cells["law"] and cells["loss at 10×"] != "undetermined":
            found.append(f"{cells}: a loss far ahead without an exponent")
        axes = cells["law"].removeprefix("L(").removesuffix(")").replace(", ", " and ")
        if cells["law"] and not cells["loss at 10×"].endswith(("undetermined", f", 10× {axes}")):
            found.append(f"{cells}: ten times what?")
    return found + two_losses_of_one_compute(analysis, table)


def two_losses_of_one_compute(analysis, table) -> list[str]:
    """Where the table of laws says another loss than the answer, of a compute that reads the same."""
    shown = [dict(zip(table.columns, row, strict=True)) for row in table.rows] if table else []
    cells = [one["loss at 10×"] for one in shown if one["law"]]
    found = []
    for law, cell in zip(analysis.fitted, cells, strict=True):
        if law.axis != "train_flops" or cell == "undetermined":
            continue
        scale = re.search(r" at ([\d.]+(?:e\+\d+)? [kMGTPE]?)FLOP, 10× C$", cell)
        if not scale or whole_number(scale[1]) != pytest.approx(
            10 * law.points.rows[law.axis].max(), rel=0.01
        ):
            found.append(f"{cell}: ten times which compute?")
            continue
        for one in analysis.ahead:
            ten = one.prediction
            if isinstance(ten, Refusal) or ten.family != law.family or short(one.budget) != scale[1]:
                continue
            if not (ten.loss.ends[0] <= law.ahead.ends[1] and law.ahead.ends[0] <= ten.loss.ends[1]):
                found.append(f"{cell}: the answer says {ten.loss} of that compute")
    return found


@pytest.fixture(scope="module", params=STORES)
def stored(request):
    analysis = scalelab.analyze(ROOT / request.param, trees=False, curves=False)
    studies = scalelab.next_studies(analysis, ROOT / request.param, build=False)
    return analysis, list(sections(analysis, whole=True, studies=studies)), ROOT / request.param


def test_no_two_sentences_of_a_committed_store_contradict(stored):
    assert contradictions(*stored) == []


def test_the_losses_of_ten_times_the_compute_in_readme_are_of_two_computes():
    """The law of compute leaves out designs at the edge of the grid, the largest run among them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    budget = re.search(r"A run of ([\d.]+ [TPE])FLOP, ten times the compute of the largest run so far", text)
    cell = re.search(r"L\(C\) .* at ([\d.]+ [TPE])FLOP, 10× C", text)
    runs = pd.read_csv(ROOT / "examples/runs.csv")
    assert whole_number(budget[1]) == pytest.approx(10 * runs.train_flops.max(), rel=0.01)
    assert whole_number(cell[1]) < 0.5 * whole_number(budget[1])


def test_a_scale_that_is_not_named_is_found(grid_analysis, grid_report):
    """So that the test of contradictions is one."""
    table = grid_report.tables["Scaling laws of the loss"]
    assert two_losses_of_one_compute(grid_analysis, table) == []
    at = table.columns.index("loss at 10×")
    bare = [[*row[:at], re.sub(r"[\d.]+ .FLOP, ", "", row[at]), *row[at + 1 :]] for row in table.rows]
    assert "which compute?" in two_losses_of_one_compute(grid_analysis, replace(table, rows=bare))[0]


def test_the_answer_names_its_compute_and_the_family_of_which_nothing_is_said(stored):
    analysis, (answer, *_), _ = stored
    (one,) = analysis.ahead
    assert (
        f"un of {short(one.budget, 'FLOP')}, ten times the compute of the largest run so far"
        in answer.answer[1]
    )
    if one.most is None:
        assert "of convnext1d with adamw nothing is said here beyond its runs; laws of " in answer.answer[3]
    doubts = [words for words in answer.warnings if "beyond the law's points" in words]
    assert all("the scale asked for lies" in words for words in doubts)


def test_a_committed_store_says_best_next_and_how_far(stored):
    _, (answer, *_), _ = stored
    best, ten, train, trust = answer.answer
    assert best.startswith("Best so far: ")
    assert "reached a loss of " in best
    assert "ten times the compute" in ten
    assert re.match(
        r"Train next, .*\(\d+ new runs, [\d.]+ TFLOP[^)]* at the pace of the runs so far\)", train
    )
    assert not re.search(r"L\(|backtest|n_params|α", " ".join(answer.answer).partition("n_params beyond")[0])
    assert trust.startswith("How far to trust this: ")
    (file,) = answer.files
    assert parse_study(file.text).name == tomllib.loads(file.text)["name"]


@pytest.mark.parametrize(("noise", "seed"), [(0.0, 0), (0.004, 1), (0.03, 2), (0.3, 3)])
def test_no_two_sentences_of_simulated_runs_contradict(noise, seed):
    runs = grid_runs(optimizers=("adamw", "sgd"), seeds=(0, 1), noise=noise)
    runs["loss"] *= np.exp(0.02 * np.random.default_rng(seed).standard_normal(len(runs)) * (noise > 0))
    analysis = analyze(runs, trees=False)
    assert contradictions(analysis, list(sections(analysis, whole=True)), runs) == []


def test_a_clean_law_promises_a_loss_with_its_interval(grid_analysis, grid_report):
    (one,) = grid_analysis.ahead
    assert not isinstance(one.prediction, Refusal)
    loss = one.prediction.loss
    ten = grid_report.sections["answer"].answer[1]
    shown = re.search(r"a loss of ([\d.]+) \[([\d.]+), ([\d.]+)\]", ten)
    assert [float(part) for part in shown.groups()] == pytest.approx(list(loss), rel=0.02)
    assert loss.lower < loss.value < loss.upper
    assert one.budget == pytest.approx(10 * grid_analysis.runs["train_flops"].max())


def test_ten_times_is_what_advise_says(grid_analysis):
    (one,) = grid_analysis.ahead
    again = scalelab.advise(grid_analysis.runs, one.budget)
    assert one.prediction.loss == next(f.loss for f in again.families if f.family == one.prediction.family)
    assert one.limit == one.budget


def test_the_study_stands_on_the_page_and_in_markdown(grid_analysis):
    hostile = 'name = "x"\n# </pre><script>a()</script>\n```\n'
    report = list(sections(grid_analysis, studies={"toy-ecg": NextStudy(text=hostile)}))
    page = html_page(report)
    assert "&lt;/pre&gt;&lt;script&gt;" in page
    assert '<button type="button" class="copy" data-copy="file-1" hidden>' in page
    assert f"````toml\n{hostile.rstrip()}\n````" in markdown_text(report)


def test_a_study_that_cannot_be_written_says_why(grid_analysis):
    report = sections(grid_analysis, studies={"toy-ecg": NextStudy(reason="the data are not here")})
    assert "as a study it cannot be written here: the data are not here." in report[0].answer[2]


def test_runs_without_compute_have_no_budget():
    runs = grid_runs(optimizers=("adamw",), seeds=(0, 1), noise=0.004)
    analysis = analyze(runs.assign(train_flops=np.nan, n_examples=np.nan), trees=False)
    assert isinstance(analysis.ahead[0].prediction, Refusal)
    assert analysis.ahead[0].most is None
    assert "cannot be said" in sections(analysis)[0].answer[1]


def test_compute_that_is_not_recorded_is_six_flops_a_parameter_and_example():
    runs = grid_runs(optimizers=("adamw",), seeds=(0, 1), noise=0.004)
    (one,) = analyze(runs.assign(train_flops=np.nan), trees=False).ahead
    largest = runs.assign(epochs=runs.get("epochs", 1.0))
    assert one.budget == pytest.approx(
        60 * (largest["n_params"] * largest["n_examples"] * largest["epochs"].fillna(1.0)).max()
    )


def test_ten_times_is_counted_as_the_test_counts_it(grid_analysis, grid_report):
    """The optimum of a law of size and data may lie within the sizes and the data that were run."""
    (one,) = grid_analysis.ahead
    found = one.prediction
    assert found.basis == "optimum"
    shown = re.search(r"lies ([\d.]+) times beyond them", grid_report.sections["answer"].answer[3])
    assert float(shown[1]) == pytest.approx(found.times_beyond(found.at), rel=0.01)
    assert float(shown[1]) > 5


def test_families_without_an_answer_are_named_with_the_reason():
    runs = grid_runs(optimizers=("adamw", "sgd"), seeds=(0, 1), noise=0.004)
    few = runs[runs["optimizer"] == "sgd"].head(3)
    analysis = analyze(pd.concat([runs[runs["optimizer"] == "adamw"], few]), trees=False)
    report = list(sections(analysis, whole=True, draw=True))
    ten = report[0].answer[1]
    assert "the only family with an answer. Left out: " in ten
    assert "(convnext1d with sgd)" in ten
    assert all("left out: 1, see below" in stop.words for stop in report[0].stops[0])
    assert any(note.startswith("Left out of every budget: ") for note in report[0].notes)


def test_the_answer_is_in_the_document(grid_analysis):
    (found,) = json_object(grid_analysis)["ahead"]
    (one,) = grid_analysis.ahead
    assert found["families"][0]["loss"]["value"] == one.prediction.loss.value
    assert found["best"][0]["objective"]["value"] == one.best[0].objective.value
    assert found["refusal"] is None
    assert found["answered_up_to"] == found["budget"] == one.budget


def test_a_price_is_said_with_its_range(grid_analysis):
    price = Price(3, Estimate(3e12, 2e12, 4e12), Estimate(120.0, 60.0, 180.0))
    report = sections(grid_analysis, studies={"toy-ecg": NextStudy(price=price)})
    said = (
        "(3 new runs, 3.00 TFLOP [2.00 TFLOP, 4.00 TFLOP], 1 min 0 s to 3 min 0 s at the pace of the runs so"
    )
    assert said in report[0].answer[2]


def test_the_answer_says_of_which_studies_its_runs_are(report):
    """Of two studies the better one is named for the best design; trials that both share are said."""
    best = grid_runs(study="good", seeds=(0, 1)).assign(optimizer_weight_decay=0.0)
    shared = best[(best["seed"] == 0) & (best["n_params"] == best["n_params"].min())].assign(study="bad")
    worse = grid_runs(study="bad", seeds=(0, 1)).assign(optimizer_weight_decay=0.5)
    worse = worse.assign(loss=worse["loss"] * 1.5, trial_id=worse["trial_id"] + "-w")
    runs = pd.concat(
        [best.assign(optimizer_weight_decay=0.0), shared.assign(optimizer_weight_decay=0.0), worse]
    )
    analysis = analyze(runs, trees=False)
    own = report(analysis, draw=False)
    first, *_, trust = own.answer[:4]
    assert ", in study good, reached" in first
    assert "of studies bad and good" in trust or "of study good" in trust
    assert analysis.ahead[0].best[0].studies == ("good",)
    table = own.table("What was run")
    assert any(
        f"5 runs; all that follows counts each once: {len(best) + len(worse)} runs of 50 designs" in note
        for note in table.notes
    )
    assert dict(zip(analysis.studies["study"], analysis.studies["designs"], strict=True)) == {
        "bad": 30,
        "good": 25,
    }
    rates = own.table("Learning rates behind")
    assert {row[-1] for row in rates.rows} <= {"good", "bad, good"}
    assert own.table("Training settings").columns[:2] == ("family", "study")
    one = report(analyze(best, trees=False), draw=False)
    assert "study" not in one.answer[0]
    assert one.table("Training settings").columns[1] == "runs"


def test_a_store_with_measurements_says_where_they_are(report):
    runs = grid_runs(seeds=(0, 1))
    with_some = report(analyze(runs, axes=["n_params"], trees=False, measured=1), draw=False)
    (line,) = [line for line in with_some.answer if "bench --measured" in line]
    assert "has 1 measurement of latency" in line
    without = report(analyze(runs, axes=["n_params"], trees=False), draw=False)
    assert not any("bench --measured" in line for line in without.answer)
    assert scalelab.open_store(ROOT / STORES[2]).n_measured() > 0
