"""What is made of an object once, and kept as long as the object lives."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Kept:
    """An object that never changes and keeps what is derived from it."""

    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """Returns what `make` returns, made once for a key and kept as long as this object lives.

        What is kept must not refer to this object, or both would outlive their last reference.
        """
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found
