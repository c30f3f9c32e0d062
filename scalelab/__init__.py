"""scalelab: how performance grows with model size, data, compute and design, and what to train next.

Everything here is the public API, imported only when it is first used, so that `import scalelab` costs
nothing. Each name is written once, in `__init__.pyi`. Plugins import from here and from `scalelab.testing`
alone.
"""

from scalelab.lazy import lazy_package
from scalelab.version import __version__

__getattr__, __dir__, __all__ = lazy_package(__name__, __file__)
__all__ += ["__version__"]
