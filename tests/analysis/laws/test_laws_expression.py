"""The parser of formulas: any text is a law or one clear line, and a printed law reads back as itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.analysis.laws.expression import Name, Number, Power, Product, Sum, is_formula, parse, show
from scalelab.analysis.laws.formula import Formula, formula
from scalelab.errors import FitError

_LEAVES = st.one_of(
    st.sampled_from(["E", "A", "alpha", "n_params", "x", "c1", '"Model size (M)"']),
    st.floats(0, 1e6, allow_nan=False).map(lambda value: f"{value:g}"),
)


def _deeper(inner):
    two = st.tuples(inner, inner)
    return st.one_of(
        *(two.map(lambda pair, o=operator: f"{pair[0]} {o} {pair[1]}") for operator in "+-*/"),
        two.map(lambda pair: f"({pair[0]})^{pair[1]}"),
        two.map(lambda pair: f"{pair[0]}^-({pair[1]})"),
        two.map(lambda pair: f"max({pair[0]}, {pair[1]})"),
        inner.map(lambda one: f"-{one}"),
        inner.map(lambda one: f"({one})"),
        inner.map(lambda one: f"sqrt(log(exp(tanh({one}))))"),
    )


FORMULAS = st.recursive(_LEAVES, _deeper, max_leaves=8)


@given(FORMULAS)
def test_a_printed_formula_reads_back_as_itself(text):
    tree = parse(text)
    assert parse(show(tree)) == tree
    assert show(parse(show(tree))) == show(tree)


@given(st.one_of(st.text(), st.text("EAx0123456789.e+-*/^(), \"_[]{}'=:;\n", max_size=60)))
def test_any_text_is_a_law_or_one_line(text):
    try:
        law = formula(text)
    except FitError as error:
        said = str(error)
    else:
        assert parse(law.name) == law.tree
        said = law.equation
    assert "\n" not in said


@pytest.mark.parametrize("text", ["n_params", "power-offset", "m4", "auto", "data-constrained"])
def test_a_name_is_not_a_formula(text):
    assert not is_formula(text)


def test_signs_powers_and_brackets_mean_what_they_mean_in_mathematics():
    a, b, c = map(Name, "abc")
    assert parse("-a^2") == Product((Number(-1.0), Power(a, Number(2.0))))
    assert parse("a^b^c") == parse("a**(b^c)") == Power(a, Power(b, c))
    assert parse("a^-b*c") == Product((Power(a, Product((Number(-1.0), b))), c))
    assert parse("a/b/c") == Product((a, Power(b, Number(-1.0)), Power(c, Number(-1.0))))
    assert parse("L = a - (b - c)") == Sum((a, Product((Number(-1.0), Sum((b, parse("-c")))))))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a number, a name or a bracket"),
        ("E + ", "expected a number, a name or a bracket"),
        ("E + A*(x", "expected '\\)'"),
        ("E x", "unexpected 'x'"),
        ("__class__ + x", "'_' means nothing"),
        ("x.__class__", "'.' means nothing"),
        ("x[0] + 1", "'\\[' means nothing"),
        ("eval(x)", "there is no function 'eval'"),
        ("logs(x)", "did you mean 'log'"),
        ("log + x", "log is a function"),
        ("min(x)", "min takes 2"),
        ("1e999 * x", "too large"),
        ("(" * 99 + "x" + ")" * 99, "nested more than"),
        ("x^" * 99 + "x", "nested more than"),
        ("-" * 99 + "x", "nested more than"),
        ("x + " * 999 + "x", "at most 1000 characters"),
    ],
)
def test_what_is_wrong_is_said(text, words):
    with pytest.raises(FitError, match=words):
        parse(text)


@pytest.mark.parametrize(
    ("text", "axes", "words"),
    [
        ("9^9^9^9", ("x",), "is a constant"),
        ("x^2 + 1", ("x",), "has no parameter"),
        ("E + A*x^-a", ("x", "y"), "does not mention the axis 'y'"),
        ("E + A*B*x^-a", ("x",), "cannot tell its parameter.s. A, B apart"),
        ("E + A*x^-a + B*n_exampels^-b", ("x",), "n_exampels"),
        ("E + 0*q + A*x^-a", ("x",), "q"),
    ],
)
def test_what_determines_no_law_is_refused(text, axes, words):
    with pytest.raises(FitError, match=words):
        Formula(parse(text), axes)
