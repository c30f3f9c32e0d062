"""The callbacks of examples/callbacks report real runs of Lightning and transformers, otherwise unchanged."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from tracked_tools import library

import scalelab

EXAMPLES = Path(__file__).parents[2] / "examples/callbacks"
EXAMPLES_N, BATCH, EPOCHS = 64, 16, 3
STEPS = EPOCHS * EXAMPLES_N // BATCH


def callback(file):
    spec = importlib.util.spec_from_file_location(file, EXAMPLES / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ScalelabCallback()


@pytest.fixture
def logged(monkeypatch):
    """What was reported, call by call."""
    calls: list[dict[str, object]] = []
    monkeypatch.setattr(scalelab, "log", lambda **values: calls.append(values), raising=False)
    return calls


@pytest.fixture
def examples():
    torch.manual_seed(0)
    inputs = torch.randn(EXAMPLES_N, 4)
    return inputs, inputs.sum(1, keepdim=True)


def check(calls, after=0):
    """One point an epoch, training losses but for the first ones, a falling loss, and what a law needs."""
    points = [one for one in calls if "step" in one]
    assert [one["step"] for one in points] == [STEPS // EPOCHS * (i + 1) for i in range(EPOCHS)]
    assert all(math.isfinite(one["loss"]) for one in points)
    assert all(math.isfinite(one["train_loss"]) for one in points[after:])
    assert points[-1]["loss"] < points[0]["loss"]
    facts = {name: value for one in calls if "step" not in one for name, value in one.items()}
    assert (facts["n_params"], facts["n_examples"], facts["epochs"]) == (5, EXAMPLES_N, EPOCHS)
    assert all(isinstance(value, (int, float)) for one in calls for value in one.values())
    return points


def fit_lightning(examples, folder, width=0):
    """An ordinary run of Lightning but for its callback: a line, or a network of one hidden layer."""
    lightning = library("lightning")

    class Fit(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = network(width)

        def step(self, batch, name):
            loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
            self.log(f"{name}_loss", loss, on_epoch=True, on_step=False)
            return loss

        def training_step(self, batch, _):
            return self.step(batch, "train")

        def validation_step(self, batch, _):
            self.log("val_mae", (self.layer(batch[0]) - batch[1]).abs().mean())
            return self.step(batch, "val")

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*examples), batch_size=BATCH)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", callbacks=[callback("lightning_callback")],
        default_root_dir=folder, enable_model_summary=False, **quiet,
    )  # fmt: skip
    trainer.fit(Fit(), loader, loader)


def fit_transformers(examples, folder, width=0):
    """An ordinary run of the Trainer of transformers, likewise."""
    transformers = library("transformers")
    library("accelerate")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = network(width)

        def forward(self, inputs, labels):
            outputs = self.layer(inputs)
            return {"loss": torch.nn.functional.mse_loss(outputs, labels), "logits": outputs}

    rows = [{"inputs": inputs, "labels": labels} for inputs, labels in zip(*examples, strict=True)]
    arguments = transformers.TrainingArguments(
        output_dir=folder, num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH, learning_rate=0.05,
        eval_strategy="epoch", logging_strategy="epoch", save_strategy="no", report_to=[], use_cpu=True,
        disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    transformers.Trainer(
        model=Model(),
        args=arguments,
        train_dataset=rows,
        eval_dataset=rows,
        compute_metrics=lambda found: {"mae": float(abs(found.predictions - found.label_ids).mean())},
        callbacks=[callback("hugging_face_callback")],
    ).train()


def network(width):
    if width == 0:
        return torch.nn.Linear(4, 1)
    return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))


def test_a_run_of_lightning_is_reported(logged, examples, tmp_path):
    fit_lightning(examples, tmp_path)
    points = check(logged, after=1)  # Lightning validates before it has logged the first epoch
    assert "val_mae" in points[-1]


def test_a_run_of_transformers_is_reported(logged, examples, tmp_path):
    fit_transformers(examples, tmp_path)
    points = check(logged)
    assert math.isfinite(points[-1]["mae"])
    assert not {"runtime", "epoch", "samples_per_second"} & set(points[-1])


@pytest.mark.parametrize("fit", [fit_lightning, fit_transformers])
def test_runs_that_report_are_kept_and_analyzed(fit, examples, tmp_path):
    """Unchanged but for the callback, each in a block of scalelab.run."""
    store = tmp_path / "runs.duckdb"
    widths = (2, 4, 8, 16, 32, 64)
    for width in widths:
        torch.manual_seed(width)
        with scalelab.run("widths", params={"width": width}, store=store):
            fit(examples, tmp_path / "run", width)
    opened = scalelab.open_store(store)
    runs = opened.runs("widths")
    assert set(runs.status) == {"done"}
    assert sorted(runs.n_params) == [6 * width + 1 for width in widths]
    assert set(runs.n_examples) == {EXAMPLES_N}
    assert set(runs.epochs) == {EPOCHS}
    curves = opened.curves()
    assert len(curves) == EPOCHS * len(widths)
    assert set(curves.step) == {STEPS // EPOCHS * (i + 1) for i in range(EPOCHS)}
    assert scalelab.analyze(opened).laws
