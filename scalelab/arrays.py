"""The types of arrays that numbers travel in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[Any]
"""Row numbers or a mask of rows."""
