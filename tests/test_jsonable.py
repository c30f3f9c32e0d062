"""Every kind of value that a result holds has a JSON value."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd
import pytest

from scalelab import Params
from scalelab.jsonable import json_object, jsonable


class Color(Enum):
    RED = "red"


class Options(Params):
    width: int = 8


class Point(NamedTuple):
    x: float
    y: float


@dataclass(frozen=True)
class Plain:
    at: Point
    rows: pd.DataFrame


@dataclass(frozen=True)
class Shown:
    at: Point
    hidden: object = None

    json_fields: ClassVar = ("*at", "height=at.y", "total")

    def total(self) -> float:
        return self.at.x + self.at.y


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (float("nan"), None),
        (float("inf"), None),
        (np.array([[1.0, np.nan], [2.0, -np.inf]]), [[1.0, None], [2.0, None]]),
        (Color.RED, "red"),
        (Path("a") / "b", str(Path("a") / "b")),
        (datetime(2024, 5, 6), "2024-05-06T00:00:00"),
        (pd.NaT, None),
        (pd.NA, None),
        (Options(width=4), {"width": 4}),
        ({1: (Point(1.0, np.nan),)}, {"1": [{"x": 1.0, "y": None}]}),
        (pd.Series([1, 2]), [1, 2]),
        (Plain(Point(1, 2), pd.DataFrame({"a": [1.0, np.nan], "b": ["x", None]})),
         {"at": {"x": 1, "y": 2}, "rows": [{"a": 1.0, "b": "x"}, {"a": None, "b": None}]}),
        (Shown(Point(1, 2)), {"x": 1, "y": 2, "height": 2, "total": 3}),
    ],
)  # fmt: skip
def test_values_become_json(value, expected):
    assert jsonable(value) == expected
    json.dumps(jsonable(value), allow_nan=False)


def test_a_field_that_is_not_there_is_found_out():
    class Wrong(Shown):
        json_fields: ClassVar = ("depth",)

    with pytest.raises(AttributeError, match="depth"):
        json_object(Wrong(Point(1, 2)))


def test_what_has_no_json_value_is_refused():
    with pytest.raises(TypeError, match="function has no JSON value"):
        jsonable([jsonable])
