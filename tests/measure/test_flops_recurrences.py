"""Recurrences written out in element-wise work count, ordinary networks of any depth do not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from scalelab.measure.chains import DOUBLINGS, SCALINGS, STEPS
from scalelab.measure.counter import counting, plain_kernels
from scalelab.measure.flops import complexity

WIDTH = 6


class Gated(nn.Module):
    """h = a * h + b, with a and b from the input; `scan` maps both, (batch, steps, width), to all states."""

    def __init__(self, scan) -> None:
        super().__init__()
        self.gates, self.head, self.scan = nn.Linear(4, 2 * WIDTH), nn.Linear(WIDTH, 2), scan

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.gates(x).chunk(2, -1)
        return self.head(self.scan(a.sigmoid(), b).sum(1))


def loop(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    h, states = torch.zeros_like(b[:, 0]), []
    for step in range(a.shape[1]):
        h = a[:, step] * h + b[:, step]
        states.append(h)
    return torch.stack(states, 1)


def in_place(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    h, states = torch.zeros_like(b[:, 0]), torch.empty_like(b)
    for step in range(a.shape[1]):
        h = h.mul(a[:, step]).add_(b[:, step])
        states[:, step] = h
    return states


def fused_steps(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    h, states = torch.zeros_like(b[:, 0]), []
    for step in range(a.shape[1]):
        h = torch.addcmul(b[:, step], a[:, step], h)
        states.append(h)
    return torch.stack(states, 1)


def scan_operator(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    scan = pytest.importorskip("torch._higher_order_ops.scan").scan

    def step(h, slices):
        h = slices[0] * h + slices[1]
        return h, h.clone()

    return scan(step, torch.zeros_like(b[:, 0]), (a, b), dim=1)[1]


def linear_flops(steps: int) -> int:
    return 2 * steps * 4 * 2 * WIDTH


@pytest.mark.parametrize("scan", [loop, in_place, fused_steps, scan_operator])
@pytest.mark.parametrize("steps", [STEPS, STEPS + 1, 40])
def test_a_step_is_a_product_and_a_sum(scan, steps: int) -> None:
    found = complexity(Gated(scan), (steps, 4))
    recurrence, head = 2 * steps * WIDTH, 2 * WIDTH * 2
    assert found.forward_flops == linear_flops(steps) + recurrence + head
    # Two products for each of the forward pass, but for the first state, which has no gradient.
    backward = 2 * (2 * steps - 1) * WIDTH
    assert found.train_flops_per_example == (2 * linear_flops(steps) + 3 * head + recurrence + backward)
    assert (found.fixed_train_flops, found.uncounted) == (0, ())


@pytest.mark.parametrize("steps", [1, 4, STEPS - 1])
def test_a_few_steps_are_like_any_element_wise_work(steps: int) -> None:
    assert complexity(Gated(loop), (steps, 4)).forward_flops == linear_flops(steps) + 2 * WIDTH * 2


@pytest.mark.parametrize("mode", ["generic", "pointwise"])
def test_associative_scan_does_the_work_of_its_function_step_by_step(mode: str) -> None:
    module = pytest.importorskip("torch._higher_order_ops.associative_scan")

    def scanned(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        def combine(left, right):
            return left[0] * right[0], right[0] * left[1] + right[1]

        return module.associative_scan(combine, (a, b), 1, combine_mode=mode)[1]

    steps = 40
    found = complexity(Gated(scanned), (steps, 4))
    rest = linear_flops(steps) + 2 * WIDTH * 2
    assert found.forward_flops == rest + 2 * 2 * (steps - 1) * WIDTH
    assert found.train_flops_per_example > found.forward_flops + rest


@pytest.mark.parametrize(("steps", "sums"), [(STEPS - 1, 0), (STEPS, 2), (40, 2)])
def test_a_step_of_a_complex_recurrence_is_a_complex_product_and_a_sum(steps: int, sums: int) -> None:
    a, b = (torch.zeros(3, steps, WIDTH, dtype=torch.complex64, device="meta") for _ in range(2))
    with counting() as counter:
        loop(a, b)
    assert counter.flops == (6 + sums) * 3 * steps * WIDTH
    with counting() as counter:
        loop(a.real, b)  # a real number with a complex one
    assert counter.flops == (2 + sums) * 3 * steps * WIDTH


@pytest.mark.parametrize("steps", [SCALINGS - 1, SCALINGS, 70])
def test_products_with_numbers_make_a_recurrence_of_many_steps(steps: int) -> None:
    def smooth(_a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        h, states = torch.zeros_like(b[:, 0]), []
        for step in range(b.shape[1]):
            h = 0.9 * h + 0.1 * b[:, step]
            states.append(h)
        return torch.stack(states, 1)

    found = complexity(Gated(smooth), (steps, 4))
    rest = linear_flops(steps) + 2 * WIDTH * 2
    assert found.forward_flops == rest + (2 * 2 * steps * WIDTH if steps >= SCALINGS else 0)
    turning = torch.zeros(3, steps, WIDTH, dtype=torch.complex64, device="meta")
    with counting() as counter:
        smooth(turning, turning)
    assert counter.flops == (2 * (2 + 2) * 3 * steps * WIDTH if steps >= SCALINGS else 0)


def doubling(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Hillis & Steele's parallel scan."""
    shift = 1
    while shift < a.shape[1]:
        shifted = functional.pad(b, (0, 0, shift, 0))[:, : b.shape[1]]
        before = functional.pad(a, (0, 0, shift, 0), value=1.0)[:, : a.shape[1]]
        a, b, shift = a * before, b + a * shifted, 2 * shift
    return b


