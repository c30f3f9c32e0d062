"""For the tests of plugin authors: contract tests to subclass, and toy components that train in a second.

A contract is a pytest class. Subclass it with a fixture that gives the component, and every check runs::

    import pytest
    from scalelab.testing import DatasetContract

    class TestBlips(DatasetContract):
        @pytest.fixture
        def dataset(self):
            return my_plugin.scalelab_datasets()[0]

Each failure says what to mend. The contracts need pytest (``pip install 'scalelab[test]'``), the toys do not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_ROOMS = {
    "ArchitectureContract": "architecture",
    "BackendContract": "backend",
    "DatasetContract": "dataset",
    "OptimizerContract": "optimizer",
}

__all__ = [
    "ArchitectureContract",
    "BackendContract",
    "DatasetContract",
    "OptimizerContract",
    "toy_architecture",
    "toy_backend",
    "toy_catalogue",
    "toy_dataset",
    "toy_optimizer",
    "write_toy_plugin",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'scalelab.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"scalelab.testing.{_ROOMS.get(name, 'toys')}"), name)


def __dir__() -> list[str]:
    return list(__all__)


if TYPE_CHECKING:
    from scalelab.testing.architecture import ArchitectureContract
    from scalelab.testing.backend import BackendContract
    from scalelab.testing.dataset import DatasetContract
    from scalelab.testing.optimizer import OptimizerContract
    from scalelab.testing.toys import (
        toy_architecture,
        toy_backend,
        toy_catalogue,
        toy_dataset,
        toy_optimizer,
        write_toy_plugin,
    )
