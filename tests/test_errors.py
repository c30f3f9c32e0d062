"""What foreign objects and errors say, in words that every stream takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.errors import brief, in_words, plain_line, text_of


class Odd(Exception):
    """Answers nothing that it is asked."""

    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


@given(st.text() | st.text(alphabet="\ud800\udcff\0\n\r\t\x1b\u202e\u2028é "), st.integers(1, 100))
def test_a_plain_line_is_one_printable_line(text, limit):
    line = plain_line(text, limit)
    assert line.isprintable()
    assert len(line) <= limit
    line.encode("utf-8")


def test_a_plain_line_keeps_what_can_be_read():
    assert plain_line("café:\n  no \x1b[31mred") == "café: no \\x1b[31mred"


def test_a_plain_line_leaves_out_the_middle_of_an_endless_word():
    line = plain_line(f"unknown law {'x' * 50_000!r}; known are power and log", 4000)
    assert line.startswith("unknown law 'xxx")
    assert line.endswith("xxx'; known are power and log")
    assert "…(50,003 characters)…" in line
    assert len(line) < 500


@pytest.mark.parametrize(
    ("value", "words"),
    [(Odd(), "a Odd"), (10**5000, "a huge number"), ("\ud800", "'\\ud800'"), (3, "3")],
    ids=["odd", "huge", "surrogate", "plain"],
)
def test_a_value_in_brief(value, words):
    assert brief(value) == words


def test_an_error_that_has_no_text():
    assert text_of(Odd()) == "its text cannot be had: RuntimeError"
    assert in_words(Odd()) == "Odd: its text cannot be had: RuntimeError"
    assert in_words(ValueError()) == "ValueError"
    assert in_words(ValueError("a\nb\udcff")) == "ValueError: a b\\udcff"
