"""A study's components and options against the plugins: what exists, what is allowed, what varies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ValidationError

from scalelab.cache import file_digest
from scalelab.components import Architecture, Dataset, Optimizer
from scalelab.constraints import Constraint
from scalelab.errors import PluginError, StudyError, brief, suggest
from scalelab.params import Params, identity_of, locations
from scalelab.records import ComponentRef
from scalelab.space import Dimension
from scalelab.study.messages import first_problem, join_keys, one_line
from scalelab.study.model import ComponentEntry, OptimizerEntry, Study, Tune
from scalelab.study.rules import COUNTS, Rule, followed, rule_of
from scalelab.study.validate import Key, defaults_of, ends_of, validated

if TYPE_CHECKING:
    from scalelab.plugins import Catalog

ComponentT = TypeVar("ComponentT", Dataset, Architecture, Optimizer)
Values = dict[str, Any]


@dataclass(frozen=True)
class Resolved(Generic[ComponentT]):
    """One component of a study, with everything that its points need.

    Attributes:
        component: What the plugin describes.
        key: Where it stands in the study: `("architecture", 0)`.
        options: Constants.
        rules: Options that follow another number of the trial; no name is in both.
        space: What varies; no name is in both.
        constraints: The component's and the study's.
        tune: By option how a sweep varies it; one at most.
        study: Names the study in messages and anchors relative locations.
        files: Digests of the files that the points' options named so far, each read once.
    """

    component: ComponentT
    key: Key
    options: dict[str, Any]
    rules: dict[str, Rule]
    space: dict[str, Dimension]
    constraints: tuple[Constraint, ...]
    tune: Mapping[str, Tune]
    study: Study
    files: dict[Path, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The study and the key, for messages."""
        return f"{self.study.source}: {join_keys(*self.key)}"

    @property
    def tuned(self) -> Values:
        """By tuned option a value that stands for all of its sweep."""
        return {name: tune.middle for name, tune in self.tune.items()}

    @property
    def start_rules(self) -> tuple[Rule, ...]:
        """The rules that give the middle values of sweeps."""
        return tuple(tune.rule for tune in self.tune.values() if tune.rule is not None)

    def at(self, point: Mapping[str, Any]) -> Resolved[ComponentT]:
        """Returns the component at a point of its space, where nothing varies any more."""
        return replace(self, options={**self.options, **point}, space={})

    def known(self, point: Mapping[str, Any]) -> Values:
        """Returns the options at a point that follow from nothing but the point and the constants."""
        own = {**self._defaults, **self.options, **point}
        inner = {name: rule for name, rule in self.rules.items() if rule.scale in own}
        return {**own, **self._by_rule(own, inner)}

    def breaks(self, point: Mapping[str, Any], others: Mapping[str, Any] | None = None) -> Constraint | None:
        """Returns the first constraint that does not hold at a point; `None` where all do.

        Args:
            point: A value for each dimension.
            others: Options of the other components, to look at what names them too; by default only the
                constraints of options of its own are looked at. One that names what is not there holds.
        """
        own = self.known(point)
        values = {**(others or {}), **own}
        try:
            for constraint in self.constraints:
                inner = constraint.names <= own.keys()
                if inner != (others is None) or not constraint.names <= values.keys():
                    continue
                if not constraint.holds(values):
                    return constraint
        except StudyError as error:
            raise StudyError(one_line(f"{self.where}: {error}")) from error
        return None

    def params(self, point: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> Params:
        """Returns the options at a point, defaults included.

        Args:
            point: A value for each dimension.
            known: Numbers of the trial that rules may follow.

        Raises:
            StudyError: The component refuses the point, or a rule gives no value there.
        """
        component = self.component
        by_rule = self._by_rule({**(known or {}), **self.known(point)}, self.rules)
        try:
            params = validated(component, {**self.options, **by_rule, **point})
        except ValidationError as error:
            # Blames the constants or, where it varies, the point's value.
            problem = first_problem(error, component.params)
            assert problem is not None, "a ValidationError without errors"
            named = problem.path[0] if problem.path else ""
            where = "tune" if named in self.tune else "space" if named in point else "options"
            table = (where,) if named else ()
            inner = ("start",) if where == "tune" else ()
            at = f" (at the point {brief(dict(point), 200)})" if point else ""
            message = problem.at(*self.key, *table, *problem.path, *inner)
            raise StudyError(one_line(f"{self.study.source}: {message}{at}")) from error
        return params.model_copy(update=_absolute(params, self.study))

    def ref(self, point: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> ComponentRef:
        """Returns the component at a point, as a trial names it; see `params`."""
        component, params = self.component, self.params(point, known)
        # The content of a dataset's files is in its fingerprint.
        content = {} if self.key == ("dataset",) else self._content(params)
        return ComponentRef(
            name=component.name, version=component.version, params=identity_of(params), content=content
        )

    def _by_rule(self, known: Mapping[str, Any], rules: Mapping[str, Rule]) -> Values:
        fields = self.component.params.model_fields
        return {
            name: followed(rule, known, f"{self.where}.options.{name}", whole=fields[name].annotation is int)
            for name, rule in rules.items()
        }

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
    def across(self) -> bool:
        """Whether a constraint names options of other components."""
        own = self.component.params.model_fields.keys()
        return any(not constraint.names <= own for constraint in self.constraints)

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        return defaults_of(self.component)


@dataclass(frozen=True)
class ResolvedStudy:
    """All components of a study.

    Attributes:
        dataset: With its options.
        architectures: In the order of the study.
        optimizers: In the order of the study.
    """

    dataset: Resolved[Dataset]
    architectures: tuple[Resolved[Architecture], ...]
    optimizers: tuple[Resolved[Optimizer], ...]


def resolve(study: Study, catalog: Catalog) -> ResolvedStudy:
    """Looks up every component of a study and checks every option, dimension, rule and constraint.

    Raises:
        StudyError: An option, a dimension, a rule or a constraint is wrong.
        PluginError: A component is unknown, or its plugin is broken.
    """
    entries: list[tuple[Key, ComponentEntry]] = [(("dataset",), study.dataset)]
    for kind, own in (("architecture", study.architectures), ("optimizer", study.optimizers)):
        entries += [((kind, index), entry) for index, entry in enumerate(own)]
    components = [_component(catalog, key, entry, study) for key, entry in entries]
    kinds = [str(key[0]) for key, _ in entries]
    found: list[Any] = [
        _resolve(component, entry, study, key, tuple(zip(kinds, components, strict=True)))
        for component, (key, entry) in zip(components, entries, strict=True)
    ]
    _refuse_unknown(found)
    n = 1 + len(study.architectures)
    return ResolvedStudy(dataset=found[0], architectures=tuple(found[1:n]), optimizers=tuple(found[n:]))


def _component(catalog: Catalog, key: Key, entry: ComponentEntry, study: Study) -> Any:
    try:
        return getattr(catalog, str(key[0]))(entry.name)
    except PluginError as error:
        where = f"{study.source}: {join_keys(*key)}.name = {brief(entry.name)}"
        raise PluginError(one_line(f"{where}: {error}")) from error


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


def _resolve(
    component: Any, entry: ComponentEntry, study: Study, key: Key, all_of_them: Sequence[tuple[str, Any]]
) -> Resolved[Any]:
    where = f"{study.source}: {join_keys(*key)}"
    tune = entry.tune if isinstance(entry, OptimizerEntry) else {}
    known = component.params.model_fields
    space = entry.space
    if space == "default":
        default = getattr(component, "space", {})
        if not default:
            raise StudyError(f"{where}.space = 'default': {component.name!r} has no default space")
        space = {name: value for name, value in default.items() if name not in (*entry.options, *tune)}
    rules: dict[str, Rule] = {}
    for name, value in entry.options.items():
        try:
            rule = rule_of(value, join_keys(*key, "options", name))
        except StudyError as error:
            raise StudyError(one_line(f"{study.source}: {error}")) from error
        if rule is not None:
            rules[name] = rule
    for table, names in (("space", space), ("tune", tune), ("options", rules)):
        for name in names:
            if name not in known:
                raise StudyError(one_line(f"{where}.{join_keys(table, name)}: {no_option(component, name)}"))
    for table, names in (("space", space), ("tune", tune)):
        twice = {"options": entry.options, "space": space if table == "tune" else {}}
        for name in names:
            for other, there in twice.items():
                if name in there:
                    what = (
                        "an option is a constant or varies" if table == "space" else "a sweep sets it alone"
                    )
                    raise StudyError(f"{where}.{table}.{name}: is in {other} too; {what}")
    options = {name: value for name, value in entry.options.items() if name not in rules}
    constraints = _own_constraints(component, where) + entry.constraints
    resolved = Resolved(component, key, options, rules, space, constraints, tune, study)
    _check_names(resolved, all_of_them)
    _check_values(resolved)
    return resolved


def _check_names(resolved: Resolved[Any], all_of_them: Sequence[tuple[str, Any]]) -> None:
    """Refuses a constraint or a rule that names what is not there, or not known when it is needed."""
    own = resolved.component.params.model_fields
    everything = {name for _, component in all_of_them for name in component.params.model_fields}
    # A rule of an optimizer follows every architecture; one of an architecture only what is there before.
    before = {"dataset": (), "architecture": ("dataset",), "optimizer": ("dataset", "architecture")}
    for constraint in resolved.constraints:
        what = f"{resolved.where}.constraints: {constraint.text!r} names"
        for name in sorted(constraint.names - everything):
            raise StudyError(one_line(f"{what} {name!r}: {no_option(resolved.component, name, everything)}"))
        outer = {name for name, rule in resolved.rules.items() if rule.scale not in own}
        for name in sorted(constraint.names & {*outer, *resolved.tune}):
            how = "tune" if name in resolved.tune else "its rule"
            raise StudyError(
                f"{what} {name!r}, which {how} sets; only constants and what varies are compared"
            )
    rules: list[tuple[tuple[str, ...], Rule]] = [
        (("options", name), rule) for name, rule in resolved.rules.items()
    ]
    rules += [(("tune", name, "start"), rule) for name, tune in resolved.tune.items() if (rule := tune.rule)]
    for path, rule in rules:
        where = f"{resolved.where}.{join_keys(*path)}.scale = {brief(rule.scale)}"
        counts = _counts(resolved)
        if rule.scale in (*counts, *own) and rule.scale not in (*resolved.rules, *resolved.tune):
            continue
        if rule.scale in own:
            raise StudyError(f"{where}: it is not known before; follow a constant or what varies")
        asked = [component for kind, component in all_of_them if kind in before[str(resolved.key[0])]]
        having = [component for component in asked if rule.scale in component.params.model_fields]
        architectures = [component for component in asked if isinstance(component, Architecture)]
        lacking = [component.name for component in architectures if component not in having]
        if not having:
            there = {*own, *counts, *(name for one in asked for name in one.params.model_fields)}
            raise StudyError(one_line(f"{where}: there is no such number{suggest(rule.scale, there)}"))
        if lacking and not any(isinstance(one, Dataset) for one in having):
            raise StudyError(f"{where}: architecture {lacking[0]!r} has no such option; follow n_params")


def _counts(resolved: Resolved[Any]) -> tuple[str, ...]:
    """Returns the counts that are known where a component's rules are followed."""
    kind = resolved.key[0]
    if kind == "optimizer":
        return COUNTS
    # isoFLOP sampling chooses networks before their data, and data are there before any size of them.
    before_data = kind == "dataset" or resolved.study.sampling.method == "isoflop"
    return ("batch_size",) if before_data else ("n_examples", "batch_size")


def _refuse_unknown(found: Sequence[Resolved[Any]]) -> None:
    """Refuses a constraint that names an option which a sweep or a rule of another component sets."""
    for other in found:
        fields = other.component.params.model_fields
        sets = {name: "a rule" for name, rule in other.rules.items() if rule.scale not in fields}
        sets |= dict.fromkeys(other.tune, "tune")
        for resolved in (one for one in found if one is not other):
            own = resolved.component.params.model_fields
            for constraint in resolved.constraints:
                for name in sorted(constraint.names & sets.keys() - own.keys()):
                    what = f"{resolved.where}.constraints: {constraint.text!r}"
                    raise StudyError(
                        f"{what} names {name!r}, set by {sets[name]} of {join_keys(*other.key)}; "
                        "only constants and what varies are compared"
                    )


def _own_constraints(component: Dataset | Architecture | Optimizer, where: str) -> tuple[Constraint, ...]:
    try:
        return tuple(map(Constraint.parse, getattr(component, "constraints", ())))
    except StudyError as error:
        raise PluginError(
            one_line(f"{where}: {component.name!r} brings a wrong constraint: {error}")
        ) from error


def no_option(component: Any, name: str, known: Iterable[str] | None = None) -> str:
    """Returns that a component (or none of several) has no such option, and what there is."""
    own = list(component.params.model_fields)
    listed = f"it has {', '.join(own)}" if own else "it has none"
    return f"{component.name!r} has no such option{suggest(name, known or own)} ({listed})"


def _check_values(resolved: Resolved[Any]) -> None:
    """Checks constants, and every dimension at its ends, before anything is drawn.

    A relation between options that a model refuses as a whole may hold elsewhere in the space: where
    something varies, it is checked point by point when points are drawn.
    """
    space = resolved.space
    first = {name: rule.first for name, rule in resolved.rules.items()} | resolved.tuned
    first |= {name: dimension.from_unit(0.0) for name, dimension in space.items()}
    apart = (*space, *resolved.tune, *resolved.rules)
    _refuse(resolved, first, lambda path: not apart if not path else path[0] not in apart, "options")
    for name in (name for name, tune in resolved.tune.items() if tune.rule is None):
        _refuse(resolved, first, _about(name), "tune", ("start",))
    for name, dimension in space.items():
        for key, value in ends_of(dimension).items():
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
        validated(resolved.component, {**resolved.options, **point})
    except ValidationError as error:
        problem = first_problem(error, resolved.component.params, accept)
        if problem is not None:
            inside = (table, *problem.path[:1], *end, *problem.path[1:]) if problem.path else ()
            message = problem.at(*resolved.key, *inside)
            raise StudyError(one_line(f"{resolved.study.source}: {message}")) from error
