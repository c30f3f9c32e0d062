"""Names of columns: plain, each once, whatever is wanted."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from scalelab.store.parameters import Names

WANTED = st.text(alphabet="aAb_23! é", min_size=1, max_size=4)


def first_free(used: set[str], base: str) -> str:
    """Returns the base or the first of its numbered names that nobody has."""
    if base.lower() not in used:
        return base
    return next(name for n in range(2, 1000) if (name := f"{base}_{n}").lower() not in used)


@given(st.lists(WANTED, max_size=4), st.lists(WANTED, max_size=30))
def test_each_name_is_the_first_that_is_free(taken, wanted):
    names, used = Names(taken), {name.lower() for name in taken}
    for one in wanted:
        name = names.free(one)
        assert name == first_free(used, re.sub(r"\W+", "_", one))
        used.add(name.lower())
