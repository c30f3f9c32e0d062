"""Recurrent layers by formula, against torch's own counter on the layer taken apart step by step."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scalelab.measure import recurrent
from scalelab.measure.counter import counting, plain_kernels
from scalelab.measure.flops import complexity
from scalelab.measure.footprint import trace

BATCH, WIDTH, HIDDEN = 3, 5, 7
LAYERS = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "tanh": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
    "projected": (nn.LSTM, {"proj_size": 4}),
    "unbiased": (nn.LSTM, {"bias": False, "num_layers": 2}),
    "projected unbiased": (nn.LSTM, {"proj_size": 4, "bias": False, "bidirectional": True}),
    "batch first": (nn.GRU, {"batch_first": True, "num_layers": 2}),
    "deep": (nn.LSTM, {"num_layers": 3}),
    "both ways": (nn.GRU, {"bidirectional": True}),
    "deep both ways": (nn.LSTM, {"num_layers": 2, "bidirectional": True, "proj_size": 3}),
    "deep both ways rnn": (nn.RNN, {"num_layers": 2, "bidirectional": True}),
}


def layer(name: str) -> nn.RNNBase:
    kind, options = LAYERS[name]
    return kind(WIDTH, HIDDEN, **options)


def inputs_of(module: nn.RNNBase, steps: int, *, grad: bool = False) -> torch.Tensor:
    shape = (BATCH, steps, WIDTH) if module.batch_first else (steps, BATCH, WIDTH)
    return torch.zeros(shape, requires_grad=grad)


def taken_apart(module: nn.RNNBase, inputs: object, states: object = None) -> tuple[int, int]:
    """Forward and train by torch's counter, which sees the steps where no kernel is fused."""
    with plain_kernels(), FlopCounterMode(display=False) as counter:
        outputs = module(inputs, states)[0]
        forward = counter.get_total_flops()
        loss = (outputs.data if isinstance(outputs, nn.utils.rnn.PackedSequence) else outputs).sum()
        if loss.requires_grad:
            loss.backward()
        return forward, counter.get_total_flops()


def by_formula(module: nn.RNNBase, inputs: object, states: object = None) -> tuple[int, int]:
    with counting() as counter:
        outputs = module(inputs, states)[0]
        forward = counter.flops
        loss = (outputs.data if isinstance(outputs, nn.utils.rnn.PackedSequence) else outputs).sum()
        if loss.requires_grad:
            loss.backward()
        assert counter.uncounted == set()
        return forward, counter.flops


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("grad", [False, True])
def test_the_formula_is_what_the_steps_add_up_to(name: str, grad: bool) -> None:
    module = layer(name)
    for steps in (1, *range(3, 13)):
        inputs = inputs_of(module, steps, grad=grad)
        assert by_formula(module, inputs) == taken_apart(module, inputs), steps


@pytest.mark.parametrize("name", ["lstm", "deep both ways", "both ways", "tanh"])
@pytest.mark.parametrize("lengths", [(5, 5, 5), (6, 4, 1), (7, 7, 3)])
def test_packed_sequences_of_any_lengths(name: str, lengths: tuple[int, ...]) -> None:
    module = layer(name)
    for grad in (False, True):
        padded = torch.zeros(max(lengths), BATCH, WIDTH, requires_grad=grad)
        one, other = (nn.utils.rnn.pack_padded_sequence(padded, list(lengths)) for _ in range(2))
        assert by_formula(module, one) == taken_apart(module, other)


@pytest.mark.parametrize("name", ["lstm", "gru", "deep both ways"])
def test_first_states_that_are_learned_have_gradients(name: str) -> None:
    module = layer(name)
    rows = module.num_layers * (2 if module.bidirectional else 1)
    states: object = torch.zeros(rows, BATCH, module.proj_size or HIDDEN, requires_grad=True)
    if isinstance(module, nn.LSTM):
        states = states, torch.zeros(rows, BATCH, HIDDEN, requires_grad=True)
    inputs = inputs_of(module, 6)
    assert by_formula(module, inputs, states) == taken_apart(module, inputs, states)


@pytest.mark.parametrize("trained", ["none", "biases", "second layer"])
def test_frozen_weights_have_no_gradients(trained: str) -> None:
    module = nn.LSTM(WIDTH, HIDDEN, num_layers=2)
    for name, parameter in module.named_parameters():
        keep = {"none": False, "biases": "bias" in name, "second layer": name.endswith("l1")}[trained]
        parameter.requires_grad_(keep)
    for grad in (False, True):
        inputs = inputs_of(module, 5, grad=grad)
        assert by_formula(module, inputs) == taken_apart(module, inputs)


class Reader(nn.Module):
    """A recurrent layer between two linear ones; `look` makes it need values."""

    def __init__(self, name: str, look: bool = False) -> None:
        super().__init__()
        self.embed, self.layer = nn.Linear(4, WIDTH), layer(name)
        self.head = nn.LazyLinear(2)
        self.look = look
        self(torch.zeros(2, 9, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x)
        outputs = self.layer(x if self.layer.batch_first else x.transpose(0, 1))[0]
        if self.look and outputs.sum().item() == 1e9:
            return outputs
        return self.head(outputs.mean(1 if self.layer.batch_first else 0))


@pytest.mark.parametrize("name", LAYERS)
def test_networks_with_such_a_layer(name: str) -> None:
    found = complexity(Reader(name), (9, 4))
    looking = complexity(Reader(name, look=True), (9, 4))
    assert looking.forward_flops == found.forward_flops
    assert looking.train_flops_per_example == found.train_flops_per_example
    model = Reader(name)
    with plain_kernels(), FlopCounterMode(display=False) as counter:
        outputs = model(torch.zeros(2, 9, 4))
        forward = counter.get_total_flops()
        outputs.sum().backward()
    assert found.forward_flops == forward / 2
    assert found.train_flops_per_example == counter.get_total_flops() / 2
    assert (found.fixed_forward_flops, found.fixed_train_flops, found.uncounted) == (0, 0, ())


@pytest.mark.parametrize("name", LAYERS)
def test_the_footprint_is_that_of_the_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Reader(name).to("meta").eval()
    for steps in range(1, 13):
        quick = trace(model, (2, steps, 4), "meta").counts
        with monkeypatch.context() as patched:
            patched.setattr(recurrent.Recurrence, "of", lambda *_call: None)
            with plain_kernels():
                assert (trace(model, (2, steps, 4), "meta").counts == quick).all()


def test_the_outputs_have_the_values_of_the_layer_where_there_are_values() -> None:
    module, inputs = layer("deep both ways"), torch.randn(6, BATCH, WIDTH)
    expected = module(inputs)
    with counting():
        found = module(inputs)
    assert torch.allclose(found[0], expected[0])
    assert torch.allclose(found[1][1], expected[1][1])
    assert found[0].requires_grad


def test_a_loop_of_cells_counts_what_the_layer_counts() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTMCell(WIDTH, HIDDEN)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = c = x.new_zeros(len(x), HIDDEN)
            for step in range(x.shape[1]):
                h, c = self.cell(x[:, step], (h, c))
            return h

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LSTM(WIDTH, HIDDEN, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)[0][:, -1]

    loop, layer = complexity(Loop(), (40, WIDTH)), complexity(Layer(), (40, WIDTH))
    assert loop.forward_flops == layer.forward_flops == 40 * 2 * 4 * HIDDEN * (WIDTH + HIDDEN)
    assert loop.train_flops_per_example == layer.train_flops_per_example
