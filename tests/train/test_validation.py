"""The curve is measured on a part of the split, what is reported on the whole of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from train_toys import Problem, Spoiled, TinyNet, make_data

from scalelab.components import Metric
from scalelab.records import Length, TrainingOptions
from scalelab.schedules import (
    CURVE_SHARE,
    FEWEST_POINTS,
    LEAST_EXAMPLES,
    MOST_POINTS,
    Validations,
)
from scalelab.train.device import seed_everything
from scalelab.trainers import TrainResult

WHOLE = 600


@pytest.fixture
def large(problem: Problem) -> Problem:
    return replace(problem, data=make_data(2 * WHOLE))


@pytest.fixture
def spoiled(large: Problem) -> Problem:
    return replace(large, optimizer=lambda module: Spoiled(module.parameters(), lr=0.02))


def sizes(result: TrainResult) -> list[int | None]:
    return [point.n_validated for point in result.curve]


def test_points_are_measured_on_a_part_and_the_last_on_the_whole(large: Problem) -> None:
    result = large.train()
    exact = large.with_training(validation_examples=WHOLE).train()
    assert sizes(exact) == [WHOLE] * 5
    assert set(sizes(result)) == {LEAST_EXAMPLES, WHOLE}
    assert result.curve[-1].n_validated == result.n_validated == WHOLE
    assert result.loss_last == exact.loss_last
    assert result.loss is not None
    assert result.loss in [point.loss for point in exact.curve]
    assert 0 < result.validation_seconds < result.wall_seconds


def test_the_best_point_is_measured_on_the_whole_with_its_own_weights(spoiled: Problem) -> None:
    module = TinyNet()
    result = spoiled.train(module)
    exact_module = TinyNet()
    exact = spoiled.with_training(validation_examples=WHOLE).train(exact_module)
    assert exact.best_step == result.best_step == 24
    assert sizes(result) == [128, 128, WHOLE, 128, WHOLE]
    assert result.loss == exact.loss == exact.curve[2].loss
    assert (result.objective, result.metrics) == (exact.objective, exact.metrics)
    assert result.objective_last == exact.objective_last != result.objective


def test_the_module_ends_with_its_last_weights(spoiled: Problem) -> None:
    modules = []
    for examples in (None, WHOLE):
        seed_everything(3)
        modules.append(TinyNet())
        spoiled.with_training(validation_examples=examples).train(modules[-1])
    one, other = (module.state_dict() for module in modules)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_best_loss_and_the_best_objective_are_each_measured(spoiled: Problem) -> None:
    # An objective that is the better the larger the outputs are: it is best where the loss is not.
    size = Metric(name="size", compute=lambda outputs, _: float(abs(outputs).mean()), direction="minimize")
    task = replace(spoiled.data.task, metrics=(size,), objective="size")
    result = spoiled.with_data(task=task).train()
    exact = spoiled.with_data(task=task).with_training(validation_examples=WHOLE).train()
    assert (result.loss, result.objective) == (exact.loss, exact.objective)
    assert result.best_step == exact.best_step != 24
    unset = spoiled.with_data(task=replace(task, objective="loss"))
    asked, plain = unset.with_training(objective="size").train(), unset.train()
    assert (asked.best_step, asked.objective, asked.metrics) == (
        result.best_step,
        result.objective,
        result.metrics,
    )
    assert plain.objective == plain.loss == asked.loss


@pytest.mark.parametrize("stops", [(26,), (9, 25, 33), (24, 40)])
def test_a_resumed_run_knows_its_best_weights(
    spoiled: Problem, checkpoint: Path, stops: tuple[int, ...]
) -> None:
    straight = spoiled.train()
    done = 0
    for stop in stops:
        left = iter(range(stop - done - 1, -1, -1))
        part = spoiled.train(checkpoint=checkpoint, should_stop=lambda left=left: next(left) == 0)
        assert (part.status, part.loss, part.best_step) == ("interrupted", None, None)
        done = stop - 1
    torch.manual_seed(99)
    resumed = spoiled.train(TinyNet(), checkpoint=checkpoint)
    assert resumed.resumed_from == done
    assert [p.model_dump(exclude={"wall_seconds"}) for p in resumed.curve] == [
        p.model_dump(exclude={"wall_seconds"}) for p in straight.curve
    ]
    assert (resumed.loss, resumed.best_step) == (straight.loss, straight.best_step)


def test_what_was_best_before_a_divergence_is_measured_on_the_whole(large: Problem) -> None:
    class Explodes(Spoiled):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            super().step()
            if self.taken == 30:
                self.param_groups[0]["params"][0].data.fill_(float("nan"))

    broken = replace(large, optimizer=lambda module: Explodes(module.parameters(), lr=0.02))
    result = broken.train()
    assert result.status == "diverged"
    assert sizes(result) == [128, 128, WHOLE]
    assert result.loss == result.curve[-1].loss


def test_a_small_split_is_whole_at_every_point(problem: Problem) -> None:
    assert sizes(problem.train()) == [100] * 5


def test_what_is_left_open_is_no_part_of_the_identity(problem: Problem) -> None:
    asked = problem.with_training(validation_examples=256).trial
    assert "validation_examples" not in problem.trial.training.model_dump()
    assert asked.training.model_dump()["validation_examples"] == 256
    assert asked.id != problem.trial.id


@given(
    steps=st.integers(1, 100_000),
    batch_size=st.integers(1, 4096),
    n_validation=st.integers(1, 10**6),
    validations=st.none() | st.integers(1, 100),
    each=st.none() | st.integers(1, 10**6),
)
def test_the_curve_costs_a_hundredth_or_the_least_that_makes_a_curve(
    steps: int, batch_size: int, n_validation: int, validations: int | None, each: int | None
) -> None:
    training = TrainingOptions(
        length=Length(steps=steps),
        batch_size=batch_size,
        validations=validations,
        validation_examples=each,
    )
    found = Validations.of(training, steps, n_validation)
    assert found.steps[-1] == steps
    assert all(step >= 1 for step in found.steps)
    assert sorted(set(found.steps)) == list(found.steps)
    assert 1 <= found.examples <= n_validation
    if validations is not None:
        assert len(found.steps) == min(validations, steps)
    else:
        assert min(FEWEST_POINTS, steps) <= len(found.steps) <= MOST_POINTS
    if each is not None:
        assert found.examples == min(each, n_validation)
        return
    examples = (len(found.steps) - 1) * found.examples
    cost = examples / (3 * steps * batch_size)
    few = FEWEST_POINTS if validations is None else validations
    assert cost <= CURVE_SHARE or examples <= (few - 1) * LEAST_EXAMPLES
    assert found.passed(n_validation) == examples + n_validation
