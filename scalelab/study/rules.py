"""Options that follow another number of their trial: as a power of it, or by a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, field_validator

from scalelab.constraints import is_number
from scalelab.errors import StudyError, brief
from scalelab.records import Frozen
from scalelab.study.messages import describe

COUNTS = ("n_examples", "batch_size", "n_params")
"""Numbers of a trial that are no option and may be followed; the last by optimizers alone."""


class Power(Frozen):
    """`{ at = 2e-3, scale = "width", power = -0.5 }`: 0.002 · width^-0.5."""

    at: float = Field(description="the value where the scale is the reference")
    scale: str = Field(description="the option or count that is followed")
    power: float = Field(ge=-10, le=10, description="the exponent")
    reference: float = Field(1.0, gt=0, description="the scale at which the value is `at`")

    @property
    def first(self) -> Any:
        """A value that stands for all of them."""
        return self.at

    def value(self, scale: float) -> Any:
        """Returns the value at a scale, in eight digits, the same on every machine."""
        try:
            found = self.at * (scale / self.reference) ** self.power
        except (OverflowError, ZeroDivisionError):
            found = math.inf
        if isinstance(found, complex) or not math.isfinite(found):
            raise StudyError(f"at {self.scale} = {scale:g} the rule gives no number")
        return float(f"{found:.8g}")


class Lookup(Frozen):
    """`{ scale = "width", values = { 4 = 8e-3, 16 = 4e-3 } }`: a value for each scale."""

    scale: str = Field(description="the option or count that is followed")
    values: dict[str, Any] = Field(min_length=1, max_length=1000, description="a value by scale")

    @field_validator("values")
    @classmethod
    def _by_number(cls, values: dict[str, Any]) -> dict[str, Any]:
        scales: dict[float, str] = {}
        for key in values:
            try:
                scale = float(key)
            except ValueError:
                scale = math.nan
            if not math.isfinite(scale):
                raise ValueError(f"has the key {brief(key)}; its keys are scales, numbers in quotes")
            if scale in scales:
                raise ValueError(f"has two values for {scale:g}: {scales[scale]} and {key}")
            scales[scale] = key
        return values

    @property
    def first(self) -> Any:
        """A value that stands for all of them."""
        return next(iter(self.values.values()))

    def value(self, scale: float) -> Any:
        """Returns the value at a scale."""
        for key, value in self.values.items():
            if float(key) == scale:
                return value
        there = ", ".join(self.values)
        raise StudyError(f"the table has no value for {self.scale} = {scale:g}; it has {there}")


Rule = Power | Lookup


def rule_of(value: Any, where: str) -> Rule | None:
    """Returns the rule that a study file writes in an option's place; `None` where it is a value.

    Args:
        value: What stands there: a rule is a table with the key `scale`.
        where: The option's key, for messages.

    Raises:
        StudyError: It is a rule, and wrong.
    """
    if not isinstance(value, Mapping) or "scale" not in value:
        return None
    kind: type[Power | Lookup] = Lookup if "values" in value else Power
    try:
        return kind.model_validate(dict(value), strict=kind is Lookup)
    except ValidationError as error:
        raise StudyError(f"{where}.{describe(error, kind)}") from error


def followed(rule: Rule, known: Mapping[str, Any], where: str, *, whole: bool) -> Any:
    """Returns an option's value by its rule.

    Args:
        rule: The rule.
        known: Numbers of the trial by name.
        where: The option's key, for messages.
        whole: Whether the option is a whole number, to which the value is rounded.

    Raises:
        StudyError: What it follows is no number here, or it gives no value there.
    """
    scale = known.get(rule.scale)
    if not is_number(scale):
        raise StudyError(f"{where}.scale = {rule.scale!r}: it is {brief(scale)} here, which is no number")
    assert scale is not None, "it is a number"
    try:
        value = rule.value(scale)
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from error
    return round(value) if whole and isinstance(value, float) else value
