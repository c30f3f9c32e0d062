"""What figures look like: colors that the color-blind can tell apart, axes with real units, a paper's type.

Colors are those of Okabe and Ito (2008), darkened where lines of them would be hard to see on white.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.report.numbers import short

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

INK = "#1b1f24"
MUTED = "#6b7280"
GRID = "#dfe3e8"
PAPER = "#fefefe"
PALETTE = ("#0072b2", "#c75000", "#008560", "#b5508a", "#8f6400", "#2089a3", "#6b3fa0")
DASHES = ((), (5, 2), (1.5, 1.8), (7, 2, 1.5, 2), (4, 1.5), (9, 2), (3, 1.5, 1, 1.5))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SEQUENTIAL = "viridis"
_STYLE = Path(__file__).with_name("figure.mplstyle")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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


def drawable(part: Any) -> Any:
    """Returns texts, or a figure's numbers with its texts, with what the font has no glyph for as `\\u4e2d`.

    Which other fonts there are is the machine's business: a name looks the same everywhere, two names differ.
    """
    if isinstance(part, str):
        known = _glyphs()
        return "".join(
            one if one == "\n" or ord(one) in known else one.encode("ascii", "backslashreplace").decode()
            for one in part
        )
    if isinstance(part, tuple):
        parts = map(drawable, part)
        return type(part)(*parts) if hasattr(part, "_fields") else tuple(parts)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{field.name: drawable(getattr(part, field.name)) for field in fields(part)})
    return part


@cache
def _glyphs() -> frozenset[int]:
    """The characters of the font that figures are drawn in."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    with styled():
        return frozenset(get_font(findfont(FontProperties())).get_charmap())


def color(index: int) -> str:
    """Returns a family's color; after the last they repeat, with another marker."""
    return PALETTE[index % len(PALETTE)]


def dashes(index: int) -> Any:
    """Returns a family's line style, so that nothing is told by color alone."""
    own = DASHES[index % len(DASHES)]
    return (0, own) if own else "solid"


def marker(index: int) -> str:
    """Returns a family's marker."""
    return MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]


def log_axis(axis: Axis, *, power: bool = False) -> None:
    """Makes an axis logarithmic, with as many labeled ticks as its span needs.

    Args:
        axis: The axis, whose data are drawn already.
        power: Label with powers of ten; otherwise with plain numbers and prefixes.
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    (axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale)("log")
    low, high = sorted(axis.get_view_interval())
    locator, label = log_ticks(low, high, power=power)
    axis.set_major_locator(locator)
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def log_ticks(low: float, high: float, *, power: bool = False) -> tuple[Locator, Callable[[float], str]]:
    """Returns what finds the ticks of a logarithmic axis between two numbers, and what labels them."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    decades = float(np.log10(high / low)) if low > 0 else 1.0
    label = _power_of_ten if power and decades >= 1.5 else tick
    if power and decades >= 1.5:
        return LogLocator(numticks=6), label
    if decades > 0.4:
        return LogLocator(subs=_subs(decades), numticks=12), label
    return MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]), label


def _subs(decades: float) -> tuple[float, ...]:
    if decades > 3.5:
        return (1.0,)
    if decades > 1.5:
        return (1.0, 3.0)
    return (1.0, 2.0, 5.0) if decades > 1.0 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)


def _power_of_ten(value: float) -> str:
    return f"10{str(round(np.log10(value))).translate(_SUPERSCRIPT)}"


def tick(value: float) -> str:
    """Returns a number as it stands beside an axis, without zeros that say nothing."""
    text = short(value)
    number = text.rstrip("kMGTPE")
    trimmed = number.rstrip("0").rstrip(".") if "." in number else number
    return trimmed + text[len(number) :]
