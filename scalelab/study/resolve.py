"""A study's components and options against the plugins: what exists, what is allowed, what varies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from scalelab.cache import file_digest
from scalelab.components import Architecture, Dataset, Optimizer, Params, identity_of, locations
from scalelab.constraints import Constraint
from scalelab.errors import PluginError, StudyError, brief, suggest
from scalelab.records import ComponentRef
from scalelab.space import Choice, Dimension, Doubling
from scalelab.study.messages import first_problem, join_keys, one_line
from scalelab.study.model import ComponentEntry, DatasetEntry, Study, located

if TYPE_CHECKING:
    from scalelab.plugins import Catalog

Key = tuple[str | int, ...]
ComponentT = TypeVar("ComponentT", Dataset, Architecture, Optimizer)
VariedT = TypeVar("VariedT", Architecture, Optimizer)


@dataclass(frozen=True)
class Resolved(Generic[ComponentT]):
    """One component of a study, with everything that its points need; a dataset has no space, and one point.

    Attributes:
        component: What the plugin describes.
        key: Where it stands in the study: `("architecture", 0)`.
        options: Constants.
        space: What varies; no name is in both.
        constraints: The component's and the study's.
        study: Names the study in messages and anchors relative locations.
        files: Digests of the files that the points' options named so far, each read once.
    """

    component: ComponentT
    key: Key
    options: dict[str, Any]
    space: dict[str, Dimension]
    constraints: tuple[Constraint, ...]
    study: Study
    files: dict[Path, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The study and the key, for messages."""
        return f"{self.study.source}: {join_keys(*self.key)}"

    def allows(self, point: Mapping[str, Any]) -> bool:
        """Tells whether all constraints hold at a point (which has a value for each dimension)."""
        values = self._defaults | self.options | dict(point)
        try:
            return all(constraint.holds(values) for constraint in self.constraints)
        except StudyError as error:
            raise StudyError(one_line(f"{self.where}: {error}")) from error

    def params(self, point: Mapping[str, Any]) -> Params:
        """Returns the options at a point, defaults included.

        Raises:
            StudyError: The component refuses the point.
        """
        component = self.component
        try:
            params = _validated(component, {**self.options, **point})
        except ValidationError as error:
            # Blames the constants or, where it varies, the point's value.
            problem = first_problem(error, component.params)
            assert problem is not None, "a ValidationError without errors"
            table = () if not problem.path else ("space",) if problem.path[0] in point else ("options",)
            at = f" (at the point {brief(dict(point), 200)})" if point else ""
            message = problem.at(*self.key, *table, *problem.path)
            raise StudyError(one_line(f"{self.study.source}: {message}{at}")) from error
        return params.model_copy(update=_absolute(params, self.study))

    def ref(self, point: Mapping[str, Any]) -> ComponentRef:
        """Returns the component at a point, as a trial names it."""
        component, params = self.component, self.params(point)
        # The content of a dataset's files is in its fingerprint.
        content = {} if self.key == ("dataset",) else self._content(params)
        return ComponentRef(
            name=component.name, version=component.version, params=identity_of(params), content=content
        )

    def _content(self, params: Params) -> dict[str, str]:
        """Returns digests of the files among the options, and remembers where they are.

        Raises:
            StudyError: One is missing.
        """
        content = {}
        for name in sorted(locations(type(params))):
            path = getattr(params, name)
            if path is None:
                continue
            if not path.is_file():
                what = f"{self.where}.options.{name} = {brief(str(self.options.get(name, path)))}"
                raise StudyError(one_line(f"{what}: there is no file {path}"))
            if path not in self.files:
                self.files[path] = file_digest(path)
            content[name] = self.files[path]
        return content

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        fields = self.component.params.model_fields.items()
        return {
            name: info.get_default(call_default_factory=True)
            for name, info in fields
            if not info.is_required()
        }


