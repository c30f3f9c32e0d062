"""IsoFLOP profiles: for each compute budget, models across sizes with the training that the budget leaves.

This is approach 2 of Hoffmann et al. 2022 (arXiv:2203.15556): along a profile the training FLOPs are constant
and the loss has a minimum in the number of parameters. Models are spread evenly in the logarithm of their
parameters among those that the budget can train: enough steps, not too many passes over the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from scalelab.components import Architecture, Dataset, Optimizer
from scalelab.errors import InputError
from scalelab.measurements import Complexity
from scalelab.records import ComponentRef, Length
from scalelab.study.messages import one_line
from scalelab.study.model import Study
from scalelab.study.resolved import Resolved
from scalelab.study.sampling import Point, drawn_points, grid_points
from scalelab.study.validate import validated


@dataclass(frozen=True)
class Candidate:
    """A model that profiles may choose, and what it costs."""

    point: Point
    ref: ComponentRef
    cost: Complexity


@dataclass
class Profiles:
    """Chooses the models of every profile, and keeps the reasons why it left others out.

    Attributes:
        study: For the budgets and limits.
        cost: What one example costs an architecture.
        skipped: One line for each kind of model that was left out.
        gradients: Gradients that a step evaluates at most, of all optimizers.
    """

    study: Study
    cost: Callable[[ComponentRef], Complexity]
    skipped: list[str] = field(default_factory=list)
    gradients: int = 1

    def candidates(
        self,
        dataset: Resolved[Dataset],
        architecture: Resolved[Architecture],
        optimizers: Sequence[Resolved[Optimizer]],
    ) -> list[Candidate]:
        """Returns the models of an architecture's space, by rising number of parameters."""
        self.gradients = most_gradients(optimizers)
        sampling = self.study.sampling
        if sampling.n is None:
            drawn = grid_points(dataset, architecture, optimizers, None)
        else:
            drawn = drawn_points(dataset, architecture, optimizers, "sobol", sampling.n, sampling.seed)
        self.skipped.extend(drawn.remarks)
        found = []
        for point in drawn.points:
            known = {**dataset.known({}), "batch_size": self.study.training.batch_size}
            ref = architecture.ref(point.architecture, known)
            try:
                found.append(Candidate(point, ref, self.cost(ref)))
            except InputError as error:
                self.skipped.append(one_line(f"{architecture.where}: {point.architecture} left out: {error}"))
        unknown = sorted({name for candidate in found for name in candidate.cost.uncounted})
        if unknown:
            self.skipped.append(
                f"{architecture.where}: of its budgets the FLOPs of {', '.join(unknown)}, which nobody "
                "knows: they are at least what they say; give the architecture flops="
            )
        return sorted(found, key=lambda candidate: candidate.cost.n_params)

    def of(
        self,
        architecture: Resolved[Architecture],
        candidates: Sequence[Candidate],
        n_examples: int,
        an_epoch: int,
    ) -> Iterator[tuple[Candidate, Length]]:
        """Yields the models of each budget, with their training length.

        Args:
            architecture: The architecture.
            candidates: Its models.
            n_examples: Training examples.
            an_epoch: What an epoch draws of them, see `scalelab.subsets.drawn_an_epoch`.
        """
        for budget in self.study.sampling.budgets:
            by_reason: dict[str, list[Candidate]] = {}
            for candidate in candidates:
                reason = self._misfit(candidate.cost, budget, an_epoch)
                by_reason.setdefault(reason, []).append(candidate)
            fit = by_reason.pop("", [])
            for reason, left_out in by_reason.items():
                sizes = f"n_params {left_out[0].cost.n_params:,} to {left_out[-1].cost.n_params:,}"
                self.skipped.append(
                    f"{architecture.where}: budget {budget:g} FLOPs, {n_examples:,} examples: "
                    f"{len(left_out)} of {len(candidates)} models left out ({sizes}): {reason}"
                )
            for candidate in spread(fit, self.study.sampling.models):
                yield candidate, Length(flops=budget)

    def _misfit(self, cost: Complexity, budget: float, an_epoch: int) -> str:
        """Returns why a budget cannot train a model; empty where it can."""
        sampling, batch_size = self.study.sampling, self.study.training.batch_size
        step_flops = self.gradients * cost.step_flops(batch_size)
        if not (cost.n_params > 0 and step_flops > 0):
            return "no parameters or no FLOPs"
        # the whole number of steps that training will take
        steps = max(1, round(budget / step_flops))
        if steps < sampling.min_steps:
            return f"fewer than sampling.min_steps = {sampling.min_steps} steps"
        if steps * batch_size / an_epoch > sampling.max_epochs:
            return f"more than sampling.max_epochs = {sampling.max_epochs:g} passes over the data"
        return ""


def most_gradients(optimizers: Sequence[Resolved[Optimizer]]) -> int:
    """Returns the gradients that a step of these evaluates at most, each at the first point of its space."""
    most = 1
    for own in optimizers:
        if own.component.evaluations is not None:
            first = {name: rule.first for name, rule in own.rules.items()} | own.tuned
            first |= {name: dimension.from_unit(0.0) for name, dimension in own.space.items()}
            params = validated(own.component, {**own.options, **first})
            most = max(most, own.component.gradients(params))
    return most


def spread(candidates: Sequence[Candidate], n: int) -> list[Candidate]:
    """Returns `n` candidates, evenly spread in log n_params; all where there are no more than `n`.

    Args:
        candidates: By rising number of parameters.
        n: How many.
    """
    if len(candidates) <= n:
        return list(candidates)
    logs = [math.log(candidate.cost.n_params) for candidate in candidates]
    free = set(range(len(candidates)))
    for index in range(n):
        share = index / (n - 1) if n > 1 else 0.5
        target = logs[0] + share * (logs[-1] - logs[0])
        # rounded, so that a tie goes to the smaller model on every machine
        free.remove(min(free, key=lambda i: (round(abs(logs[i] - target), 9), i)))
    return [candidate for index, candidate in enumerate(candidates) if index not in free]
