"""The contract of a tracker's reader: runs one by one as plain values and curves, and what is wrong with any.

A reader declares the columns that it takes of a run (`Column`, `picked`), reads one run in a function that
may raise, and lets `each` collect what was wrong: one run that is torn costs itself, not the others. It
decides nothing about laws: which column is the loss, what a state means and what a parameter is called in
`runs` is said once for all of them, in `scalelab.store.tracked` and `scalelab.store.mapping`.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from scalelab.errors import InputError, ScalelabError, brief, in_words, plain_line
from scalelab.records import Direction

Cell = str | int | float | bool | None
T = TypeVar("T")
MOST_VALUES = 10_000
"""What a run may have of values that are no curves."""
_DEEPEST = 20


@dataclass(slots=True)
class Curve:
    """What a run reported of one metric, in the order in which it did; steps may repeat, the last one holds.

    Attributes:
        steps: Whole numbers, 64 bits each.
        values: As many; those that are not finite are kept.
        seconds: Since the run began, as many; none where that is unknown.
    """

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: float, value: float, seconds: float | None = None) -> None:
        """Adds one report; `seconds` is given with all reports of a curve, or with none."""
        self.steps.append(int(step))
        self.values.append(value)
        if seconds is not None:
            self.seconds.append(seconds)


@dataclass(frozen=True, slots=True)
class ForeignRun:
    """A run as a tracker kept it.

    Attributes:
        key: Tells it from the others of the source, and stays the same when the source is read again.
        name: What people call it.
        state: How it ended, in the tracker's word (see `scalelab.store.reports`); `None` where it says
            nothing, which makes a run done that has a loss.
        params: What was chosen before it, by name; see `flat`.
        values: What came out of it and all other facts, by name: final values of metrics, counts,
            `wall_seconds`, a host. The last value of a metric's curve need not be said again.
        curves: By metric what was reported along it.
        error: Why it failed, where that is told.
    """

    key: str
    name: str | None = None
    state: str | None = None
    params: Mapping[str, Cell] = field(default_factory=dict)
    values: Mapping[str, Cell] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A run that could not be read, or not whole.

    Attributes:
        run: Which one, as a person finds it: a folder below the source, a file, a number.
        reason: What is wrong and what to do, without a full stop.
        left_out: Whether the run is not among those that were read.
    """

    run: str
    reason: str
    left_out: bool = True

    def __str__(self) -> str:
        """Returns it as one line."""
        return plain_line(f"{self.run}: {self.reason}" + ("; it was left out" if self.left_out else ""))


@dataclass(frozen=True)
class Opened:
    """A source that is being read.

    Attributes:
        runs: Its runs, read as they are asked for.
        objective: The column of the outcome and its direction, where the tracker says so.
        final: Whether that column is what the run gave as its result. Otherwise a run's loss is the best of
            its curve, as that of runs made here.
    """

    runs: Iterator[ForeignRun | Problem]
    objective: tuple[str, Direction] | None = None
    final: bool = False


def undivided(_: Path) -> dict[str, int]:
    """The experiments of a source that has none."""
    return {}


@dataclass(frozen=True)
class Tracker:
    """A kind of source.

    Attributes:
        name: What `--kind` calls it.
        title: What it is, in a sentence: `an Optuna database`.
        recognizes: Whether a file or folder is one; cheap, and an `OSError` means no.
        read: Opens it, given the experiment that was asked for (one of `experiments`, or `None`).
        experiments: How many runs each of its studies or experiments has, by name; empty where it is not
            divided.
    """

    name: str
    title: str
    recognizes: Callable[[Path], bool]
    read: Callable[[Path, str | None], Opened]
    experiments: Callable[[Path], dict[str, int]] = undivided


@dataclass(frozen=True, slots=True)
class Column:
    """A value that a reader takes of a run's document.

    Attributes:
        name: Of the value.
        path: Keys in the document, parted by dots.
        kind: `str`, `int`, `float` or `bool`; a whole number is a `float`, too.
        required: Whether a run without it cannot be read.
    """

    name: str
    path: str
    kind: type[str] | type[int] | type[float] | type[bool] = str
    required: bool = False


