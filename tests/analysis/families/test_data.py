"""An answer knows how many training examples there are: no more are advised, or it says that they lack."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from run_tables import law_runs

from scalelab.analysis.analyze import analyze
from scalelab.analysis.families.advice import SPLIT, advise
from scalelab.analysis.families.data import Supply
from scalelab.analysis.families.prediction import forecast, reach
from scalelab.analysis.runs.designs import designs, finished_runs
from scalelab.api.candidates import refuse_unmade
from scalelab.api.proposals import proposal_of
from scalelab.errors import InputError
from scalelab.jsonable import json_object
from scalelab.report.sections.all import sections

LAW = (0.3, 60.0, 900.0, 0.4, 0.5)
PASSES, PER = 8.0, 6.0


def runs_of(n_available, *, passes=PASSES):
    """A grid of sizes and examples, each seen in as many passes; D of the law counts those seen."""
    n, seen = (axis.ravel() for axis in np.meshgrid(np.geomspace(3e3, 3e5, 5), np.geomspace(8e3, 8e5, 5)))
    runs = law_runs(n, seen, law=LAW, per=PER)
    return runs.assign(n_examples=runs["n_examples"] / passes, epochs=passes, n_available=n_available)


def asked(n_available, budget=1.5e13, **how):
    return advise(designs(finished_runs(runs_of(n_available, **how))), budget).families[0]


@pytest.mark.parametrize("passes", [1.0, PASSES])
def test_a_split_takes_no_more_examples_than_there_are(passes):
    free = asked(np.nan, passes=passes)
    there = round(free.n_examples / 5)
    found = asked(there, passes=passes)
    assert (found.basis, found.limited, free.limited) == (SPLIT, True, False)
    assert (found.n_examples, found.n_seen.value) == (there, pytest.approx(there * passes))
    assert found.n_params.value * found.n_seen.value * PER == pytest.approx(1.5e13)
    assert found.n_params.value == pytest.approx(5 * free.n_params.value, rel=0.01)
    e, a, b, alpha, beta = LAW
    truth = e + a * found.n_params.value**-alpha + b * found.n_seen.value**-beta
    assert found.loss.lower < truth < found.loss.upper
    assert found.loss.value > free.loss.value
    (said,) = [words for words in found.warnings if "training examples" in words]
    assert said.startswith(f"signals has {there:,} training examples, and the best split of this budget asks")
    assert said.endswith("all that there are are used, and the rest of the budget goes into parameters")
    # A network that comes out smaller sees them more often, which the law does not know to help.
    smaller = found.expect(found.n_params.value / 2, found.n_seen.value * 2, 1.5e13, 0.9)
    assert smaller.value > found.loss.value


def test_enough_examples_change_nothing():
    free = asked(np.nan)
    found = asked(math.ceil(free.n_examples))
    assert (found.n_params, found.n_seen, found.loss) == (free.n_params, free.n_seen, free.loss)
    assert found.warnings == free.warnings
    document = json_object(found), json_object(free)
    assert [own["examples_available"] for own in document] == [math.ceil(free.n_examples), None]


def test_one_record_that_knows_is_enough():
    runs = runs_of(np.nan)
    runs.loc[3, "n_available"] = 200_000

    def known(runs):
        return Supply.of(designs(finished_runs(runs)), "signals").n_available

    assert known(runs) == 200_000
    assert known(runs.drop(columns="n_available")) == math.inf
    # What was trained on is there, whatever a table says.
    assert known(runs.assign(n_available=10)) == math.inf, "no run can have had more than there are"


def longer_runs(n_available):
    """Runs of one size, so that no law says how to split a budget otherwise."""
    return law_runs(np.full(8, 1e5), np.geomspace(1e4, 1e6, 8), law=LAW, per=PER).assign(
        n_available=n_available
    )


def test_a_run_that_no_law_can_split_otherwise_lacks_data(tmp_path):
    runs = longer_runs(2_000_000)
    found = advise(designs(finished_runs(runs)), PER * 1e5 * 5e6)
    best = found.families[0]
    assert (best.basis, best.limited, best.lacks_data) == ("n_examples", False, True)
    says = "signals has 2,000,000 training examples, and this asks for 5.00M of them: find more data first"
    assert any(words.startswith(says) for words in best.warnings)
    with pytest.raises(InputError, match=f"next.toml was not written: {says}"):
        proposal_of(found, finished_runs(runs), tmp_path / "none.duckdb", tmp_path / "next.toml")


def test_a_prediction_beyond_the_data_says_so():
    table = designs(finished_runs(runs_of(200_000, passes=1.0).assign(n_available=1_000_000)))
    for asked_for, lacks in ((900_000, 0), (2_000_000, 1)):
        (found,) = forecast(table, {"n_params": 1e5, "n_examples": asked_for})
        assert sum("and this asks for 2.00M of them" in words for words in found.warnings) == lacks
    low = float(table["loss"].min())
    (target,) = reach(table, low * 0.9, axes=["n_examples"])
    assert target.scale.value > 1e6
    assert sum("find more data first" in words for words in target.warnings) == 1


def test_a_candidate_beyond_the_data_is_refused():
    table = designs(finished_runs(runs_of(200_000)))
    pool = pd.DataFrame({"dataset": "signals", "n_examples": [1e5, 2e5, 3e5]})
    refuse_unmade(pool[:2], table)
    with pytest.raises(InputError, match="row 3 of the candidates: signals has 200,000 training examples"):
        refuse_unmade(pool, table)


@pytest.mark.parametrize("lacking", [False, True])
def test_every_sentence_of_the_answer_knows_it(lacking):
    runs = longer_runs(2_000_000) if lacking else runs_of(100_000)
    analysis = analyze(runs, trees=False)
    (one,) = analysis.ahead
    report = list(sections(analysis, whole=True, draw=True))
    _, ten, after, _ = report[0].answer
    best = one.prediction
    assert (best.limited, best.lacks_data) == (not lacking, lacking)
    words = "10.0M training examples where signals has 2,000,000"
    if not lacking:
        words = "with all 100,000 training examples that signals has"
    stop = report[0].stops[0][-1]
    for sentence in (ten, after, stop.words):
        assert words in sentence
    assert ("no study of it can be written" in after) == lacking
    assert ("writes it as a study" in after) == (not lacking)