@pytest.mark.parametrize("rounds", [DOUBLINGS, DOUBLINGS + 1, 9])
def test_parallel_scans_count_what_they_do(rounds: int) -> None:
    steps = 2**rounds
    found = complexity(Gated(doubling), (steps, 4))
    products, head = 2 * 2 * rounds * steps * WIDTH, 2 * WIDTH * 2
    assert found.forward_flops == linear_flops(steps) + products + head
    # The last product of a tensor with its shifted self is used by nothing, and has no gradients.
    backward = 2 * products - 2 * 2 * steps * WIDTH
    assert found.train_flops_per_example == found.forward_flops + linear_flops(steps) + backward + 2 * head


def test_running_sums_in_logarithms_count_by_their_formulas() -> None:
    def logs(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        total = a.log().cumsum(1)
        return (total + (b.abs().log() - total).logcumsumexp(1)).exp()

    steps = 50
    rest = linear_flops(steps) + 2 * WIDTH * 2
    assert complexity(Gated(logs), (steps, 4)).forward_flops == rest + (1 + 4) * steps * WIDTH


class Selective(nn.Module):
    """The selective scan of Mamba in plain operators: its states have `states` numbers for each channel."""

    def __init__(self, channels: int = 6, states: int = 3) -> None:
        super().__init__()
        self.rates = nn.Parameter(torch.ones(channels, states))
        self.step, self.read = nn.Linear(channels, channels), nn.Linear(channels, 2 * states)
        self.head = nn.Linear(channels, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = functional.softplus(self.step(x))
        b, c = self.read(x).chunk(2, -1)
        kept = torch.exp(step[..., None] * -self.rates.exp())
        added = step[..., None] * b[:, :, None] * x[..., None]
        h, outputs = torch.zeros_like(added[:, 0]), []
        for t in range(x.shape[1]):
            h = kept[:, t] * h + added[:, t]
            outputs.append((h @ c[:, t, :, None]).squeeze(-1))
        return self.head(torch.stack(outputs, 1).mean(1))


def test_selective_scan() -> None:
    steps, channels, states = 30, 6, 3
    found = complexity(Selective(channels, states), (steps, channels))
    # Of each number of the states: what it keeps, two products of what is added, and the step itself.
    numbers = steps * channels * states
    reading = 2 * numbers
    linear = 2 * steps * channels * (channels + 2 * states)
    head = 2 * channels * 2
    assert found.forward_flops == linear + head + reading + 4 * 2 * numbers
    # Two products for each of the forward pass, less those of the first state and of the input, which have no
    # gradient; one more for each exponential, of which that of the rates is done once a batch.
    backward = (2 * 4 - 1 + 1) * 2 * numbers - 2 * channels * states
    assert found.train_flops_per_example == found.forward_flops + linear + 2 * (head + reading) + backward
    assert found.fixed_train_flops == 2 * channels * states
    assert found.uncounted == ()


def linear(*widths: int) -> nn.Linear:
    return nn.Linear(*widths) if len(widths) == 2 else nn.Linear(WIDTH, WIDTH)


class Layer(nn.Module):
    """A layer of an ordinary network, by name."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.one, self.two = kind, linear(), linear()
        self.wide, self.conv = linear(WIDTH, 3 * WIDTH), nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.scale, self.skip, self.shift = (nn.Parameter(torch.ones(WIDTH)) for _ in range(3))

    def normed(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * self.scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "scaled":
            return x + self.scale * self.one(self.scale * x + self.shift)
        if self.kind == "skip scaled":
            return self.skip * x + self.scale * functional.silu(self.one(x))
        if self.kind == "highway":
            gate = self.two(x).sigmoid()
            return gate * self.one(x).relu() + (1 - gate) * x
        if self.kind == "by hand":  # norm, GELU, its gate and scales
            y = self.one(0.5 * self.normed(x))
            y = 0.5 * y * (1 + (0.7978845608 * (y + 0.044715 * y**3)).tanh())
            return 0.7 * x + 0.3 * (self.two(y) * 0.5 / 3)
        if self.kind == "squeezed":
            y = self.conv(x.transpose(1, 2))
            return x + functional.silu(y * self.two(y.mean(-1)).sigmoid()[..., None]).transpose(1, 2)
        if self.kind == "sandwich":  # norms, rotation, gates and scales, all by hand
            a, b, c = self.wide(self.normed(x) * (1 + self.shift)).chunk(3, -1)
            turn = torch.linspace(0, 1, WIDTH, device=x.device)
            a = a * turn + a.roll(1, -1) * turn
            y = self.one(a * a.sigmoid() * b * c.sigmoid())
            return x + self.skip * self.normed(y) * (1 + self.shift)
        assert self.kind == "by gru cell"
        r, z = self.one(x).sigmoid(), self.two(x).sigmoid()
        return z * x + (1 - z) * self.one(r * x).tanh()


@pytest.mark.parametrize(
    "kind", ["scaled", "skip scaled", "highway", "by hand", "squeezed", "sandwich", "by gru cell"]
)
def test_deep_networks_with_gates_and_scales_are_no_recurrences(kind: str) -> None:
    model = nn.Sequential(*(Layer(kind) for _ in range(60)), nn.Flatten(), nn.Linear(5 * WIDTH, 2))
    with plain_kernels(), FlopCounterMode(display=False) as plain:
        outputs = model(torch.zeros(2, 5, WIDTH))
        forward = plain.get_total_flops()
        outputs.sum().backward()
    found = complexity(model, (5, WIDTH))
    assert 2 * found.forward_flops == forward
    assert 2 * found.train_flops_per_example == plain.get_total_flops()


def test_the_memory_of_freed_tensors_does_not_mislead() -> None:
    with counting() as counter, torch.no_grad():
        for _ in range(200):  # each product frees the one before, whose address may be used again
            x = torch.zeros(8, device="meta")
            x = x * torch.ones(8, device="meta")
            del x
    assert counter.flops == 0
