"""Components of a study with everything that its points need: what is fixed, what varies, what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from scalelab.cache import file_digest
from scalelab.components import Architecture, Dataset, Optimizer
from scalelab.constraints import Constraint
from scalelab.errors import InputError, StudyError, brief
from scalelab.params import Params, identity_of, locations
from scalelab.records import ComponentRef
from scalelab.regular_files import expanded
from scalelab.space import Dimension
from scalelab.study.messages import first_problem, join_keys, one_line
from scalelab.study.model import Study, Tune
from scalelab.study.rules import Rule, followed
from scalelab.study.validate import Key, defaults_of, validated
from scalelab.trainers import Trainer

ComponentT = TypeVar("ComponentT", Dataset, Architecture, Optimizer, Trainer)
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
        trainer: What trains; `None` for scalelab's own loop.
    """

    dataset: Resolved[Dataset]
    architectures: tuple[Resolved[Architecture], ...]
    optimizers: tuple[Resolved[Optimizer], ...]
    trainer: Resolved[Trainer] | None = None

    @property
    def with_files(self) -> tuple[Resolved[Any], ...]:
        """The components whose options may name files that a trial has to find."""
        return (*self.architectures, *self.optimizers, *filter(None, [self.trainer]))


def _absolute(params: Params, study: Study) -> dict[str, Path]:
    """Returns the locations among the options, taken from the study file's folder."""
    folder = study.path.parent if study.path else Path()
    given = {name: getattr(params, name) for name in locations(type(params))}
    try:
        return {
            name: (folder / expanded(value)).absolute() for name, value in given.items() if value is not None
        }
    except InputError as error:  # "~someone" where there is no such user
        raise StudyError(one_line(f"{study.source}: {error}")) from error
