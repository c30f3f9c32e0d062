"""A study with a smaller space: the same study file, each dimension cut to where its best values are."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scalelab.constraints import is_number
from scalelab.errors import InputError, StudyError
from scalelab.propose.budget import located, written
from scalelab.records import canonical_json
from scalelab.space import Choice, Dimension, Doubling, Float, Int
from scalelab.study import Study, load_study, parse_study
from scalelab.study.resolve import resolve
from scalelab.study.resolved import Resolved

if TYPE_CHECKING:
    from scalelab.plugins import Catalog
    from scalelab.store import Store


class Limit(NamedTuple):
    """Where an option is to stay.

    Attributes:
        component: `architecture` or `optimizer`.
        owner: The component's name.
        option: The option's name.
        lower: Least value; `None` where values have no order.
        upper: Greatest value.
        values: Where values have no order, those to keep.
    """

    component: str
    owner: str
    option: str
    lower: float | None
    upper: float | None
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Narrowed:
    """A study file with a smaller space.

    Attributes:
        text: The file.
        changes: What changed, one line per dimension.
        n_trials: How many trials it has.
    """

    text: str
    changes: tuple[str, ...]
    n_trials: int


def stored_study(store: Store, study: str | None, folder: Path, source: Path | None) -> Study | None:
    """Returns the study that a store's runs were drawn from.

    Args:
        store: Where its text is kept.
        study: Its name; may be left out where the store has one only.
        folder: Where to look for relative locations of the study, for a store keeps its text alone.
        source: The study file itself, where the user gave it.

    Returns:
        The study; `None` where the runs were imported and belong to none.

    Raises:
        InputError: There are several.
        StudyError: The study cannot be read.
    """
    if source is not None:
        return load_study(source)
    found = [one for one in store.stored_studies() if one.text and study in (None, one.name)]
    if not found:
        return None
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise InputError(f"{store.path} has {len(found)} studies: {names}; choose one with --study")
    return parse_study(found[0].text, folder / f"{found[0].name}.toml")


def narrow(study: Study, limits: Iterable[Limit], path: Path, catalog: Catalog) -> Narrowed:
    """Returns the study with every dimension cut to its limits, checked by listing its trials.

    Values are cut to the steps of their dimension, outwards. Dimensions without a limit stay as they are, and
    so do constraints, sampling and training. A component's own space is written out.

    Args:
        study: The study.
        limits: Where options are to stay.
        path: Where the file will stand; relative locations in it are taken from there.
        catalog: The plugins.

    Raises:
        InputError: Nothing becomes smaller.
        StudyError: The study is wrong, or no point of the smaller space satisfies its constraints.
    """
    resolved = resolve(study, catalog)
    values: dict[str, Any] = tomllib.loads(study.text)
    values.pop("trials", None)  # a smaller space has trials of its own
    wanted = list(limits)
    changes: list[str] = []
    parts: tuple[tuple[str, tuple[Resolved[Any], ...]], ...] = (
        ("architecture", resolved.architectures),
        ("optimizer", resolved.optimizers),
    )
    for kind, components in parts:
        tables = values[kind] if isinstance(values[kind], list) else [values[kind]]
        for table, component in zip(tables, components, strict=True):
            own = [limit for limit in wanted if (limit.component, limit.owner) == (kind, table["name"])]
            space = _cut(component, own, changes)
            if space:
                table["space"] = space
        values[kind] = tables
    if not changes:
        raise InputError(
            "no dimension of the study can be narrowed: its best values are spread as widely as by chance; "
            "more trials may show a narrower range"
        )
    values["name"] = f"{study.name[:80]}-narrowed"
    values["description"] = f"Where the best models of {study.name} are"
    places = located(study, path, catalog)
    if places:
        values["dataset"]["options"] = {**values["dataset"].get("options", {}), **places}
    text, expansion = written(values, study, path, catalog)
    said = "".join(f"# {line}\n" for line in changes)
    return Narrowed(said + text, tuple(changes), len(expansion.trials))


def _cut(component: Resolved[Any], limits: list[Limit], changes: list[str]) -> dict[str, Any]:
    """Returns the space with its cut dimensions as a study file says it; empty where nothing is cut."""
    cut = {}
    for limit in limits:
        old = component.space.get(limit.option)
        new = cut_dimension(old, limit) if old is not None else None
        if new is not None and old is not None and new != old:
            cut[limit.option] = new
            changes.append(f"{limit.owner} {limit.option}: {_said(old)} -> {_said(new)}")
    if not cut:
        return {}
    whole = {**component.space, **cut}
    return {name: _written(component, name, dimension) for name, dimension in whole.items()}


def cut_dimension(dimension: Dimension, limit: Limit) -> Dimension:
    """Returns the part of a dimension that a limit leaves, rounded outwards to its steps."""
    if isinstance(dimension, Choice):
        kept = [value for value in dimension.values if _inside(value, limit)]
        return Choice(kept) if kept else dimension
    if limit.lower is None or limit.upper is None:
        return dimension
    lower, upper = max(limit.lower, dimension.low), min(limit.upper, dimension.high)
    if lower > upper:
        return dimension
    if isinstance(dimension, Doubling):
        values = [value for value in dimension.grid() if lower <= value <= upper]
        return Doubling(values[0], values[-1]) if values else dimension
    if dimension.step is None:
        lower, upper = _rounded(lower, math.floor), _rounded(upper, math.ceil)
        return replace(dimension, low=max(lower, dimension.low), high=min(upper, dimension.high))
    slack = 1e-9
    first = math.floor((lower - dimension.low) / dimension.step + slack)
    last = math.ceil((upper - dimension.low) / dimension.step - slack)
    start, step = Decimal(str(dimension.low)), Decimal(str(dimension.step))
    kind: Any = int if isinstance(dimension, Int) else float
    high = min(kind(start + last * step), dimension.high)
    return replace(dimension, low=kind(start + first * step), high=high)


def _inside(value: Any, limit: Limit) -> bool:
    if limit.lower is not None and limit.upper is not None:
        return is_number(value) and limit.lower <= value <= limit.upper
    kept = {canonical_json(one) if isinstance(one, (list, tuple)) else str(one) for one in limit.values}
    return (canonical_json(value) if isinstance(value, tuple) else str(value)) in kept


def _rounded(value: float, towards: Any) -> float:
    """Rounds to two significant digits, down or up."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{towards(value / unit) * unit:.6g}")


def _written(component: Resolved[Any], name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        if any(value is None for value in dimension.values):
            raise StudyError(
                f"{component.where}.space.{name}: one of its values is None, which TOML cannot express; "
                "write this dimension by hand"
            )
        return list(dimension.values)
    kind = {Int: "int", Float: "float", Doubling: "doubling"}[type(dimension)]
    fields: Mapping[str, Any] = asdict(dimension)
    defaults = {"step": (None, 1), "log": (False,)}
    return {"type": kind} | {
        key: value for key, value in fields.items() if value not in defaults.get(key, ())
    }


def _said(dimension: Dimension) -> str:
    if isinstance(dimension, Choice):
        return ", ".join(map(str, dimension.values))
    return f"{dimension.low:g} to {dimension.high:g}"
