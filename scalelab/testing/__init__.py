"""For the tests of plugin authors: contract tests to subclass, and toy components that train in a second.

A contract is a pytest class. Subclass it with a fixture that gives the component, and every check runs::

    import pytest
    from scalelab.testing import DatasetContract

    class TestBlips(DatasetContract):
        @pytest.fixture
        def dataset(self):
            return my_plugin.scalelab_datasets()[0]

Each failure says what to mend. The contracts need pytest (`pip install 'scalelab[test]'`), the toys do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalelab.lazy import lazy_names

_ROOMS = {
    "scalelab.testing.architecture": ("ArchitectureContract",),
    "scalelab.testing.backend": ("BackendContract",),
    "scalelab.testing.dataset": ("DatasetContract",),
    "scalelab.testing.law": ("LawContract",),
    "scalelab.testing.optimizer": ("OptimizerContract",),
    "scalelab.testing.toys": (
        "toy_architecture", "toy_backend", "toy_catalog", "toy_dataset", "toy_optimizer",
        "write_toy_plugin",
    ),
}  # fmt: skip

__all__ = [
    "ArchitectureContract",
    "BackendContract",
    "DatasetContract",
    "LawContract",
    "OptimizerContract",
    "toy_architecture",
    "toy_backend",
    "toy_catalog",
    "toy_dataset",
    "toy_optimizer",
    "write_toy_plugin",
]


__getattr__ = lazy_names(__name__, _ROOMS)


def __dir__() -> list[str]:
    return list(__all__)


if TYPE_CHECKING:
    from scalelab.testing.architecture import ArchitectureContract
    from scalelab.testing.backend import BackendContract
    from scalelab.testing.dataset import DatasetContract
    from scalelab.testing.law import LawContract
    from scalelab.testing.optimizer import OptimizerContract
    from scalelab.testing.toys import (
        toy_architecture,
        toy_backend,
        toy_catalog,
        toy_dataset,
        toy_optimizer,
        write_toy_plugin,
    )
