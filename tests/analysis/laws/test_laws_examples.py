"""Every law's docstring has an example that runs as it stands."""

import ast
import doctest
import inspect

import pytest
from scalelab_plugins import learning_curves

from scalelab.analysis.laws import LAWS, LawName
from scalelab.law import Law

EVERY = {**LAWS, **{law.name: law for law in learning_curves.scalelab_laws()}}


def test_the_names_for_type_checkers_are_those_of_the_laws():
    assert LawName.__args__ == tuple(LAWS)


@pytest.mark.parametrize("name", EVERY)
def test_the_example_of_a_law_runs(name: str) -> None:
    law: type[Law] = type(EVERY[name])
    assert "__doc__" in vars(law)
    (found,) = doctest.DocTestFinder(recurse=False).find(law, name, globs={})
    assert found.examples, f"the docstring of {law.__name__} has no example"
    imported = {
        alias.name
        for example in found.examples
        for node in ast.walk(ast.parse(example.source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert imported <= {"scalelab", "math", "itertools"}, "an example needs nothing private"
    assert name in inspect.getdoc(law).partition(">>>")[2], "the example shows the law itself"
    assert doctest.DocTestRunner().run(found).failed == 0
