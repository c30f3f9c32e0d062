from __future__ import annotations

import re
from pathlib import Path

import torch
from train_toys import make_data

import scalelab
from scalelab.records import TrainingOptions
from scalelab.train.calibration import BINS, MOST_CLASSES
from scalelab.train.losses import LOSSES
from scalelab.train.metrics import METRICS

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def test_every_option_schedule_loss_and_metric_is_documented() -> None:
    schedules = TrainingOptions.model_json_schema()["properties"]["schedule"]["enum"]
    for name in (*TrainingOptions.model_fields, *schedules, *LOSSES, *METRICS):
        assert f"`{name}`" in PAGE, f"docs/training.md does not mention {name}"


def test_the_numbers_of_calibration_are_those_of_the_code() -> None:
    assert f"{BINS} bins of equal width" in " ".join(PAGE.split())
    assert f"more than {MOST_CLASSES:,} classes" in PAGE


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {"scalelab": scalelab, "torch": torch, "data": make_data()}
    exec(example, names)
    assert names["result"].status == "done"  # type: ignore[attr-defined]
