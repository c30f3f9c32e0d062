"""The contract of a law."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest

from scalelab.arrays import Array
from scalelab.errors import FitError, PluginError
from scalelab.law import Frame, Law
from scalelab.plugins import verify_component

Point = tuple[tuple[Array, ...], Array, Frame]
"""Scales and parameters in the coordinates of a fit, and the change of units to them."""


class LawContract:
    """Checks of a form of scaling law. Give it as the fixture `law`, and parameters as `truth`.

    Attributes:
        tolerance: Relative error of predictions after fitting noise-free data.
    """

    tolerance = 1e-6

    @pytest.fixture
    def law(self) -> Law:
        """The law under test; fixture to override."""
        raise NotImplementedError("define a fixture 'law' that returns the scalelab.Law to check")

    @pytest.fixture
    def truth(self) -> Mapping[str, float]:
        """Parameters that the law may well have at the scales of `x`; fixture to override."""
        raise NotImplementedError(
            "define a fixture 'truth' that returns a value for each of the law's params"
        )

    @pytest.fixture
    def x(self, law: Law) -> Mapping[str, Array]:
        """Scales that determine the law; by default 1e5 to 1e9, a grid where there are several axes."""
        names = ["x"] if law.axes == ("...",) else list(law.axes)
        grid = np.meshgrid(*[np.geomspace(1e5, 1e9, 30 if len(names) == 1 else 7)] * len(names))
        return {name: column.ravel() for name, column in zip(names, grid, strict=True)}

    @pytest.fixture
    def special(self, law: Law, x: Mapping[str, Array]) -> Law:
        """The law for these axes."""
        return law.specialize(tuple(x))

    @pytest.fixture
    def loss(self, special: Law, truth: Mapping[str, float], x: Mapping[str, Array]) -> Array:
        """What the law says at `x`."""
        loss = special.predict(truth, x)
        assert np.all(np.isfinite(loss)), "value_jac() gives NaN or infinity at the parameters of 'truth'"
        return loss

    @pytest.fixture
    def point(self, special: Law, x: Mapping[str, Array], loss: Array) -> Point:
        """A starting point that lies in the box, in the coordinates of a fit."""
        columns = [np.asarray(column, dtype=float) for column in x.values()]
        frame = special.frame(Frame.of(columns, loss, log_axes=special.log_axes))
        u = frame.inward(columns)
        low, high = special.bounds(u, loss / frame.y_scale)
        starts = np.clip(special.starts(u, loss / frame.y_scale), low, high)
        return u, starts[len(starts) // 2], frame

    def test_description_is_sound(self, law: Law) -> None:
        """The loader accepts the law, and scalelab has no law of its name."""
        from scalelab.analysis.laws import LAWS

        try:
            verify_component(law)
        except PluginError as error:
            pytest.fail(str(error))
        assert law.name not in {*LAWS, "auto"}, (
            f"{law.name!r} is the name of one of scalelab's laws; rename it"
        )
        assert law.irreducible in {None, *law.params}, f"irreducible {law.irreducible!r} is not in params"

    def test_equation_names_every_parameter(self, special: Law) -> None:
        """A reader sees what each estimate is."""
        words = set(re.findall(r"[A-Za-z_]\w*", special.equation))
        missing = [name for name in special.params if name not in words]
        assert not missing, f"equation {special.equation!r} does not name {', '.join(missing)}"

    def test_box_and_starts_are_finite(self, special: Law, point: Point, loss: Array) -> None:
        """bounds() and starts() are finite and of the right shape."""
        u, _, frame = point
        n = len(special.params)
        low, high = special.bounds(u, loss / frame.y_scale)
        starts = special.starts(u, loss / frame.y_scale)
        assert low.shape == high.shape == (n,), f"bounds() must return two arrays of shape ({n},)"
        assert np.all(np.isfinite([low, high])), "bounds() must be finite"
        assert np.all(low <= high), "bounds() returned a lower bound above the upper one"
        shape = np.shape(starts)
        assert shape[1:] == (n,), f"starts() must return an array of shape (starts, {n}), got {shape}"
        assert np.all(np.isfinite(starts)), "starts() must be finite"

    def test_derivatives_are_those_of_the_values(self, special: Law, point: Point) -> None:
        """value_jac() agrees with central differences of itself."""
        u, theta, _ = point
        _, jac = special.value_jac(theta[None], u)
        expected = (1, len(special.params), u[0].size)
        assert jac.shape == expected, (
            f"value_jac() returned derivatives of shape {jac.shape}, expected {expected}: "
            "batch, parameters, rows"
        )
        for index, name in enumerate(special.params):
            step = np.zeros_like(theta)
            step[index] = 1e-5 * max(1.0, abs(theta[index]))
            ahead, behind = (special.value_jac((theta + s)[None], u)[0][0] for s in (step, -step))
            slope = (ahead - behind) / (2 * step[index])
            gap = np.abs(jac[0, index] - slope).max()
            assert gap < 1e-5 * max(float(np.abs(slope).max()), 1e-4), (
                f"the derivative of value_jac() by internal parameter {index} (of {name}) is not the slope "
                "of its values"
            )

    def test_batches_are_rows_by_themselves(self, special: Law, point: Point) -> None:
        """A batch of parameter vectors gives what each gives alone."""
        u, theta, _ = point
        both = np.stack([theta, theta * 1.01])
        for row, vector in zip(special.value_jac(both, u)[0], both, strict=True):
            alone = special.value_jac(vector[None], u)[0][0]
            assert np.allclose(row, alone, rtol=1e-12), "value_jac() mixes the rows of a batch"

    def test_every_vector_may_have_its_own_scales(self, special: Law, point: Point) -> None:
        """Axes of shape (batch, n) pair every parameter vector with scales of its own."""
        u, theta, _ = point
        both = np.stack([theta, theta * 1.01])
        own = tuple(np.stack([column, column + 0.5]) for column in u)
        for row, (value, vector) in enumerate(zip(special.value_jac(both, own)[0], both, strict=True)):
            alone = special.value_jac(vector[None], [column[row] for column in own])[0][0]
            assert np.allclose(value, alone, rtol=1e-12), "value_jac() mixes scales of shape (batch, n)"

    def test_the_split_of_a_budget_has_the_lowest_loss(self, special: Law, point: Point) -> None:
        """No other size and data of the same product are better than what optimal_split() says."""
        _, theta, frame = point
        split = special.optimal_split(theta[None], frame)
        if split is None:
            return
        exponent, log_factor = (float(part[0]) for part in split)
        for budget in (sum(frame.centers), sum(frame.centers) + 3.0):
            size = log_factor + exponent * budget + np.array([0.0, -0.1, 0.1])
            u = (size - frame.centers[0], budget - size - frame.centers[1])
            loss = special.value_jac(theta[None], u)[0][0]
            assert loss[0] < loss[1:].min(), "optimal_split() is not where the loss is lowest"

    def test_public_undoes_internal(self, special: Law, truth: Mapping[str, float]) -> None:
        """Parameters survive the way to internal ones and back."""
        vector = np.array([truth[name] for name in special.params])
        frame = Frame.identity(len(special.axes), log_axes=special.log_axes)
        back = special.public(special.internal(vector[None]), frame)[0]
        assert np.allclose(back, vector, rtol=1e-9), f"public(internal(p)) is {back}, not p = {vector}"

    def test_public_knows_the_units(self, special: Law, point: Point, x: Mapping[str, Array]) -> None:
        """The public parameters of any frame give the values that the internal ones give in it."""
        u, theta, frame = point
        public = dict(zip(special.params, special.public(theta, frame), strict=True))
        inside = special.value_jac(theta[None], u)[0][0] * frame.y_scale
        assert np.allclose(special.predict(public, x), inside, rtol=1e-8), (
            "public() does not undo the frame: predictions of its parameters differ from the fitted ones"
        )

    def test_noise_free_data_come_back(
        self, law: Law, special: Law, truth: Mapping[str, float], x: Mapping[str, Array], loss: Array
    ) -> None:
        """A fit of the law's own values predicts them, a decade beyond them too."""
        from scalelab.analysis.fits.fit import fit_law

        try:
            fit = fit_law(law, dict(x), loss)
        except FitError as refusal:
            pytest.fail(f"the law's own values, without noise, cannot be fitted: {refusal}")
        beyond = {name: np.append(column, 10 * column.max()) for name, column in x.items()}
        error = np.abs(fit.predict(beyond) / special.predict(truth, beyond) - 1).max()
        assert error < self.tolerance, (
            f"a fit of noise-free values misses them by {error:.1g}: give starts() more points, and check "
            "that bounds() hold the truth"
        )