@dataclass(frozen=True)
class ResolvedStudy:
    """All components of a study.

    Attributes:
        dataset: What the plugin describes.
        dataset_params: Its options, locations absolute.
        dataset_ref: Both, as a trial names them.
        architectures: In the order of the study.
        optimizers: In the order of the study.
    """

    dataset: Dataset
    dataset_params: Params
    dataset_ref: ComponentRef
    architectures: tuple[Resolved[Architecture], ...]
    optimizers: tuple[Resolved[Optimizer], ...]


def resolve(study: Study, catalog: Catalog) -> ResolvedStudy:
    """Looks up every component of a study and checks every option, dimension and constraint.

    Raises:
        StudyError: An option, a dimension or a constraint is wrong.
        PluginError: A component is unknown, or its plugin is broken.
    """
    found: Dataset = _component(catalog, "dataset", study.dataset, study, ("dataset",))
    dataset = Resolved(found, ("dataset",), study.dataset.options, {}, (), study)
    return ResolvedStudy(
        dataset=found,
        dataset_params=dataset.params({}),
        dataset_ref=dataset.ref({}),
        architectures=_resolved(catalog, "architecture", study.architectures, study),
        optimizers=_resolved(catalog, "optimizer", study.optimizers, study),
    )


def _resolved(
    catalog: Catalog, kind: str, entries: tuple[ComponentEntry, ...], study: Study
) -> tuple[Resolved[Any], ...]:
    keyed: list[tuple[Key, ComponentEntry]] = [((kind, index), one) for index, one in enumerate(entries)]
    return tuple(
        _resolve(_component(catalog, kind, entry, study, key), entry, study, key) for key, entry in keyed
    )


def _component(catalog: Catalog, kind: str, entry: DatasetEntry, study: Study, key: Key) -> Any:
    try:
        return getattr(catalog, kind)(entry.name)
    except PluginError as error:
        where = f"{study.source}: {join_keys(*key)}.name = {brief(entry.name)}"
        raise PluginError(one_line(f"{where}: {error}")) from error


def _validated(component: Dataset | Architecture | Optimizer, options: Mapping[str, Any]) -> Params:
    """Returns the component's options; a text that pydantic would read as a number is refused.

    Pydantic's own strict mode would be simpler, but then a plugin's "before" validators get lists where its
    fields ask for tuples.
    """
    try:
        params = component.params.model_validate(dict(options))
    except ValidationError:
        raise
    except Exception as error:  # a plugin's validator that trusts its input
        problem = located(f": {component.name!r} cannot read its options: {type(error).__name__}: {error}")
        detail = InitErrorDetails(type=problem, loc=(), input=options)
        raise ValidationError.from_exception_data(component.name, [detail]) from error
    resolved = params.model_dump(mode="json")
    for name, value in options.items():
        unfaithful = _first_unfaithful(value, resolved.get(name), (name,))
        if unfaithful:
            raise ValidationError.from_exception_data(component.name, [unfaithful])
    return params


def _first_unfaithful(given: Any, resolved: Any, path: Key) -> InitErrorDetails | None:
    """Finds `"8"` or `true` where a number came of it, and a number where a truth value did."""
    if isinstance(given, (list, tuple)) and isinstance(resolved, list):
        pairs = enumerate(zip(given, resolved, strict=False))  # a validator may lengthen or shorten a list
        found = (_first_unfaithful(*pair, (*path, index)) for index, pair in pairs)
        return next(filter(None, found), None)
    if not isinstance(resolved, (bool, int, float)) or not isinstance(given, (bool, int, float, str)):
        return None
    if isinstance(given, str) or isinstance(given, bool) != isinstance(resolved, bool):
        kind = {bool: "bool_type", int: "int_type", float: "float_type"}[type(resolved)]
        return InitErrorDetails(type=kind, loc=path, input=given)
    return None


