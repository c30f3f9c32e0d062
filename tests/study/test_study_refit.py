# ruff: noqa: E501 - a case a line
"""The refit: which design is trained again, a function of what its folds gave."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_toys import CATALOG, DATASETS, open_blips

from scalelab.errors import StudyError
from scalelab.reached import Reached
from scalelab.study import expand, parse_study

ONE_MLP = '[[architecture]]\nname = "mlp"\n'
WIDTHS = '[[architecture]]\nname = "mlp"\nspace = { width = [8, 16, 64] }\n'
FOLDS = '[dataset]\nname = "blips"\nspace = { n = [100, 200] }\n'
ONE = '[[optimizer]]\nname = "adam"\n'
REFIT = '[refit]\ndataset = { n = 300, split = "inter-patient" }\n'


def text(*, dataset=FOLDS, architecture=WIDTHS, optimizer=ONE, seeds="[0, 1]", refit=REFIT, rest=""):
    head = f'name = "toy"\nseeds = {seeds}\n'
    return "\n".join((head, dataset, architecture, optimizer, refit, rest))


def study_of(text):
    return parse_study(text, "s.toml", CATALOG)


def scored(trials, score, direction="maximize"):
    return {trial.id: Reached(1.0, score(trial), direction) for trial in trials}


def by_width(scores):
    return lambda trial: scores[trial.architecture.params["width"]] + 0.01 * trial.seed


def test_the_best_mean_is_trained_again_once_a_seed():
    first = expand(study_of(text()), CATALOG)
    assert len(first.trials) == 3 * 2 * 2
    assert first.grows
    assert first.grown({}) is first
    assert first.refitting({}) == (
        "refit: after 12 trials more, the best of 3 designs by mean loss is trained again with "
        "n = 300, split = 'inter-patient': 2 trials"
    )
    most = scored(first.trials[:-1], by_width({8: 0.5, 16: 0.9, 64: 0.7}))
    assert first.grown(most) is first
    reached = scored(first.trials, by_width({8: 0.5, 16: 0.9, 64: 0.7}))
    grown = first.grown(reached)
    assert grown.trials[:12] == first.trials
    assert grown.refitted == grown.trials[12:]
    for seed, trial in enumerate(grown.refitted):
        assert (trial.architecture.params["width"], trial.seed, trial.n_examples) == (16, seed, 300)
        assert trial.dataset.params["split"] == "inter-patient"
        assert trial.fingerprint == "blips-300"
        assert grown.opened(trial).data.fingerprint == "blips-300"
        assert trial.training == first.trials[0].training
    assert grown.grown(reached) is grown
    assert not grown.grows
    assert grown.refitting(reached) == (
        "refit: the best of 3 designs by mean loss (0.905 over 4 trials) is mlp (width 16) with adam; "
        "trained again with n = 300, split = 'inter-patient'"
    )
    again = expand(
        study_of(text()), CATALOG, reached=lambda ids: {one: reached[one] for one in ids if one in reached}
    )
    assert [trial.id for trial in again.trials] == [trial.id for trial in grown.trials]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=12, max_size=12), st.sampled_from(["minimize", "maximize"]))
def test_it_is_the_design_of_the_best_mean_over_folds_and_seeds(values, direction):
    first = expand(study_of(text()), CATALOG)
    given = dict(zip((trial.id for trial in first.trials), values, strict=True))
    reached = scored(first.trials, lambda trial: given[trial.id], direction)
    means = {}
    for trial in first.trials:
        means.setdefault(trial.architecture.params["width"], []).append(given[trial.id])
    best = (min if direction == "minimize" else max)(sum(own) / len(own) for own in means.values())
    chosen = first.grown(reached).refitted[0].architecture.params["width"]
    assert sum(means[chosen]) / len(means[chosen]) == pytest.approx(best, abs=1e-9)


def test_a_design_with_a_diverged_trial_is_never_the_best():
    first = expand(study_of(text()), CATALOG)
    reached = scored(first.trials, by_width({8: 0.5, 16: 0.9, 64: 0.7}))
    lost = next(trial for trial in first.trials if trial.architecture.params["width"] == 16)
    reached[lost.id] = Reached.of("diverged", None, None, "maximize")
    assert first.grown(reached).refitted[0].architecture.params["width"] == 64
    gone = {trial.id: reached[lost.id] for trial in first.trials}
    assert first.grown(gone) is first
    assert first.refitting(gone) == "refit: none, for a trial of each of the 3 designs has no loss"


def test_its_dataset_is_opened_when_the_design_is_chosen_and_not_before(monkeypatch):
    opened = []

    def watched(params):
        opened.append(params.n)
        return open_blips(params)

    monkeypatch.setitem(DATASETS, "blips", replace(DATASETS["blips"], open=watched))
    first = expand(study_of(text()), CATALOG)
    assert first.refitting({})
    assert first.grown({}) is first
    assert opened == [100, 200]
    first.grown(scored(first.trials, by_width({8: 0.5, 16: 0.9, 64: 0.7})))
    assert opened == [100, 200, 300]


def test_what_a_sweep_tried_on_some_folds_alone_is_not_compared():
    optimizer = ONE + "tune = { lr = { start = 4e-3 } }\n"
    grown = expand(study_of(text(optimizer=optimizer, architecture=ONE_MLP, seeds="[0]")), CATALOG)

    def loss(trial):  # on the second fold lower rates are better
        best = 4e-3 if trial.dataset.params["n"] == 100 else 5e-4
        return 1.0 + abs(math.log2(trial.optimizer.params["lr"] / best))

    def objective(trial):  # the rates that one fold alone has look best
        return loss(trial) + (9.0 if trial.optimizer.params["lr"] > 1.5e-3 else 0.0)

    while True:
        reached = {trial.id: Reached(loss(trial), objective(trial), "minimize") for trial in grown.trials}
        larger = grown.grown(reached)
        if larger is grown:
            break
        grown = larger
    rates = {
        n: {t.optimizer.params["lr"] for t in grown.trials if t.dataset.params["n"] == n} for n in (100, 200)
    }
    both = rates[100] & rates[200]
    assert both < rates[200]
    assert {trial.optimizer.params["lr"] for trial in grown.refitted} == {2e-3} <= both
    said = grown.refitting(reached)
    assert said.startswith("refit: the best of 3 of ")
    assert "designs that were trained on every fold by mean loss" in said


def test_its_seeds_and_other_options_of_the_dataset():
    dataset = '[dataset]\nname = "blips"\nspace = { n = [100, 200], split = ["random", "inter-patient"] }\n'
    refit = "[refit]\nseeds = [5, 6, 7]\ndataset = { n = 300 }\n"
    first = expand(study_of(text(dataset=dataset, refit=refit, seeds="[0]")), CATALOG)
    score = {"random": 0.2, "inter-patient": 0.4}
    grown = first.grown(scored(first.trials, lambda trial: score[trial.dataset.params["split"]]))
    assert [trial.seed for trial in grown.refitted] == [5, 6, 7]
    assert {trial.dataset.params["split"] for trial in grown.refitted} == {"inter-patient"}


def test_swept_values_are_designs():
    optimizer = ONE + "tune = { lr = { start = 4e-3 } }\n"
    grown = expand(study_of(text(optimizer=optimizer)), CATALOG)
    best = 4e-3

    def score(trial):
        return -abs(trial.optimizer.params["lr"] / best - 1)

    for _ in range(5):
        reached = {trial.id: Reached(-score(trial), score(trial), "maximize") for trial in grown.trials}
        larger = grown.grown(reached)
        if larger is grown:
            break
        grown = larger
    assert {trial.optimizer.params["lr"] for trial in grown.refitted} == {best}


@pytest.mark.parametrize(
    ("case", "line"),
    [
        (text(refit="[refit]\n"), "refit.dataset: missing"),
        (text(refit="[refit]\ndataset = {}\n"), "refit.dataset = {}: must not be empty"),
        (text(refit="[refit]\ndataset = 3\n"), "refit.dataset = 3: must be a table"),
        (text(refit="[refit]\ndataset = { m = 3 }\n"), "refit.dataset.m: 'blips' has no such option"),
        (text(refit="[refit]\ndataset = { n = -3 }\n"), "refit.dataset.n = -3: must be at least 0"),
        (text(refit='[refit]\ndataset = { n = "3" }\n'), "refit.dataset.n = '3': must be a whole number"),
        (text(refit='[refit]\ndataset = { split = "x" }\n'), "refit.dataset.split = 'x': must be 'random' or 'inter-patient'"),
        (text(refit="[refit]\ndataset = { n = 200 }\n"), "refit.dataset = {'n': 200}: [dataset] has that already"),
        (text(refit='[refit]\ndataset = { n = 200, split = "inter-patient" }\n'), "refit.dataset = {'n': 200}: [dataset] has that already"),
        (text(refit="[refit]\nby = 'x'\ndataset = { n = 300 }\n"), "refit.by: unknown key"),
        (text(refit="[refit]\nseeds = []\ndataset = { n = 300 }\n"), "refit.seeds = []: must not be empty"),
        (text(refit="[refit]\nseeds = [1, 1]\ndataset = { n = 300 }\n"), "refit.seeds[1] = 1: is listed twice"),
        (text(rest="[data]\nsizes = [10, 20]\n"), "refit: several data.sizes compare sizes"),
        (text(rest='[sampling]\nmethod = "isoflop"\nbudgets = [1e9]\n'), "refit: isoflop sampling compares sizes"),
        (text(optimizer=ONE + 'options = { lr = { at = 1e-3, scale = "n_examples", power = -0.5, reference = 100 } }\n'), "refit: designs are not trained on the same folds"),
    ],
)  # fmt: skip
def test_a_wrong_refit_is_one_clear_line(case, line):
    with pytest.raises(StudyError) as caught:
        expand(study_of(case), CATALOG)
    assert str(caught.value).startswith(f"s.toml: {line}")
    assert "\n" not in str(caught.value)


def test_a_study_without_one_has_nothing_to_say():
    first = expand(study_of(text(refit="")), CATALOG)
    reached = scored(first.trials, by_width({8: 0.5, 16: 0.9, 64: 0.7}))
    assert first.refit is None
    assert not first.grows
    assert first.grown(reached) is first
    assert first.refitting(reached) == ""
    assert len(set(itertools.chain(*[[trial.id] for trial in first.trials]))) == 12
