"""Lengths and learning rates as pure functions of the step.

Steps count from 1 to `n_steps`: step t is the t-th update, taken with the peak rate times
`lr_factor(t, …)`. Nothing here keeps state, so a resumed run continues as if it had never stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from scalelab.records import TrainingOptions

CURVE_SHARE = 0.01
"""What all validations but the last may cost, in FLOPs of the training."""

TEST_SHARE = 0.025
"""What evaluating on the test split may cost, likewise."""

LEAST_EXAMPLES = 128
MOST_POINTS, FEWEST_POINTS = 10, 3


def resolve_steps(training: TrainingOptions, n_examples: int, train_flops_per_example: float) -> int:
    """Returns the number of optimizer steps that a training length asks for, at least one.

    Epochs and examples are rounded up to whole steps, so that every example asked for is seen; a FLOP budget
    is rounded to the nearest step.

    Args:
        training: The options; `length` and `batch_size` are read.
        n_examples: Examples of an epoch: the unique training examples of the trial, or their windows where
            an epoch draws all of them.
        train_flops_per_example: Forward and backward FLOPs of one example in a batch of that size.
    """
    length, batch_size = training.length, training.batch_size
    if length.steps is not None:
        return length.steps
    if length.flops is not None:
        return max(1, round(length.flops / (batch_size * train_flops_per_example)))
    examples = length.examples if length.examples is not None else (length.epochs or 0.0) * n_examples
    steps = examples / batch_size
    # 0.1 epochs of 30 examples are 3.0000000000000004: that is no reason for another step.
    return max(1, math.ceil(steps - 1e-9 * max(1.0, steps)))


@dataclass(frozen=True, slots=True)
class Validations:
    """When a run is validated, and on how much.

    Attributes:
        steps: The steps after which to validate: evenly spaced, the last at the end, at most one a step.
        examples: Validation examples of every point but the last, which has the whole split.
    """

    steps: tuple[int, ...]
    examples: int

    @classmethod
    def of(cls, training: TrainingOptions, n_steps: int, n_validation: int, windows: float = 1.0) -> Self:
        """Returns the validations of a run, a function of nothing that is measured.

        What the options leave open is chosen so that all points but the last cost `CURVE_SHARE` of the
        training, a forward pass being a third of a step: at most `MOST_POINTS` points, fewer where they would
        have less than `LEAST_EXAMPLES`, but `FEWEST_POINTS` however short the run.

        Args:
            training: The options; `batch_size`, `validations` and `validation_examples` are read.
            n_steps: Optimizer steps of the run.
            n_validation: Examples of the validation split.
            windows: Forward passes that an example takes, on average.
        """
        affordable = int(3 * CURVE_SHARE * n_steps * training.batch_size / windows)
        each = training.validation_examples
        wanted = training.validations
        if wanted is None:
            most = 1 + affordable // min(each or LEAST_EXAMPLES, n_validation)
            wanted = max(FEWEST_POINTS, min(most, MOST_POINTS))
        count = min(wanted, n_steps)
        if each is None:
            each = max(LEAST_EXAMPLES, affordable // max(1, count - 1))
        steps = tuple(round(i * n_steps / count) for i in range(1, count + 1))
        return cls(steps, min(each, n_validation))

    def passed(self, n_validation: int) -> int:
        """Returns the validation examples of a run whose best point is its last, repeats counted."""
        return (len(self.steps) - 1) * self.examples + n_validation


def tested_examples(training: TrainingOptions, n_steps: int, n_test: int, windows: float) -> int:
    """Returns how many test examples a run is evaluated on at its end, a function of nothing measured.

    What `test_examples` leaves open is the whole split, or what costs `TEST_SHARE` of the training where that
    is less, but `LEAST_EXAMPLES` however short the run.

    Args:
        training: The options; `batch_size` and `test_examples` are read.
        n_steps: Optimizer steps of the run.
        n_test: Examples of the test split; 0 where there is none.
        windows: Forward passes that an example takes, on average.
    """
    affordable = int(3 * TEST_SHARE * n_steps * training.batch_size / windows)
    return min(training.test_examples or max(LEAST_EXAMPLES, affordable), n_test)


def lr_factor(step: int, n_steps: int, training: TrainingOptions) -> float:
    r"""Returns the factor on the peak learning rate at `step`, from 1 to `n_steps`.

    Warm-up (Goyal et al. 2017, "Accurate, Large Minibatch SGD"): with w = round(warmup · n_steps), the factor
    is t / w for t ≤ w. The factor is 1 at step p = max(w, 1). Then, with u = (t − p) / (n_steps − p) and
    f = `final_lr`:

    - `constant`: 1;
    - `cosine` (Loshchilov & Hutter 2017, "SGDR", eq. 5): f + (1 − f) · (1 + cos πu) / 2;
    - `exponential` (Li & Arora 2020, "An Exponential Learning Rate Schedule"): f^u;
    - `linear-cooldown` (Zhai et al. 2022, "Scaling Vision Transformers"; Hägele et al. 2024, "Scaling Laws
      and Compute-Optimal Training Beyond Fixed Training Durations"): 1 until the last c steps,
      c = round(cooldown · n_steps) but not into the warm-up; there 1 − (1 − f) · (t − (n_steps − c)) / c.

    All but `constant` reach f exactly at the last step (unless the last step is the peak itself).
    """
    warmup = round(training.warmup * n_steps)
    if step < warmup:
        return step / warmup
    peak = max(warmup, 1)
    final = training.final_lr
    if training.schedule == "constant" or step <= peak:
        return 1.0
    if training.schedule == "linear-cooldown":
        cooldown = min(max(1, round(training.cooldown * n_steps)), n_steps - peak)
        return 1.0 - (1.0 - final) * max(0.0, step - (n_steps - cooldown)) / cooldown
    progress = (step - peak) / (n_steps - peak)
    if training.schedule == "exponential":
        return float(final**progress)
    return final + (1.0 - final) * (1.0 + math.cos(math.pi * progress)) / 2.0
