"""What analysis returns: one value with its interval, or one refusal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, ParamSpec, TypeVar

from scalelab.errors import FitError
from scalelab.records import UNSPECIFIED

P = ParamSpec("P")
T = TypeVar("T")


class Estimate(NamedTuple):
    """A number with its interval.

    Attributes:
        value: The estimate.
        lower: Lower end of its interval, `None` where there is none.
        upper: Upper end.
    """

    value: float
    lower: float | None = None
    upper: float | None = None

    @classmethod
    def of(cls, value: float, lower: float, upper: float) -> Estimate:
        """Returns the estimate whose ends are `None` where they are not finite."""
        return cls(float(value), *(float(end) if math.isfinite(end) else None for end in (lower, upper)))

    @classmethod
    def holding(cls, value: float, lower: float, upper: float) -> Estimate:
        """Returns the estimate whose interval is as wide as it takes to hold it."""
        return cls.of(value, min(lower, value), max(upper, value))

    @classmethod
    def first(cls, prediction: Sequence[Any]) -> Estimate:
        """Returns the first of several estimates, given as arrays of values, lower and upper ends."""
        return cls.of(*(end[0] for end in prediction))

    @property
    def ends(self) -> tuple[float, float]:
        """The interval; an end that is `None` is infinite."""
        return (
            -math.inf if self.lower is None else self.lower,
            math.inf if self.upper is None else self.upper,
        )


@dataclass(frozen=True)
class Refusal:
    """An answer that these runs cannot support.

    Attributes:
        subject: What was asked, by name: the family, the axes, the law, the scope of a model.
        reason: Why it cannot be answered, and what to do about it.
        remedies: Which further runs would do, see `FitError`.
    """

    subject: Mapping[str, Any]
    reason: str
    remedies: frozenset[str] = frozenset()

    json_fields: ClassVar = ("*asked", "refusal=reason")

    @property
    def asked(self) -> dict[str, Any]:
        """The subject with the parts of a family or a place under their own names; `None` where unnamed."""
        parts = [
            value._asdict() if hasattr(value, "_asdict") else {name: value}
            for name, value in self.subject.items()
        ]
        return {name: named(value) for part in parts for name, value in part.items()}

    def __str__(self) -> str:
        asked = (f"{name} {value}" for name, value in self.asked.items() if value is not None)
        return f"{', '.join(asked)}: {self.reason}"


def named(name: T) -> T | None:
    """Returns the name of a family's part, or whatever else it is; `None` where the runs do not say."""
    return None if name == UNSPECIFIED else name


def attempt(
    subject: Mapping[str, Any], make: Callable[P, T], *args: P.args, **options: P.kwargs
) -> T | Refusal:
    """Returns what a function makes of its arguments, or a refusal where that raises a `FitError`.

    Args:
        subject: What is asked, by name.
        make: Makes the answer.
        args: Its arguments.
        options: More of them.
    """
    try:
        return make(*args, **options)
    except FitError as error:
        return Refusal(subject, str(error), error.remedies)
