"""What the contracts share: checks of a descriptor and its options, and of what must stay untouched."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import pytest
from pydantic import ValidationError

from scalelab.components import Architecture, Component, Optimizer
from scalelab.constraints import Constraint
from scalelab.errors import PluginError, ScalelabError
from scalelab.params import Params
from scalelab.plugins import verify_component
from scalelab.trainers import Trainer

if TYPE_CHECKING:
    import torch
    from torch import nn

MANY = 10_000

Result = TypeVar("Result")


class ComponentContract:
    """Base of the contracts: what holds for a component of any kind."""

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        """Options to check the component with, where its defaults cannot be used; fixture to override."""
        return {}

    @pytest.fixture
    def component(self) -> Component | Trainer:
        """The component under test; each contract gives its own name to it."""
        raise NotImplementedError

    @pytest.fixture
    def params(self, component: Component | Trainer, options: Mapping[str, Any]) -> Params:
        """The options, validated."""
        try:
            return component.params.model_validate(dict(options))
        except ValidationError as error:
            pytest.fail(
                f"{component.name}: the options {dict(options)} of the fixture 'options' are refused: {error}"
            )

    def test_descriptor_is_sound(self, component: Component | Trainer) -> None:
        """The loader accepts the descriptor."""
        try:
            verify_component(component)
        except PluginError as error:
            pytest.fail(str(error))

    def test_unknown_option_is_refused(self, component: Component | Trainer) -> None:
        """A misspelled option is an error, not a default in disguise."""
        with pytest.raises(ValidationError) as caught:
            component.params.model_validate({"no_such_option": 1})
        assert any(item["type"] == "extra_forbidden" for item in caught.value.errors()), (
            f"{component.params.__name__} accepts unknown options: keep extra='forbid' of scalelab.Params"
        )

    def test_options_never_change(self, params: Params) -> None:
        """Options are frozen."""
        for name in type(params).model_fields:
            with pytest.raises(ValidationError):
                setattr(params, name, getattr(params, name))

    def test_nan_and_infinity_are_refused(
        self, component: Component | Trainer, options: Mapping[str, Any]
    ) -> None:
        """An option that may be a fraction is a finite number."""
        for name, field in component.params.model_fields.items():
            if float not in (field.annotation, *get_args(field.annotation)):
                continue
            for value in (float("nan"), float("inf")):
                try:
                    component.params.model_validate({**options, name: value})
                except ValidationError:
                    continue
                pytest.fail(
                    f"{component.params.__name__} accepts {name} = {value}: keep allow_inf_nan=False of "
                    "scalelab.Params, and give the option bounds"
                )

    def test_options_have_a_line_of_help(self, component: Component | Trainer) -> None:
        """Every option says what it is."""
        silent = [name for name, field in component.params.model_fields.items() if not field.description]
        assert not silent, (
            f"{component.params.__name__}: give {', '.join(silent)} a Field(description=…); it is what "
            "'scalelab plugins --verbose' and error messages show"
        )

    def test_options_survive_json(self, component: Component | Trainer, params: Params) -> None:
        """Options are recorded as JSON and read again."""
        copy = type(params).model_validate_json(params.model_dump_json())
        assert copy == params, (
            f"{component.params.__name__} is not the same after a round trip through JSON: {params!r} became "
            f"{copy!r}; use types that JSON can represent"
        )


def sampled_options(component: Architecture | Optimizer, n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Returns `n` points of the default space that satisfy the constraints; none where there is no space.

    Fails where the constraints leave nothing of 10,000 draws.
    """
    if not component.space:
        return []
    rng = random.Random(seed)
    constraints = [Constraint.parse(text) for text in component.constraints]
    fixed = {
        name: field.get_default(call_default_factory=True)
        for name, field in component.params.model_fields.items()
        if not field.is_required()
    }
    points: list[dict[str, Any]] = []
    for _ in range(MANY):
        point = {name: dimension.from_unit(rng.random()) for name, dimension in component.space.items()}
        if all(constraint.holds(fixed | point) for constraint in constraints):
            points.append(point)
        if len(points) == n:
            return points
    pytest.fail(
        f"{component.name}: {MANY} draws from its space gave {len(points)} points that satisfy "
        f"{', '.join(component.constraints)}; widen the space or the constraints"
    )


def validated(component: Component, point: Mapping[str, Any], options: Mapping[str, Any]) -> Params:
    """Returns the options at a sampled point; fails where the component refuses what its own space gives."""
    try:
        return component.params.model_validate({**options, **point})
    except ValidationError as error:
        first = error.errors()[0]
        pytest.fail(
            f"{component.name}: its space gives {dict(point)}, which its Params refuse: {first['loc']}: "
            f"{first['msg']}; let the space lie within the bounds of the options"
        )


@contextmanager
def untouched(what: str, *, generators: bool = True) -> Iterator[None]:
    """Fails where global state is not as before afterwards.

    Args:
        what: What runs inside, for the message.
        generators: Whether the global random generators must stay as they are too.
    """
    with seeded(secrets.randbits(32)):  # a state that no fixed seed gives
        before = _global_state()
        yield
        after = _global_state()
    changed = [
        name for name in before if before[name] != after[name] and (generators or name not in _GENERATORS)
    ]
    assert not changed, (
        f"{what} changed {', '.join(changed)}: leave global state as it is, so that no trial depends on what "
        "ran before it; take randomness from a generator of your own or the one you are given"
    )


_GENERATORS = ("Python's random generator", "NumPy's random generator", "torch's random generator")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Runs with the global generators seeded as a worker seeds them, and puts them back afterwards."""
    import numpy as np
    import torch

    from scalelab.train.device import seed_everything

    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        seed_everything(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def _global_state() -> dict[str, Any]:
    import numpy as np
    import torch

    kind, keys, *place = np.random.get_state(legacy=True)  # noqa: NPY002
    numpy_state = (kind, np.asarray(keys).tolist(), *place)
    states = (random.getstate(), numpy_state, torch.get_rng_state().tolist())
    return {
        **dict(zip(_GENERATORS, states, strict=True)),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        # torch notes its compiler's cache there when the first optimizer is made; no plugin can help that.
        "the environment variables": {
            name: value for name, value in os.environ.items() if not name.startswith("TORCHINDUCTOR_")
        },
        "the working directory": os.getcwd(),
    }


def infer(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Returns what a model answers in evaluation mode, in which it stays."""
    import torch

    with torch.no_grad():
        outputs: torch.Tensor = model.eval()(inputs)
    return outputs


def unequal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> list[str]:
    """Returns the names of the tensors that are not bit for bit those of the same name in `other`."""
    import torch

    return [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]


def attempt(call: Callable[[], Result], advice: str) -> Result:
    """Calls, and turns any exception into a failure that says what to fix."""
    try:
        return call()
    except Exception as error:
        pytest.fail(f"{advice} (got {type(error).__name__}: {error})")


def refuses(
    call: Callable[[], Any], error_class: type[ScalelabError], advice: str, mention: str = ""
) -> bool:
    """Tells whether a call raised the right error, in one line that holds `mention`.

    Fails, with the advice, where it raised another error or another kind of message.
    """
    try:
        call()
    except error_class as error:
        message = str(error)
        if "\n" in message or mention not in message:
            pytest.fail(f"the error must be one line that names {mention or 'the problem'}; it is: {message}")
        return True
    except Exception as error:
        pytest.fail(f"{advice} (got {type(error).__name__}: {error})")
    return False
