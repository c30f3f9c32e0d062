"""A training step of `ssm1d` beside two scans and `convnext1d`, alternated in one run.

For each number of tokens, the same network takes a step (forward, backward, AdamW) with its recurrence
computed in five ways: by Toeplitz matrices, by Fourier transforms (`ssm1d` chooses between the two), by the
grouped convolution of what is exported, by a loop over tokens in complex numbers, and in log2(tokens)
doubling steps. `convnext1d` has about as many parameters and the same stride from samples to tokens.

    python benchmarks/ssm_step.py [--repeats 7] [--threads 1] [--tokens 16 36 64 128] [--json]

Target: `ssm1d` is faster than both scans at any length.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import torch
from scalelab_plugins.ssm1d_kernel import StateSpace, bilinear, scaled, zero_order_hold
from torch import nn
from torch.nn.functional import cross_entropy, pad

import scalelab

BATCH, LEADS, CLASSES, PATCH = 32, 12, 26, 8
WIDTH, DEPTH, STATE = 64, 4, 32


class Scan(StateSpace):
    """The same model by its recurrence; `associative` in doubling steps, else token by token."""

    associative = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, tokens, width) to the same shape."""
        step, decay = self.log_step.exp().unsqueeze(1), self.log_decay.exp()
        discretize = zero_order_hold if self.discretization == "zoh" else bilinear
        (log_size, angle), gain = discretize(step, decay, self.frequency)
        turn = torch.polar(log_size.exp(), angle)
        outputs = torch.complex(*scaled(self.output, gain))  # conjugated: their product's real part is wanted
        states = (self.doubled if self.associative else self.looped)(x, turn)
        y = 2 * (states * outputs[:, 0].conj()).sum(-1).real
        backwards = (self.doubled if self.associative else self.looped)(x.flip(1), turn).flip(1)
        y = y + pad(2 * (backwards * outputs[:, 1].conj()).sum(-1).real[:, 1:], (0, 0, 0, 1))
        return y + self.skip * x

    def looped(self, x: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
        """Returns the states of all tokens, (batch, tokens, width, modes), one after the other."""
        state = torch.zeros(len(x), *turn.shape, dtype=turn.dtype)
        states = []
        for token in x.unbind(1):
            state = turn * state + token.unsqueeze(2)
            states.append(state)
        return torch.stack(states, 1)

    def doubled(self, x: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
        """Returns the same, each step doubling how many tokens a state has seen."""
        states = x.unsqueeze(3).to(turn.dtype).expand(*x.shape, turn.shape[1])
        reach = 1
        while reach < x.shape[1]:
            earlier = pad(states[:, :-reach], (0, 0, 0, 0, reach, 0))
            states = states + turn * earlier
            turn, reach = turn * turn, 2 * reach
        return states


def convnext_of(n_params: int, shape: tuple[int, int]) -> nn.Module:
    """Returns the `convnext1d` whose number of parameters is nearest."""
    networks = (
        scalelab.build_model("convnext1d", {"width": width, "depths": [2, 2], "stem": PATCH}, shape, CLASSES)
        for width in range(8, 129)
    )
    return min(networks, key=lambda network: abs(size(network) - n_params))


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def contenders(tokens: int) -> dict[str, nn.Module]:
    """Returns the networks by name; those of one architecture start with the same weights."""
    shape = (LEADS, PATCH * tokens)
    found: dict[str, nn.Module] = {}
    for name in ("toeplitz", "fft", "blocks", "loop", "doubling"):
        torch.manual_seed(0)
        network = scalelab.build_model(
            "ssm1d", {"width": WIDTH, "depth": DEPTH, "state": STATE, "patch": PATCH}, shape, CLASSES
        )
        for block in network.blocks:
            if name in ("loop", "doubling"):
                block.mixer.__class__ = Scan
                block.mixer.associative = name == "doubling"
            else:
                block.mixer.form = name
        found[name] = network
    chosen = StateSpace(1, tokens).form
    found = {f"ssm1d ({chosen})": found.pop(chosen), **found}
    found["convnext1d"] = convnext_of(size(found["loop"]), shape)
    return found


def step_of(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(network(x), y).backward()
        optimizer.step()

    return step


def measure(tokens: int, repeats: int) -> dict[str, float]:
    """Returns milliseconds a step by name, the order alternated."""
    torch.manual_seed(1)
    x, y = torch.randn(BATCH, LEADS, PATCH * tokens), torch.arange(BATCH) % CLASSES
    networks = contenders(tokens)
    ours, *others = networks
    with torch.no_grad():
        expected = networks[ours](x)
        for name in others[:-1]:  # all but convnext1d are one network
            worst = (networks[name](x) - expected).abs().max() / expected.abs().max()
            assert worst < 1e-3, (name, worst)
    steps = {name: step_of(network.train(), x, y) for name, network in networks.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name in list(steps) if repeat % 2 else list(reversed(steps)):
            start = time.perf_counter()
            steps[name]()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    sizes = {"n_params": size(networks["loop"]), "convnext1d_params": size(networks["convnext1d"])}
    return {**{name: 1e3 * median(times) for name, times in seconds.items()}, **sizes}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 36, 64, 128])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for tokens in options.tokens:
        found = measure(tokens, options.repeats)
        if options.json:
            print(json.dumps({"tokens": tokens, **found}), flush=True)
            continue
        ours = next(iter(found))
        print(f"{tokens} tokens, {found.pop('n_params'):,} parameters, ", end="")
        print(f"convnext1d {found.pop('convnext1d_params'):,}")
        for name, milliseconds in found.items():
            print(f"  {name:16} {milliseconds:9.1f} ms  {milliseconds / found[ours]:7.2f}", flush=True)


if __name__ == "__main__":
    main()
