"""`SCALELAB_PLUGINS`: which plugins to load, as an allow-list `a,b` or a block-list `-a,-b`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from scalelab.errors import PluginError, suggest

VARIABLE = "SCALELAB_PLUGINS"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which plugins to load; an item is a plugin's name, or `name@distribution` where two share a name.

    Attributes:
        names: The items without their `-`; empty selects every plugin.
        block: Whether the items are blocked; otherwise they alone are allowed.
    """

    names: tuple[str, ...] = ()
    block: bool = True

    @classmethod
    def parse(cls, text: str) -> Selection:
        """Reads the value of `SCALELAB_PLUGINS`; an empty one selects every plugin.

        Raises:
            PluginError: Allowed and blocked names are mixed.
        """
        items = [item.strip() for item in text.split(",") if item.strip()]
        blocked = [item.startswith("-") for item in items]
        if any(blocked) and not all(blocked):
            raise PluginError(
                f"{VARIABLE}={text!r} mixes allowed and blocked names; give either names to allow (a,b) or "
                "names to block (-a,-b)"
            )
        return cls(tuple(item.removeprefix("-").strip() for item in items), block=not items or all(blocked))

    def allows(self, name: str, distribution: str) -> bool:
        """Tells whether a plugin is to be loaded."""
        return self.block != any(item in (name, f"{name}@{distribution}") for item in self.names)

    def check(self, plugins: Collection[tuple[str, str]]) -> None:
        """Checks that every item is the name of a plugin.

        Args:
            plugins: Name and distribution of each plugin there is.

        Raises:
            PluginError: An item names no plugin; with the close matches.
        """
        names = {name for name, _ in plugins}
        known = names | {f"{name}@{distribution}" for name, distribution in plugins}
        for item in self.names:
            if item not in known:
                near = suggest(item, names) or f"; there are {', '.join(sorted(names)) or 'none'}"
                raise PluginError(f"{VARIABLE} names the plugin {item!r}, which does not exist{near}")
