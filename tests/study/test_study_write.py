import doctest
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from scalelab.study import write
from scalelab.study.write import study_text

PLAIN = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_is_written_reads_the_same(values):
    assert tomllib.loads(study_text(values)) == values


def test_tables_come_after_keys_and_nothing_is_left_out():
    text = study_text(
        {"data": {"seed": None, "n": 1}, "optimizer": [{"name": "sgd"}, {"name": "b"}], "name": "x"}
    )
    assert text == 'name = "x"\n\n[data]\nn = 1\n\n[[optimizer]]\nname = "sgd"\n\n[[optimizer]]\nname = "b"\n'


def test_the_example_is_right():
    assert doctest.testmod(write).failed == 0
