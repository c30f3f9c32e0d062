from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scalelab.records import Length, TrainingOptions
from scalelab.schedules import Validations, lr_factor, resolve_steps

SCHEDULES = ("cosine", "constant", "exponential", "linear-cooldown")


def options(**changes: object) -> TrainingOptions:
    return TrainingOptions(**{"warmup": 0.1, "final_lr": 0.01, **changes})


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_is_linear_to_one(schedule: str) -> None:
    factors = [lr_factor(t, 100, options(schedule=schedule)) for t in range(1, 11)]
    assert factors == pytest.approx([t / 10 for t in range(1, 11)])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", 0.01 + 0.99 * 0.5),
        ("constant", 1.0),
        ("exponential", 0.1),
        ("linear-cooldown", 1.0),
    ],
)
def test_halfway_after_warm_up(schedule: str, expected: float) -> None:
    assert lr_factor(55, 100, options(schedule=schedule)) == pytest.approx(expected)


def test_cosine_at_a_third() -> None:
    assert lr_factor(40, 100, options(schedule="cosine")) == pytest.approx(
        0.01 + 0.99 * (1 + math.cos(math.pi / 3)) / 2
    )


def test_cooldown_is_linear_over_its_fraction() -> None:
    cool = options(schedule="linear-cooldown", cooldown=0.2)
    assert lr_factor(80, 100, cool) == 1.0
    assert lr_factor(90, 100, cool) == pytest.approx(1 - 0.99 * 0.5)
    assert lr_factor(81, 100, cool) == pytest.approx(1 - 0.99 / 20)


def test_cooldown_never_reaches_into_the_warm_up() -> None:
    cool = options(schedule="linear-cooldown", warmup=0.5, cooldown=1.0)
    assert lr_factor(50, 100, cool) == 1.0
    assert lr_factor(75, 100, cool) == pytest.approx(1 - 0.99 * 0.5)


@given(
    schedule=st.sampled_from(SCHEDULES),
    n_steps=st.integers(1, 300),
    warmup=st.floats(0, 0.99),
    cooldown=st.floats(0.01, 1),
    final=st.floats(1e-6, 1),
)
def test_factors_stay_in_range_rise_then_fall_and_end_at_the_final_rate(
    schedule: str, n_steps: int, warmup: float, cooldown: float, final: float
) -> None:
    chosen = options(schedule=schedule, warmup=warmup, cooldown=cooldown, final_lr=final)
    factors = [lr_factor(t, n_steps, chosen) for t in range(1, n_steps + 1)]
    assert all(0 < factor <= 1 + 1e-12 for factor in factors)
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert all(a >= b - 1e-12 for a, b in zip(factors[peak:], factors[peak + 1 :], strict=False))
    if schedule != "constant" and round(warmup * n_steps) < n_steps and n_steps > 1:
        assert factors[-1] == pytest.approx(final)


def test_exponential_to_zero_is_refused() -> None:
    with pytest.raises(ValidationError, match="exponential"):
        options(schedule="exponential", final_lr=0)


@pytest.mark.parametrize(
    ("length", "steps"),
    [
        (Length(steps=7), 7),
        (Length(epochs=1), 4),
        (Length(epochs=3.2), 10),
        (Length(examples=33), 2),
        (Length(examples=1), 1),
        (Length(flops=32 * 1000 * 12.4), 12),
        (Length(flops=1), 1),
    ],
)
def test_resolve_steps(length: Length, steps: int) -> None:
    assert resolve_steps(TrainingOptions(length=length, batch_size=32), 100, 1000.0) == steps


def test_rounding_error_adds_no_step() -> None:
    assert resolve_steps(TrainingOptions(length=Length(epochs=0.1), batch_size=1), 30, 1.0) == 3


def test_validation_steps_are_even_and_end_at_the_end() -> None:
    def steps(n_steps: int, validations: int) -> tuple[int, ...]:
        return Validations.of(options(validations=validations), n_steps, 100).steps

    assert steps(100, 4) == (25, 50, 75, 100)
    assert steps(10, 3) == (3, 7, 10)
    assert steps(3, 10) == (1, 2, 3)


def test_planning_needs_no_torch() -> None:
    code = (
        "import sys; from scalelab import schedules; from scalelab.train import losses, metrics;"
        "from scalelab.measure import environment, fidelity, flops, machine, rates, targets, timing;"
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
