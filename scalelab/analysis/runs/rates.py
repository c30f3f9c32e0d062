"""Learning rates of the points of a law: whether they were varied, and their optimum bracketed.

The best rate moves with size and data. Where every size had one rate, or the best of those it had lies at an
end of them, the exponent of a law is in part that of the rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def rate_doubts(rows: pd.DataFrame, best: pd.DataFrame, axes: tuple[str, ...]) -> tuple[str, ...]:
    """Returns what is to be said of the learning rates of a law's points; nothing where none is recorded.

    Args:
        rows: The designs that the points were chosen from, with the column `peak_rate`.
        best: The points: of each scale the best design.
        axes: The law's axes.
    """
    if "peak_rate" not in rows or rows["peak_rate"].isna().any() or len(best) < 2:
        return ()
    rows = rows.assign(least=rows["peak_rate"], most=rows["peak_rate"])
    if "swept" in rows:
        swept = rows["swept"] == "lr"
        rows["least"] = rows["least"].mask(swept, rows["swept_low"])
        rows["most"] = rows["most"].mask(swept, rows["swept_high"])
    ends = rows.groupby(list(axes)).agg(min=("least", "min"), max=("most", "max"))
    chosen = best.set_index(list(axes))["peak_rate"]
    low, high = (ends[name].reindex(chosen.index) for name in ("min", "max"))
    single = low == high
    if single.all():
        rates = sorted(chosen.unique())
        one = f" ({rates[0]:.3g})" if len(rates) == 1 else ""
        return (
            f"no size was run with a second learning rate{one}: the best rate moves with size, and the "
            "exponent may be that of the rate",
        )
    at_end = int(((chosen == low) | (chosen == high)).sum())
    if not at_end:
        return ()
    return (
        f"the best learning rate of {at_end} of {len(chosen)} points lies at an end of those tried: "
        "a better one may lie beyond, and the exponent may be that of the rate",
    )
