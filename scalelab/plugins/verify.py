"""What a hook may return, checked when a plugin is loaded; every message says what was got and expected.

Only what can be known without opening, building or importing anything heavy is checked here. The contract
tests of `scalelab.testing` check the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from scalelab.components import Architecture, Backend, Component, Dataset, Optimizer, Params
from scalelab.constraints import Constraint
from scalelab.errors import PluginError, StudyError, brief, suggest
from scalelab.space import Dimension

Kind = Literal["dataset", "architecture", "optimizer", "backend"]

HOOKS: dict[str, tuple[Kind, type[Component]]] = {
    "scalelab_datasets": ("dataset", Dataset),
    "scalelab_architectures": ("architecture", Architecture),
    "scalelab_optimizers": ("optimizer", Optimizer),
    "scalelab_backends": ("backend", Backend),
}
"""The kind and the class that each hook gives."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""Names of components: they stand in study files, on command lines and in columns."""

_FUNCTIONS = {
    "dataset": ("open",),
    "architecture": ("build",),
    "optimizer": ("build",),
    "backend": ("devices", "load"),
}


def kind_of(component: Component) -> Kind:
    """Returns the kind of a component."""
    return next(kind for kind, cls in HOOKS.values() if isinstance(component, cls))


def claimed(hook: str, returned: Any) -> list[Component]:
    """Returns the components in a hook's value, sound or not: a broken plugin is asked for by name too."""
    _, cls = HOOKS[hook]
    found = returned if isinstance(returned, list) else []
    return [item for item in found if isinstance(item, cls) and isinstance(item.name, str)]


def verify_returned(hook: str, returned: Any) -> None:
    """Checks what a hook returned.

    Raises:
        PluginError: It is no list, or an element is no sound component of the hook's kind.
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


def verify_component(component: Component) -> None:
    """Checks one descriptor.

    Raises:
        PluginError: A field is wrong; the message names the first one, its value and what is expected.
    """
    kind = kind_of(component)
    for problem in _problems(component, kind):
        raise PluginError(f"{kind} {component.name!r}: {problem}")


def _problems(component: Any, kind: Kind) -> Iterator[str]:
    if not isinstance(component.name, str) or not NAME.fullmatch(component.name):
        yield "a name is lower-case letters, digits, '.', '_' and '-', and starts with a letter or digit"
    if not isinstance(component.summary, str) or not component.summary.strip() or "\n" in component.summary:
        yield f"summary must be one line of text, got {_describe(component.summary)}"
    for field in _FUNCTIONS[kind]:
        if not callable(getattr(component, field)):
            yield f"{field} must be a function, got {_describe(getattr(component, field))}"
    if not (isinstance(component.params, type) and issubclass(component.params, Params)):
        yield f"params must be a subclass of scalelab.Params, got {_describe(component.params)}"
    if not isinstance(component.version, int) or isinstance(component.version, bool) or component.version < 1:
        yield f"version must be a whole number of 1 or more, got {component.version!r}"
    if kind in ("architecture", "optimizer"):
        yield from _space_problems(component)
    if kind == "architecture":
        if component.features is not None and not callable(component.features):
            yield f"features must be a function or None, got {_describe(component.features)}"
        if component.head is not None and not isinstance(component.head, str):
            yield f"head must be the name of a submodule or None, got {_describe(component.head)}"


def _space_problems(component: Any) -> Iterator[str]:
    if not isinstance(component.space, Mapping):
        yield f"space must map option names to dimensions, got {_describe(component.space)}"
        return
    fields = component.params.model_fields
    for option, dimension in component.space.items():
        if option not in fields:
            yield f"space names {option!r}, which is no option{suggest(str(option), fields)}"
        if not isinstance(dimension, get_args(Dimension)):
            expected = ", ".join(cls.__name__ for cls in get_args(Dimension))
            yield f"space[{option!r}] must be one of {expected}, got {_describe(dimension)}"
    if not isinstance(component.constraints, tuple):
        yield f"constraints must be a tuple of texts, got {_describe(component.constraints)}"
        return
    for text in component.constraints:
        try:
            unknown = sorted(Constraint.parse(text).names - set(fields))
        except StudyError as error:
            yield f"constraint {error}"
        else:
            for name in unknown:
                yield f"constraint {text!r} names {name!r}, which is no option{suggest(name, fields)}"


def _describe(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    return f"{type(value).__name__} {brief(value)}"


def one_line(error: BaseException) -> str:
    """Returns an exception's text without line breaks; its class where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__
