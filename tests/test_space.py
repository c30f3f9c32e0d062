import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.errors import InputError, StudyError
from scalelab.space import Choice, Constraint, Doubling, Float, Int, parse_dimension

UNIT = st.floats(0, 1, exclude_max=True)
INTS = st.builds(
    lambda low, span, step: Int(low, low + span, step),
    st.integers(-1000, 1000),
    st.integers(0, 500),
    st.integers(1, 60),
)
LOG_INTS = st.builds(
    lambda low, span: Int(low, low + span, log=True), st.integers(1, 1000), st.integers(0, 500)
)
FLOATS = st.builds(
    lambda low, span, log: Float(low, low + span, log=log),
    st.floats(1e-6, 1e3),
    st.floats(0, 1e3),
    st.booleans(),
)
STEPPED = st.builds(
    lambda low, count, step: Float(low / 10, low / 10 + count * step / 10, step / 10),
    st.integers(-100, 100),
    st.integers(0, 50),
    st.integers(1, 30),
)
CHOICES = st.builds(
    Choice,
    st.lists(st.integers() | st.text(max_size=3), min_size=1, max_size=6, unique_by=lambda v: (type(v), v)),
)
DOUBLINGS = st.builds(lambda low, span: Doubling(low, low + span), st.integers(1, 100), st.integers(0, 5000))


def contains(dimension, value):
    """Whether a dimension can give a value, from its definition (but for the rounding of fractions)."""
    if isinstance(dimension, Choice):
        return any(value == own and type(value) is type(own) for own in dimension.values)
    if not dimension.low <= value <= dimension.high:
        return False
    if isinstance(dimension, Float):
        steps = (value - dimension.low) / dimension.step if dimension.step else 0.0
        return type(value) is float and abs(steps - round(steps)) < 1e-6
    if isinstance(dimension, Doubling):
        return type(value) is int and math.log2(value / dimension.low).is_integer()
    return type(value) is int and (value - dimension.low) % dimension.step == 0


DIMENSIONS = INTS | LOG_INTS | FLOATS | STEPPED | CHOICES | DOUBLINGS


@given(DIMENSIONS, UNIT)
def test_a_drawn_value_is_in_the_dimension(dimension, u):
    assert contains(dimension, dimension.from_unit(u))
    assert contains(dimension, dimension.from_unit(math.nextafter(1.0, 0.0)))


@given(DIMENSIONS, st.integers(1, 30))
def test_a_grid_is_in_the_dimension_without_repetition_and_as_long_as_announced(dimension, n):
    grid = dimension.grid(n)
    assert all(contains(dimension, value) for value in grid)
    if isinstance(dimension, Int) and dimension.log:
        assert 1 <= len(grid) <= dimension.size(n)
        assert len(set(grid)) == len(grid)
    else:
        assert len(grid) == dimension.size(n)
    if not dimension.continuous:
        assert dimension.grid() == grid


@given(INTS | STEPPED | CHOICES | DOUBLINGS)
def test_every_value_of_a_discrete_dimension_can_be_drawn_with_equal_chance(dimension):
    size = dimension.size()
    assert [dimension.from_unit((index + 0.5) / size) for index in range(size)] == dimension.grid()


def test_values_are_the_ones_that_people_write():
    assert Float(1.1, 3.0, 0.1).grid()[:4] == [1.1, 1.2, 1.3, 1.4]
    assert len(Float(1.1, 3.0, 0.1).grid()) == 20
    assert Float(1e-4, 1e-2, log=True).grid(3) == [1e-4, 1e-3, 1e-2]
    assert Float(0, 1).grid(1) == [0.5]
    assert Float(2, 2).grid(5) == [2.0]
    assert Int(32, 64, 8).grid() == [32, 40, 48, 56, 64]
    assert Int(1, 10, 4).grid() == [1, 5, 9]
    assert Int(1, 1000, log=True).grid(4) == [1, 10, 100, 1000]
    assert Doubling(8, 100).grid() == [8, 16, 32, 64]
    assert Doubling(3, 3).grid() == [3]
    assert Choice(["a", 1, True, [2, 2]]).grid() == ["a", 1, True, (2, 2)]


def test_log_dimensions_draw_evenly_in_the_logarithm():
    values = [Float(1e-4, 1e-2, log=True).from_unit((i + 0.5) / 1000) for i in range(1000)]
    assert sum(value < 1e-3 for value in values) == 500
    counts = [Int(1, 100, log=True).from_unit((i + 0.5) / 1000) for i in range(1000)]
    assert 400 < sum(value <= 7 for value in counts) < 600


def test_a_choice_keeps_types_apart():
    assert Choice([1, True]).grid() == [1, True]
    assert [type(value) for value in Choice([1, True]).grid()] == [int, bool]
    assert Choice([[1, 2]]).from_unit(0.5) == (1, 2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Int(5, 1), "high = 1: must be at least low, which is 5"),
        (lambda: Int(1.5, 3), "low = 1.5: must be a whole number"),
        (lambda: Int(True, 3), "low = True: must be a whole number"),
        (lambda: Int(0, 3, log=True), "low = 0: must be above 0"),
        (lambda: Int(1, 3, step=0), "step = 0"),
        (lambda: Int(1, 9, step=2, log=True), "cannot be combined"),
        (lambda: Int(1, 10**400), "high = "),
        (lambda: Float(float("nan"), 1), "low = nan: must be a finite number"),
        (lambda: Float(0, float("inf")), "high = inf"),
        (lambda: Float(-1, 1, log=True), "low = -1"),
        (lambda: Float(0, 1, step=-0.1), "step = -0.1"),
        (lambda: Float(0, 1, step=5e-324), "step = 5e-324: is too small"),
        (lambda: Float(0, 1, log="yes"), "low = 0|log = 'yes'"),
        (lambda: Choice([]), "values = .*must not be empty"),
        (lambda: Choice("abc"), "values = 'abc': must be a list"),
        (lambda: Choice([2, 2]), r"values\[1\] = 2: is listed twice"),
        (lambda: Choice([float("nan")]), r"values\[0\] = nan"),
        (lambda: Choice([{"a": 1}]), r"values\[0\]"),
        (lambda: Doubling(0, 4), "low = 0: must be 1 or more"),
    ],
)
def test_an_impossible_dimension_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_a_grid_of_a_continuous_dimension_needs_a_number():
    for dimension in (Float(0, 1), Int(1, 5, log=True)):
        with pytest.raises(InputError, match="continuous"):
            dimension.grid()


