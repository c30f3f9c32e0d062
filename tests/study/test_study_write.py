import doctest
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.errors import InputError
from scalelab.study import write
from scalelab.study.parse import embedded_study_path
from scalelab.study.write import study_text, write_study

STUDIES = [*sorted((Path(__file__).parents[2] / "examples").glob("*.toml")), embedded_study_path()]

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


@settings(deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_is_written_reads_the_same(values):
    assert tomllib.loads(study_text(values)) == values


@settings(deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5), st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_is_written_over_another_text_reads_the_same(values, others):
    assert tomllib.loads(study_text(values, study_text(others | values))) == values
    assert tomllib.loads(study_text(values, study_text(others))) == values


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_that_does_not_change_keeps_every_letter(path):
    text = path.read_text(encoding="utf-8")
    assert study_text(tomllib.loads(text), text) == text


def test_comments_and_layout_stay_but_for_what_changes():
    own = (
        "# why\nname = 'x'  # its name\n\n[data] # which\nsizes = [ 1,\n  2 ]\nseed = 1.0\n\n"
        "[[optimizer]]\nname = 'a' # first\n[[optimizer]]\nname = 'b' # second\n"
        "options = { lr = 1e-3, k = 1 }\n"
    )
    values = {
        "name": "y", "data": {"sizes": [1, 2], "seed": 1},
        "optimizer": [{"name": "b", "options": {"lr": 0.001, "k": 2}}], "seeds": [3],
    }  # fmt: skip
    assert study_text(values, own) == (
        '# why\nname = "y"  # its name\nseeds = [3]\n\n[data] # which\nsizes = [ 1,\n  2 ]\nseed = 1\n\n'
        "[[optimizer]]\nname = 'b' # second\noptions = { lr = 1e-3, k = 2 }\n"
    )


def test_a_study_is_written_into_a_new_folder_or_refused_in_one_line(tmp_path):
    write_study(tmp_path / "a" / "b.toml", "name = 'é'\n")
    assert (tmp_path / "a" / "b.toml").read_text(encoding="utf-8") == "name = 'é'\n"
    with pytest.raises(InputError, match="cannot be written to"):
        write_study(tmp_path / "a" / "b.toml" / "c.toml", "")


def test_tables_come_after_keys_and_nothing_is_left_out():
    text = study_text(
        {"data": {"seed": None, "n": 1}, "optimizer": [{"name": "sgd"}, {"name": "b"}], "name": "x"}
    )
    assert text == 'name = "x"\n\n[data]\nn = 1\n\n[[optimizer]]\nname = "sgd"\n\n[[optimizer]]\nname = "b"\n'


def test_the_example_is_right():
    assert doctest.testmod(write).failed == 0
