"""The contract of an architecture."""

from __future__ import annotations

import copy
import functools
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from scalelab.components import Architecture, Shape
from scalelab.errors import InputError
from scalelab.params import Params
from scalelab.testing.common import (
    ComponentContract,
    attempt,
    infer,
    refuses,
    sampled_options,
    seeded,
    unequal,
    untouched,
    validated,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from scalelab.measurements import Complexity

Build = Callable[..., "nn.Module"]


class ArchitectureContract(ComponentContract):
    """Checks of an architecture: the fixture `architecture`, and a larger model's options as `larger`.

    Attributes:
        batch: Examples in a batch.
        gradient_steps: Steps within which every parameter must have received a gradient; more than one,
            because layers that start at zero or are dropped at random get theirs later.
        draws: Points of the default space that are built and run.
        tolerance: Greatest difference between one example alone and in a batch, relative and absolute.
    """

    batch = 4
    gradient_steps = 20
    draws = 5
    tolerance = 1e-4

    @pytest.fixture
    def architecture(self) -> Architecture:
        """The architecture under test; fixture to override."""
        raise NotImplementedError(
            "define a fixture 'architecture' that returns the scalelab.Architecture to check"
        )

    @pytest.fixture
    def component(self, architecture: Architecture) -> Architecture:
        """The architecture, under the name that every contract uses."""
        return architecture

    @pytest.fixture
    def larger(self) -> Mapping[str, Any]:
        """Options of a larger model of the family; fixture to override."""
        raise NotImplementedError(
            "define a fixture 'larger' that returns the options of a model with more parameters and FLOPs "
            "than that of the fixture 'options', such as {'width': 32}"
        )

    @pytest.fixture
    def input_shape(self) -> Shape:
        """The shape of an example, (channels, samples); fixture to override where it does not fit."""
        return (2, 256)

    @pytest.fixture
    def n_outputs(self) -> int:
        """The width of the output; fixture to override where it does not fit."""
        return 3

    @pytest.fixture
    def build(self, architecture: Architecture, params: Params, input_shape: Shape, n_outputs: int) -> Build:
        """Builds a model of the options: `build(seed=0, params=…, input_shape=…)`."""
        return functools.partial(_build, architecture, n_outputs, params=params, input_shape=input_shape)

    @pytest.fixture
    def model(self, build: Build) -> nn.Module:
        """The model, built with seed 0."""
        return build()

    @pytest.fixture
    def inputs(self, input_shape: Shape) -> torch.Tensor:
        """A batch of normal noise."""
        import torch

        return torch.randn(self.batch, *input_shape, generator=torch.Generator().manual_seed(1))

    def test_output_has_the_shape_of_the_task(
        self, model: nn.Module, inputs: torch.Tensor, n_outputs: int
    ) -> None:
        """(batch, *input_shape) becomes (batch, n_outputs), finite, for batches of any size."""
        for batch in (inputs, inputs[:1]):
            outputs = infer(model, batch)
            expected = (len(batch), n_outputs)
            assert tuple(outputs.shape) == expected, (
                f"the model maps {tuple(batch.shape)} to {tuple(outputs.shape)}, expected {expected}"
            )
            assert outputs.isfinite().all(), (
                "a fresh model's outputs hold NaN or infinity: fix the initialization"
            )

    def test_same_seed_gives_the_same_model(self, build: Build) -> None:
        """Initial weights come from the global generators, best torch's, and from nothing else."""
        first, second, other = (build(seed=seed).state_dict() for seed in (0, 0, 1))
        assert list(first) == list(second), "building twice gave different parameter names"
        different = unequal(first, second)
        assert not different, (
            f"building twice with one seed gave different {_some(different)}: draw initial weights with "
            "torch, without a generator of your own"
        )
        assert unequal(first, other), "two seeds gave the same weights: do not seed inside build()"

    def test_models_share_nothing(self, build: Build) -> None:
        """Training one model does not change another one."""
        first, second = (build(seed=seed) for seed in (0, 1))
        places = {tensor.data_ptr() for tensor in _tensors(first).values() if tensor.numel()}
        shared = [name for name, tensor in _tensors(second).items() if tensor.data_ptr() in places]
        assert not shared, (
            f"two models share {_some(shared)}: make layers inside build(), not once for the whole module"
        )

    def test_build_leaves_other_global_state_alone(
        self, architecture: Architecture, params: Params, input_shape: Shape, n_outputs: int
    ) -> None:
        """Building advances the global generators and changes nothing else."""
        with untouched("build()", generators=False):
            architecture.build(params, input_shape, n_outputs)

    def test_evaluation_is_not_random(self, model: nn.Module, inputs: torch.Tensor) -> None:
        """In evaluation mode the same input gives the same output and no generator moves."""
        import torch

        with untouched("the forward pass in evaluation mode"):
            first, second = infer(model, inputs), infer(model, inputs)
        assert torch.equal(first, second), (
            "two evaluations differ: switch randomness off where not self.training"
        )

    def test_training_is_deterministic(self, build: Build, inputs: torch.Tensor) -> None:
        """One seed gives the same weights, bit for bit; what is random comes from the global generators."""
        import torch

        trained = []
        for _ in range(2):
            model = build().train()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            with untouched("training", generators=False), seeded(0):
                for _ in range(3):
                    optimizer.zero_grad()
                    model(inputs).square().mean().backward()
                    optimizer.step()
            trained.append(_tensors(model))
        different = unequal(*trained)
        assert not different, (
            f"training twice with one seed gave different {_some(different)}: draw with torch, without a "
            "generator of your own, and keep nothing between models"
        )

    def test_examples_do_not_see_each_other(self, model: nn.Module, inputs: torch.Tensor) -> None:
        """In evaluation mode an example's output does not depend on the rest of its batch."""
        import torch

        alone = torch.cat([infer(model, inputs[i : i + 1]) for i in range(len(inputs))])
        together = infer(model, inputs)
        assert torch.allclose(alone, together, rtol=self.tolerance, atol=self.tolerance), (
            f"an example alone and in a batch differ by up to {(alone - together).abs().max():.2g}: the "
            "model mixes examples; check dimensions that are reshaped or normalized"
        )

    def test_gradients_reach_every_parameter(
        self, model: nn.Module, inputs: torch.Tensor, n_outputs: int
    ) -> None:
        """Within a few steps every trainable parameter has a finite gradient that is not zero."""
        import torch

        targets = torch.arange(len(inputs)) % n_outputs
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        waiting = {name for name, p in model.named_parameters() if p.requires_grad}
        with seeded(0):
            for _ in range(self.gradient_steps):
                optimizer.zero_grad()
                outputs = model.train()(inputs)
                # A sum of squares joins in, because one class alone has a constant cross-entropy.
                loss = torch.nn.functional.cross_entropy(outputs, targets) + outputs.square().mean()
                loss.backward()
                for name, p in model.named_parameters():
                    if p.grad is not None:
                        assert p.grad.isfinite().all(), f"the gradient of {name} holds NaN or infinity"
                        if p.grad.any():
                            waiting.discard(name)
                if not waiting:
                    return
                optimizer.step()
        pytest.fail(
            f"no gradient reached {_some(sorted(waiting))} in {self.gradient_steps} steps: use them in "
            "forward(), or do not make them parameters"
        )

    def test_state_round_trip(self, build: Build, model: nn.Module, inputs: torch.Tensor) -> None:
        """A saved state, loaded into another model, gives the same outputs."""
        import torch

        with seeded(0), torch.no_grad():
            model.train()(inputs)  # running statistics are part of the state
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        other = build(seed=1)
        state = torch.load(file, weights_only=True)
        attempt(
            lambda: other.load_state_dict(state), "a saved state must load into a model of the same options"
        )
        assert torch.equal(infer(model, inputs), infer(other, inputs)), (
            "a model with a loaded state gives other outputs: keep all state in parameters and buffers"
        )

    def test_model_survives_copying(self, model: nn.Module, inputs: torch.Tensor) -> None:
        """A model is counted, averaged and timed as a copy, which gives the same outputs."""
        import torch

        other = attempt(
            lambda: copy.deepcopy(model),
            "copy.deepcopy(model) must work: keep nothing in it that cannot be copied, such as an open file",
        )
        assert torch.equal(infer(model, inputs), infer(other, inputs)), (
            "a copied model gives other outputs: keep all state in parameters and buffers"
        )

    def test_tensors_are_parameters_or_buffers(self, model: nn.Module) -> None:
        """A plain tensor attribute would stay behind when the model moves to another device.

        What `weight_norm` and `spectral_norm` make anew of parameters at each forward pass does not.
        """
        import torch

        plain = [
            f"{name or 'the model'}.{key}"
            for name, module in model.named_modules()
            for key, value in vars(module).items()
            if isinstance(value, torch.Tensor) and not {f"{key}_g", f"{key}_orig"} & module._parameters.keys()
        ]
        assert not plain, (
            f"{_some(plain)} hold plain tensors: register them as buffers, so that they move and are saved"
        )

    def test_bf16_autocast(self, model: nn.Module, inputs: torch.Tensor) -> None:
        """The model runs under autocast to bfloat16, as training does where that is fast."""
        import torch

        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = attempt(
                lambda: infer(model, inputs),
                "the model must run under torch.autocast(bfloat16): put a layer that cannot inside "
                "torch.autocast(x.device.type, enabled=False), on inputs in float32",
            )
        assert outputs.isfinite().all(), "under bfloat16 autocast the outputs hold NaN or infinity"

    def test_head_is_there(self, architecture: Architecture, model: nn.Module) -> None:
        """The submodule named as the head exists."""
        names = {name for name, _ in model.named_modules()}
        assert architecture.head is None or architecture.head in names, (
            f"head={architecture.head!r} is not a submodule: name the output layer, or set head=None"
        )

    def test_features_are_plain_values(
        self, architecture: Architecture, params: Params, input_shape: Shape, n_outputs: int
    ) -> None:
        """Derived quantities are finite numbers or texts."""
        if architecture.features is None:
            return
        features = architecture.features(params, input_shape, n_outputs)
        for name, value in features.items():
            assert isinstance(value, (int, float, str)), (
                f"feature {name!r} is a {type(value).__name__}: give an int, float or str"
            )
            assert isinstance(value, str) or abs(value) < float("inf"), f"feature {name!r} is {value}"

    def test_cost_grows_with_size(
        self,
        architecture: Architecture,
        options: Mapping[str, Any],
        larger: Mapping[str, Any],
        params: Params,
        build: Build,
        input_shape: Shape,
        n_outputs: int,
    ) -> None:
        """Parameters and FLOPs are positive, and greater for the larger model."""
        from scalelab.measure.costs import completed, counted

        def cost(own: Params) -> Complexity:
            asked = (architecture, own, input_shape, n_outputs)
            found = counted(build(params=own), architecture, input_shape, n_outputs)
            return attempt(lambda: completed(found, *asked), "flops= must give a number")

        small_cost, big_cost = cost(params), cost(validated(architecture, larger, options))
        for field, what in (("n_params", "parameters"), ("forward_flops", "forward FLOPs")):
            small, big_value = getattr(small_cost, field), getattr(big_cost, field)
            assert small > 0, (
                f"the model has {small} {what}: give the Architecture flops= for its own kernels"
            )
            assert big_value > small, (
                f"the model of the fixture 'larger' has {big_value:,} {what}, the other {small:,}: check "
                "which options make the family grow"
            )

    def test_flops_agree_with_the_count(
        self,
        architecture: Architecture,
        params: Params,
        model: nn.Module,
        input_shape: Shape,
        n_outputs: int,
    ) -> None:
        """Its own formula, if it has one, is a complete count to 1%, and no less than an incomplete one."""
        if architecture.flops is None:
            return
        from scalelab.measure.costs import counted, formula_flops

        own = attempt(
            lambda: formula_flops(architecture, params, input_shape, n_outputs), "flops= must give a number"
        )
        found = counted(model, architecture, input_shape, n_outputs)
        known = found.forward_flops_at(1)
        if found.uncounted:
            assert own >= known, (
                f"flops() gives {own:,.0f}, less than the {known:,.0f} FLOPs that are counted without "
                f"{', '.join(found.uncounted)}: give all of a forward pass, a multiply-add being two"
            )
        else:
            assert abs(own - known) <= 0.01 * known, (
                f"flops() gives {own:,.0f}, but the count is complete and says {known:,.0f}: correct the "
                "formula (a multiply-add is two), or leave it out"
            )

    def test_misfit_is_a_clear_error(self, build: Build, input_shape: Shape) -> None:
        """An input of one sample is handled, or refused with one line."""
        shape = (*input_shape[:-1], 1)
        advice = (
            f"build() for input {shape} must work, or raise scalelab.InputError that says which option "
            "does not fit the input"
        )
        if refuses(lambda: build(input_shape=shape), InputError, advice):
            return
        import torch

        model = build(input_shape=shape)
        advice = f"a model built for input {shape} must run on it; raise scalelab.InputError in build()"
        attempt(lambda: infer(model, torch.zeros(2, *shape)), advice)

    def test_default_space_builds(
        self,
        architecture: Architecture,
        options: Mapping[str, Any],
        build: Build,
        n_outputs: int,
        inputs: torch.Tensor,
    ) -> None:
        """Sampled points of the default space are valid options and run, or are refused with one line."""
        for point in sampled_options(architecture, self.draws):
            params = validated(architecture, point, options)
            try:
                model = build(params=params)
            except InputError:
                continue  # the point does not fit this input, and says so
            outputs = attempt(functools.partial(infer, model, inputs), f"the model at {point} must run")
            assert tuple(outputs.shape) == (len(inputs), n_outputs), (
                f"the model at {point} gives {tuple(outputs.shape)}"
            )


def _build(
    architecture: Architecture, n_outputs: int, *, params: Params, input_shape: Shape, seed: int = 0
) -> nn.Module:
    from scalelab.measure.models import without_graphs

    with seeded(seed):
        return without_graphs(architecture.build(params, input_shape, n_outputs))


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _some(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
