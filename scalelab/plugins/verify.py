"""What a hook may return, checked when a plugin is loaded; every message says what was got and expected.

Only what can be known without opening, building or importing anything heavy is checked here. The contract
tests of `scalelab.testing` check the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast, get_args

from scalelab.components import (
    Architecture,
    Backend,
    BackendParams,
    Component,
    Dataset,
    FileCommand,
    Optimizer,
    Precision,
)
from scalelab.constraints import Constraint
from scalelab.errors import PluginError, StudyError, brief, suggest
from scalelab.jsonable import is_sayable
from scalelab.law import Law
from scalelab.params import Params
from scalelab.records import TrainingOptions
from scalelab.space import Dimension
from scalelab.trainers import Trainer

Kind = Literal["dataset", "architecture", "optimizer", "backend", "law", "trainer"]
Provided = Component | Trainer | Law
"""What a hook gives an element of."""

HOOKS: dict[str, tuple[Kind, type[Provided]]] = {
    "scalelab_datasets": ("dataset", Dataset),
    "scalelab_architectures": ("architecture", Architecture),
    "scalelab_optimizers": ("optimizer", Optimizer),
    "scalelab_backends": ("backend", Backend),
    "scalelab_laws": ("law", Law),
    "scalelab_trainers": ("trainer", Trainer),
}
"""The kind and the class that each hook gives."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""Names of components and laws: they stand in study files, on command lines and in columns."""

FILE_COMMANDS = ("download", "inspect", "synthesize")
"""The fields of a dataset that are commands of `scalelab data`."""

_FUNCTIONS = {
    "dataset": ("open",),
    "architecture": ("build",),
    "optimizer": ("build",),
    "backend": ("devices", "load"),
    "trainer": ("train",),
}


def kind_of(component: Provided) -> Kind:
    """Returns the kind of a component, or `"law"`."""
    return next(kind for kind, cls in HOOKS.values() if isinstance(component, cls))


def claimed(hook: str, returned: Any) -> list[Provided]:
    """Returns the components in a hook's value, sound or not: a broken plugin is asked for by name too."""
    _, cls = HOOKS[hook]
    found = returned if isinstance(returned, list) else []
    return [item for item in found if isinstance(item, cls) and isinstance(getattr(item, "name", None), str)]


def verify_returned(hook: str, returned: Any) -> None:
    """Checks what a hook returned.

    Raises:
        PluginError: It is not a list, or an element is not a sound component of the hook's kind.
    """
    _, cls = HOOKS[hook]
    if not isinstance(returned, list):
        raise PluginError(
            f"{hook}() returned {_describe(returned)}, expected a list of scalelab.{cls.__name__}"
        )
    for index, component in enumerate(returned):
        if not isinstance(component, cls):
            raise PluginError(
                f"{hook}() returned a list whose element {index} is {_describe(component)}, "
                f"expected a scalelab.{cls.__name__}"
            )
        try:
            verify_component(component)
        except PluginError as error:
            raise PluginError(f"{hook}(): {error}") from None
    names = [component.name for component in returned]
    for name in names:
        if names.count(name) > 1:
            raise PluginError(f"{hook}() returned {names.count(name)} components called {name!r}; rename one")


def verify_component(component: Provided) -> None:
    """Checks one descriptor, or one law.

    Raises:
        PluginError: A field is wrong; the message names the first one, its value and what is expected.
    """
    kind = kind_of(component)
    problems = _law_problems(component) if isinstance(component, Law) else _problems(component, kind)
    for problem in problems:
        raise PluginError(f"{kind} {brief(getattr(component, 'name', type(component).__name__))}: {problem}")


def _problems(component: Any, kind: Kind) -> Iterator[str]:
    yield from _name_problems(component.name)
    if not isinstance(component.summary, str) or not component.summary.strip() or "\n" in component.summary:
        yield f"summary must be one line of text, got {_describe(component.summary)}"
    for field in _FUNCTIONS[kind]:
        if not callable(getattr(component, field)):
            yield f"{field} must be a function, got {_describe(getattr(component, field))}"
    if not (isinstance(component.params, type) and issubclass(component.params, Params)):
        yield f"params must be a subclass of scalelab.Params, got {_describe(component.params)}"
    if not isinstance(component.version, int) or isinstance(component.version, bool) or component.version < 1:
        yield f"version must be a whole number of 1 or more, got {brief(component.version)}"
    if kind == "dataset":
        yield from _file_command_problems(component)
    if kind == "backend":
        yield from _precision_problems(component)
        if not isinstance(component.packages, tuple):
            yield f"packages must be a tuple of distribution names, got {_describe(component.packages)}"
    if kind == "trainer":
        yield from _trainer_problems(component)
    if kind in ("architecture", "optimizer"):
        yield from _space_problems(component)
    if kind == "architecture":
        if component.features is not None and not callable(component.features):
            yield f"features must be a function or None, got {_describe(component.features)}"
        head = component.head
        if head is not None and not (isinstance(head, str) and is_sayable(head)):
            yield f"head must be the name of a submodule or None, got {_describe(head)}"
    if kind == "optimizer":
        if component.closure not in (None, "whole", "after"):
            yield f"closure must be 'whole', 'after' or None, got {_describe(component.closure)}"
        if component.evaluations is not None and not callable(component.evaluations):
            yield f"evaluations must be a function or None, got {_describe(component.evaluations)}"


