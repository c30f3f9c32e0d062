"""For the tests of plugin authors: contract tests to subclass, and toy components that train in a second.

A contract is a pytest class. Subclass it with a fixture that gives the component, and every check runs:

    import pytest
    from scalelab.testing import DatasetContract

    class TestBlips(DatasetContract):
        @pytest.fixture
        def dataset(self):
            return my_plugin.scalelab_datasets()[0]

Each failure says what to fix. The contracts need pytest (`pip install 'scalelab[test]'`), the toys do not.
"""

from scalelab.lazy import lazy_package

__getattr__, __dir__, __all__ = lazy_package(__name__, __file__)
