"""Amounts as people write them are numbers, or refused in one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.amounts import amount, counted, rounded_down, verb
from scalelab.errors import InputError
from scalelab.report.numbers import short

POWERS = {"k": 3, "K": 3, "M": 6, "B": 9, "G": 9, "T": 12, "P": 15, "E": 18}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10M", 1e7), ("1e9", 1e9), ("5B", 5e9), ("300k", 3e5), ("1.2T", 1.2e12), (" 5.1G ", 5.1e9),
        ("1E+21", 1e21), ("1_000", 1000.0), (".5M", 5e5), ("2.", 2.0), (7, 7.0), (2.5e3, 2500.0),
    ],
)  # fmt: skip
def test_what_people_write(text, number):
    assert amount(text, "--at n_params") == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7.68 EFLOP", 7.68e18), ("7.68E", 7.68e18), ("768P", 7.68e17), ("2.42 TFLOP", 2.42e12),
        ("2.42TFLOPs", 2.42e12), ("10M FLOP", 1e7), ("1e15 FLOPs", 1e15), ("5.76e+23 FLOP", 5.76e23),
        ("480 FLOP", 480.0), ("1E9", 1e9),
    ],
)  # fmt: skip
@pytest.mark.parametrize("what", ["--budget", "--at train_flops"])
def test_flops_may_be_written_as_they_are_printed(text, number, what):
    assert amount(text, what) == number


@given(flops=st.floats(1.0, 1e30))
def test_flops_that_are_printed_can_be_given(flops):
    assert amount(short(flops, "FLOP"), "--budget") == pytest.approx(flops, rel=0.006)


@given(value=st.floats(1e-3, 1e30))
def test_a_number_rounded_down_is_three_digits_and_no_more_than_it_was(value):
    found = rounded_down(value)
    assert 0.99 * value < found <= value * (1 + 1e-9)
    assert float(f"{found:.2e}") == found == rounded_down(found)


@pytest.mark.parametrize("text", ["10M MFLOP", "1e9 GFLOP", "2 FLOP/s", "2.4 T FLOP", "TFLOP", "5 tflop"])
def test_a_unit_that_counts_twice_or_is_none_is_refused(text):
    with pytest.raises(InputError, match=r"such as .*TFLOP"):
        amount(text, "--budget")


def test_only_flops_have_that_unit():
    with pytest.raises(InputError, match="--at n_params '5 TFLOP'"):
        amount("5 TFLOP", "--at n_params")


@given(number=st.floats(1e-300, 1e300))
def test_the_text_of_a_number_is_the_number(number):
    assert amount(repr(number), "budget") == amount(number, "budget") == number


@given(digits=st.decimals(min_value=1, max_value=10_000, places=3), suffix=st.sampled_from(sorted(POWERS)))
def test_a_suffix_is_a_power_of_ten(digits, suffix):
    assert amount(f"{digits}{suffix}", "budget") == float(f"{digits}e{POWERS[suffix]}")


@given(text=st.text() | st.from_regex(r"[-+]?[0-9._]{0,4}[a-zA-Z]{0,3}[-+0-9]{0,4}", fullmatch=True))
def test_any_text_is_a_positive_number_or_refused_in_one_line(text):
    try:
        number = amount(text, "--budget")
    except InputError as error:
        number, said = 1.0, str(error)
    else:
        said = "--budget"
    assert 0 < number < float("inf")
    assert "--budget" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["10m", "1,000", "-3M", "0", "nan", "inf", "M", "10 M", "1e9B", "0x10", "1e999", ""]
)
def test_what_could_mean_two_things_or_nothing_is_refused(text):
    with pytest.raises(InputError, match="such as"):
        amount(text, "--budget")


def test_one_of_many_is_said_in_the_singular():
    assert [counted(n, "entries") for n in (0, 1, 2)] == ["0 entries", "1 entry", "2 entries"]
    assert [verb(n, "are") for n in (0, 1, 2)] == ["are", "is", "are"]
    assert verb(1, "have") == "has"