@pytest.mark.parametrize(
    ("value", "dimension"),
    [
        ({"type": "int", "low": 1, "high": 4, "step": 3}, Int(1, 4, 3)),
        ({"type": "float", "low": 1e-4, "high": 1, "log": True}, Float(1e-4, 1, log=True)),
        ({"type": "choice", "values": [3, 9]}, Choice((3, 9))),
        ({"type": "doubling", "low": 8, "high": 64}, Doubling(8, 64)),
        ([3, 9, 15], Choice((3, 9, 15))),
        ("gelu", Choice(("gelu",))),
        (3, Choice((3,))),
    ],
)
def test_dimensions_are_read(value, dimension):
    assert parse_dimension(value) == dimension


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"low": 1}, "space.w.type: missing; give one of 'int', 'float', 'choice', 'doubling'"),
        ({"type": "flot"}, "space.w.type = 'flot': must be one of 'int', 'float', 'choice', 'doubling'; did you mean 'float'?"),  # noqa: E501
        ({"type": []}, "space.w.type = []: must be one of 'int', 'float', 'choice', 'doubling'"),
        ({"type": "int", "low": 1}, "space.w.high: missing; 'int' needs it"),
        ({"type": "int", "low": 1, "high": 2, "stp": 1}, "space.w.stp: 'int' has no such key; did you mean 'step'?; it has low, high, step, log"),  # noqa: E501
        ({"type": "int", "low": 9, "high": 2}, "space.w.high = 2: must be at least low, which is 9"),
        ([1, 1], "space.w.values[1] = 1: is listed twice"),
        (float("inf"), "space.w = inf: must be a table with a type, a list or a constant"),
    ],
)  # fmt: skip
def test_a_wrong_dimension_names_its_key(value, line):
    with pytest.raises(StudyError) as caught:
        parse_dimension(value, "space.w")
    assert str(caught.value) == line


def test_constraints_hold_or_not():
    values = {"w_0": 32, "w_init": 32, "groups": 4, "lr": 0.5}
    for text in (
        "w_0 >= w_init",
        "w_0 % groups == 0",
        "8 <= w_0 // groups <= min(64, w_init)",
        "-w_0 + 2 * w_init == w_init",
        "max(w_0, 1.5, groups) != 1e3",
        "lr / 2 < 1 - lr",
        "  w_0 > 1  ",
    ):
        assert Constraint.parse(text).holds(values), text
    for text in ("w_0 < w_init", "1 < w_0 < 10 < w_init", "w_0 / (groups - 4) > 1", "w_0 % 0 == 0"):
        assert not Constraint.parse(text).holds(values), text
    assert Constraint.parse("w_0 >= 2*w_init").names == {"w_0", "w_init"}
    assert Constraint.parse("a > b") == Constraint.parse("a > b")


@pytest.mark.parametrize(
    "text",
    [
        "", "w_0", "1 < 2", "w_0 = 3", "w_0 >", "a and b", "a > b and b > c", "not a > b", "a in b", "a is b",
        "a ** b > 1", "a << 1 > 2", "a @ b > 1", "abs(a) > 1", "min(a) > 1", "min(a, b, key=c) > 1",
        "min(*a) > 1",
        "__import__('os').system('true') == 0", "a.b > 1", "a[0] > 1", "(lambda: 1)() > a", "[a] > b",
        "'x' == a",
        "True == a", "1j > a", "1e999 > a", "f'{a}' > b", "(a := 1) > b", "a if b else c > 1", "a > b\nc > d",
        "(" * 300 + "a" + ")" * 300 + "> 1", "a > " + "9" * 600, "a\0 > 1", "a > \ud800",
    ],
)  # fmt: skip
def test_nothing_but_comparisons_of_numbers_is_read(text):
    with pytest.raises(StudyError) as caught:
        Constraint.parse(text)
    assert "\n" not in str(caught.value)


def test_only_numbers_are_compared():
    with pytest.raises(StudyError, match="norm is 'layer'; only numbers are compared"):
        Constraint.parse("norm > 1").holds({"norm": "layer"})
    with pytest.raises(StudyError, match="bias is True"):
        Constraint.parse("bias > 1").holds({"bias": True})


@given(st.text(max_size=60) | st.text(alphabet="ab01+-*/%()<>=!, .minx", max_size=40))
def test_any_text_is_a_constraint_or_a_one_line_error(text):
    message = ""
    try:
        constraint = Constraint.parse(text)
        assert constraint.holds(dict.fromkeys(constraint.names, 3)) in (True, False)
    except StudyError as error:
        message = str(error)
    assert "\n" not in message
