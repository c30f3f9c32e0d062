"""Plugins: found, imported one by one, verified, and kept in a catalog that knows who gave what.

Trade-off: a plugin is taken whole or not at all. One wrong component makes its plugin broken, because half a
plugin would run half a comparison without saying so; a broken plugin is a warning until a study names what
it provides.
"""

from __future__ import annotations

from scalelab.plugins.catalog import KINDS, Catalog, PluginInfo
from scalelab.plugins.loader import load_plugins
from scalelab.plugins.options import Option, options_of
from scalelab.plugins.verify import Kind, Provided, verify_component

__all__ = [
    "KINDS",
    "Catalog",
    "Kind",
    "Option",
    "PluginInfo",
    "Provided",
    "load_plugins",
    "options_of",
    "verify_component",
]
