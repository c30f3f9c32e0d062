"""Predictions are registered before the run exists, and held against what comes."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scalelab
from scalelab.analysis.families.verdicts import JudgedRun, judged
from scalelab.errors import InputError
from scalelab.predictions import LAW, Guess
from scalelab.records import ComponentRef, Record, TrainingOptions, Trial
from scalelab.store import open_store
from scalelab.store.envelope import TornError
from scalelab.store.kinds import PREDICTIONS

WIDTHS = (4, 8, 16, 32, 64, 128)
TARGET = {"n_params": 1000 * 512.0}


def law(n_params: float) -> float:
    return 0.3 + 40.0 * n_params**-0.5


def a_run(
    width=512, seed=0, *, factor=1.0, lr=0.1, ended=True, status="done", n_params=None, **more
) -> Record:
    """A run of 1000 parameters a unit of width; one that is not over began long after now."""
    n_params = n_params or 1000 * width
    trial = Trial(
        dataset=ComponentRef(name="blobs", params={"noise": 0.5}),
        fingerprint="f" * 16,
        architecture=ComponentRef(name="net", params={"width": width, **more}),
        optimizer=ComponentRef(name="sgd", params={"lr": lr}),
        n_examples=6400,
        training=TrainingOptions(),
        seed=seed,
    )
    started = 1e9 if ended else 4e9
    loss = None if status != "done" else law(n_params) * factor
    return Record(
        trial=trial, study="s", attempt=1, status=status, loss=loss, objective=loss, n_params=n_params,
        forward_flops=2.0 * n_params, train_flops=6.0 * n_params * 6400, n_steps=1000, epochs=10.0,
        started_at=started, finished_at=started + 1,
    )  # fmt: skip


def later(*args, **more) -> Record:
    return a_run(*args, ended=False, **more)


def filled(path, records):
    store = open_store(path, create=True)
    for record in records:
        store.journal.write(record)
    store.ingest()
    return store


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """The bytes of a store in which one prediction is registered, and the prediction."""
    runs = [
        a_run(width, seed, factor=1 + 0.004 * ((width + 3 * seed) % 5 - 2))
        for width in WIDTHS
        for seed in (0, 1)
    ]
    store = filled(tmp_path_factory.mktemp("known") / "x.duckdb", runs)
    (one,) = scalelab.register(store, TARGET).predictions
    return store.path.read_bytes(), one


@pytest.fixture
def store(known, tmp_path):
    (tmp_path / "x.duckdb").write_bytes(known[0])
    return open_store(tmp_path / "x.duckdb")


def verdict(store, *records):
    for record in records:
        store.journal.write(record)
    store.ingest()
    return scalelab.verdicts(store).verdicts[0]


def test_what_is_registered_says_all_that_a_verdict_needs(known):
    one = known[1]
    assert one.at == TARGET
    assert one.law.lower < law(512_000) < one.law.upper
    assert one.settings.same["optimizer_lr"] == 0.1
    assert one.settings.same["n_examples"] == 6400
    assert one.settings.same["epochs"] == 10
    assert one.settings.free == ("architecture_width",)
    assert one.source.studies == ("s",)
    assert one.source.n_points == len(WIDTHS)
    assert len(one.source.data_hash) == 64
    assert [guess.rule for guess in one.guesses] == ["law", "last value", "log-log line", "least squares"]
    assert one.known == ()
    assert abs(one.law.slopes["n_params"] / (-0.5 * 40 * 512_000**-0.5) - 1) < 0.25


def test_its_id_is_that_of_what_it_says_and_not_of_when(known):
    one = known[1]
    assert one.model_copy(update={"registered_at": 5.0, "known": ("x",)}).id == one.id
    again = type(one).model_validate_json(one.model_dump_json())
    assert (again, again.id) == (one, one.id)
    other = type(one).model_validate({**one.model_dump(), "level": 0.8})
    assert other.id != one.id


def test_the_baselines_have_the_textbook_intervals(known):
    import statsmodels.api as sm

    one = known[1]
    n = 1000.0 * np.array(WIDTHS)
    y = np.array(
        [
            law(size) * np.mean([1 + 0.004 * ((w + 3 * s) % 5 - 2) for s in (0, 1)])
            for size, w in zip(n, WIDTHS, strict=True)
        ]
    )
    line = sm.OLS(np.log(y), sm.add_constant(np.log(n))).fit()
    told = line.get_prediction([1.0, math.log(512_000)]).conf_int(obs=True, alpha=0.1)[0]
    _, last, own, squares = one.guesses
    assert np.allclose(np.log([own.lower, own.upper]), told)
    assert last.value == pytest.approx(y[-1])
    steps = np.diff(np.log(y))
    from scipy.stats import t

    half = t.ppf(0.95, 4) * math.sqrt(steps @ steps / 4)
    assert np.allclose(np.log([last.lower, last.upper]), [math.log(y[-1]) - half, math.log(y[-1]) + half])
    assert squares.lower < law(512_000) < squares.upper


def test_it_is_open_until_a_run_comes(store):
    one = scalelab.verdicts(store).verdicts[0]
    assert (one.verdict, one.answers) == ("open", ())
    assert scalelab.verdicts(store).scores == ()


def test_a_run_is_inside_or_outside(store, known):
    one = verdict(store, later())
    assert (one.verdict, one.timing) == ("inside", "ahead")
    assert one.answers[0].error == pytest.approx(law(512_000) / known[1].law.value - 1)
    both = verdict(store, later(seed=1, factor=2.0))
    assert both.verdict == "1 of 2 inside"
    scores = {score.rule: score for score in scalelab.verdicts(store).scores}
    assert scores["law"].n_predictions == 1
    assert scores["law"].coverage.value == 0.5
    assert scores["law"].coverage.lower < 0.5 < scores["law"].coverage.upper
    assert scores["law"].asked == 0.9
    assert set(scores) == {guess.rule for guess in known[1].guesses}


def test_a_scale_nearby_moves_the_prediction_along_its_slope(store):
    one = verdict(store, later(n_params=540_000))
    guess, own = one.answers[0].guesses[0], one.prediction.law
    assert guess.value == pytest.approx(own.value + own.slopes["n_params"] * math.log(540 / 512))
    assert guess.upper - guess.lower == pytest.approx(own.upper - own.lower)
    assert own.value - guess.value == pytest.approx(law(512_000) - law(540_000), rel=0.3)


@pytest.mark.parametrize(
    "other",
    [
        later(lr=0.2),
        later(dropout=0.5),
        later(n_params=600_000),
        later().model_copy(update={"epochs": 20.0}),
        later().model_copy(update={"trial": later().trial.model_copy(update={"fingerprint": "e" * 16})}),
        later().model_copy(update={"trial": later().trial.model_copy(update={"n_examples": 640})}),
    ],
    ids=["option", "new option", "scale", "length", "data", "data size"],
)
def test_a_run_of_other_settings_does_not_answer(store, other):
    other = other.model_copy(update={"trial": Trial.model_validate(other.trial.model_dump())})
    assert verdict(store, other).verdict == "open"


def test_the_nearest_scale_counts_and_there_the_best_design(store):
    # Width is free: the points differ in it.
    one = verdict(store, later(500, n_params=512_000, factor=1.01), later(504, n_params=512_000), later(550))
    assert [answer.loss for answer in one.answers] == [pytest.approx(law(512_000))]


def test_a_run_that_had_begun_is_late(store):
    one = verdict(store, a_run())
    assert (one.timing, one.verdict) == ("late", "inside")
    found = scalelab.verdicts(store)
    assert found.scores == ()
    assert found.scores_of_others[0].n_predictions == 1


def test_registering_after_the_run_is_late_whatever_its_clock_says(store):
    assert verdict(store, later()).timing == "ahead"
    (late,) = scalelab.register(store, TARGET, level=0.8).predictions
    assert late.known == (later().trial.id,)
    assert [one.timing for one in scalelab.verdicts(store).verdicts] == ["ahead", "late"]


def test_a_run_that_failed_says_nothing_and_one_that_diverged_is_outside(store):
    one = verdict(store, later(status="failed"))
    assert (one.verdict, one.n_unfinished) == ("open", 1)
    one = verdict(store, later(seed=1, status="diverged"))
    assert one.verdict == "diverged"
    score = scalelab.verdicts(store).scores[0]
    assert (score.coverage.value, score.error) == (0.0, None)
    assert verdict(store, later(seed=2)).verdict == "1 of 2 inside"


def test_a_table_from_elsewhere_has_no_time(store, tmp_path):
    import pandas as pd

    table = pd.DataFrame(
        {"n_params": [10.0**k for k in range(3, 9)], "loss": [law(10.0**k) for k in range(3, 9)]}
    )
    other = open_store(tmp_path / "y.duckdb", create=True)
    scalelab.import_runs(table[:5], other, study="t")
    scalelab.register(other, {"n_params": 1e8}, estimator="log-mse")
    scalelab.import_runs(table, other, study="t", replace=True)
    (one,) = scalelab.verdicts(other).verdicts
    assert one.timing == "undated"
    assert one.answers[0].loss == pytest.approx(law(1e8))


def test_registering_twice_is_one_line_and_writes_nothing(store):
    with pytest.raises(InputError, match=r"is registered already, since 20.* nothing was written"):
        scalelab.register(store, [{"n_params": 1e6}, TARGET])
    assert len(store.predictions()) == 1


def test_of_two_that_register_at_once_one_is_told(known, tmp_path):
    runs = [a_run(width) for width in WIDTHS]
    path = filled(tmp_path / "z.duckdb", runs).path
    told = []

    def register():
        try:
            open_store(path).register_predictions([known[1]])
        except InputError as error:
            told.append(str(error))

    threads = [threading.Thread(target=register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 3
    assert len(open_store(path).predictions()) == 1


def test_a_scale_below_all_runs_is_refused_and_so_is_an_unknown_one(store):
    with pytest.raises(InputError, match="n_params = 10 lies below all points of the law"):
        scalelab.register(store, {"n_params": 10})
    with pytest.raises(InputError, match="did you mean 'n_params'"):
        scalelab.register(store, {"n_param": 1e6})


def test_a_clock_that_was_set_back_keeps_the_order(store, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1e9)
    (one,) = scalelab.register(store, {"n_params": 1e6}).predictions
    first, second = store.predictions()
    assert second.id == one.id
    assert second.registered_at > first.registered_at


def test_two_stores_that_both_registered_it_keep_the_first_time(store, known, tmp_path):
    other = open_store(tmp_path / "other.duckdb", create=True)
    (again,) = other.register_predictions([known[1]])
    assert again.registered_at > known[1].registered_at
    assert other.merge(store.path).predictions == 1
    assert [one.registered_at for one in other.predictions()] == [known[1].registered_at]
    assert other.merge(store.path).counts == {}


def test_it_outlives_a_rebuild_and_the_drop_of_its_study(store, known):
    assert store.rebuild().predictions == 1
    assert store.predictions() == [known[1]]
    assert store.drop("s", dry_run=True).predictions == 1
    store.drop("s")
    assert store.predictions() == [known[1]]
    assert store.check().healthy


def test_an_edited_file_is_set_aside_and_written_again_from_the_database(store, known, caplog):
    store.rebuild()
    (path,) = store.journal.kept.glob("predictions/*.prediction.json")
    path.write_text(path.read_text().replace('"level":0.9', '"level":0.5'))
    assert known[1].id in store.check().problems[0]
    store.rebuild()
    assert "checksum" in caplog.text
    assert store.predictions() == [known[1]]
    forged = PREDICTIONS.seal(known[1].model_copy(update={"level": 0.5}))
    with pytest.raises(TornError, match="it holds prediction"):
        PREDICTIONS.open(PREDICTIONS.name_of(known[1]), forged)


def test_an_analysis_has_the_verdicts_of_its_studies(store):
    from scalelab.jsonable import json_object
    from scalelab.report.sections.all import sections

    verdict(store, later())
    analysis = scalelab.analyze(store, trees=False)
    assert analysis.verdicts.verdicts[0].verdict == "inside"
    assert json_object(analysis)["verdicts"]["verdicts"][0]["verdict"] == "inside"
    section = next(one for one in sections(analysis, whole=True, draw=True) if one.key == "verdicts")
    assert section.answer[0] == "Registered predictions of these runs' laws: 1."
    assert section.answer[1].startswith("Of those registered ahead of their runs (1), 100% [27%, 100%] held")
    (figure,) = section.figures
    said, came = figure.panels[0].series
    law_marks = said.line.values[0]
    assert law_marks[1] == 1.0
    assert law_marks[2] < came.points[0, 1] < law_marks[3]
    for only in ({"optimizer": "sgd"}, {"study": "s"}):
        assert scalelab.analyze(store, trees=False, **only).verdicts is not None
    lost = replace(
        analysis, verdicts=judged([analysis.verdicts.verdicts[0].prediction], lost_runs(store), {})
    )
    section = next(one for one in sections(lost, whole=True, draw=True) if one.key == "verdicts")
    assert len(section.figures[0].panels[0].series) == 1, "a run that diverged has no loss to draw"
    none = replace(analysis, verdicts=None)
    assert "verdicts" not in json_object(none)
    assert "verdicts" not in [one.key for one in sections(none)]


def lost_runs(store):
    """The runs of a store, the one that answers diverged."""
    runs = store.runs()
    return runs.assign(status=runs["status"].where(runs["n_params"] != 512_000, "diverged"))


numbers = st.floats(-10, 10)


@given(numbers, numbers, numbers, numbers)
def test_the_interval_score_is_the_width_and_more_outside(value, a, b, loss):
    guess = Guess(rule=LAW, value=value, lower=min(a, b), upper=max(a, b), slopes={})
    run = JudgedRun("t", 0, {}, loss, (guess,))
    width = (guess.upper - guess.lower) / run.unit
    score = run.score(guess, 0.9)
    assert score >= width * (1 - 1e-12)
    assert run.inside == (guess.lower <= loss <= guess.upper)
    if run.inside:
        assert score == pytest.approx(width)
    far = JudgedRun("t", 0, {}, guess.upper + 1.0, (guess,))
    assert far.score(guess, 0.9) == pytest.approx((guess.upper - guess.lower + 20.0) / far.unit)


def test_a_rate_that_a_sweep_tuned_is_free_and_the_best_of_a_sweep_answers(tmp_path):
    store = open_store(tmp_path / "x.duckdb", create=True)
    rates = (0.05, 0.1, 0.2)
    runs = [
        a_run(width, lr=lr, factor=1 + 0.1 * abs(math.log2(lr / 0.1))) for width in WIDTHS for lr in rates
    ]
    trials = [run.trial for run in runs]
    store.register("s", "text", trials, tuned={trial.id: "lr" for trial in trials})
    for run in runs:
        store.journal.write(run)
    store.ingest()
    (one,) = scalelab.register(store, TARGET).predictions
    assert one.settings.free == ("architecture_width", "optimizer_lr")
    new = [later(lr=lr, factor=1 + 0.1 * abs(math.log2(lr / 0.2))) for lr in (0.1, 0.2)]
    (answer,) = verdict(store, *new).answers
    assert answer.loss == pytest.approx(law(512_000))


def test_an_option_may_be_an_axis(tmp_path):
    runs = [
        a_run(8, lr=lr, factor=(1 + lr) * (1 + 0.001 * (k % 3)))
        for k, lr in enumerate((0.1, 0.2, 0.4, 0.8, 1.6))
    ]
    store = filled(tmp_path / "x.duckdb", runs)
    (one,) = scalelab.register(store, {"lr": 3.2}, law="E + A*lr^b").predictions
    assert one.at == {"lr": 3.2}
    assert one.settings.same["n_params"] == 8000
    assert verdict(store, later(8, lr=1.6)).verdict == "open"
    assert verdict(store, later(8, lr=3.3, factor=4.3)).answers[0].at == {"lr": 3.3}


def test_the_loss_of_the_last_step_is_judged_where_that_was_predicted(tmp_path):
    def last(run, factor=1.1):
        return run.model_copy(
            update={"loss_last": run.loss and run.loss * factor, "objective_last": run.loss}
        )

    store = filled(tmp_path / "x.duckdb", [last(a_run(width)) for width in WIDTHS])
    scalelab.register(store, TARGET, on="last")
    (answer,) = verdict(store, last(later())).answers
    assert answer.loss == pytest.approx(1.1 * law(512_000))
