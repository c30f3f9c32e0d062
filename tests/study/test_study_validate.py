"""Options of a component that no trial could be named by."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from scalelab.components import Architecture
from scalelab.params import Location, Params
from scalelab.study.validate import validated


class Odd(Params):
    odd: Any = None
    folder: Location | None = None


ODD = Architecture(name="odd", summary="Odd", build=lambda *_: None, params=Odd)


@pytest.mark.parametrize("odd", ["\udcff", {"a": ["\ud800"]}, {"\udcff": 1}], ids=ascii)
def test_options_that_no_json_can_say_are_refused(odd):
    with pytest.raises(ValidationError, match="'odd' has options that are no JSON: "):
        validated(ODD, {"odd": odd})


def test_a_location_is_no_part_of_it():
    assert validated(ODD, {"odd": {"é": [1.5]}, "folder": "\udcff"}).odd == {"é": [1.5]}


def test_a_default_that_cannot_be_copied_is_refused_and_shown():
    from scalelab.cli.plugins import _option_line
    from scalelab.plugins import options_of

    class Lazy(Params):
        odd: Any = (x for x in [1])

    (option,) = options_of(Lazy)
    assert "cannot pickle 'generator' object" in _option_line(option)
