"""Axes of a drawing: from numbers to places, and the ticks that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from scalelab.arrays import Array
from scalelab.report.drawing.style import log_ticks, tick

_MARGIN = 0.05
_LETTER = 6.4
_SIZE = 12.0
_GAP = 6.0


@dataclass(frozen=True)
class Scale:
    """One axis.

    Attributes:
        low: The least number that is shown.
        high: The largest.
        log: Whether it is logarithmic.
        start: Where `low` lies, in units of the drawing.
        end: Where `high` lies.
    """

    low: float
    high: float
    log: bool
    start: float
    end: float

    @classmethod
    def around(cls, values: Array, *, log: bool, start: float, end: float) -> Scale:
        """Returns the axis that shows some numbers with a margin; those that cannot be shown do not count.

        A logarithmic axis without a positive number is linear.
        """
        known = values[np.isfinite(values)]
        log = log and bool((known > 0).any())
        known = known[known > 0] if log else known
        if not known.size:
            return cls(0.0, 1.0, False, start, end)
        low, high = float(known.min()), float(known.max())
        if log:
            margin = (high / low) ** _MARGIN if high > low else 1.25
            return cls(low / margin, high * margin, True, start, end)
        margin = _MARGIN * (high - low) if high > low else 0.25 * abs(high) or 1.0
        return cls(low - margin, high + margin, False, start, end)

    def __call__(self, values: Array) -> Array:
        """Returns the places of numbers, beyond the ends too; NaN where there is none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            at = np.log(values / self.low) / np.log(self.high / self.low) if self.log else values - self.low
        share = at if self.log else at / (self.high - self.low)
        return np.asarray(self.start + share * (self.end - self.start), dtype=float)

    def ticks(self, *, power: bool = False) -> list[tuple[float, str]]:
        """Returns places and labels of ticks, as many as do not touch each other."""
        from matplotlib.ticker import MaxNLocator

        label: Callable[[float], str] = tick
        locator = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
        if self.log:
            locator, label = log_ticks(self.low, self.high, power=power)  # type: ignore[assignment]
        values = np.asarray(locator.tick_values(self.low, self.high), dtype=float)
        shown = values[(values >= self.low * (1 - 1e-9)) & (values <= self.high * (1 + 1e-9))]
        if not self.log:
            shown = values[(values >= self.low) & (values <= self.high)]
        found = [(float(place), label(float(value))) for value, place in zip(shown, self(shown), strict=True)]
        return _apart(found, along=self.end > self.start)


def _apart(ticks: Sequence[tuple[float, str]], *, along: bool) -> list[tuple[float, str]]:
    """Returns every tick, or every second, third … so that labels beside each other do not touch."""
    for step in range(1, len(ticks) + 1):
        kept = list(ticks[::step])
        sizes = [width_of(text) if along else 12.0 for _, text in kept]
        pairs = zip(kept, kept[1:], sizes, sizes[1:], strict=False)
        if all(abs(b[0] - a[0]) >= (p + q) / 2 + _GAP for a, b, p, q in pairs):
            return kept
    return list(ticks[:1])


def width_of(text: str) -> float:
    """Returns how wide a small text is drawn, in the widest of the fonts that pages ask for."""
    return sum(map(_width, text))


@cache
def _width(letter: str) -> float:
    """Returns the width of a letter in DejaVu Sans; of one that it lacks, the size of the font."""
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font

    font = FT2Font(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf")
    font.set_size(_SIZE, 72)
    known = font.get_char_index(ord(letter))
    return font.load_char(ord(letter)).linearHoriAdvance / 65536 if known else _SIZE


def shortened(text: str, width: float) -> str:
    """Returns a text that is about so wide at most; what is cut off is an ellipsis."""
    most = max(int(width / _LETTER), 2)
    return text if len(text) <= most else f"{text[: most - 1]}…"
