"""What is asked when runs are chosen, and what is answered: the runs, and what is known before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.inference.backtest import Backtest
from scalelab.analysis.runs.designs import Family
from scalelab.law import Law


class Question(NamedTuple):
    """What is to be known.

    Attributes:
        kind: The loss at a target, how to split compute, or which of two is better.
        at: The target, by axis.
        between: The names of the two, of architectures or of optimizers.
        law: The form along the axes of the target; by default the usual one.
    """

    kind: Literal["target", "allocation", "compare"]
    at: Mapping[str, float] = {}
    between: tuple[str, ...] = ()
    law: str | Law | None = None

    @property
    def said(self) -> str:
        """The question in words."""
        if self.kind == "target":
            return f"the loss at {', '.join(f'{axis} = {value:g}' for axis, value in self.at.items())}"
        if self.kind == "allocation":
            return "the compute-optimal split (the exponent of n_params)"
        return f"how {' and '.join(self.between)} compare (the compute multiplier)"


SETTING = "_setting"
"""Column of designs and candidates: what all but the seed of a run is; empty where it is not known."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the runs say of one family's answer now.

    Attributes:
        family: Whose.
        n_runs: How many runs it has.
        answer: The answer with its interval; `None` where the runs support none.
        refusal: Why they do not.
        backtest: How well the law predicted the larger runs from the smaller ones; `None` without a law.
        misfit: The part of a run's variance around the law that is misfit of its form, not noise.
        doubt: Why the form is in doubt; `None` where it is not.
    """

    family: Family
    n_runs: int
    answer: Estimate | None
    refusal: str | None
    backtest: Backtest | None
    misfit: float
    doubt: str | None

    json_fields: ClassVar = (
        "*family.shown", "n_runs", "answer", "width", "refusal", "backtest", "misfit", "doubt",
    )  # fmt: skip

    @property
    def width(self) -> float | None:
        """The width of the interval over the answer; `None` where an end is not known."""
        return relative_width(self.answer)


@dataclass(frozen=True, kw_only=True)
class NextRun:
    """A run to make.

    Attributes:
        family: Whose.
        at: Its scales.
        train_flops: What it costs.
        trial: The id of the trial; empty for a row of a table of candidates.
        row: Its row in the table of candidates.
        repeat: Whether there is such a run already, with another seed.
        width: The expected width of the family's interval after it and all before it; `None` where there is
            no interval to start from.
    """

    family: Family
    at: dict[str, float]
    train_flops: float
    trial: str
    row: int
    repeat: bool
    width: float | None

    json_fields: ClassVar = (
        "*family.shown", "trial_id=trial", "row", "at", "train_flops", "repeat", "width",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NextRuns:
    """The runs to make next.

    Attributes:
        question: What is to be known, in words.
        level: Coverage of the intervals.
        budget: FLOPs that the runs may cost together.
        stop_width: The width at which it is enough; `None` where only the budget ends it.
        known: What the runs say now, a family each.
        runs: What to run, in order.
        n_candidates: How many were considered.
        end: Why there are no more.
    """

    question: str
    level: float
    budget: float
    stop_width: float | None
    known: tuple[Known, ...]
    runs: tuple[NextRun, ...]
    n_candidates: int
    end: str

    json_fields: ClassVar = (
        "question", "level", "budget", "stop_width", "width", "known", "runs", "n_candidates", "end",
    )  # fmt: skip

    @property
    def width(self) -> float | None:
        """The width of the widest interval now; `None` where one has none."""
        widths = [one.width for one in self.known]
        return None if None in widths else max(filter(None, widths), default=None)

    @property
    def spent(self) -> float:
        """FLOPs that the runs cost together."""
        return sum(one.train_flops for one in self.runs)

    @property
    def reached(self) -> bool:
        """Whether the intervals are as narrow as was asked."""
        return self.stop_width is not None and self.width is not None and self.width <= self.stop_width


@dataclass(frozen=True)
class Step:
    """One run of a loop.

    Attributes:
        chosen: What was chosen before it.
        spent: FLOPs of all runs that the loop has made, this one included.
        expected: The width that was expected after it; `None` where there was none to start from.
        width: The width that came.
    """

    chosen: NextRuns
    spent: float
    expected: float | None
    width: float | None

    json_fields: ClassVar = ("run", "spent", "expected", "width")

    @property
    def run(self) -> NextRun:
        """The run that was made."""
        return self.chosen.runs[0]


def relative_width(answer: Estimate | None) -> float | None:
    """Returns the width of an interval over the size of its value; `None` where an end is missing."""
    if answer is None or answer.lower is None or answer.upper is None or not answer.value:
        return None
    return (answer.upper - answer.lower) / abs(answer.value)