class WrongRunError(ValueError):
    """A run cannot be read; says why and what to do."""


def picked(document: Any, columns: Sequence[Column]) -> dict[str, Any]:
    """Returns the values of a run's document by name, `None` where one is not there.

    Raises:
        WrongRunError: One that is required is not there, or one is of another type.
    """
    found: dict[str, Any] = {}
    for column in columns:
        value = document
        for key in column.path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None and column.required:
            raise WrongRunError(f"it has no {column.path}; was it written to its end?")
        right = (int, float) if column.kind is float else column.kind
        if value is not None and (not isinstance(value, right) or type(value) is bool is not column.kind):
            raise WrongRunError(f"its {column.path} is {brief(value)}, not of type {column.kind.__name__}")
        found[column.name] = value
    return found


def each(
    items: Iterable[tuple[str, T]], read: Callable[[T], ForeignRun | None]
) -> Iterator[ForeignRun | Problem]:
    """Reads runs one by one; one that cannot be read becomes a `Problem`.

    Args:
        items: For each run what a person calls it, and what `read` is given.
        read: Returns the run, or `None` where there is none after all.
    """
    for label, item in items:
        try:
            run = read(item)
            if run is not None:
                _refuse_unsound(run)
        except ScalelabError:  # of the whole source, such as a package that is missing
            raise
        except WrongRunError as error:
            yield Problem(label, str(error))
        except UnicodeDecodeError:
            yield Problem(label, "it is not UTF-8 text")
        except OSError as error:
            yield Problem(label, f"it cannot be read: {error.strerror or error}")
        except RecursionError:
            yield Problem(label, "it is nested too deeply")
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            yield Problem(label, f"it cannot be read: {in_words(error)}")
        else:
            if run is not None:
                yield run


def _refuse_unsound(run: ForeignRun) -> None:
    """Refuses bytes, and nothing where there must be a text: a database may hold both anywhere."""
    texts = {"key": run.key, "name": run.name, "state": run.state, "error": run.error}
    for what, text in texts.items():
        if not isinstance(text, str) and (text is not None or what == "key"):
            raise WrongRunError(f"its {what} is {brief(text)}, not a text")
    for name, value in (*run.params.items(), *run.values.items()):
        if value is not None and not isinstance(value, (str, int, float)):
            raise WrongRunError(f"its {name} is {brief(value)}, neither number nor text")
    for name in (*run.params, *run.values, *run.curves):
        if not isinstance(name, str):
            raise WrongRunError(f"it has a value called {brief(name)}, not by a text")


def flat(document: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> dict[str, Cell]:
    """Returns the values of nested objects by names with dots (`model.width`); a list is its JSON text.

    Raises:
        WrongRunError: They are too many.
    """
    found: dict[str, Cell] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and depth < _DEEPEST:
            found |= flat(value, f"{name}.", depth + 1)
        elif value is None or isinstance(value, (str, bool, int, float)):
            found[name] = value
        else:
            structured = isinstance(value, (Mapping, list, tuple))
            found[name] = json.dumps(value, default=str) if structured else str(value)
        if len(found) > MOST_VALUES:
            raise WrongRunError(f"it has more than {MOST_VALUES:,} values")
    return found


def cell(text: str) -> Cell:
    """Returns what a text of a tracker that keeps only texts says: a number, a truth value, or the text."""
    word = text.strip()
    known: dict[str, Cell] = {
        "True": True,
        "true": True,
        "False": False,
        "false": False,
        "None": None,
        "": None,
    }
    if word in known:
        return known[word]
    # Underscores, and digits of other scripts, are no numbers that a tracker wrote.
    if not word.isascii() or "_" in word:
        return text
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return text


def number(value: Any) -> float | None:
    """Returns a number of any type as a float, also one that is a text (`NaN`); `None` where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (OverflowError, ValueError):
        return None if isinstance(value, str) else math.inf


def needs(module: str, what: str, extra: str = "trackers") -> InputError:
    """Returns the error where a package that reads a source is not installed."""
    return InputError(f"{what} needs the package {module}; run: pip install 'scalelab[{extra}]'")
