"""Calibration: how far the probabilities of each family's best run are from what happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.runs.calibration import Reliability
from scalelab.report import parts
from scalelab.report.names import family_names, grouped, known
from scalelab.report.numbers import percent, plain, short
from scalelab.report.parts import MAX_PANELS, Figure, Table, array
from scalelab.report.sections.topic import Topic, figure

_WORST = 3
_MEANING = (
    "ECE: expected calibration error, mean over classes; its noise is not known, and with few examples it is "
    "above zero even where every probability is right"
)


def _tables(analysis: Analysis, whole: bool) -> Iterator[Table]:
    found = analysis.calibrations
    if not found:
        return
    notes = [_MEANING]
    if not all(one.best for one in found):
        notes.append("*: better runs of the family do not record theirs")
    title = "Calibration of the best run of each family"
    yield Table.of(
        title, map(_row, found), numbers=slice(3, 6), notes=notes, optional=("best by", "parameters")
    )
    if whole:
        for own in grouped(found, lambda one: one.family.dataset).values():
            shown = [one for splits in _shown(own) for one in splits]
            yield _classes(shown)
            yield from map(_bins, shown)


def _row(one: Reliability) -> dict[str, str]:
    return {
        "run": _run(one),
        "best by": one.metric,
        "on": one.split,
        "parameters": short(one.n_params),
        "examples": f"{one.n:,}",
        "ECE": plain(one.ece),
        "largest of classes": _worst(one),
    }


def _run(one: Reliability) -> str:
    return ", ".join(filter(known, one.family)) + ("" if one.best else " *")


def _worst(one: Reliability) -> str:
    return ", ".join(f"{name} {plain(error)}" for name, error in list(one.classes.items())[:_WORST])


def _shown(own: Sequence[Reliability]) -> list[list[Reliability]]:
    """Returns the runs of a dataset that are shown in full, those with the best objectives."""
    return list(grouped(own, lambda one: (one.family, one.metric)).values())[:MAX_PANELS]


def _classes(shown: Sequence[Reliability]) -> Table:
    names = dict.fromkeys(name for one in shown for name in one.classes)
    rows = (
        {"class": name, **{f"{_run(one)}, {one.split}": plain(one.classes.get(name)) for one in shown}}
        for name in names
    )
    title = f"Calibration error of each class: {shown[0].family.dataset}"
    return Table.of(title, rows, folded=True)


def _bins(one: Reliability) -> Table:
    rows = (
        {
            "bin": f"{plain(row['low'])} to {plain(row['high'])}",
            "predictions": f"{row['count']:,}",
            "mean probability": plain(row["probability"]),
            "came true": plain(row["part"]),
            percent(one.level): f"[{plain(row['lower'])}, {plain(row['upper'])}]",
        }
        for row in one.bins[one.bins["count"] > 0].to_dict("records")
    )
    title = f"Reliability, all classes together: {_run(one)}, {one.split}"
    return Table.of(title, rows, folded=True)


def _figures(analysis: Analysis, dataset: str, suffix: str) -> Iterator[Figure]:
    """Yields the diagrams of the families with the best objectives, a panel each."""
    own = [one for one in analysis.calibrations if one.family.dataset == dataset]
    if not own:
        return
    name, shown = family_names(one.family for one in own), _shown(own)
    told = [f"{name(splits[0].family)}: " + "; ".join(_told(one) for one in splits) + "." for splits in shown]
    n_runs = len({(one.family, one.metric) for one in own})
    if n_runs > len(shown):
        told.append(f"Of {n_runs} families those with the best objectives.")
    words = {"dataset": dataset, "level": percent(analysis.level), "n_bins": str(len(own[0].bins))}
    panels = (_panel(name(splits[0].family), splits) for splits in shown)
    yield figure("calibration", suffix, panels, told=" ".join(told), **words)


def _told(one: Reliability) -> str:
    return f"ECE {plain(one.ece)} on {one.n:,} examples of {one.split}, largest {_worst(one)}"


def _panel(title: str, splits: Sequence[Reliability]) -> parts.Reliability:
    predicted = (
        parts.Predicted(
            one.split,
            array(one.bins, "probability", "part", "lower", "upper"),
            one.bins["count"].to_numpy(dtype=float),
        )
        for one in splits
    )
    return parts.Reliability(title, tuple(predicted))


TOPIC = Topic("calibration", "Calibration", tables=_tables, figures=_figures)
