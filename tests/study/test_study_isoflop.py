import itertools
import math

import pytest
from study_toys import CATALOG, TASK, toml, toy_cost

from scalelab.errors import InputError, StudyError
from scalelab.study import expand, parse_study


def isoflop(sampling, *, architecture=None, body=""):
    return toml(f'[sampling]\nmethod = "isoflop"\n{sampling}\n{body}', architecture=architecture)


def mlp(space):
    return f'[[architecture]]\nname = "mlp"\noptions = {{ depth = 1 }}\nspace = {space}\n'


WIDTHS = mlp("{ width = { type = 'doubling', low = 1, high = 4096 } }").replace(
    "depth = 1", "depth = 1, groups = 1"
)


def expansion_of(text, cost=toy_cost):
    return expand(parse_study(text, "s.toml", CATALOG), CATALOG, cost=cost)


def widths(expansion, budget, optimizer="adam"):
    return [
        trial.architecture.params["width"]
        for trial in expansion.trials
        if trial.training.length.flops == budget and trial.optimizer.name == optimizer
    ]


def test_each_budget_gets_models_evenly_spread_among_those_it_can_train():
    text = isoflop("budgets = [1e9, 1e11]\nmodels = 3\nmin_steps = 100\nmax_epochs = 50", architecture=WIDTHS)
    expansion = expansion_of(text)
    # steps = budget / (6 · width² · 64); at least 100 of them, at most 50 · 1000 / 64
    for budget in (1e9, 1e11):
        fit = [
            width
            for width in (2**k for k in range(1, 13))  # the toy's own constraint refuses width 1 at depth 1
            if round(budget / (6 * width**2 * 64)) >= 100
            and round(budget / (6 * width**2 * 64)) * 64 / 1000 <= 50
        ]
        assert len(fit) <= 3
        assert widths(expansion, budget) == fit == widths(expansion, budget, "sgd")
    reasons = [line for line in expansion.skipped if "budget 1e+09" in line]
    assert [line.rsplit(": ", 1)[1] for line in reasons] == [
        "more than sampling.max_epochs = 50 passes over the data",
        "fewer than sampling.min_steps = 100 steps",
    ]
    assert reasons[0].startswith("s.toml: architecture[0]: budget 1e+09 FLOPs, 1,000 examples: ")
    assert "of 12 models left out (n_params 4 to " in reasons[0]


def test_models_are_even_in_the_logarithm():
    text = isoflop("budgets = [1e12]\nmodels = 5\nmin_steps = 1\nmax_epochs = 1e9", architecture=WIDTHS)
    # of 2, 4, 8 … 4096: the ends, and those nearest to the quarters of the logarithm
    assert widths(expansion_of(text), 1e12) == [2, 16, 64, 512, 4096]


def test_candidates_can_be_drawn():
    space = "{ width = { type = 'int', low = 4, high = 4096, log = true } }"
    text = isoflop(
        "budgets = [1e12]\nn = 64\nmodels = 7\nmin_steps = 1\nmax_epochs = 1e9", architecture=mlp(space)
    )
    found = widths(expansion_of(text), 1e12)
    assert len(found) == 7
    steps = [math.log(b / a) for a, b in itertools.pairwise(found)]
    assert max(steps) < 1.5 * min(steps)
    with pytest.raises(StudyError, match=r"sampling\.n: missing"):
        expansion_of(isoflop("budgets = [1e12]", architecture=mlp(space)))


def test_every_architecture_is_costed_once_on_the_study_s_task():
    seen = []

    def cost(architecture, input_shape, n_outputs):
        assert (input_shape, n_outputs) == (TASK.input_shape, TASK.n_outputs)
        seen.append(architecture.params["width"])
        return toy_cost(architecture, input_shape, n_outputs)

    expansion_of(
        isoflop(
            "budgets = [1e9, 1e10]\nmin_steps = 1\nmax_epochs = 1e9",
            architecture=WIDTHS,
            body="[data]\nsizes = [10, 100]",
        ),
        cost,
    )
    assert sorted(seen) == [2**k for k in range(1, 13)]


def test_a_model_that_cannot_be_built_is_left_out_with_the_reason():
    def cost(architecture, input_shape, n_outputs):
        if architecture.params["width"] > 64:
            raise InputError("too wide for 8 samples")
        return toy_cost(architecture, input_shape, n_outputs)

    expansion = expansion_of(
        isoflop("budgets = [1e9]\nmin_steps = 1\nmax_epochs = 1e9", architecture=WIDTHS), cost
    )
    assert max(widths(expansion, 1e9)) == 64
    assert "s.toml: architecture[0]: {'width': 128} left out: too wide for 8 samples" in expansion.skipped


def test_budgets_that_train_nothing_are_an_error_with_the_reasons():
    with pytest.raises(
        StudyError, match=r"^s.toml: no trial is left: .*fewer than sampling.min_steps = 20 steps$"
    ):
        expansion_of(isoflop("budgets = [10]", architecture=WIDTHS))


def test_a_free_model_has_no_isoflop_profile():
    def free(architecture, input_shape, n_outputs):
        return replace_cost(toy_cost(architecture, input_shape, n_outputs))

    def replace_cost(cost):
        return cost.model_copy(update={"train_flops_per_example": 0.0})

    with pytest.raises(StudyError, match="no FLOPs"):
        expansion_of(isoflop("budgets = [1e9]", architecture=WIDTHS), free)


def test_operators_that_are_not_counted_are_told_with_the_lengths():
    def cost(architecture, input_shape, n_outputs):
        found = toy_cost(architecture, input_shape, n_outputs)
        return found.model_copy(update={"uncounted": ("mamba_ssm::scan",)})

    found = expansion_of(
        isoflop("budgets = [1e9]\nmin_steps = 1\nmax_epochs = 1e9", architecture=WIDTHS), cost
    )
    (told,) = (line for line in found.skipped if "mamba_ssm::scan" in line)
    assert "they are at least what they say" in told


def test_trials_carry_the_budget_and_the_rest_of_training():
    text = isoflop("budgets = [1e10]", architecture=WIDTHS, body="[training]\nbatch_size = 16")
    trial = expansion_of(text).trials[0]
    assert trial.training.batch_size == 16
    assert trial.training.length.flops == 1e10
