"""A step of training never waits for its device.

On the meta device, which has no values, every look from the host raises: `.item()`, a tensor as a condition,
a copy to the CPU. A step that goes through there reads nothing back on a GPU either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scalelab_plugins.augment import light_augmentation
from scalelab_plugins.signal_augment import SignalAugmentation

import scalelab
from scalelab.components import OpenDataset, Split, Task
from scalelab.records import ComponentRef, Length, TrainingOptions, Trial
from scalelab.train.batches import Examples, on_device
from scalelab.train.loop import _Run

META, SHAPE, CLASSES, N = torch.device("meta"), (2, 64), 3, 40
ALL_OF_SIGNALS = SignalAugmentation(
    length=64, rate=100.0, warp=0.1, warp_p=0.5, scale=0.1, scale_p=0.5, noise=0.1, noise_p=0.5,
    wander=0.1, wander_p=0.5, time_mask=0.1, time_mask_p=0.5, lead_mask=0.1, lead_mask_p=0.5, own_spread=True,
)  # fmt: skip
NETWORKS: dict[str, dict[str, Any]] = {
    "convnext1d": {"width": 4, "depths": [1, 1], "drop_path": 0.1},
    "regnet1d": {"depth": 2, "w_init": 8, "w_0": 8},
    "resnet1d": {"width": 4, "depths": [1, 1]},
    "ssm1d": {"width": 8, "depth": 1},
}


def run_on_meta(
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    loss: str,
    augment: Callable[..., torch.Tensor],
    **training: Any,
) -> _Run:
    """A run that has started, in the middle of its steps."""
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((N, *SHAPE)).astype(np.float16)
    targets: np.ndarray = generator.integers(0, CLASSES, N)
    if loss == "bce":
        targets = np.eye(CLASSES, dtype=np.float32)[targets]
    data = OpenDataset(
        task=Task(input_shape=SHAPE, n_outputs=CLASSES, loss=loss),
        train=Split(inputs, targets),
        validation=Split(inputs, targets),
        augment=augment,
        fingerprint="meta",
    )
    named = {name: ComponentRef(name=name) for name in ("meta", architecture, "adamw")}
    trial = Trial(
        dataset=named["meta"],
        fingerprint="meta",
        architecture=named[architecture],
        optimizer=named["adamw"],
        n_examples=N,
        training=TrainingOptions(length=Length(steps=100), batch_size=8, **training),
    )
    network = scalelab.build_model(architecture, NETWORKS[architecture], SHAPE, CLASSES).to(META)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, foreach=True)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "Generator", Generators())
        run = _Run(trial, data, network, optimizer, None, 1, META, "fp32", 1.0, None, 60.0)
        run.start()
    run.generator = None  # type: ignore[assignment]
    return run


class Generators:
    """torch has no generators for meta; `None`, its global one, draws nothing there."""

    def __call__(self, _device: torch.device) -> Generators:
        return self

    def manual_seed(self, _seed: int) -> None:
        """Does nothing."""


@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize(
    ("loss", "augment", "training"),
    [
        ("cross-entropy", light_augmentation(1.0, 4), {}),
        ("cross-entropy", ALL_OF_SIGNALS, {"ema": 0.9, "class_weights": "balanced"}),
        ("bce", ALL_OF_SIGNALS, {"class_weights": "sqrt", "clip_norm": 0.1}),
    ],
)
def test_a_step_reads_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    loss: str,
    augment: Callable[..., torch.Tensor],
    training: dict[str, Any],
) -> None:
    run = run_on_meta(monkeypatch, architecture, loss, augment, **training)
    for step in (2, 3, 4):  # the first one's data are looked at
        run.update(step)
    assert run.loss_count == 3
    # The test can fail: what looks at the loss raises.
    with pytest.raises(RuntimeError, match="meta"):
        run.train_loss()


def test_batches_go_to_a_gpu_by_pinned_memory_without_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, Any]] = []

    def pin_memory(self: torch.Tensor) -> torch.Tensor:
        called.append(("pinned", tuple(self.shape)))
        return self

    def to(self: torch.Tensor, device: torch.device, *, non_blocking: bool = False) -> torch.Tensor:
        called.append((device.type, non_blocking))
        return self

    inputs = np.zeros((N, *SHAPE), dtype=np.float16)
    examples = Examples(Split(inputs, np.zeros(N, dtype=np.int64)), None, torch.device("cpu"))
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch.Tensor, "to", to)
    examples._device = torch.device("cuda", 0)
    examples.batch(np.arange(4))
    sent = [("pinned", (4,)), ("cuda", True), ("pinned", (4, *SHAPE)), ("cuda", True)]
    assert called[: len(sent)] == sent
    assert on_device(torch.ones(3), torch.device("cpu")).tolist() == [1, 1, 1]
