"""What figures look like: colors that the color-blind can tell apart, axes with real units, a paper's type.

Colors are those of Okabe and Ito (2008). Each has a name in the page's style sheet as well (`CSS_COLORS`),
so that a figure inside a page follows the reader's light or dark theme.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.report.numbers import short

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK = "#1b1f24"
MUTED = "#6b7280"
GRID = "#dfe3e8"
PAPER = "#fefefe"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SEQUENTIAL = "viridis"
_STYLE = Path(__file__).with_name("figure.mplstyle")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

CSS_COLORS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
    **{color: f"var(--c{index})" for index, color in enumerate(PALETTE)},
}


@contextmanager
def styled(**extra: Any) -> Iterator[None]:
    """Gives a context in which Matplotlib draws so; `svg_fonttype` stands for `svg.fonttype`."""
    import matplotlib

    settings: Any = {name.replace("_", ".", 1): value for name, value in extra.items()}
    with matplotlib.rc_context(settings, fname=_STYLE), warnings.catch_warnings():
        # A name that is longer than its panel leaves the axes no room; the figure is drawn all the same.
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        yield


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of a size in inches, with a canvas of its own and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def color(index: int) -> str:
    """Returns a family's color; after the last they repeat, with another marker."""
    return PALETTE[index % len(PALETTE)]


def marker(index: int) -> str:
    """Returns a family's marker."""
    return MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]


def log_axis(axis: Axis, *, power: bool = False) -> None:
    """Makes an axis logarithmic, with as many labeled ticks as its span needs.

    Args:
        axis: The axis, whose data are drawn already.
        power: Label with powers of ten; otherwise with plain numbers and prefixes.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    (axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale)("log")
    low, high = sorted(axis.get_view_interval())
    decades = float(np.log10(high / low)) if low > 0 else 1.0
    if power and decades >= 1.5:
        axis.set_major_locator(LogLocator(numticks=6))
    elif decades > 0.4:
        axis.set_major_locator(LogLocator(subs=_subs(decades), numticks=12))
    else:
        axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    label = _power_of_ten if power and decades >= 1.5 else _tick
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def _subs(decades: float) -> tuple[float, ...]:
    if decades > 3.5:
        return (1.0,)
    if decades > 1.5:
        return (1.0, 3.0)
    return (1.0, 2.0, 5.0) if decades > 1.0 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)


def _power_of_ten(value: float) -> str:
    return f"10{str(round(np.log10(value))).translate(_SUPERSCRIPT)}"


def _tick(value: float) -> str:
    text = short(value)
    number = text.rstrip("kMGTPE")
    trimmed = number.rstrip("0").rstrip(".") if "." in number else number
    return trimmed + text[len(number) :]
