"""What readers share: values of documents, texts that are numbers, and what is wrong with one run."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.errors import InputError
from scalelab.store.trackers.found import (
    MOST_VALUES,
    Column,
    ForeignRun,
    Problem,
    WrongRunError,
    cell,
    each,
    flat,
    number,
    picked,
)
from scalelab.store.trackers.known import TRACKERS, tracker_of


def test_nested_values_have_names_with_dots():
    assert flat({"a": {"b": 1, "c": {"d": None}}, "e": [1, {"x": 2}], 3: True}) == {
        "a.b": 1, "a.c.d": None, "e": '[1, {"x": 2}]', "3": True,
    }  # fmt: skip


def test_too_many_values_are_refused():
    with pytest.raises(WrongRunError, match="more than 10,000 values"):
        flat({str(at): at for at in range(MOST_VALUES + 1)})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), (" 12\n", 12), ("-3e5", -3e5), ("0.10", 0.1), ("True", True), ("false", False),
        ("", None), ("None", None), ("1_000", "1_000"), ("relu", "relu"), ("١٢", "١٢"), ("0x10", "0x10"),
    ],
)  # fmt: skip
def test_texts_are_what_they_say(text, value):
    assert cell(text) == value
    assert type(cell(text)) is type(value)


@given(st.integers() | st.floats(allow_nan=False))
def test_every_number_is_read_from_its_text(value):
    assert cell(repr(value)) == value
    assert number(value) == (float(value) if abs(value) < 2**1000 else number(str(value)))


def test_numbers_that_are_none():
    assert [number(value) for value in (True, None, [], "x")] == [None] * 4
    assert math.isinf(number(10**400))


def test_declared_columns_are_checked():
    columns = [Column("loss", "result.loss", float, required=True), Column("n", "n", int)]
    assert picked({"result": {"loss": 1}}, columns) == {"loss": 1, "n": None}
    for document, reason in [
        ({}, "it has no result.loss; was it written to its end?"),
        ({"result": 3}, "it has no result.loss"),
        ({"result": {"loss": "x"}}, "its result.loss is 'x', not of type float"),
        ({"result": {"loss": 1.0}, "n": True}, "its n is True, not of type int"),
    ]:
        with pytest.raises(WrongRunError, match=reason.replace("?", r"\?")):
            picked(document, columns)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (WrongRunError("it is torn"), "it is torn"),
        (PermissionError(13, "Permission denied"), "it cannot be read: Permission denied"),
        (KeyError("x"), "it cannot be read: KeyError: 'x'"),
        (RecursionError(), "it is nested too deeply"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "it is not UTF-8 text"),
    ],
)
def test_what_is_wrong_with_one_run_costs_that_run(error, reason):
    def read(item):
        if item == 1:
            raise error
        return ForeignRun(str(item)) if item < 3 else None

    found = list(each(((f"run {at}", at) for at in range(4)), read))
    assert found == [ForeignRun("0"), Problem("run 1", reason), ForeignRun("2")]


def test_what_is_wrong_with_the_source_ends_its_reading():
    def read(_):
        raise InputError("install something")

    with pytest.raises(InputError, match="install something"):
        list(each([("a", 1)], read))


def test_kinds_are_named():
    names = [tracker.name for tracker in TRACKERS]
    assert len(names) == len(set(names))
    with pytest.raises(InputError, match=r"kind 'optun'; did you mean 'optuna'"):
        tracker_of("x", "optun")
    assert tracker_of("x", "table") is None