def _trainer_problems(trainer: Any) -> Iterator[str]:
    if not isinstance(trainer.ignores, tuple):
        yield f"ignores must be a tuple of options of training, got {_describe(trainer.ignores)}"
        return
    for name in trainer.ignores:
        if name not in TrainingOptions.model_fields:
            near = suggest(str(name), TrainingOptions.model_fields)
            yield f"ignores names {brief(name)}, which is no option of training{near}"
    if not isinstance(trainer.exact, bool):
        yield f"exact must be True or False, got {_describe(trainer.exact)}"


def _precision_problems(backend: Any) -> Iterator[str]:
    if not (isinstance(backend.params, type) and issubclass(backend.params, BackendParams)):
        yield f"params must be a subclass of scalelab.BackendParams, got {_describe(backend.params)}"
        return
    offered, known = backend.precisions, get_args(Precision)
    if not offered or not set(offered) <= set(known):
        yield f"precision must be a Literal of some of {', '.join(known)}, got {', '.join(map(str, offered))}"


def _file_command_problems(dataset: Any) -> Iterator[str]:
    for field in FILE_COMMANDS:
        command: Any = getattr(dataset, field)
        if command is None:
            continue
        if not isinstance(command, FileCommand):
            yield f"{field} must be a scalelab.FileCommand or None, got {_describe(command)}"
            continue
        run, params = cast(Any, command.run), cast(Any, command.params)
        if not callable(run):
            yield f"{field}.run must be a function, got {_describe(run)}"
        if not (isinstance(params, type) and issubclass(params, Params)):
            yield f"{field}.params must be a subclass of scalelab.Params, got {_describe(params)}"


def _name_problems(name: Any) -> Iterator[str]:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        yield "a name is lower-case letters, digits, '.', '_' and '-', and starts with a letter or digit"


def _law_problems(law: Any) -> Iterator[str]:
    yield from _name_problems(getattr(law, "name", None))
    for part in ("equation", "paper"):
        text = getattr(law, part, None)
        if not isinstance(text, str) or not text.strip() or "\n" in text:
            yield f"{part} must be one line of text, got {_describe(text)}"
    for part in ("axes", "params"):
        names = getattr(law, part, None)
        if not isinstance(names, tuple) or not names or not all(isinstance(name, str) for name in names):
            yield f"{part} must be a tuple of names, got {_describe(names)}"
        elif len(set(names)) < len(names):
            yield f"{part} lists a name twice: {', '.join(names)}"
    for part in ("exponents", "coefficients"):
        unknown = [name for name in getattr(law, part) if name not in law.params]
        if unknown:
            yield f"{part} names {unknown[0]!r}, which is not a parameter{suggest(unknown[0], law.params)}"


def _space_problems(component: Any) -> Iterator[str]:
    if not isinstance(component.space, Mapping):
        yield f"space must map option names to dimensions, got {_describe(component.space)}"
        return
    fields = component.params.model_fields
    for option, dimension in component.space.items():
        if option not in fields:
            yield f"space names {option!r}, which is not an option{suggest(str(option), fields)}"
        if not isinstance(dimension, get_args(Dimension)):
            expected = ", ".join(cls.__name__ for cls in get_args(Dimension))
            yield f"space[{option!r}] must be one of {expected}, got {_describe(dimension)}"
    if not isinstance(component.constraints, tuple):
        yield f"constraints must be a tuple of strings, got {_describe(component.constraints)}"
        return
    for text in component.constraints:
        try:
            unknown = sorted(Constraint.parse(text).names - set(fields))
        except StudyError as error:
            yield f"constraint {error}"
        else:
            for name in unknown:
                yield f"constraint {text!r} names {name!r}, which is not an option{suggest(name, fields)}"


def _describe(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    return f"{type(value).__name__} {brief(value)}"
