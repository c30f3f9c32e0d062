"""What a page says of budgets, and what its script knows of runs, before any browser."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from run_tables import grid_runs

from scalelab.analysis.analyze import analyze
from scalelab.analysis.estimate import Estimate
from scalelab.report.numbers import value_of
from scalelab.report.runs import runs_of
from scalelab.report.script import payload as facts
from scalelab.report.script.payload import payload
from scalelab.report.sections.advise import advice_tables
from scalelab.report.sections.all import sections


@pytest.fixture(scope="module")
def bought(grid_analysis):
    return grid_analysis.bought["toy-ecg"]


@pytest.fixture(scope="module")
def answer(grid_report):
    return grid_report.sections["answer"]


def said(notes):
    """Notes without the families that they are about."""
    return {note.rpartition(" (")[0] for note in notes}


def test_every_row_is_that_of_advise(bought, answer):
    rows = {}
    for row in answer.tables[0].rows:
        rows.setdefault(value_of(row[0]), []).append(row[1:])
    assert list(rows) == [one.budget for one in bought]
    for one in bought:
        assert tuple(rows[one.budget]) == advice_tables(one)[0].rows


def test_only_a_number_with_an_interval_says_its_level(bought, answer):
    (one, *_) = bought
    heads = ("parameters N", "examples seen", "seen / N", "loss of a run")
    assert advice_tables(one)[0].columns[2:6] == ("parameters N [90%]", *heads[1:])
    along = tuple(
        replace(found, **{name: Estimate(1.0) for name in ("n_params", "n_seen", "per_param")})
        for found in one.families
    )
    assert advice_tables(replace(one, families=along))[0].columns[2:6] == (*heads[:3], "loss of a run [90%]")
    assert answer.tables[0].columns[3:7] == heads
    assert "with 90% intervals" in answer.tables[0].title


def test_every_note_of_advise_is_there(bought, answer):
    common = said(answer.tables[0].notes)
    for one, stop in zip(bought, answer.stops[0], strict=True):
        notes = common | said(stop.notes)
        for note in said(advice_tables(one)[0].notes):
            assert note in notes or note.startswith("what makes the interval wide")


def test_the_sentence_of_a_budget_has_interval_reach_and_share(bought, answer):
    for one, stop in zip(bought, answer.stops[0], strict=True):
        assert float(stop.key) == one.budget
        assert "[" in stop.words.rpartition("loss of a run")[2]
        assert ("× the largest run" in stop.words) == (one.families[0].beyond > 1.0)
        assert ("of refits" in stop.words) == (len(one.families) > 1)
    heads = [stop.words.partition(",")[0] for stop in answer.stops[0]]
    assert len(set(heads)) == len(heads)
    assert set(heads) == {row[0] for row in answer.tables[0].rows}


def read(text):
    """The facts of a payload, a dictionary for each run."""
    data = json.loads(text)
    columns = {
        name: values.split("|") if known is None else [known[i] for i in values]
        for name, known, values in data["columns"]
    }
    keys = [f"r{i + 1}" for i, n in enumerate(data["repeats"]) for _ in range(n)]
    return [{"key": key, **{name: own[i] for name, own in columns.items()}} for i, key in enumerate(keys)]


def test_a_payload_has_seed_loss_and_settings_of_every_run(grid_analysis):
    found = read(payload(grid_analysis))
    table = runs_of(grid_analysis).table
    assert len(found) == len(table)
    for fact, run in zip(found, table.to_dict("records"), strict=True):
        assert fact["key"] == run["key"]
        assert fact["seed"] == str(run["seed"])
        assert float(fact["loss"]) == pytest.approx(run["loss"], rel=1e-3)


def test_a_payload_cannot_end_its_element():
    runs = grid_runs(seeds=(0,))
    runs["architecture_name"] = ["</script><!--\u2028" + str(i % 2) for i in range(len(runs))]
    text = payload(analyze(runs, trees=False))
    assert text.isascii()
    assert not {"<", ">", "\n"} & set(text)
    assert {fact["name"] for fact in read(text)} == {"</script><!--\u20280", "</script><!--\u20281"}


def test_a_large_payload_leaves_out_the_last_runs(grid_analysis, monkeypatch):
    whole = read(payload(grid_analysis))
    monkeypatch.setattr(facts, "MOST_BYTES", 1500)
    text = payload(grid_analysis)
    assert len(text) <= 1500
    some = read(text)
    assert 3 < len(some) < len(whole)
    assert [fact["key"] for fact in some] == [fact["key"] for fact in whole[: len(some)]]


def test_runs_without_recorded_flops_have_budgets_of_six_times_sizes():
    analysis = analyze(grid_runs(seeds=(0,)).assign(train_flops=float("nan")), trees=False)
    report = {one.key: one for one in sections(analysis, whole=True, draw=True)}
    assert not report["answer"].reason
    assert not report["laws"].reason
    (one,) = analysis.ahead
    sizes = analysis.runs[["n_params", "n_examples", "epochs"]].prod(axis=1)
    assert one.budget == pytest.approx(10 * 6 * sizes.max(), rel=0.01)
    assert all(found.budget > 0 for found in analysis.bought[one.dataset])
