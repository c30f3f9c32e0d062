# ruff: noqa: E501 - a case a line
"""Sweeps: which values are asked for, until the best is bracketed; a function of what the trials gave."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_toys import CATALOG, toml, toy_cost

from scalelab.errors import StudyError
from scalelab.reached import Reached
from scalelab.study import expand, parse_study

WIDTHS = '[[architecture]]\nname = "mlp"\nspace = { width = [8, 64] }\n'


def tuned(body="start = 4e-3", *, more="", head='name = "toy"\nseeds = [0, 1]', architecture=WIDTHS, rest=""):
    text = toml(head=head, architecture=architecture).replace('[[optimizer]]\nname = "sgd"\n', "")
    return text.replace('name = "adam"', f'name = "adam"\n{more}\ntune = {{ lr = {{ {body} }} }}') + rest


def study_of(text):
    return parse_study(text, "s.toml", CATALOG)


def gave(loss):
    return Reached(loss, None if math.isinf(loss) else loss, "minimize")


class Truth:
    """Losses with a minimum in the rate, by width, for `expand`; counts what was asked for."""

    def __init__(self, best, *, diverges_above=math.inf):
        self.best, self.above, self.trials = best, diverges_above, {}

    def run(self, text):
        """Trains until no sweep asks for more; returns the trials by width, as rates."""
        study = study_of(text)
        while True:
            found = expand(study, CATALOG, cost=toy_cost, reached=self)
            new = {trial.id: trial for trial in found.trials if trial.id not in self.trials}
            if not new:
                self.expansion = found
                return self.rates(found.trials)
            self.trials |= new

    def __call__(self, ids):
        return {one: gave(self.loss(self.trials[one])) for one in ids if one in self.trials}

    def loss(self, trial):
        rate, width = trial.optimizer.params["lr"], trial.architecture.params["width"]
        if rate > self.above:
            return math.inf
        return 1.0 + math.log2(rate / self.best[width]) ** 2 + 0.01 * trial.seed

    @staticmethod
    def rates(trials):
        found = {}
        for trial in trials:
            found.setdefault(trial.architecture.params["width"], set()).add(trial.optimizer.params["lr"])
        return {width: sorted(own) for width, own in found.items()}


def test_it_begins_around_the_start_and_warms_up_for_a_fifth():
    found = expand(study_of(tuned()), CATALOG)
    assert Truth.rates(found.trials) == {8: [2e-3, 4e-3, 8e-3], 64: [2e-3, 4e-3, 8e-3]}
    assert len(found.trials) == 12
    assert {trial.training.warmup for trial in found.trials} == {0.2}
    assert (
        found.sweeping({}) == "2 sweeps: 2 going on; up to 24 trials more where the best value lies at an end"
    )
    assert set(found.tuned({}).values()) == {"lr"}
    assert set(found.tuned({})) == {trial.id for trial in found.trials}


def test_the_best_is_bracketed_for_each_size():
    truth = Truth({8: 4e-3, 64: 5e-4})
    assert truth.run(tuned()) == {8: [2e-3, 4e-3, 8e-3], 64: [2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3]}
    losses = truth([*truth.trials])
    assert truth.expansion.sweeping(losses) == "2 sweeps: 2 bracketed"
    assert set(truth.expansion.tuned(losses)) == set(truth.trials)


def test_a_sweep_ends_at_its_most_and_at_the_options_bounds():
    truth = Truth({8: 1e-6, 64: 4.0})  # adam's lr is 1 at most
    found = truth.run(tuned("start = 4e-3, factor = 4, most = 5"))
    assert found[8] == [6.25e-5, 2.5e-4, 1e-3, 4e-3, 1.6e-2]
    assert found[64] == [1e-3, 4e-3, 1.6e-2, 6.4e-2, 0.256]
    assert truth.expansion.sweeping(truth([*truth.trials])) == "2 sweeps: 2 at an end"
    assert max(Truth({8: 4.0, 64: 4.0}).run(tuned("start = 0.3, factor = 2, most = 50"))[64]) == 0.6


def test_values_that_diverge_bound_a_sweep_and_lower_ones_follow_where_all_do():
    truth = Truth({8: 8e-3, 64: 8e-3}, diverges_above=5e-3)
    assert truth.run(tuned()) == {8: [2e-3, 4e-3, 8e-3], 64: [2e-3, 4e-3, 8e-3]}
    assert truth.expansion.sweeping(truth([*truth.trials])) == "2 sweeps: 2 bracketed"
    low = Truth({8: 5e-4, 64: 5e-4}, diverges_above=1.5e-3)
    assert low.run(tuned())[8] == [2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3]


def test_a_sweep_waits_for_all_its_trials():
    study = study_of(tuned())
    first = expand(study, CATALOG)
    some = {trial.id: gave(1.0 / trial.optimizer.params["lr"]) for trial in first.trials[:-1]}
    grown = first.grown(some)
    # the sweep of width 8 goes on, that of width 64 lacks one loss
    assert {t.architecture.params["width"] for t in grown.trials[len(first.trials) :]} == {8}
    assert grown.trials[: len(first.trials)] == first.trials
    assert first.grown({}) is first


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-5, 0.9), st.floats(1.3, 10.0), st.integers(3, 6))
def test_whatever_the_truth_the_best_of_a_bracketed_sweep_has_neighbours(best, factor, first):
    truth = Truth({8: best, 64: best})
    found = truth.run(tuned(f"start = 1e-2, factor = {factor}, first = {first}, most = 60"))
    losses = truth([*truth.trials])
    for sweep in truth.expansion.sweeps:
        steps, state = sweep.steps(losses)
        values = found[sweep.trials(steps[0])[0].architecture.params["width"]]
        assert len(values) == len(steps)
        if state == "bracketed":
            nearest = min(values, key=lambda value: math.log(value / best) ** 2)
            assert values[0] < nearest < values[-1]
        else:
            assert state == "at an end"
            assert values[-1] * factor > 1  # the option's bound


def test_a_start_may_follow_a_rule_and_other_values_vary():
    body = 'start = { at = 8e-3, scale = "width", power = -0.5, reference = 8 }'
    found = Truth.rates(expand(study_of(tuned(body)), CATALOG).trials)
    assert found[8][1] == 8e-3
    assert found[64][1] == pytest.approx(8e-3 / 8**0.5, rel=1e-6)
    both = expand(study_of(tuned(more="space = { beta = [0.8, 0.9] }")), CATALOG)
    assert len(both.sweeps) == 4


def test_isoflop_profiles_are_tuned_model_by_model():
    architecture = '[[architecture]]\nname = "mlp"\nspace = { width = [8, 16, 32, 64] }\n'
    rest = '[sampling]\nmethod = "isoflop"\nbudgets = [1e9]\nmax_epochs = 1e5\n'
    found = expand(study_of(tuned(architecture=architecture, rest=rest)), CATALOG, cost=toy_cost)
    assert len(found.sweeps) == len({trial.architecture.params["width"] for trial in found.trials}) > 2
    assert len(found.trials) == 6 * len(found.sweeps)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (tuned("start = 4e-3, first = 1"), "optimizer[0].tune.lr.first = 1: must be at least 3"),
        (tuned("start = 4e-3, factor = 1"), "optimizer[0].tune.lr.factor = 1: must be at least 1.05"),
        (tuned("start = 4e-3, first = 5, most = 4"), "optimizer[0].tune.lr.most = 4: must be at least first, which is 5"),
        (tuned("factor = 2"), "optimizer[0].tune.lr.start: missing"),
        (tuned("start = 0"), "optimizer[0].tune.lr.start = 0: must be a number above 0, or a rule"),
        (tuned("start = 5"), "optimizer[0].tune.lr.start = 5.0: must be at most 1"),
        (tuned("start = { at = 1e-3, scale = 'widht', power = 1 }"), "optimizer[0].tune.lr.start.scale = 'widht': there is no such number; did you mean 'width'?"),
        (tuned("start = { at = 1e-3, scale = 'width' }"), "optimizer[0].tune.lr.start.power: missing"),
        (tuned("start = { at = 1e-3, scale = 'width', power = 3 }"), "optimizer[0].tune.lr: only 2 of its first 3 values are possible (factors of 2 around 0.512)"),
        (tuned("start = 4e-3, values = 3"), "optimizer[0].tune.lr.values: unknown key"),
        (tuned().replace("tune = { lr", "tune = { rate"), "optimizer[0].tune.rate: 'adam' has no such option"),
        (tuned().replace("tune = { lr", "tune = { beta = { start = 0.5 }, lr"), "optimizer[0].tune: tunes 2 options (beta, lr); one at most"),
        (tuned(more="options = { lr = 0.1 }"), "optimizer[0].tune.lr: is in options too; a sweep sets it alone"),
        (tuned(more="space = { lr = [0.1] }"), "optimizer[0].tune.lr: is in space too; a sweep sets it alone"),
        (tuned(more="constraints = ['lr * width < 1']"), "optimizer[0].constraints: 'lr * width < 1' names 'lr', which tune sets"),
        (tuned(rest="[training]\nwarmup = 0.05\n"), "training.warmup = 0.05: a sweep needs 0.2 or more"),
        (tuned("start = { scale = 'width', values = { 8 = 'x', 64 = 1e-3 } }"), "optimizer[0].tune.lr.start.values.8 = 'x': must be a number above 0"),
        (tuned("start = { scale = 'width', values = { 8 = true, 64 = 1e-3 } }"), "optimizer[0].tune.lr.start.values.8 = True: must be a number above 0"),
        (tuned("start = { at = -1e-3, scale = 'width', power = 0 }"), "optimizer[0].tune.lr.start.at = -0.001: must be above 0"),
        (tuned("start = 0.8"), "optimizer[0].tune.lr: only 2 of its first 3 values are possible (factors of 2 around 0.8)"),
        (tuned("start = { at = 5, scale = 'width', power = 0 }"), "optimizer[0].tune.lr.start = 5.0: must be at most 1"),
        (tuned(architecture=WIDTHS + "constraints = ['lr * width < 1']\n"), "architecture[0].constraints: 'lr * width < 1' names 'lr', set by tune of optimizer[0]"),
        (toml(architecture=WIDTHS + "tune = { width = { start = 8 } }\n"), "architecture[0].tune: unknown key"),
    ],
)  # fmt: skip
def test_a_wrong_sweep_is_one_clear_line(text, line):
    with pytest.raises(StudyError) as caught:
        expand(study_of(text), CATALOG)
    assert str(caught.value).startswith(f"s.toml: {line}")
    assert "\n" not in str(caught.value)


def test_a_default_space_leaves_the_tuned_option_out():
    found = expand(study_of(tuned(more='space = "default"')), CATALOG)
    assert Truth.rates(found.trials)[8] == [2e-3, 4e-3, 8e-3]