def _absolute(params: Params, study: Study) -> dict[str, Path]:
    """Returns the locations among the options, taken from the study file's folder."""
    folder = study.path.parent if study.path else Path()
    given = {name: getattr(params, name) for name in locations(type(params))}
    try:
        return {
            name: (folder / value.expanduser()).absolute()
            for name, value in given.items()
            if value is not None
        }
    except RuntimeError as error:  # "~someone" where there is no such user
        raise StudyError(one_line(f"{study.source}: {brief(given)}: {error}")) from error


def _resolve(component: VariedT, entry: ComponentEntry, study: Study, key: Key) -> Resolved[VariedT]:
    where = f"{study.source}: {join_keys(*key)}"
    space = entry.space
    if space == "default":
        if not component.space:
            raise StudyError(f"{where}.space = 'default': {component.name!r} has no default space")
        space = {name: value for name, value in component.space.items() if name not in entry.options}
    known = component.params.model_fields
    for name in space:
        if name not in known:
            raise StudyError(one_line(f"{where}.{join_keys('space', name)}: {_no_option(component, name)}"))
        if name in entry.options:
            raise StudyError(f"{where}.space.{name}: is in options too; an option is a constant or varies")
    constraints = _own_constraints(component, where) + entry.constraints
    for constraint in constraints:
        for name in sorted(constraint.names.difference(known)):
            what = f"{where}.constraints: {constraint.text!r} names {name!r}"
            raise StudyError(one_line(f"{what}: {_no_option(component, name)}"))
    resolved = Resolved(component, key, dict(entry.options), space, constraints, study)
    _check_values(resolved)
    return resolved


def _own_constraints(component: Architecture | Optimizer, where: str) -> tuple[Constraint, ...]:
    try:
        return tuple(map(Constraint.parse, component.constraints))
    except StudyError as error:
        raise PluginError(
            one_line(f"{where}: {component.name!r} brings a wrong constraint: {error}")
        ) from error


def _no_option(component: Architecture | Optimizer, name: str) -> str:
    known = list(component.params.model_fields)
    listed = f"it has {', '.join(known)}" if known else "it has none"
    return f"{component.name!r} has no such option{suggest(name, known)} ({listed})"


def _check_values(resolved: Resolved[Any]) -> None:
    """Checks constants, and every dimension at its ends, before anything is drawn.

    A relation between options that a model refuses as a whole may hold elsewhere in the space: where
    something varies, it is checked point by point when points are drawn.
    """
    space = resolved.space
    first = {name: dimension.from_unit(0.0) for name, dimension in space.items()}
    _refuse(resolved, first, lambda path: not space if not path else path[0] not in space, "options")
    for name, dimension in space.items():
        for key, value in _ends(dimension).items():
            _refuse(resolved, {**first, name: value}, _about(name), "space", key)


def _about(name: str) -> Callable[[Key], bool]:
    return lambda path: path[:1] == (name,)


def _refuse(
    resolved: Resolved[Any],
    point: Mapping[str, Any],
    accept: Callable[[Key], bool],
    table: str,
    end: Key = (),
) -> None:
    """Raises where the model refuses a point for a reason that `accept` wants to hear of."""
    try:
        _validated(resolved.component, {**resolved.options, **point})
    except ValidationError as error:
        problem = first_problem(error, resolved.component.params, accept)
        if problem is not None:
            inside = (table, *problem.path[:1], *end, *problem.path[1:]) if problem.path else ()
            message = problem.at(*resolved.key, *inside)
            raise StudyError(one_line(f"{resolved.study.source}: {message}")) from error


def _ends(dimension: Dimension) -> dict[Key, Any]:
    """Returns the values that stand for a dimension, by the key of the study file that gives them."""
    if isinstance(dimension, Choice):
        return {("values", index): value for index, value in enumerate(dimension.values)}
    last = dimension.grid()[-1] if isinstance(dimension, Doubling) else dimension.from_unit(1.0)
    return {("low",): dimension.from_unit(0.0), ("high",): last}
